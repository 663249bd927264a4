"""The page: self-contained, equal to the results, safe with hostile names, explicit about missing results."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from radapt.cli import main
from radapt.durable import write_json
from radapt.errors import DataError, UsageError
from radapt.reports import write_report
from radapt.reports.templating import fit_pairs
from report_page import HOSTILE, Page, charts_of, page_of, tips_of, written_page

FETCHING = {"src", "href", "srcset", "action", "data", "poster", "formaction", "background", "ping", "xlink:href"}


def test_nothing_remote_is_referenced(written) -> None:
    page = written_page(written.path)
    for tag, attributes in page.elements:
        for name in FETCHING & set(attributes):
            assert attributes[name].startswith(("#", "data:")), (tag, name, attributes[name][:80])
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "url(" not in attributes.get("style", "")
        assert tag not in {"iframe", "object", "embed", "base", "form"}
    style = re.search(r"<style>(.*?)</style>", (written.path / "report.html").read_text("utf-8"), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_policy_allows_our_script_and_nothing_remote(written) -> None:
    page = written_page(written.path)
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "http" not in policy
    assert "unsafe" not in rules["script-src"]
    scripts = page.scripts
    assert len(scripts) == 1
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts}
    assert set(rules["script-src"].split()) == hashes


def test_every_internal_link_has_a_target(written) -> None:
    page = written_page(written.path)
    targets = {a["href"][1:] for tag, a in page.elements if tag == "a"}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {f"cell-{cell}" for cell in written.cells} <= targets


def shown_numbers(page: Page) -> dict[tuple[str, str], tuple[float, ...]]:
    """(method key, position) → every number of the page's leaderboard rows, at full precision."""
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for attributes, inside, _ in page.rows:
        if "data-method" in attributes:
            values = [float(x) for tag, a in inside if tag == "data" for x in a["value"].split("/")]
            found[attributes["data-method"], str(len(found))] = tuple(values)
    return found


def test_all_numbers_equal_the_results(written) -> None:
    results = written.results
    keys = ["backbone", "protocol", "split", "metric"]
    means = results.groupby(keys)[["value", "ci_low", "ci_high"]].mean()
    whole = means[~means.index.get_level_values("metric").str.contains(":")]
    expected = sorted(tuple(round(x, 12) for x in row) for row in whole.to_numpy() if row[0] == row[0])
    numbers = shown_numbers(written_page(written.path)).values()
    assert sorted(tuple(round(x, 12) for x in row) for row in numbers) == expected


def test_the_forest_says_every_run(written) -> None:
    charts = charts_of(written.path, "forest")
    said = {(metric, " ".join(tip.split())) for metric, svg in charts for tip in tips_of(svg)}
    own = written.results[~written.results["metric"].str.contains(":") & (written.results["split"] != "val")]
    defined = own[own["value"].notna()]
    assert {metric for metric, _ in charts} == set(defined["metric"])
    assert sum(len(tips_of(svg)) for _, svg in charts) == len(defined)
    for row in defined[defined["metric"] == "auroc"].itertuples():
        text = f"{row.backbone} · {row.protocol} seed {row.seed} AUROC {row.value:.3f} "
        assert any(metric == "auroc" and tip.startswith(text) for metric, tip in said), text


def test_confusion_counts_are_those_of_the_predictions(written) -> None:
    import pandas as pd

    table = pd.read_parquet(written.path / "cells" / written.cells[0] / "predictions.parquet")
    table = table[(table["split"] == "test") & table["truth"].notna()]
    called = table[["p_benign", "p_malignant"]].idxmax(axis=1).str.removeprefix("p_")
    counts = pd.crosstab(table["truth"], called).to_numpy().tolist()
    text = (written.path / "report.html").read_text("utf-8")
    tables = re.findall(r'<table class="confusion">(.*?)</table>', text, re.DOTALL)
    found = [[int(n) for n in re.findall(r"<b>(\d+)</b>", one)] for one in tables]
    assert [count for row in counts for count in row] in found


