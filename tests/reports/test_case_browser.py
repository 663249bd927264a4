"""The browser of cases: rows worst first, lists within a number, pictures wanted of every kind of mistake."""

import json

import pandas as pd
import pytest

from radapt.reports.case_browser.rows import CaseRow, in_turn
from radapt.reports.case_browser.wanted import MOST_PICTURED, wanted_pictures
from report_page import HOSTILE, draw_pictures, page_of, unpacked, written_page


def a_row(case: str, group: str, wrong: bool = True) -> CaseRow:
    return CaseRow(case, "", (), (group,), wrong, 0.0)


def test_every_kind_of_mistake_has_its_turn() -> None:
    rows = [a_row(f"a{index}", "0>1") for index in range(5)] + [a_row("b0", "1>0"), a_row("right", "1>1", wrong=False)]
    assert [row.case for row in in_turn(rows, 4)] == ["a0", "b0", "a1", "a2"]
    assert [row.case for row in in_turn(rows, 9)] == ["a0", "b0", "a1", "a2", "a3", "a4", "right"]


def test_classes_are_listed_worst_first_and_filtered_by_their_confusion(written) -> None:
    page = written_page(written.path)
    (section,) = unpacked(page)
    table = pd.read_parquet(written.path / "cells" / written.cells[0] / "predictions.parquet")
    (own,) = [one for one in section["lists"] if one["cell"] == written.cells[0] and one["split"] == "test"]
    table = table[(table["split"] == "test") & table["truth"].notna()].set_index("case")
    called = table[["p_benign", "p_malignant"]].idxmax(axis=1).str.removeprefix("p_")
    assert own["total"] == len(own["rows"]) == len(table)
    worst = own["rows"][0]
    assert called[worst[0]] != table.loc[worst[0], "truth"]
    assert worst[1].startswith(f"{table.loc[worst[0], 'truth']} → {called[worst[0]]}, p 0.")
    counts = {group: count for group, _, count in own["filters"]}
    wrong = {"0>1": ("benign", "malignant"), "1>0": ("malignant", "benign")}
    for group, (truth, said) in wrong.items():
        assert counts.get(group, 0) == int(((table["truth"] == truth) & (called == said)).sum())
        assert sum(group in groups for *_, groups in own["rows"]) == counts.get(group, 0)
    buttons = [a for tag, a in page.elements if tag == "button" and a.get("class") == "see"]
    assert {(a["data-cell"], a["data-split"]) for a in buttons} == {(o["cell"], o["split"]) for o in section["lists"]}


def test_findings_name_what_was_missed(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=("edema", "mass"), multilabel=True, modalities=("xray",), missing_every=0)
    toy_run.cohort(toy).backbone("dinov2-s").cell(toy, "dinov2-s", skill=0.3)
    (section,) = unpacked(page_of(toy_run.finish()))
    own = section["lists"][0]
    case, text, facts, groups = own["rows"][0]
    table = pd.read_parquet(toy_run.path / "cells" / toy_run.cells[0] / "predictions.parquet").set_index("case")
    row = table[table["split"] == "test"].loc[case]
    for name in ("edema", "mass"):
        missed = row[f"truth_{name}"] == 1 and row[f"p_{name}"] <= 0.5
        assert (f"missed: {name}" in text) == missed
        assert any(fact == name for fact, _ in facts)
    assert any(group in ("0:1>0", "0:0>1", "1:1>0", "1:0>1") for group in groups)


def test_masks_are_listed_by_dice(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"})
    cell = toy_run.cohort(toy).segmentation(toy, "none", "unet", labels=("core", "rim"))
    draw_pictures(toy_run.path, cell, [toy.ids("test")[0]], masks=True)
    (section,) = unpacked(page_of(toy_run.finish()))
    own = section["lists"][0]
    assert own["segments"]
    table = pd.read_parquet(toy_run.path / "cells" / cell / "predictions.parquet")
    means = table[table["split"] == "test"].groupby("case")["dice"].mean().dropna()
    assert {case for case, *_ in own["rows"]} == set(means.index)
    assert own["rows"][0][1].endswith("missed")
    assert [name for name, _ in own["rows"][0][2]] == ["core", "rim"]
    (picture,) = section["pictures"].values()
    assert picture["images"][0]["masked"]
    assert picture["truth"].startswith("M0 2h2v4h-2z")
    assert picture["predicted"][cell].startswith("M1 2h2v4h-2z")
    assert picture["nearest"] == ["near (benign), similarity 0.91"]


def test_wanted_are_the_mistakes_of_the_best_method_on_every_test_set(finished) -> None:
    (wanted,) = wanted_pictures(finished.path)
    assert 0 < len(wanted.cases) <= MOST_PICTURED
    table = pd.read_parquet(finished.path / "cells" / wanted.cell / "predictions.parquet").set_index("case")
    called = table[["p_benign", "p_malignant"]].idxmax(axis=1).str.removeprefix("p_")
    splits = {table.loc[case, "split"] for case in wanted.cases[:2]}
    assert splits == {"test", "external"}
    tested = table[table["split"].isin(splits) & table["truth"].notna()]
    assert set(tested.index[called[tested.index] != tested["truth"]]) <= set(wanted.cases)


def test_a_study_that_keeps_images_out_wants_none(finished) -> None:
    study = finished.path / "study.yaml"
    study.write_text(study.read_text("utf-8") + "\npictures: none\n", "utf-8")
    assert wanted_pictures(finished.path) == []
    page = page_of(finished.path)
    assert not [a for tag, a in page.elements if tag == "img"]
    assert "Images are left out of this file." in page.text


@pytest.mark.parametrize("damage", ["index", "image"])
def test_a_damaged_picture_is_left_out(finished, damage: str) -> None:
    draw_pictures(finished.path, finished.cells[0], ["x"])
    folder = finished.path / "case_pictures" / finished.cells[0]
    if damage == "index":
        (folder / "index.json").write_text(json.dumps({"cases": 3}), "utf-8")
    else:
        (folder / "0.webp").unlink()
    (section,) = unpacked(page_of(finished.path))
    assert section["pictures"] == {}


def test_hostile_names_of_cases_stay_text(toy_run, toy_cohort) -> None:
    toy = toy_cohort(case_prefix=HOSTILE, outputs=("a</script>", HOSTILE))
    toy_run.cohort(toy).backbone("dinov2-s").cell(toy, "dinov2-s")
    page = page_of(toy_run.finish())
    assert len(page.scripts) == 1
    assert unpacked(page)[0]["lists"][0]["rows"][0][0].startswith(HOSTILE)
