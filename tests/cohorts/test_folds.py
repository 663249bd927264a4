"""Folds of a cohort: every labelled patient in one, by whichever rule, and what is wrong said at once."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from layout_builders import touch
from radapt.cohorts import ScanOptions, load_cohort, read_cohort, scan
from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.folds import draw_folds, hold_out
from radapt.errors import DataError, UsageError

SIX = [("a", "north", "ill"), ("b", "north", "well"), ("c", "south", "ill"), ("d", "south", "well"),
       ("e", "east", "ill"), ("f", "east", "well")]  # fmt: skip


def write(folder: Path, split: str, rows: list[tuple[str, ...]] = SIX, columns: str = "case,site,label") -> Path:
    """A cohort of grey pictures with one row each; `split` is the value of its key in the cohort file."""
    for row in rows:
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(folder / f"{row[0]}.png")
    lines = [f"{columns},image", *(f"{','.join(row)},{row[0]}.png" for row in rows)]
    (folder / "cases.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "cohort.yaml").write_text(f"name: six\nkind: xray\nsplit: {split}\n", encoding="utf-8")
    return folder / "cohort.yaml"


def folds_of(path: Path) -> dict[str, str | None]:
    return {case.case: case.fold for case in load_cohort(path)}


def messages(path: Path, severity: str = "error") -> str:
    return "\n".join(str(issue) for issue in read_cohort(path)[1] if issue.severity == severity)


def test_drawn_folds_have_each_class_and_are_written_down(tmp_path: Path) -> None:
    path = write(tmp_path, "{folds: 3, seed: 4}")
    cohort = load_cohort(path)
    assert cohort.folds == ("0", "1", "2")
    assert set(cohort.splits) == {"oof"}
    for fold in cohort.folds:
        held = [case for case in cohort if case.fold == fold]
        assert sorted(case.label for case in held) == [0, 1]
    assert (tmp_path / "cohort.folds.csv").read_text().splitlines()[0] == "case,patient,fold,seed"
    before = folds_of(path)
    write(tmp_path, "{folds: 3, seed: 4}", [*SIX, ("g", "east", "ill")])
    after = folds_of(path)
    assert {case: after[case] for case in before} == before
    assert after["g"] in cohort.folds


def test_another_number_of_folds_is_drawn_again_and_said(tmp_path: Path) -> None:
    load_cohort(write(tmp_path, "{folds: 3}"))
    path = write(tmp_path, "{folds: 2}")
    assert "drawn again" in messages(path, "warning")
    assert sorted(folds_of(path).values()) == ["0"] * 3 + ["1"] * 3


def test_each_hospital_is_a_fold_and_small_ones_join_another(tmp_path: Path) -> None:
    assert folds_of(write(tmp_path, "{by: site}")) == {case: site for case, site, _ in SIX}
    merged = folds_of(write(tmp_path, "{by: site, merge: {east: south}}"))
    assert merged == {"a": "north", "b": "north", "c": "south", "d": "south", "e": "south", "f": "south"}


def test_folds_come_from_a_column_or_a_published_file(tmp_path: Path) -> None:
    rows = [(*row, str(number % 2 + 9)) for number, row in enumerate(SIX[:3] + SIX[5:] + SIX[3:5])]
    path = write(tmp_path, "{folds_column: part}", rows, "case,site,label,part")
    assert load_cohort(path).folds == ("9", "10")
    path = write(tmp_path, "{folds_file: splits_final.json}")
    published = [{"train": [], "val": ["a", "b", "c"]}, {"train": [], "val": ["d", "e", "f"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(published))
    assert folds_of(path) == {"a": "0", "b": "0", "c": "0", "d": "1", "e": "1", "f": "1"}


def test_a_held_out_fold_is_the_only_test_set(tmp_path: Path) -> None:
    cohort = load_cohort(write(tmp_path, "{by: site}"))
    plain = hold_out(cohort, "south")
    assert plain.folds == ()
    assert [case.split for case in plain] == ["train", "train", "oof", "oof", "train", "train"]


def test_unlabelled_patients_train_only_and_never_for_their_own_hospital(tmp_path: Path) -> None:
    rows = [*SIX, ("u", "south", "")]
    drawn = load_cohort(write(tmp_path, "{folds: 3}", rows))
    assert all(hold_out(drawn, fold).cases[-1].split == "train" for fold in drawn.folds)
    by_site = load_cohort(write(tmp_path, "{by: site}", rows))
    assert {fold: hold_out(by_site, fold).cases[-1].split for fold in by_site.folds} == {
        "east": "train", "north": "train", "south": "left-out",
    }  # fmt: skip


def test_the_split_column_is_set_aside_and_said(tmp_path: Path) -> None:
    rows = [(*row, "test") for row in SIX]
    path = write(tmp_path, "{folds: 3}", rows, "case,site,label,split")
    assert "'split' is set aside" in messages(path, "warning")
    assert set(load_cohort(path).splits) == {"oof"}


@pytest.mark.parametrize(
    ("split", "rows", "columns", "said"),
    [
        ("{folds: 7}", SIX, "case,site,label", "more folds (7) than labelled patients (6)"),
        ("{by: site}", [(row[0], row[2]) for row in SIX], "case,label", "needs sites"),
        ("{by: site, merge: {west: south}}", SIX, "case,site,label", "Known: east, north, south"),
        ("{by: site, merge: {east: suoth}}", SIX, "case,site,label", "Did you mean 'south'?"),
        ("{by: site, merge: {east: south, south: north}}", SIX, "case,site,label", "itself joins 'north'"),
        ("{by: site}", [("a", "", "ill"), *SIX[1:]], "case,site,label", "no site, so it is in no fold"),
        ("{by: site}", SIX[:2], "case,site,label", "Only fold 'north' has a patient to test"),
        ("{folds_column: prat}", [(*r, "1") for r in SIX], "case,site,label,part", "Did you mean 'part'?"),
        (
            "{folds_column: part}", [(*r, "" if r[0] == "c" else r[1]) for r in SIX], "case,site,label,part",
            "row 4, case 'c': The case has a label or a mask but no value in column 'part'",
        ),
        ("{folds_file: absent.json}", SIX, "case,site,label", "absent.json cannot be used"),
        (
            "{by: site}", [(*r, "p" if r[0] in "bc" else r[0]) for r in SIX], "case,site,label,patient",
            "Patient 'p' is in fold 'north' (row 3) and in fold 'south'",
        ),
        (
            "{by: site}", [(c, s, "well" if s != "north" else label) for c, s, label in SIX], "case,site,label",
            "Without fold 'north' only cases of the class 'well' are left to train on.",
        ),
        (
            "{by: site}", [("a", "x", "ill"), ("b", "x", "well"), ("c", "y", ""), ("d", "y", "")], "case,site,label",
            "Only fold 'x' has a patient to test",
        ),
        ("{folds: 2}", [(r[0], "") for r in SIX], "case,label", "no case has a label or a mask"),
    ],
)  # fmt: skip
def test_folds_that_cannot_be_are_refused(
    tmp_path: Path, split: str, rows: list[tuple[str, ...]], columns: str, said: str
) -> None:
    path = write(tmp_path, split, rows, columns)
    assert said in messages(path)
    with pytest.raises(DataError):
        load_cohort(path)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("{folds: 1}", "whole number from 2 up"),
        ("{folds: 5, val: 0.2}", "'val' beside 'folds'"),
        ("{by: hospital}", "{folds_column: hospital}"),
        ("{merge: {a: b}}", "without 'by: site'"),
        ("{fold: 5}", "Did you mean 'folds'"),
        ("{by: site, merge: east}", "must map a site"),
    ],
)
def test_a_split_that_is_none_names_the_line(tmp_path: Path, split: str, said: str) -> None:
    with pytest.raises(UsageError, match="line 3") as caught:
        load_cohort(write(tmp_path, split))
    assert said in str(caught.value)


def test_a_hospital_of_one_class_is_a_fold_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, "{by: site}", [*SIX, ("x", "west", "ill"), ("y", "west", "ill"), ("z", "west", "ill")])
    assert "Folds without a second class: 'west'" in messages(path, "warning")
    assert load_cohort(path).folds == ("east", "north", "south", "west")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_labelled_patient_is_in_one_fold_whatever_the_order_of_rows(data: st.DataObject) -> None:
    patients = np.asarray([f"p{data.draw(st.integers(0, 9))}" for _ in range(data.draw(st.integers(4, 25)))], object)
    labels = np.asarray([data.draw(st.integers(-1, 2)) for _ in patients])
    names = {patient for patient, label in zip(patients, labels, strict=True) if label >= 0}
    tested = np.asarray([patient in names for patient in patients])
    folds = draw_folds(labels, patients, tested, 3, np.random.default_rng(1))
    assert [bool(fold) for fold in folds] == tested.tolist()
    assert all(len(set(folds[patients == name])) == 1 for name in names)
    order = np.random.default_rng(2).permutation(len(patients))
    assert (
        draw_folds(labels[order], patients[order], tested[order], 3, np.random.default_rng(1)) == folds[order]
    ).all()


def test_hospitals_of_few_patients_are_said_with_how_to_join_them(tmp_path: Path) -> None:
    sizes = {"A": 9, "B": 6, "C": 1, "D": 4}
    rows = [f"{site}{at},{site}{at}.png,{site},{'xy'[at % 2]}" for site, size in sizes.items() for at in range(size)]
    touch(*(tmp_path / row.split(",")[1] for row in rows))
    (tmp_path / "t.csv").write_text("\n".join(["patient,image,site,label", *rows]))
    notes = scan(tmp_path / "t.csv", options=ScanOptions(folds=FoldRule(by_site=True))).notes
    said = "Hospitals with few patients are folds of their own: C 1, D 4. To test one together with another, write "
    assert said + "`merge: {C: B}` below `by: site` in cohort.yaml." in notes
    merged = FoldRule(by_site=True, merge={"C": "B"})
    assert not any("few patients" in note for note in scan(tmp_path / "t.csv", options=ScanOptions(folds=merged)).notes)
    rows = [row for row in rows if row[0] in "CD"]
    (tmp_path / "t.csv").write_text("\n".join(["patient,image,site,label", *rows]))
    notes = scan(tmp_path / "t.csv", options=ScanOptions(folds=FoldRule(by_site=True))).notes
    assert not any("few patients" in note for note in notes), "all are small: there is none to join them to"
