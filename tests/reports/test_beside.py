"""`radapt beside`: results of another tool as rows of a run, paired by case."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.cli import main
from radapt.durable import write_json
from radapt.reports.leaderboard import leaderboards
from radapt.reports.run_folder import read_run
from radapt.reports.verification import verify_run
from radapt.studies import Settings, read_study, run_study
from radapt.studies.ledger import Ledger
from toy_study import write_cohort, write_study


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def segmented(toy_run, toy_cohort) -> Path:
    """A run that segments two structures on 40 test patients."""
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy)
    cell = toy_run.segmentation(toy, "unet", skill=0.8)
    folder, ledger = toy_run.path / "cells" / cell, Ledger(toy_run.path)
    facts = json.loads((folder / "cell.json").read_text())
    tables = [pd.read_parquet(folder / f"{name}.parquet") for name in ("predictions", "scores")]
    entry = {name: facts[name] for name in ("id", "cohort", "backbone", "label", "seed")}
    ledger.write_plan("name: toy\n", [entry])
    ledger.finish(cell, facts, *tables, seconds=1.0)
    ledger.write_results([entry])
    return toy_run.path


def own_numbers(run: Path) -> pd.DataFrame:
    """Dice of the run's own method by case and structure, of labelled test cases; NaN where both masks are empty."""
    table = pd.read_parquet(next((run / "cells").glob("0*/predictions.parquet")))
    table = table[(table["split"] == "test") & (table["outcome"] != "unlabelled")]
    return table.pivot_table(index="case", columns="label", values="dice", dropna=False)


def test_a_table_becomes_a_row_with_a_verdict(segmented: Path, tmp_path: Path, capsys) -> None:
    own = own_numbers(segmented)
    theirs = (own + 0.004).clip(upper=1).rename(columns={"core": "DSC core", "rim": "DSC rim"})
    theirs.loc["not-here"] = 0.5
    theirs.drop(index=own.index[0]).to_csv(tmp_path / "theirs.csv")
    words = ("beside", segmented, tmp_path / "theirs.csv", "--name", "nnU-Net", "--margin", 0.02)
    assert call(*words, "--column", "dice:core=DSC core", "--column", "dice:rim=DSC rim") == 0
    said = capsys.readouterr().out
    assert "nnU-Net: 38 of 39 test cases paired; 1 not in the file; 1 case of the file not in the test set." in said
    assert "unet with segment is worse." in said
    assert "difference -0.0040 [-0.0040, -0.0040]" in said.split("dice:core")[1]
    results = pd.read_parquet(segmented / "results.parquet")
    foreign = results[results["foreign"] == "theirs.csv"]
    assert set(foreign["metric"]) == {"dice", "dice:core", "dice:rim"}
    assert set(foreign["protocol"]) == {"nnU-Net"}
    assert (results["foreign"] != "").sum() == len(foreign)
    expected = theirs["DSC core"].drop(index=[own.index[0], "not-here"]).mean()
    assert foreign.set_index("metric").loc["dice:core", "value"] == pytest.approx(expected)
    page = (segmented / "report.html").read_text()
    assert "Worse than nnU-Net: Dice −0.004" in page
    assert "38 of 39 test cases paired" in page


def test_a_row_is_replaced_under_its_name_and_survives_the_next_run(segmented: Path, tmp_path: Path) -> None:
    for better in (0.0, 0.1):
        (own_numbers(segmented) * (1 - better)).add_prefix("dice:").to_csv(tmp_path / "theirs.csv")
        assert call("beside", segmented, tmp_path / "theirs.csv", "--name", "other") == 0
    ledger = Ledger(segmented)
    ledger.write_results(json.loads((segmented / "plan.json").read_text())["cells"])  # as the study does at its end
    board = next(board for board in leaderboards(read_run(segmented)) if board.split == "test")
    (row,) = board.foreign["dice"]
    assert row.value == pytest.approx(0.9 * board.metrics["dice"][0].value, rel=0.1)
    assert [one.method.foreign for one in board.metrics["dice"]] == [False]
    assert read_run(segmented).left_over == 0


def test_the_summary_of_nnunet_in_both_versions(segmented: Path, tmp_path: Path, capsys) -> None:
    own = own_numbers(segmented)

    def metrics(case: str) -> dict:
        return {str(at + 1): {"Dice": own.loc[case, name], "n_pred": 3} for at, name in enumerate(("core", "rim"))}

    newer = [{"metrics": metrics(case), "prediction_file": f"/x/{case}.nii.gz"} for case in own.index]
    older = [{"0": {"Dice": 1.0}, **metrics(case), "test": f"/x/{case}.nii.gz"} for case in own.index]
    for name, content in (("new", {"metric_per_case": newer}), ("old", {"results": {"all": older}})):
        (tmp_path / "summary.json").write_text(json.dumps(content))
        assert call("beside", segmented, tmp_path / "summary.json", "--name", name) == 0
        said = capsys.readouterr().out
        assert f"{name}: 39 of 39 test cases paired." in said
        assert "difference +0.0000" in said