def test_equal_folders_give_equal_bytes(finished, written) -> None:
    first = (written.path / "report.html").read_bytes()
    assert write_report(finished.path).read_bytes() == first
    assert write_report(finished.path).read_bytes() == first
    assert not list(finished.path.glob(".*.part"))


def test_hostile_names_are_escaped(toy_run, toy_cohort) -> None:
    toy = toy_cohort(
        name=f"co{HOSTILE}", outputs=(f"a{HOSTILE}", "b</script>"), case_prefix=HOSTILE, source={"title": HOSTILE}
    )
    toy.modalities = (f"t1{HOSTILE}", "flair")
    toy_run.cohort(toy).backbone(f"bb{HOSTILE}")
    toy_run.cell(toy, f"bb{HOSTILE}", f"knn{HOSTILE}", fit={HOSTILE: HOSTILE})
    toy_run.cell(toy, f"bb{HOSTILE}", "linear", state="failed", reason=HOSTILE)
    toy_run.pictures("cohort", "bb", case=HOSTILE).finish()
    write_json(toy_run.path / "environment.json", {HOSTILE: HOSTILE})
    page = page_of(toy_run.path)
    assert len(page.scripts) == 1
    assert not [a for tag, a in page.elements if "onerror" in a or (tag == "img" and a["src"] == "x")]
    assert HOSTILE in page.text


def test_a_one_class_test_set_is_undefined_with_its_reason(toy_run, toy_cohort) -> None:
    toy = toy_cohort(one_class=("test",))
    toy_run.cohort(toy).backbone("dinov2-s").cell(toy, "dinov2-s")
    page = page_of(toy_run.finish())
    assert "Its AUROC is undefined on test of toy: every labelled case here is 'benign'." in page.text
    assert "undefined: every labelled case here is 'benign'" in page.text
    assert "nan" not in re.sub(r"\bNaN\b", "", page.text).lower().split()
    row = next(texts for a, _, texts in page.rows if "data-method" in a)
    assert "—" in "".join(row)


def test_many_findings_with_an_undefined_one(toy_run, toy_cohort) -> None:
    names = tuple(f"finding {index}" for index in range(14))
    toy = toy_cohort(outputs=names, multilabel=True, one_class=("test",), modalities=("xray",), missing_every=0)
    toy_run.cohort(toy).backbone("dinov2-s").cell(toy, "dinov2-s")
    page = page_of(toy_run.finish())
    assert "mean over 13 of 14; 1 undefined" in page.text
    assert "Decisions" in page.text
    assert "no such case" in page.text  # sensitivity of the finding nobody has
    (_, svg), *_ = charts_of(toy_run.path, "roc")
    assert len([one for one in svg.iter() if one.attrib.get("class", "").startswith("line ")]) == len(names) - 1


def test_unfinished_run_lists_what_is_missing(toy_run, toy_cohort) -> None:
    toy = toy_cohort()
    toy_run.cohort(toy).backbone("dinov2-s")
    toy_run.cell(toy, "dinov2-s", "linear", seed=0)
    toy_run.cell(toy, "dinov2-s", "linear", seed=1, state="waiting")
    toy_run.cell(toy, "dinov2-s", "knn", state="failed", reason="Image 7 is torn; copy it again.")
    toy_run.cells.append("planned-but-never-started")
    page = page_of(toy_run.finish())
    assert "This study is not finished." in page.text
    assert "1 run done , 2 not done yet , 1 failed" in page.text.replace("done,", "done ,").replace("yet,", "yet ,")
    assert "1 of 2 done" in page.text
    assert "Image 7 is torn; copy it again." in page.text
    assert "1 planned run has not started" in page.text


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_no_finished_cell_at_all(toy_run, toy_cohort, state: str) -> None:
    toy = toy_cohort()
    toy_run.cohort(toy).cell(toy, "dinov2-s", state=state, reason="why")
    page = page_of(toy_run.finish())
    assert "No run has finished yet" in page.text


