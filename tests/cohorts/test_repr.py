"""What a notebook shows of a cohort: a few lines, however many cases there are."""

from pathlib import Path

import pytest

from radapt.cohorts import as_cohort, load_cohort, scan, write_cohort
from radapt.errors import UsageError


def cohort_file(folder: Path, rows: list[str], head: str) -> Path:
    (folder / "a.png").touch()
    (folder / "cases.csv").write_text("\n".join([head, *rows]) + "\n")
    (folder / "cohort.yaml").write_text("name: toy\nkind: xray\n")
    return folder / "cohort.yaml"


def test_a_cohort_is_a_few_lines(tmp_path: Path) -> None:
    rows = [f"c{at},p{at // 2},{'a.png' if at % 3 else ''},a.png,a.png,{'ab'[at % 2]},train" for at in range(300)]
    path = cohort_file(tmp_path, rows, "case,patient,image:t1,image:t2,mask,label,split")
    assert repr(load_cohort(path)).splitlines() == [
        "Cohort 'toy' (xray, binary): 300 cases of 150 patients",
        "  images: t1 (missing in 100), t2",
        "  classes: a 150, b 150",
        "  masks: 300 cases",
        "  splits: train 300",
    ]
    draft = scan(path)
    assert repr(draft) == f"CohortDraft('toy', layout table, 300 cases, {len(draft.notes)} notes)"


def test_many_findings_are_counted(tmp_path: Path) -> None:
    head = "case,image,split," + ",".join(f"label:f{at}" for at in range(30))
    path = cohort_file(tmp_path, [f"c{at},a.png,train," + ",".join([str(at % 2)] * 30) for at in range(4)], head)
    shown = repr(load_cohort(path))
    assert "4 cases of unknown patients" in shown
    assert "findings: f0 2, f1 2, " in shown
    assert shown.endswith("train 4")
    assert "… (30)" in shown
    assert len(shown.splitlines()) < 10
    assert len(shown) < 500


def test_a_path_is_as_good_as_a_cohort(tmp_path: Path) -> None:
    path = cohort_file(tmp_path, ["c,a.png,a,train", "d,a.png,b,train"], "case,image,label,split")
    cohort = load_cohort(path)
    assert as_cohort(cohort) is cohort
    assert as_cohort(str(path)).classes == as_cohort(path).classes == ("a", "b")
    with pytest.raises(UsageError, match="The cohort is a int; expected the path"):
        as_cohort(3)  # type: ignore[arg-type]
    assert write_cohort(scan(path), tmp_path / "again" / "cohort.yaml")