def test_a_missing_number_of_a_structure_that_is_there_leaves_the_case_out(segmented, tmp_path, capsys) -> None:
    own = own_numbers(segmented).add_prefix("dice:")
    whole = own.index[own["dice:rim"].notna()][0]
    own.loc[whole, "dice:rim"] = np.nan
    own.to_csv(tmp_path / "theirs.csv")
    assert call("beside", segmented, tmp_path / "theirs.csv", "--name", "other") == 0
    assert "38 of 39 test cases paired; 1 left out for want of a number." in capsys.readouterr().out


def test_a_structure_alone_is_compared_without_a_mean(segmented: Path, tmp_path: Path, capsys) -> None:
    long = own_numbers(segmented)["core"].rename("dice").reset_index().assign(label="core")
    long.to_csv(tmp_path / "theirs.csv", index=False)
    assert call("beside", segmented, tmp_path / "theirs.csv", "--name", "other") == 0
    said = capsys.readouterr().out
    assert "dice:core on toy" in said
    assert "Dice on toy" not in said
    assert call("compare", segmented, "segment", "other", "--metric", "dice:core", "--split", "test") == 0


@pytest.mark.parametrize(
    ("text", "words", "code", "said"),
    [
        ("case,dice:core\nnobody,0.5\n", (), 1, "No case of the file is a labelled test case of the run"),
        ("case,dice:shell\ncase-test-000,0.5\n", (), 1, "'dice:shell' is of no structure of the cohort"),
        ("case,dice:core\ncase-test-000,80\n", (), 1, "line 2 has a dice:core out of its range"),
        ("case,dice:core\na,0.5\na,0.5\n", (), 1, "line 3 names a case that an earlier row names"),
        ("case,DSC\na,0.5\n", (), 1, "Expected measures of segmented cases"),
        ("case,DSC\na,0.5\n", ("--column", "disc=DSC"), 2, "'disc=DSC' is not NAME=COLUMN"),
        ("case,DSC\na,0.5\n", ("--column", "dice:core=DICE"), 2, "has no column 'DICE'"),
        ("case,p_x\na,0.5\n", (), 2, "has no finished classification to stand beside"),
        (
            "case,patient,dice:core\ncase-test-000,x,0.5\ncase-test-001,x,0.5\n", (), 1,
            "The cases of patient 'x' of the file are of several patients of the run",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(segmented, tmp_path, capsys, text, words, code, said) -> None:
    (tmp_path / "theirs.csv").write_text(text)
    assert call("beside", segmented, tmp_path / "theirs.csv", "--name", "other", *words) == code
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def classified_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    study = write_study(folder, [write_cohort(folder / "discs")], protocols=["knn"])
    run_study(read_study(study), folder / "run", Settings(cache=folder / "cache", offline=True))
    return folder / "run"


@pytest.fixture
def classified(classified_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(classified_once, tmp_path / "run")
    return tmp_path / "run"


def test_predictions_with_truth_are_scored_and_verified(classified: Path, tmp_path: Path, capsys) -> None:
    own = read_run(classified).cells[0].predictions
    table = pd.DataFrame({"case": own["case"], "truth": own["truth"], "p_ill": (own["truth"] == "ill") * 0.8 + 0.1})
    table[own["split"] == "test"].to_csv(tmp_path / "theirs.csv", index=False)
    assert call("beside", classified, tmp_path / "theirs.csv", "--name", "perfect") == 0
    assert "perfect: " in capsys.readouterr().out
    results = pd.read_parquet(classified / "results.parquet")
    foreign = results[results["foreign"] != ""].set_index(["split", "metric"])["value"]
    assert foreign["test", "auroc"] == 1
    assert foreign["test", "mcc"] == 1
    assert set(results.loc[results["foreign"] != "", "split"]) == {"test"}
    found = verify_run(classified)
    assert found.faults == ()
    stored = next((classified / "cells").glob("foreign-*/scores.parquet"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    assert any("foreign-" in fault.file for fault in verify_run(classified).faults)


def test_another_truth_is_refused(classified: Path, tmp_path: Path, capsys) -> None:
    own = read_run(classified).cells[0].predictions
    wrong = own.assign(truth="ill", p_ill=0.5)[["case", "truth", "p_ill"]]
    wrong.to_csv(tmp_path / "theirs.csv", index=False)
    assert call("beside", classified, tmp_path / "theirs.csv", "--name", "other") == 1
    assert "is 'ill' in the file and 'healthy' in the run" in " ".join(capsys.readouterr().err.split())
    assert not list((classified / "cells").glob("foreign-*"))


def test_runs_of_an_older_version_are_refused(segmented: Path, tmp_path: Path, capsys) -> None:
    write_json(segmented / "plan.json", {"cells": ["0000000000000000"]})
    own_numbers(segmented).add_prefix("dice:").to_csv(tmp_path / "theirs.csv")
    assert call("beside", segmented, tmp_path / "theirs.csv", "--name", "other") == 1
    assert "is of an older version" in " ".join(capsys.readouterr().err.split())
