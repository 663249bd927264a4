"""A study whose cohort names no patients: its tables and its report count images, and say so."""

import re
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from radapt.cli import app
from toy_study import write_cohort, write_study


def run(folder: Path, *, known: bool) -> tuple[str, pd.DataFrame, str]:
    """What `radapt run` says, its results, and the text of its report."""
    cohort = write_cohort(folder)
    if not known:
        table = pd.read_csv(folder / "cases.csv")
        table.drop(columns="patient").to_csv(folder / "cases.csv", index=False)
    study = write_study(folder, [cohort], protocols=["knn"])
    given = ["run", str(study), "--out", str(folder / "run"), "--cache", str(folder / "cache"), "--offline"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    page = (folder / "run" / "report.html").read_text(encoding="utf-8").partition("<main")[2]
    text = re.sub(r"\s+", " ", re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))
    return done.output, pd.read_parquet(folder / "run" / "results.parquet"), text


def test_without_patients_images_are_counted_everywhere(tmp_path: Path) -> None:
    said, results, report = run(tmp_path, known=False)
    sentence = "Patients unknown: intervals and splits count images."
    assert set(results["unit"]) == {"image"}
    assert sentence in said
    assert sentence in report
    assert re.search(r"\b36 images, 36 cases", report)
    assert not re.search(r"\d patients?\b", report)
    assert " Images " in report


def test_with_patients_nothing_counts_images(tmp_path: Path) -> None:
    said, results, report = run(tmp_path, known=True)
    assert set(results["unit"]) == {"patient"}
    assert "unknown" not in said
    assert re.search(r"\b36 patients, 36 cases", report)