def test_a_bare_folder_with_a_study_is_a_run(toy_run) -> None:
    assert "No run has finished yet" in page_of(toy_run.path).text


def test_plans_that_failed_are_shown(toy_run) -> None:
    failure = {"what": "cohort lgg", "reason": "row 3: no such file"}
    write_json(toy_run.path / "plan.json", {"cells": [], "failures": [failure]})
    page = page_of(toy_run.path)
    assert "cohort lgg" in page.text
    assert "row 3: no such file" in page.text


def test_random_weights_and_synthetic_patients_are_flagged(toy_run, toy_cohort) -> None:
    toy = toy_cohort(source={"title": "Phantom patients"})
    toy_run.cohort(toy).backbone("dinov2-s", "random").backbone("resnet50")
    toy_run.cell(toy, "dinov2-s")
    toy_run.cell(toy, "resnet50")
    page = page_of(toy_run.finish())
    assert "Random weights for comparison. dinov2-s was never pretrained" in page.text
    assert "Random weights: these results describe" not in page.text
    assert "Synthetic patients." in page.text
    rows = ["".join(texts) for a, _, texts in page.rows if "data-method" in a]
    assert all(("random weights" in row) == ("dinov2-s" in row) for row in rows)


def test_random_weights_alone_describe_the_pipeline(toy_run, toy_cohort) -> None:
    toy_run.cohort(toy_cohort()).backbone("dinov2-s", "random").cell(toy_cohort(), "dinov2-s")
    assert "these results describe the pipeline, not the model" in page_of(toy_run.finish()).text


def test_trained_weights_and_real_patients_are_not_flagged(written) -> None:
    page = written_page(written.path)
    assert "never pretrained" not in page.text
    assert "Synthetic" not in page.text
    assert "not finished" not in page.text


def test_scores_missing_from_results_are_shown(finished, written) -> None:
    whole = (written.path / "report.html").read_bytes()
    (finished.path / "results.parquet").unlink()
    assert write_report(finished.path).read_bytes() == whole


def test_cells_of_an_earlier_study_version_are_counted_not_shown(finished) -> None:
    write_json(finished.path / "plan.json", {"cells": finished.cells[:4]})
    table = finished.results
    table[table["cell"].isin(finished.cells[:4])].to_parquet(finished.path / "results.parquet")
    page = page_of(finished.path)
    assert "4 runs of an earlier version of this study are in the folder" in page.text
    assert f"cell-{finished.cells[5]}" not in page.ids


def test_provenance_of_a_run(written) -> None:
    page = written_page(written.path)
    row = next(" ".join(texts) for a, _, texts in page.rows if a.get("id") == f"cell-{written.cells[0]}")
    for fact in (written.cells[0], "c0ffee", "random:0", "beef", "0.8125", "knn"):
        assert fact in row
    assert "2.11.0" in page.text


@pytest.mark.slow
def test_many_cells_stay_within_size(toy_run, toy_cohort) -> None:
    toy = toy_cohort(patients=12)
    toy_run.cohort(toy)
    cell = toy_run.cell(toy, "b0")
    scores, folder = toy_run.scores[0], toy_run.path / "cells"
    for index in range(1, 200):
        id_ = f"{index:016x}"
        shutil.copytree(folder / cell, folder / id_)
        facts = json.loads((folder / id_ / "cell.json").read_text()) | {"id": id_, "backbone": f"b{index}"}
        write_json(folder / id_ / "cell.json", facts)
        toy_run.scores.append(scores.assign(cell=id_, backbone=f"b{index}"))
        toy_run.cells.append(id_)
    file = write_report(toy_run.finish())
    assert file.stat().st_size < 5e6
    assert len([1 for a, _, _ in Page(file.read_text("utf-8")).rows if a.get("id", "").startswith("cell-")]) == 200


