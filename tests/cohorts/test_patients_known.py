"""A patient is known or unknown; ids written in two ways are one patient; probable patients are proposed."""

import re
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from layout_builders import touch
from radapt.cohorts import ScanOptions, load_cohort, read_cohort, scan, write_cohort
from radapt.cohorts.patient_key import patient_key
from radapt.cohorts.patient_state import propose
from radapt.errors import DataError

WAYS = [
    ("7", "7.0"), ("7", "007"), ("P1", "p1"), ("MR 01", "MR  01"), ("MR01", "MR 01"), ("a01", "A1"),
    ("Müller", unicodedata.normalize("NFD", "Müller")), ("12", "\uff11\uff12"), ("x\u200b", "X"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), WAYS)
def test_an_id_written_in_two_ways_is_one_patient(first: str, second: str, tmp_path: Path) -> None:
    assert patient_key(first) == patient_key(second)
    touch(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\n")
    table = f"case,patient,split,image\na,{first},train,a.png\nb,{second},{{}},b.png\n"
    (tmp_path / "cases.csv").write_text(table.format("test"), encoding="utf-8")
    with pytest.raises(DataError, match=r"is in 'train' .* and in 'test'"):
        load_cohort(tmp_path / "cohort.yaml")
    (tmp_path / "cases.csv").write_text(table.format("train"), encoding="utf-8")
    cohort, problems = read_cohort(tmp_path / "cohort.yaml")
    assert cohort is not None
    assert len(set(cohort.patients)) == 1
    assert "patient-spelling" in {problem.code for problem in problems}


@pytest.mark.parametrize(("first", "second"), [("P1", "P2"), ("10", "100"), ("1.5", "1.05"), ("P-1", "P-11")])
def test_other_ids_stay_apart(first: str, second: str) -> None:
    assert patient_key(first) != patient_key(second)


NAMES = [
    [f"imagesTr/patient{p:03d}_frame{f}" for p in range(8) for f in ("01", "12")],
    [f"pat{p:02d}_slice{k}" for p in range(6) for k in range(4)],
    [f"set/train/patient{p:05d}/study1/view{v}_frontal" for p in range(6) for v in (1, 2)],
    [f"{p:08d}_{k:03d}" for p in range(6) for k in range(3)],
    [f"A{p}-2021-03-0{k}" for p in range(6) for k in (1, 2)],
    [f"A{p}_ses-{k}" for p in range(6) for k in (1, 2)],
    [f"mr{p}{end}" for p in range(6) for end in ("-1", "-2")],
    [f"{p:03d}_z{k:02d}" for p in range(6) for k in range(3)],
    [f"P{p}_{view}" for p in range(6) for view in ("PA", "LAT")],
    [f"img{p}x{end}" for p in range(6) for end in ("", " (1)")],
    [f"img{p}x{end}" for p in range(6) for end in ("", " - Copy", " - Copy (2)")],
    [f"ill/{p:03d}x" for p in range(6) for _ in ("jpg", "png")],
    [f"study{p:03d}/x{p}{letter}" for p in range(6) for letter in "ab"],
    [f"p{p:02d}_t{k}_flair" for p in range(6) for k in (1, 2)],
    [f"A{p}-2021-03-0{k} T1w" for p in range(6) for k in (1, 2)],
    [f"{p:04d}_{side}_{view}" for p in range(6) for side in "LR" for view in ("CC", "MLO")],
    [f"x{p}_v{k}_{side}" for p in range(6) for k in (1, 2) for side in ("left", "right")],
]


@pytest.mark.parametrize("names", NAMES)
def test_probable_patients_are_found_in_names(names: list[str]) -> None:
    proposal = propose(names)
    assert proposal is not None
    assert proposal.n_patients == (8 if "frame" in names[0] else 6)
    assert [re.search(proposal.pattern, name)[1] for name in names] == list(proposal.groups)


@pytest.mark.parametrize(
    "names",
    [
        [f"img_{at}" for at in range(9)],
        [f"{at}" for at in range(9)],
        [f"benign/benign ({at})" for at in range(9)] + [f"malignant/malignant ({at})" for at in range(9)],
        [f"grade{grade}/x{grade}{at}" for grade in range(4) for at in range(5)],
    ],
)
def test_no_patients_are_made_up(names: list[str]) -> None:
    assert propose(names) is None


def test_a_scan_without_patients_says_so_and_proposes(tmp_path: Path) -> None:
    touch(*(tmp_path / "data" / "ab"[p % 2] / f"pat{p:02d}_slice{k}.png" for p in range(8) for k in range(3)))
    draft = scan(tmp_path / "data")
    assert draft.patients_unknown == 24
    assert any(note.startswith("Patients unknown") and "8 patients" in note for note in draft.notes)
    assert draft.source["patients"].startswith("unknown")
    assert not any("by patient" in note for note in draft.notes)
    path, _ = write_cohort(draft, tmp_path / "out" / "cohort.yaml")
    cohort, problems = read_cohort(path)
    assert cohort is not None
    assert not cohort.patients_known
    warning = next(problem for problem in problems if problem.code == "patients-unknown")
    assert "--patient-regex" in warning.fix
    taken = scan(tmp_path / "data", options=ScanOptions(patient_regex=draft.proposal))
    assert (taken.patients_unknown, taken.table["patient"].nunique()) == (0, 8)
    write_cohort(taken, path, force=True)
    assert load_cohort(path).patients_known


def test_probable_patients_in_several_splits_are_counted(tmp_path: Path) -> None:
    """Of six, the first lies in two splits, the second in three; a case without a split is in none."""
    splits = {"00": ("train", "test", "train"), "01": ("train", "val", "test"), "02": ("train", "", "train")}
    rows = [
        f"c{p:02d}{k},pat{p:02d}_slice{k}.png,{splits.get(f'{p:02d}', ('train',) * 3)[k]}\n"
        for p in range(6)
        for k in range(3)
    ]
    touch(*(tmp_path / row.split(",")[1] for row in rows))
    (tmp_path / "cases.csv").write_text("case,image,split\n" + "".join(rows))
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\n")
    warning = next(each for each in read_cohort(tmp_path / "cohort.yaml")[1] if each.code == "patients-unknown")
    assert warning.message.endswith(" 2 of them lie in several splits.")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("P{0}_{1}.nii.gz", r"(?i)^(?:.*/)?([^/]+?)[ _.-]+[a-d]$"),
        ("P{0}_{1}/t1.nii.gz", r"(?i)(?:^|/)([^/]+?)[ _.-]+[a-d]/"),
    ],
)
def test_the_proposed_pattern_is_short_and_taken(name: str, pattern: str, tmp_path: Path) -> None:
    names = [name.format(at, visit) for at in range(6) for visit in "ab"]
    touch(*(tmp_path / text for text in names))
    touch(*(tmp_path / text.replace(".nii.gz", "_seg.nii.gz") for text in names))
    draft = scan(tmp_path)
    assert draft.proposal == pattern
    assert any("6 patients, such as 'P0' with 2 (P0_a" in note for note in draft.notes)
    taken = scan(tmp_path, options=ScanOptions(patient_regex=draft.proposal))
    assert set(taken.table["patient"]) == {f"P{at}" for at in range(6)}


