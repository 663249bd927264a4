"""What `check` says about pictures that two patients share, and the patients that it proposes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from radapt.cli.app import app
from radapt.cohorts import load_cohort
from radapt.doctor import check_cohort
from toy_pictures import jpeg, picture, rotate


def write(folder: Path, *, patients: bool) -> Path:
    """Eight pictures; c4 is c0 rotated, c5 is c4 compressed, c6 is c1 mirrored, and c7 equals c2."""
    pictures = [picture(seed) for seed in range(8)]
    pictures[4], pictures[6], pictures[7] = rotate(pictures[0]), pictures[1][:, ::-1], pictures[2]
    pictures[5] = jpeg(pictures[4])
    rows = []
    for at, array in enumerate(pictures):
        np.save(folder / f"{at}.npy", array)
        row = {"case": f"c{at}", "image": f"{at}.npy", "label": "ab"[at % 2]}
        row["split"] = ["train", "train", "train", "val", "test", "test", "test", "train"][at]
        rows.append({**row, "patient": f"p{at}"} if patients else row)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text("name: toy\nkind: xray\ncases: cases.csv\n")
    return folder / "cohort.yaml"


def test_near_identical_pictures_of_two_patients_are_warnings(tmp_path: Path) -> None:
    findings = check_cohort(write(tmp_path, patients=True), tmp_path / "cache")
    assert not findings.errors
    assert findings.probable_patients == {}
    near = {issue.case: issue.message for issue in findings.warnings if issue.code == "near_duplicate_image"}
    assert "c0" in near["c4"]
    assert "rotated by 3°" in near["c4"]
    assert "train and test" in near["c4"]
    assert "mirrored" in near["c6"]
    assert "c7" not in near
    (equal,) = [issue for issue in findings.warnings if issue.code == "duplicate_image"]
    assert (equal.case, "'c2'" in equal.message) == ("c7", True)


def test_probable_patients_are_proposed_and_the_printed_commands_take_them(tmp_path: Path) -> None:
    cohort = write(tmp_path, patients=False)
    findings = check_cohort(cohort, tmp_path / "cache")
    (proposal,) = [issue for issue in findings.warnings if issue.code == "probable-patients"]
    assert "7 images are probably of 3 patients" in proposal.message
    write_table, scan = (proposal.fix or "").removeprefix("To take that: ").split("; then ")
    for command in (write_table, scan):
        words = command.split()
        assert words[0] == "radapt"
        outcome = CliRunner().invoke(app, words[1:])
        assert outcome.exit_code == 0, outcome.output
    patients = {case.case: case.patient for case in load_cohort(cohort)}
    assert patients["c0"] == patients["c4"] == patients["c5"]
    assert patients["c1"] == patients["c6"]
    assert patients["c2"] == patients["c7"]
    assert len(set(patients.values())) == 4
    splits = {case.case: case.split for case in load_cohort(cohort)}
    assert splits["c0"] == splits["c4"] == splits["c5"]
    assert not load_cohort(cohort).patients_known  # the pictures that have no copy are still of nobody known


def test_nothing_is_written_where_nothing_is_proposed(tmp_path: Path) -> None:
    cohort = write(tmp_path, patients=True)
    words = ["check", str(cohort), "--cache", str(tmp_path / "cache"), "--probable-patients", str(tmp_path / "p.csv")]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code != 0
    assert not (tmp_path / "p.csv").exists()
    with pytest.raises(Exception, match="no patients"):
        check_cohort(cohort, tmp_path / "cache").write_patients(tmp_path / "p.csv")


def test_test_patients_among_the_pictures_of_a_pretraining(tmp_path: Path) -> None:
    (tmp_path / "cohort").mkdir()
    (tmp_path / "seen").mkdir()
    cohort = write(tmp_path / "cohort", patients=True)
    seen = {"elsewhere.npy": picture(20), "test.npy": jpeg(picture(1)), "train.npy": picture(3)}  # c6 is c1 mirrored
    for name, array in seen.items():
        np.save(tmp_path / "seen" / name, array)
    table = tmp_path / "seen" / "list.csv"
    pd.DataFrame({"image": [*seen, "lost.npy"]}).to_csv(table, index=False)
    words = ["check", str(cohort), "--cache", str(tmp_path / "cache"), "--pretraining", str(table)]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    said = " ".join(outcome.output.split())
    assert "1 of 3 test patients are among 3 pictures of the pretraining." in said
    assert "test.npy of the pretraining" in said
    assert "elsewhere.npy" not in said
    assert "train.npy" not in said
    assert "1 picture of the pretraining cannot be read" in said
    outcome = CliRunner().invoke(app, [*words[:-1], str(tmp_path / "cohort" / "cases.csv")])
    assert "3 of 3 test patients" in " ".join(outcome.output.split())
    pd.DataFrame({"file": ["x.npy"]}).to_csv(table, index=False)
    assert "has no column 'image'" in str(CliRunner().invoke(app, words).exception)
