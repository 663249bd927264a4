"""Two methods of a run folder, found by name and compared by patient."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from radapt.cli import main
from radapt.errors import UsageError
from radapt.metrics.comparison import Draws
from radapt.reports.leaderboard import LeaderboardRow, leaderboards
from radapt.reports.method_comparison import compare_methods, concluded, find_board, find_method
from radapt.reports.run_folder import read_run

QUICK = Draws(resamples=50, permutations=50)


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def with_values(row: LeaderboardRow, *values: float) -> LeaderboardRow:
    scores = [replace(score, value=value) for score, value in zip(row.scores, values, strict=True)]
    return replace(row, scores=tuple(scores))


def test_two_methods_of_a_run(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    words = ("compare", finished.path, "dinov2-s with linear", "resnet50 knn", "--split", "test", "--metric", "mcc")
    assert call(*words, "--json", file) == 0
    said = capsys.readouterr().out
    assert said.startswith("MCC on toy, test:\ndinov2-s with linear ")
    assert "resnet50 with knn" in said
    record = json.loads(file.read_text())
    results = pd.read_parquet(finished.path / "results.parquet")
    own = results[(results["split"] == "test") & (results["metric"] == "mcc")]
    means = own.groupby(["backbone", "protocol"])["value"].mean()
    assert record["mean_a"] == pytest.approx(means["dinov2-s", "linear"])
    assert record["mean_b"] == pytest.approx(means["resnet50", "knn"])
    assert record["difference"] == pytest.approx(record["mean_a"] - record["mean_b"])
    assert (record["n_patients"], record["metric"], record["permutations"]) == (38, "mcc", 9999)
    assert record["interval"] == "expanded"


def test_the_leading_method_against_all_others(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", finished.path, "--split", "external") == 0
    assert capsys.readouterr().out.count("adjusted for 3 comparisons (Holm)") == 3


def test_a_report_writes_every_pair(finished, tmp_path: Path) -> None:
    assert call("report", finished.path) == 0
    table = pd.read_parquet(finished.path / "comparisons.parquet")
    leading = table[(table["split"] == "external") & (table["metric"] == "auroc")]
    assert len(leading) == 6
    assert (leading["difference"] >= 0).all()
    assert set(leading["comparisons"]) == {6}
    assert set(table["interval"]) == {"expanded"}
    assert (table["p_holm"].isna() | (table["p_holm"] >= table["p"])).all()
    others = table[(table["split"] == "external") & (table["metric"] == "mcc")]
    assert len(others) == 3, "each against the chosen one"
    one, file = leading.iloc[-1], tmp_path / "one.json"
    words = ("compare", finished.path, one["a"], one["b"], "--split", "external", "--metric", "auroc")
    assert call(*words, "--resamples", "1000", "--json", file) == 0
    alone = json.loads(file.read_text())
    assert alone["difference"] == pytest.approx(one["difference"])
    assert alone["p"] == pytest.approx(one["p"], abs=0.05)


def test_several_seeds_say_what_another_run_would_show(finished, tmp_path: Path, capsys) -> None:
    file = tmp_path / "found.json"
    words = ("compare", finished.path, "dinov2-s with linear", "resnet50 knn", "--split", "test", "--metric", "mcc")
    assert call(*words, "--json", file) == 0
    said, record = capsys.readouterr().out, json.loads(file.read_text())
    assert "Over other training runs too: [" in said
    assert "dinov2-s with linear, 2 seeds: SD " in said
    assert "with another seed you would see " in said
    assert record["training_low"] < record["ci_low"]
    assert record["ci_high"] < record["training_high"]


def test_a_difference_that_other_runs_may_turn_is_undecided(finished) -> None:
    board, metric = find_board(leaderboards(read_run(finished.path)), None, "test", "auroc")
    rows = [with_values(row, row.value, row.value) for row in board.rows_of(metric)]
    steady, *_ = compare_methods(board, metric, [(rows[0], rows[-1])], draws=QUICK)
    assert steady.verdict == "better"
    shaky = with_values(rows[0], 0.6, 1.0)
    assert concluded(shaky, rows[-1], metric, steady.difference, 0.001, 1).verdict == "undecided"


def test_among_several_only_an_adjusted_p_value_makes_better(finished) -> None:
    boards = leaderboards(read_run(finished.path))
    board, metric = find_board(boards, None, "test", "auroc")
    rows = [with_values(row, row.value, row.value) for row in board.rows_of(metric)]
    alone, *_ = compare_methods(board, metric, [(rows[0], rows[-1])], draws=QUICK)
    assert alone.verdict == "better"
    family = compare_methods(board, metric, [(rows[0], rows[-1])] * 20, draws=QUICK)
    assert {one.verdict for one in family} == {"undecided"}


def test_label_maps_of_a_run(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy).backbone("dinov2-s").backbone("resnet50")
    toy_run.segmentation(toy, "dinov2-s", skill=0.9)
    toy_run.segmentation(toy, "resnet50", skill=0.7)
    board, _ = find_board(leaderboards(read_run(toy_run.finish())), None, "test", None)
    pair = (find_method(board, "dice:core", "dinov2"), find_method(board, "dice:core", "resnet"))
    found, *_ = compare_methods(board, "dice:core", [pair], draws=QUICK)
    values = [row.value for row in board.by_class["dice"]["core"]]
    assert sorted([found.difference.first, found.difference.second]) == pytest.approx(sorted(values))
    assert found.verdict == "better"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dinov2-s", "resnet50 knn", "--split", "test"), "2 methods fit 'dinov2-s'"),
        (("dino-v9", "resnet50 knn", "--split", "test"), "No method fits 'dino-v9'"),
        (("dinov2-s linear", "resnet50 knn"), "--split external; --cohort toy --split test"),
        (("dinov2-s linear", "--split", "test"), "Name two methods"),
        (("--on", "case", "--split", "test"), "is a run folder"),
        (("a", "b", "--split", "nowhere"), "No test set fits"),
    ],
)
def test_what_does_not_fit_is_said(finished, words: tuple[str, ...], said: str, capsys) -> None:
    assert call("compare", finished.path, *words) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert all(part in message for part in said.split("; "))


def test_val_is_compared_only_if_named(finished) -> None:
    boards = leaderboards(read_run(finished.path))
    with pytest.raises(UsageError, match="Several test sets"):
        find_board(boards, None, None, None)
    assert find_board(boards, "toy", "val", "auroc")[0].split == "val"
