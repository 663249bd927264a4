"""cohort.yaml + cases.csv: what is read, and every way it can be wrong."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radapt.cohorts import CohortIssue, load_cohort, read_cohort, scan, write_cohort
from radapt.cohorts.sheets.reading import read_sheet
from radapt.cohorts.summary import summary
from radapt.errors import DataError, UsageError

GOOD = """case,patient,site,split,image:t1,image:flair,mask,label,age
a1,007,north,train,a1.png,a1f.png,a1m.png,ill,61
a2,007,north,train,a2.png,,,healthy,61
b1,12,south,val,b1.png,,,1,40
b2,12,south,val,b2.png,,,0,40
c1,13,south,test,c1.png,,,ill,
d1,14,south,external,d1.png,,,,77
"""
YAML = "name: toy\nkind: mri\ncases: cases.csv\nclasses: [healthy, ill]\n"


def write(folder: Path, table: str | bytes = GOOD, text: str = YAML, *, images: bool = True) -> Path:
    content = table if isinstance(table, bytes) else table.encode()
    (folder / "cases.csv").write_bytes(content)
    (folder / "cohort.yaml").write_text(text, encoding="utf-8")
    if images:
        for name in ("a1", "a2", "b1", "b2", "c1", "d1", "a1f", "a1m"):
            (folder / f"{name}.png").touch()
    return folder / "cohort.yaml"


def test_a_table_becomes_a_cohort(tmp_path: Path) -> None:
    cohort = load_cohort(write(tmp_path))
    assert cohort.name == "toy"
    assert cohort.task == "binary"
    assert cohort.modalities == ("t1", "flair")
    assert cohort.labels.tolist() == [1, 0, 1, 0, 1, -1]
    assert cohort.patients.tolist() == ["007", "007", "12", "12", "13", "14"]
    assert cohort.presence.tolist() == [[True, True]] + [[True, False]] * 5
    assert cohort.test_sets == ("test", "external")
    assert cohort.split_seed is None
    first = cohort.cases[0]
    assert (first.site, first.metadata, first.row) == ("north", {"age": "61"}, 2)
    assert first.mask is not None
    assert first.mask.path == tmp_path.resolve() / "a1m.png"
    assert not (tmp_path / "cohort.splits.csv").exists()


def test_byte_order_mark_blank_lines_and_quotes_are_harmless(tmp_path: Path) -> None:
    text = 'case,image,label,note\r\n\r\na1,a1.png,ill,"two,\r\nlines"\r\n,,,\r\na2,a2.png,healthy,x\r\n'
    path = write(tmp_path, b"\xef\xbb\xbf" + text.encode())
    cohort, problems = read_cohort(path)
    assert cohort is not None
    assert [case.row for case in cohort] == [3, 6]
    assert cohort.cases[0].metadata["note"] == "two,\r\nlines"
    assert [case.patient for case in cohort] == ["a1", "a2"]
    assert not [problem for problem in problems if problem.code == "field-count"]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b", ""], ("a", "b")),
        (["10", "2", "2", ""], ("2", "10")),
        (["1.0", "0.0", "0.0", ""], ("0", "1")),
        (["no", "yes", "no", ""], ("no", "yes")),
    ],
)
def test_classes_are_inferred_from_labels(tmp_path: Path, labels: list[str], classes: tuple[str, ...]) -> None:
    rows = [f"c{at},a1.png,{label},train" for at, label in enumerate(labels)]
    cohort = load_cohort(write(tmp_path, "\n".join(["case,image,label,split", *rows]), "name: x\nkind: xray\n"))
    assert cohort.classes == classes
    assert cohort.labels[-1] == -1


def test_names_that_are_numbers_are_names_and_not_indices(tmp_path: Path) -> None:
    table = "case,image,label,split\na,a1.png,1,train\nb,a2.png,2,train\nc,b1.png,0,train\n"
    text = "name: x\nkind: xray\nordered: true\nclasses: ['1', '2']\n"
    cohort, problems = read_cohort(write(tmp_path, table, text))
    assert cohort is not None
    assert cohort.ordered
    assert cohort.labels.tolist() == [0, 1, -1]
    assert [(problem.code, problem.row) for problem in problems if problem.severity == "error"] == [("bad-label", 4)]


def test_words_that_yaml_would_turn_into_truth_values_stay_words(tmp_path: Path) -> None:
    table = "case,image,label,split\na,a1.png,no,train\nb,a2.png,yes,train\n"
    cohort = load_cohort(write(tmp_path, table, "name: 2024\nkind: xray\nclasses: [no, yes]\nmask_labels: {1: off}\n"))
    assert (cohort.name, cohort.classes, cohort.mask_labels) == ("2024", ("no", "yes"), {1: "off"})


def test_findings(tmp_path: Path) -> None:
    table = "case,image,split,label:edema,label:mass\na,a1.png,train,1,0\nb,a2.png,train,0,\nc,b1.png,test,1.0,1\n"
    cohort = load_cohort(write(tmp_path, table, "name: x\nkind: xray\n"))
    assert cohort.task == "multilabel"
    assert cohort.outputs == ("edema", "mass")
    np.testing.assert_equal(cohort.labels, np.array([[1, 0], [0, np.nan], [1, 1]], dtype=np.float32))


def test_parquet_with_text_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    text = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffa"))
    pq.write_table(pa.table({"case": text}), tmp_path / "cases.parquet")
    sheet, problems = read_sheet(tmp_path / "cases.parquet")
    assert sheet is None
    assert (problems[0].code, "can't decode" in problems[0].message) == ("unreadable-table", True)


def test_parquet_keeps_text_and_reads_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, text=YAML.replace("cases.csv", "cases.parquet"))
    table = pd.DataFrame(
        {
            "case": ["x", "y", "z"],
            "patient": ["007", "08", None],
            "split": ["train", "train", "test"],
            "image": ["a1.png", "a2.png", "b1.png"],
            "label": [1.0, 0.0, np.nan],
        }
    )
    table.to_parquet(tmp_path / "cases.parquet")
    cohort = load_cohort(path)
    assert cohort.patients.tolist() == ["007", "08", "z"]
    assert cohort.labels.tolist() == [1, 0, -1]


def test_array_entries_need_the_file_only(tmp_path: Path) -> None:
    (tmp_path / "all.npz").touch()
    table = "case,image,split\na,all.npz::x[17],train\nb,all.npz::x[99],train\n"
    cohort = load_cohort(write(tmp_path, table, "name: x\nkind: xray\n"))
    location = cohort.cases[1].images["image"]
    assert (location.array, location.index) == ("x", 99)


def test_the_folder_of_a_cohort_is_answered_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, "case,image\na,a1.png\n")
    with pytest.raises(UsageError, match=r"cohort\.yaml"):
        load_cohort(path.parent)


def test_a_comma_at_the_end_of_every_line_is_no_column(tmp_path: Path) -> None:
    cohort = load_cohort(write(tmp_path, "case,image,label,,\na,a1.png,ill,,\nb,a2.png,healthy, ,\n"))
    assert [case.case for case in cohort.cases] == ["a", "b"]
    assert not cohort.cases[0].metadata


@pytest.mark.parametrize("again", [False, True], ids=["written", "read and written again"])
def test_the_index_that_pandas_writes_is_no_column(again: bool, tmp_path: Path) -> None:
    table = pd.DataFrame({"case": ["a", "b"], "image": ["a1.png", "b1.png"], "label": ["ill", "healthy"]})
    path = write(tmp_path, table.to_csv())
    if again:
        pd.read_csv(tmp_path / "cases.csv").to_csv(tmp_path / "cases.csv")
    cohort = load_cohort(path)
    assert [(case.case, case.metadata, case.row) for case in cohort.cases] == [("a", {}, 2), ("b", {}, 3)]
    assert len(scan(tmp_path / "cases.csv").table) == 2
    broken = (tmp_path / "cases.csv").read_text().replace("b,b1.png,", "b1.png,")
    _, problems = read_cohort(write(tmp_path, broken))
    assert (problems[0].code, problems[0].row) == ("field-count", 3)


def test_findings_may_be_true_and_false(tmp_path: Path) -> None:
    rows = "a,a1.png,True,1\nb,b1.png,FALSE,0.0\nc,c1.png,,true\n"
    path = write(tmp_path, f"case,image,label:mass,label:cyst\n{rows}", "name: toy\nkind: ct\ncases: cases.csv\n")
    assert load_cohort(path).labels.tolist()[:2] == [[1, 1], [0, 0]]
    table = scan(tmp_path / "cases.csv").table
    assert table[["label:mass", "label:cyst"]].values.tolist() == [["1", "1"], ["0", "0"], ["", "1"]]


def test_blanks_around_commas_are_no_part_of_a_path(tmp_path: Path) -> None:
    (tmp_path / " b1.png").touch()
    cohort = load_cohort(write(tmp_path, "case , image , label\na , a1.png , ill\nb, b1.png,healthy\n"))
    assert [case.images["image"].path.name for case in cohort.cases] == ["a1.png", " b1.png"]


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    table = (
        "case,patient,split,image,label\n"
        "a,1,train,a1.png,ill\n"
        "a,1,train,gone.png,ill\n"
        ",2,val,b1.png,healthy\n"
        "d,1,test,c1.png,il\n"
        "e,5,train,,healthy\n"
    )
    with pytest.raises(DataError) as caught:
        load_cohort(write(tmp_path, table))
    message = str(caught.value)
    for part in ("5 errors", "row 3", "gone.png", "row 4", "'il'", "Did you mean 'ill'", "row 5", "row 6"):
        assert part in message or part == "5 errors", part
    assert "'1' is in 'train' (row 2) and in 'test'" in message
    assert not (tmp_path / "cohort.splits.csv").exists()


def test_many_problems_are_counted_after_twenty(tmp_path: Path) -> None:
    table = "case,image\n" + "".join(f"c{at},gone{at}.png\n" for at in range(50))
    with pytest.raises(DataError, match="and 30 more"):
        load_cohort(write(tmp_path, table))


ROW = "\na,a1.png,ill,train\nb,a2.png,healthy,train\n"
HEAD = "case,image,label,split"
BAD_TABLES: dict[str, tuple[str | bytes, str, int | None]] = {
    "header of another case": ("case,image,Label\na,a1.png,ill\n", "unknown-column", 1),
    "letters swapped": ("case,image,lable\na,a1.png,ill\n", "unknown-column", 1),
    "plural": ("case,images,image\na,a1.png,a1.png\n", "unknown-column", 1),
    "capital patient": ("case,image,Patient\na,a1.png,1\n", "unknown-column", 1),
    "prefix not known": ("case,image,finding:mass\na,a1.png,1\n", "unknown-column", 1),
    "no name behind the colon": ("case,image:\na,a1.png\n", "unknown-column", 1),
    "column without a name": (",case,image\n7,a,a1.png\n", "unnamed-column", 1),
    "value without a name": ("case,image,\na,a1.png,\nb,a2.png,7\n", "unnamed-column", 1),
    "column twice": ("case,image,age,age\na,a1.png,1,1\n", "duplicate-column", 1),
    "both kinds of image": ("case,image,image:t1\na,a1.png,a2.png\n", "mixed-images", 1),
    "both kinds of label": ("case,image,label,label:mass\na,a1.png,ill,1\n", "mixed-labels", 1),
    "no case column": ("image,label\na1.png,ill\n", "no-column", 1),
    "no image column": ("case,label\na,ill\n", "no-column", 1),
    "empty file": (b"", "empty-table", None),
    "only blank lines": (b"\n\n", "empty-table", None),
    "header only": (HEAD + "\n", "empty-table", None),
    "too few fields": (HEAD + ROW + "c,b1.png\n", "field-count", 4),
    "too many fields": (HEAD + ROW + "c,b1.png,ill,train,x\n", "field-count", 4),
    "damaged UTF-8": ((HEAD + ROW).encode() + "Müller,b1.png,ill,train\n".encode() + b"\xfc", "not-utf8", 5),
    "not text": ((HEAD + ROW).encode() + b"\0\xff", "not-utf8", 4),
    "damaged UTF-16": ((HEAD + ROW).encode("utf-16") + b"\0\xd8", "not-utf8", None),
    "open quote": (HEAD + ROW + '"c,b1.png,ill,train\n', "bad-csv", 4),
    "empty case": (HEAD + ROW + ",b1.png,ill,train\n", "empty-case", 4),
    "duplicate case": (HEAD + ROW + "a,b1.png,ill,train\n", "duplicate-case", 4),
    "missing image": (HEAD + ROW + "c,nothere.png,ill,train\n", "missing-image", 4),
    "location that is none": (HEAD + ROW + "c,a1.png::x[y],ill,train\n", "bad-location", 4),
    "no image": (HEAD + ROW + "c,,ill,train\n", "no-image", 4),
    "missing mask": ("case,image,mask\na,a1.png,nomask.png\n", "missing-mask", 2),
    "label outside classes": (HEAD + ROW + "c,b1.png,sick,train\n", "bad-label", 4),
    "index outside classes": (HEAD + ROW + "c,b1.png,2,train\n", "bad-label", 4),
    "split of another case": (HEAD + ROW + "c,b1.png,ill,Test\n", "split-word", 4),
    "validation": (HEAD + ROW + "c,b1.png,ill,validation\n", "split-word", 4),
    "patient in two splits": (
        "case,patient,image,split\na,1,a1.png,train\nb,1,a2.png,test\n",
        "patient-split",
        3,
    ),
    "one-class train": (HEAD + "\na,a1.png,ill,train\nb,a2.png,healthy,test\n", "one-class", None),
    "fewer cases than classes": (HEAD + "\na,a1.png,ill,train\nb,a2.png,,train\n", "too-few-cases", None),
    "uncertain finding": ("case,image,split,label:mass\na,a1.png,train,-1\nb,a2.png,train,0\n", "bad-label", 2),
    "findings all one class": ("case,image,split,label:m\na,a1.png,train,0\nb,a2.png,train,0\n", "one-class", None),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_table(tmp_path: Path, name: str) -> None:
    table, code, row = BAD_TABLES[name]
    has_findings = b"label:m" in table if isinstance(table, bytes) else "label:m" in table
    path = write(tmp_path, table, YAML if not has_findings else "name: x\nkind: xray\n")
    _, problems = read_cohort(path)
    found = [(problem.code, problem.row) for problem in problems if problem.severity == "error"]
    assert (code, row) in found
    assert all(problem.file == "cases.csv" for problem in problems)
    with pytest.raises(DataError, match=r"cases\.csv"):
        load_cohort(path)
    assert sorted(item.suffix for item in tmp_path.iterdir() if item.suffix != ".png") == [".csv", ".yaml"]


WARNINGS = {
    "one-class test": (HEAD + ROW + "c,b1.png,ill,test\n", "one-class"),
    "no test set": ("case,image,split,label\na,a1.png,train,ill\nb,a2.png,train,healthy\n", "no-test"),
    "one patient": ("case,patient,image,split,label\na,1,a1.png,train,ill\nb,1,a2.png,train,healthy\n", "one-patient"),
    "class nowhere": ("case,image,split\na,a1.png,train\nb,a2.png,train\n", "no-labels"),
    "patient under another name": ("case,image,subject_id\na,a1.png,1\nb,a2.png,1\n", "patient-column"),
    "a class of one patient": (HEAD + ROW + "c,b1.png,ill,test\nd,b2.png,ill,test\n", "one-patient-class"),
    "image of two cases": (HEAD + ROW + "c,a1.png,ill,train\n", "shared-image"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_do_not_stop(tmp_path: Path, name: str) -> None:
    table, code = WARNINGS[name]
    path = write(tmp_path, table)
    _, problems = read_cohort(path)
    assert (code, "warning") in [(problem.code, problem.severity) for problem in problems]
    load_cohort(path)


def test_metadata_names_that_only_resemble_reserved_ones(tmp_path: Path) -> None:
    table = "case,image,split,size,side,mass,task,race,image_id,date\n" + "a,a1.png,train,1,2,3,4,5,6,7\n"
    cohort = load_cohort(write(tmp_path, table, "name: x\nkind: mri\n"))
    assert set(cohort.cases[0].metadata) == {"size", "side", "mass", "task", "race", "image_id", "date"}


BAD_YAML = {
    "unknown key": ("name: x\nkidn: mri\n", ["line 2", "'kidn'", "'kind'"]),
    "unknown kind": ("name: x\nkind: mr\n", ["line 2", "'mri'"]),
    "key twice": ("name: x\nname: y\n", ["line 2", "twice"]),
    "class twice": ("classes:\n- a\n- a\n", ["line 2", "'a'"]),
    "one class": ("classes: [a]\n", ["line 1", "at least 2"]),
    "classes no list": ("classes: {a: 1}\n", ["line 1", "list"]),
    "mask label no number": ("mask_labels:\n  tumour: 1\n", ["line 2", "'tumour'"]),
    "mask label twice": ("mask_labels:\n  1: tumour\n  2: tumour\n", ["line 3", "'tumour'"]),
    "split key": ("split: {sead: 1}\n", ["line 1", "'seed'"]),
    "split share": ("split:\n  val: 1.5\n", ["line 2", "1.5"]),
    "nothing for train": ("split: {val: 0.5, test: 0.5}\n", ["train"]),
    "ordered": ("ordered: maybe\n", ["line 1", "true or false"]),
    "name is a path": ("name: a/b\n", ["line 1", "a/b"]),
    "no YAML": ("name: [x\n", ["line"]),
    "no mapping": ("- a\n", ["key: value"]),
    "empty": ("", ["key: value"]),
    "table not there": ("cases: other.csv\n", ["other.csv", "does not exist"]),
    "two things": ("kidn: mri\nclasses: [a]\n", ["line 1", "line 2"]),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_cohort_file(tmp_path: Path, name: str) -> None:
    text, parts = BAD_YAML[name]
    with pytest.raises(UsageError) as caught:
        load_cohort(write(tmp_path, text=text))
    assert all(part in str(caught.value) for part in [*parts, "cohort.yaml"]), str(caught.value)


@pytest.mark.parametrize("given", ["cases.csv", "nowhere.yaml", "."])
def test_something_else_than_a_cohort_file(tmp_path: Path, given: str) -> None:
    write(tmp_path)
    with pytest.raises(UsageError):
        load_cohort(tmp_path / given)


def test_paths_start_from_the_table(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    write(tmp_path, text=YAML.replace("cases.csv", "tables/cases.csv"))
    (tmp_path / "tables" / "cases.csv").write_text(
        GOOD.replace(",a", ",../a").replace(",b", ",../b").replace(",c1", ",../c1").replace(",d1", ",../d1")
    )
    cohort = load_cohort(tmp_path / "cohort.yaml")
    assert cohort.cases[0].images["t1"].path == tmp_path.resolve() / "a1.png"


@pytest.mark.parametrize(
    ("cell", "new"),
    [
        ("b1.png", "x" * 300 + ".png"),
        ("b1.png", "x/" * 2500),
        ("b1.png", "a.npz::x[" + "9" * 5000 + "]"),
        ("b1.png", "a.npz::x[²]"),
        ("b1.png", "a\0b.png"),
        (",1,40", "," + "1" * 5000 + ",40"),
    ],
)
def test_cells_of_absurd_length_are_named(tmp_path: Path, cell: str, new: str) -> None:
    with pytest.raises(DataError, match="row 4"):
        load_cohort(write(tmp_path, GOOD.replace(cell, new, 1)))


def test_labels_that_are_numbers_of_any_length_are_names(tmp_path: Path) -> None:
    table = GOOD.replace(",ill,", "," + "1" * 5000 + ",").replace(",healthy,", ",2,").replace(",0,", ",2,")
    text = YAML.replace("classes: [healthy, ill]\n", "")
    assert "1" * 5000 in load_cohort(write(tmp_path, table, text)).classes


@pytest.mark.parametrize(
    "line",
    [
        "split: {seed: " + "9" * 5000 + "}",
        "mask_labels: {" + "9" * 5000 + ": a}",
        "mask_labels: {²: a}",
        "source: " + "{a: " * 3000 + "1" + "}" * 3000,
        "source: " + "[" * 3000 + "]" * 3000,
        'cases: "a\\0b.csv"',
        "cases: " + "a" * 5000 + ".csv",
    ],
)
def test_a_hostile_cohort_file_is_a_sentence(tmp_path: Path, line: str) -> None:
    text = YAML.replace("cases: cases.csv\n", "") if line.startswith("cases") else YAML
    with pytest.raises(UsageError, match=r"cohort\.yaml"):
        load_cohort(write(tmp_path, GOOD, f"{text}{line}\n"))


def test_formulas_and_escapes_of_a_data_set_are_disarmed(tmp_path: Path) -> None:
    for name in ("=HYPERLINK(1)", "@SUM(1)", "-1+1", "\x1b]0;x\x07"):
        for index in range(4):
            path = tmp_path / "data" / name / f"={index}{len(name)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    draft = scan(tmp_path / "data", "folders")
    _, table = write_cohort(draft, tmp_path / "cohort.yaml")
    cells = [cell for row in csv.reader(io.StringIO(table.read_text())) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "@", "+", "-") and len(cell) > 1]
    assert "\x1b" not in summary(draft)
    cohort = load_cohort(tmp_path / "cohort.yaml")
    assert "=HYPERLINK(1)" in cohort.classes
    assert all(case.images["image"].path.is_file() for case in cohort)


def test_an_issue_of_a_page_is_cut_in_its_middle_and_says_so() -> None:
    text = str(CohortIssue("error", "label", f"Label {'x' * 5000} is not known.", fix="Correct it."))
    assert len(text) < 1000
    assert text.startswith("Label xxx")
    assert " … (4,132 more letters) … " in text
    assert text.endswith("xxx is not known. Correct it.")