def test_a_pattern_sees_the_path(tmp_path: Path) -> None:
    lines = ["Path,dx"]
    for p in range(1, 7):
        for view in (1, 2):
            name = f"small/patient{p:05d}/study1/view{view}_frontal.jpg"
            touch(tmp_path / name)
            lines.append(f"{name},{'ab'[p % 2]}")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    draft = scan(tmp_path / "train.csv", options=ScanOptions(patient_regex=r"(patient\d+)"))
    assert draft.table["patient"].nunique() == 6


def test_one_patient_for_everything_is_named(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{at}.png" for at in range(6)))
    rows = "".join(f"c{at},ANONYMOUS,{at}.png,{'ab'[at % 2]}\n" for at in range(6))
    (tmp_path / "cases.csv").write_text("case,patient,image,label\n" + rows)
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\n")
    _, problems = read_cohort(tmp_path / "cohort.yaml")
    assert any("one patient, 'ANONYMOUS'" in problem.message for problem in problems)
    assert any("one patient, 'ANONYMOUS'" in note for note in scan(tmp_path / "cases.csv").notes)


@pytest.mark.parametrize("word", ["nan", "NA", "N/A", "None", "null", "?", "-", "<NA>", "#NV", "#VALEUR!"])
def test_a_missing_label_is_no_class(word: str, tmp_path: Path) -> None:
    touch(*(tmp_path / f"{at}.png" for at in range(9)))
    rows = "".join(f"c{at},{at}.png,{word if at % 3 == 0 else 'ab'[at % 2]}\n" for at in range(9))
    (tmp_path / "cases.csv").write_text("case,image,label\n" + rows)
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\n")
    cohort, problems = read_cohort(tmp_path / "cohort.yaml")
    assert cohort is not None
    assert cohort.classes == ("a", "b")
    assert any(problem.code == "missing-label" and f"{word!r} (3)" in problem.message for problem in problems)
    draft = scan(tmp_path / "cases.csv")
    assert draft.classes == ("a", "b")
    assert any(f"{word!r} (3)" in note for note in draft.notes)


def test_classes_that_differ_in_letter_case_are_an_error(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{at}.png" for at in range(8)))
    rows = "".join(f"c{at},{at}.png,{['Benign', 'benign', 'malignant', 'benign'][at % 4]}\n" for at in range(8))
    (tmp_path / "cases.csv").write_text("case,image,label\n" + rows)
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\n")
    with pytest.raises(DataError, match="'Benign' and 'benign' differ only"):
        load_cohort(tmp_path / "cohort.yaml")
    draft = scan(tmp_path / "cases.csv")
    assert draft.classes == ("benign", "malignant")
    assert any("'Benign', 'benign' read as one label" in note for note in draft.notes)


@pytest.mark.parametrize("written", ["./a.png", "link.png"])
def test_one_file_under_two_patients_is_said(tmp_path: Path, written: str) -> None:
    """By another path or a link; where it may leak is named."""
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    (tmp_path / "link.png").symlink_to("a.png")
    rows = [
        "case,patient,split,image",
        "1,p1,train,a.png",
        "2,p2,train,b.png",
        f"3,p3,test,{written}",
        "4,p1,train,a.png",
    ]
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "cohort.yaml").write_text("name: toy\nkind: other\ncases: cases.csv\n")
    problems = [each for each in read_cohort(tmp_path / "cohort.yaml")[1] if each.code == "same-file"]
    assert [(each.severity, each.case, each.row) for each in problems] == [("warning", "3", 4)]
    assert "patient 'p1' (case '1') too, in train and test" in problems[0].message
