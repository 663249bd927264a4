"""A study on a cohort with folds: its run folder, a kill in the middle, its report; and an adaptation of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from radapt.cli import app
from radapt.cohorts import load_cohort
from radapt.reports import write_report
from radapt.studies import Settings, read_study, run_study
from report_page import Page
from toy_kill import command, kill_when, numbers
from toy_study import write_cohort, write_study


def folded(folder: Path, split: str, patients: int = 24) -> Path:
    path = write_cohort(folder, patients=patients)
    path.write_text(path.read_text() + f"split: {split}\n")
    table = pd.read_csv(folder / "cases.csv")
    table["site"] = [("north", "north", "south", "south", "east", "east")[row % 6] for row in range(len(table))]
    table.to_csv(folder / "cases.csv", index=False)
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    protocols = ["linear", {"fewshot": {"shots": [2], "repeats": 2}}]
    study = write_study(
        folder, [folded(folder / "discs", "{by: site}")], protocols=protocols,
        backbones=[{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}],
    )  # fmt: skip
    run_study(read_study(study), folder / "run", Settings(cache=folder / "cache", offline=True))
    write_report(folder / "run")
    return folder


def test_one_cell_holds_all_folds(ran: Path) -> None:
    results = pd.read_parquet(ran / "run" / "results.parquet")
    assert set(results["unit"]) == {"patient"}
    names = {f"oof:{what}={name}" for what in ("fold", "site") for name in ("east", "north", "south")}
    assert set(results["split"]) == {"oof", *names}
    assert results["cell"].nunique() == 3
    for done in (ran / "run" / "cells").glob("*/done.json"):
        table = pd.read_parquet(done.parent / "predictions.parquet")
        assert list(table.columns[:6]) == ["cell", "case", "patient", "site", "split", "fold"]
        assert len(table) == table["case"].nunique() == 24
        facts = json.loads((done.parent / "cell.json").read_text())
        assert facts["fit"] is None
        assert set(facts["folds"]) == {"east", "north", "south"}
        if facts["shots"]:
            assert {fit["draw"]["patients"] for fit in facts["folds"].values()} == {4}
        assert sorted(place.name for place in (done.parent / "model").iterdir()) == [
            "fold-east", "fold-north", "fold-south",
        ]  # fmt: skip
    stored = list((ran / "cache" / "features").glob("*/*.f32"))
    assert len(stored) == 1, "features are extracted once for all folds"


def test_the_report_says_that_every_patient_was_tested_once(ran: Path) -> None:
    page = Page((ran / "run" / "report.html").read_text(encoding="utf-8")).text
    assert "every patient tested once, out of fold, by hospital" in page
    assert "Each fold and hospital on its own" in page
    assert "site north" in page


@pytest.mark.slow
def test_a_run_killed_between_folds_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    study = write_study(
        tmp_path, [folded(tmp_path / "discs", "{folds: 3}")],
        protocols=[{"scratch": {"network": "resnet18", "epochs": 1, "batch": 8, "lr": 0.001}}], backbones=[],
    )  # fmt: skip
    subprocess.run(command(study, tmp_path / "calm"), check=True, capture_output=True)
    folder = tmp_path / "killed"
    fold = "run/cells/*/folds/*/done.json"
    assert kill_when(command(study, folder), lambda: len(list(folder.glob(fold))) >= 1, 0.0)
    kept = next(iter(folder.glob(fold)))
    before = kept.stat().st_mtime_ns
    subprocess.run(command(study, folder), check=True, capture_output=True)
    assert kept.stat().st_mtime_ns == before, "a finished fold is fitted again"
    pd.testing.assert_frame_equal(numbers(tmp_path / "calm" / "run"), numbers(folder / "run"), check_exact=True)


@pytest.mark.slow
def test_an_adaptation_is_scored_out_of_fold_and_delivered_on_all(tmp_path: Path) -> None:
    path = folded(tmp_path / "discs", "{folds: 2}", patients=12)
    out = tmp_path / "adapted"
    words = [
        sys.executable, "-m", "radapt", "adapt", str(path), "--backbone", "timm:test_vit", "--weights", "random",
        "--out", str(out), "--size", "32", "--resamples", "100", "--cache", str(tmp_path / "cache"), "--offline",
    ]  # fmt: skip
    options = {"steps": 2, "batch": 4, "global_size": 32, "local_size": 16, "local_crops": 2, "slices": 1,
               "prototypes": 8, "head_hidden": 16, "head_bottleneck": 8}  # fmt: skip
    for name, value in options.items():
        words += ["--set", f"{name}={value}"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "out of fold" in said
    table = pd.read_parquet(out / "predictions.parquet")
    assert sorted(table["case"]) == sorted(case.case for case in load_cohort(path))
    assert set(table["fold"]) == {"0", "1"}
    facts = json.loads((out / "adapt.json").read_text())
    assert facts["counts"]["patients"] == 12
    assert any("adapted to all patients" in note for note in facts["notes"])
    assert "adapted to all patients" in (out / "report.html").read_text(encoding="utf-8")
    again = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "nothing was done" in again


@pytest.mark.parametrize(
    ("folds", "written"),
    [("3", {"folds": 3, "seed": 7}), ("site", {"by": "site"}), ("column:part", {"folds_column": "part"})],
)
def test_scan_writes_the_folds_that_are_asked_for(tmp_path: Path, folds: str, written: dict[str, object]) -> None:
    import yaml

    source = folded(tmp_path / "discs", "{by: site}").parent
    table = pd.read_csv(source / "cases.csv").assign(part=[row % 4 for row in range(24)])
    table.to_csv(source / "cases.csv", index=False)
    out = source / "mine.yaml"
    words = ["scan", str(source / "cases.csv"), "--out", str(out), "--kind", "other", "--folds", folds, "--seed", "7"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "Every labelled patient is tested once, out of fold" in result.output
    assert yaml.safe_load(out.read_text())["split"] == written
    assert len(load_cohort(out).folds) in (3, 4)


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ("1", "expected a number from 2 up, site, column:NAME or file:PATH"),
        ("site", "name the column that holds them with --site"),
        ("column:prat", "Did you mean 'part'?"),
    ],
)
def test_scan_refuses_folds_that_the_source_lacks(tmp_path: Path, folds: str, said: str) -> None:
    source = folded(tmp_path / "discs", "{by: site}").parent
    table = pd.read_csv(source / "cases.csv").drop(columns="site").assign(part=1)
    table.to_csv(source / "cases.csv", index=False)
    words = ["scan", str(source / "cases.csv"), "--out", str(source / "mine.yaml"), "--kind", "other"]
    result = CliRunner().invoke(app, [*words, "--folds", folds])
    assert result.exit_code != 0
    assert said in str(result.exception) + result.output
