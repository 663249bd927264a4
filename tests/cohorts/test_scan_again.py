"""A second scan: what it overwrites, what it protects, and what it says."""

import shutil
from pathlib import Path

import pytest

from radapt.cohorts import ScanOptions, load_cohort, scan, write_cohort
from radapt.errors import UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for label in ("ill", "well"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for at in range(10):
            (tmp_path / "data" / label / f"{label}{at}.png").touch()
    return tmp_path / "data"


def write(source: Path, out: Path, *, force: bool = False, **options: object) -> str:
    draft = scan(source, options=ScanOptions(**options), out=out)  # type: ignore[arg-type]
    write_cohort(draft, out, force=force)
    return " ".join(draft.notes)


def test_the_same_source_is_overwritten_and_that_is_said(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "cohort.yaml"
    assert "Overwritten" not in write(data, out)
    assert "Overwritten" not in write(data, out)  # the same content
    before = load_cohort(out)
    notes = write(data, out, seed=1, name="other")
    assert "Overwritten: cohort.yaml and cases.csv of an earlier scan (20 cases)." in notes
    after = load_cohort(out)
    assert after.name == "other"
    assert before.splits.tolist() != after.splits.tolist()
    (tmp_path / "out").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="from another source"):
        write(shutil.copytree(data, tmp_path / "copy"), tmp_path / "moved" / "cohort.yaml")
    assert "Overwritten" in write(data, tmp_path / "moved" / "cohort.yaml", seed=2)


@pytest.mark.parametrize("name", ["cohort.yaml", "cases.csv"])
def test_files_edited_by_hand_are_protected(name: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort.yaml"
    write(data, out)
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace("ill", "sick"))
    with pytest.raises(UsageError, match=r"cohort.yaml or cases.csv was edited since they were scanned.*--force"):
        write(data, out, seed=1)
    assert "sick" in (tmp_path / name).read_text()
    assert "Overwritten" in write(data, out, seed=1, force=True)


def test_a_line_added_below_the_seal_is_protected_too(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort.yaml"
    write(data, out)
    out.write_text(out.read_text() + "# mine\n")
    with pytest.raises(UsageError, match="was edited"):
        write(data, out, seed=1)


def test_files_that_no_scan_wrote_are_protected(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort.yaml"
    out.write_text("name: x\n")
    with pytest.raises(UsageError, match=r"cases.csv is not there"):
        write(data, out)
    (tmp_path / "cases.csv").write_text("case,image\n")
    with pytest.raises(UsageError, match="was not written by a scan"):
        write(data, out)
    assert out.read_text() == "name: x\n"


def test_a_scan_that_was_stopped_between_its_two_files_resumes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort.yaml"
    write(data, out)
    before = out.read_text()
    write(data, out, seed=1)
    out.write_text(before)
    write(data, out, seed=1)
    assert out.read_text() != before