def test_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no study\.yaml"):
        write_report(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        write_report(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cells/{cell}/cell.json", b"{"),
        ("cells/{cell}/done.json", b"[]"),
        ("results.parquet", b"PAR1torn"),
        ("cells/{cell}/predictions.parquet", b""),
        ("study.yaml", b"a: [\x00"),
        ("environment.json", b"\xff\xfe"),
    ],
)
def test_damaged_files_are_named(finished, name: str, content: bytes) -> None:
    file = finished.path / name.format(cell=finished.cells[0])
    file.write_bytes(content)
    write_before = (finished.path / "report.html").exists()
    with pytest.raises(DataError, match=re.escape(file.name)):
        write_report(finished.path)
    assert (finished.path / "report.html").exists() == write_before


def test_command_line(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["report", str(finished.path)])
    assert done.value.code == 0
    assert capsys.readouterr().out.strip() == str(finished.path / "report.html")
    with pytest.raises(SystemExit) as refused:
        main(["report", str(tmp_path)])
    assert refused.value.code == 2
    assert "no study.yaml" in capsys.readouterr().err


def test_tables_are_accessible(written) -> None:
    page = written_page(written.path)
    assert ("html", {"lang": "en"}) in page.elements
    assert all(a.get("alt") for tag, a in page.elements if tag == "img")
    tables = [a for tag, a in page.elements if tag == "table"]
    assert len([tag for tag, _ in page.elements if tag == "caption"]) == len(tables)
    assert all("scope" in a for tag, a in page.elements if tag == "th")
    assert next(tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)) == "h1"


def test_choices_are_listed_and_candidates_counted() -> None:
    tried = [{"options": {"C": value}, "val": {"auroc": 0.75}, "steps": None} for value in (0.01, 2)]
    details = {"grid": list(range(40)), "seen": None}
    fit = {"candidates": tried, "chosen": 0, "cases": {"train": 7}, "notes": [], "details": details}
    pairs = dict(fit_pairs(fit))
    assert list(pairs)[:2] == ["C", "val auroc"], "what was chosen comes first"
    assert (pairs["C"], pairs["val auroc"], pairs["candidates"]) == ("0.01", "0.75", "2, listed in cell.json")
    assert pairs["cases train"] == "7"
    assert "40 values" in pairs["details grid"]
    assert not {"chosen", "steps", "notes", "details seen"} & set(pairs)
    assert fit_pairs({str(index): index for index in range(30)})[-1] == ("and", "10 more in cell.json")
    assert fit_pairs("damaged") == [("", "damaged")]
    assert dict(fit_pairs({"notes": ["few"], "notes_before_refit": ["few"]})) == {"notes": "few"}
    assert dict(fit_pairs({"notes_before_refit": ["few"]})) == {"notes on the model without val": "few"}


def test_out_of_fold_is_said_in_words(toy_run, toy_cohort) -> None:
    toy = toy_cohort(tests=("oof",), patients=12, case_prefix="c", mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy).backbone("dinov2-s")
    toy_run.cell(toy, "dinov2-s", skill=1.0)
    toy_run.cell(toy, "dinov2-s", "knn", skill=0.5)
    toy_run.segmentation(toy, "dinov2-s")
    page = write_report(toy_run.finish()).read_text("utf-8")
    assert "out of fold" in page
    assert re.findall(r".{40}\bon out of fold", page) == []
    words = re.sub(r'<script.*?</script>|data-[a-z]+="[^"]*"', "", page, flags=re.S)
    assert re.findall(r".{40}(?<!c-)\boof\b.{20}", words) == []


def test_a_picture_of_one_plane_has_no_slice_number(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"}, patients=12)
    toy_run.cohort(toy).backbone("dinov2-s").segmentation(toy, "dinov2-s")
    assert "· slice 4" in write_report(toy_run.finish()).read_text("utf-8")
    file = next(toy_run.path.glob("cohorts/*/cohort.json"))
    facts = json.loads(file.read_text("utf-8")) | {"slices_per_image": {"min": 1, "median": 1, "max": 1}}
    file.write_text(json.dumps(facts), encoding="utf-8")
    assert "· slice 4" not in write_report(toy_run.path).read_text("utf-8")
