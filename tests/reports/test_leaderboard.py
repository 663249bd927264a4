"""The leaderboard: averages over seeds, ranking and undefined scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.metrics import score
from radapt.reports.bar_axis import axis_for
from radapt.reports.classification_curves import ClassificationPredictions, decisions
from radapt.reports.formatting import counted, duration, interval, shown
from radapt.reports.leaderboard import Leaderboard, leaderboards
from radapt.reports.methods import Method, methods_of
from radapt.reports.run_folder import CellRecord, Run

NAN = float("nan")
SPLIT_FACTS = {"labelled": 9, "outputs": {"a": {"positive": 4, "negative": 5}, "b": {"positive": 5, "negative": 4}}}


def run_of(*rows: dict[str, Any], cells: list[dict[str, Any]] | None = None, **split: Any) -> Run:
    """A run with one cell per row; a row gives what differs from the defaults."""
    facts, results = [], []
    for index, row in enumerate(rows):
        base = {"cohort": "lgg", "backbone": "dino", "protocol": "linear", "shots": None, "fraction": None}
        base |= {"repeat": None, "seed": 0, "aim": "classification"}
        cell = base | {"cell": row.get("cell", f"c{index}")} | {k: v for k, v in row.items() if k in base}
        facts.append(cell)
        numbers = {"split": "test", "metric": "auroc", "value": 0.8, "ci_low": 0.7, "ci_high": 0.9}
        counts = {"n_patients": 9, "n_scored": 9, "n_unscored": 1, "n_undefined": 0, "seconds": 1.0}
        results.append(cell | numbers | counts | row)
    known = {fact["cell"]: CellRecord(fact["cell"], Path("cells"), fact, done={}) for fact in facts + (cells or [])}
    cohorts = {"lgg": {"splits": {"test": {**SPLIT_FACTS, **split}}}}
    return Run(Path("run"), {}, {}, tuple(known.values()), cohorts, {}, pd.DataFrame(results))


def board_of(*rows: dict[str, Any], **split: Any) -> Leaderboard:
    return leaderboards(run_of(*rows, **split))[0]


def test_seeds_are_averaged_and_their_spread_is_separate() -> None:
    board = board_of(
        {"seed": 0, "value": 0.7, "ci_low": 0.6, "ci_high": 0.8}, {"seed": 1, "value": 0.9, "ci_low": 0.7, "ci_high": 1}
    )
    (row,) = board.metrics["auroc"]
    assert (row.value, row.ci_low, row.ci_high) == pytest.approx((0.8, 0.65, 0.9))
    assert row.spread_words == "2 seeds: 0.700 to 0.900, SD 0.141"


def test_repeats_are_called_repeats() -> None:
    (row,) = board_of({"shots": 4, "repeat": 0}, {"shots": 4, "repeat": 1}).metrics["auroc"]
    assert row.spread_words.startswith("2 repeats")
    assert row.method.protocol_and_size == "linear, 4 shots"


def test_an_undefined_seed_leaves_no_mean() -> None:
    (row,) = board_of({"seed": 0, "value": 0.7}, {"seed": 1, "value": NAN}).metrics["auroc"]
    assert row.value != row.value
    assert "undefined for 1 of 2 seeds" in row.spread_words


def test_unfinished_seed_is_counted() -> None:
    waiting = {"cohort": "lgg", "backbone": "dino", "protocol": "linear", "seed": 1, "cell": "later"}
    run = run_of({"seed": 0, "value": 0.7}, cells=[waiting])
    # Both cells belong to one method: a fact absent from one is None in the other.
    (row,) = leaderboards(run)[0].metrics["auroc"]
    assert row.spread_words == "1 of 2 done"


@pytest.mark.parametrize(
    "difference",
    [{"shots": 8}, {"fraction": 0.1}, {"aim": "segmentation"}, {"backbone": "resnet"}, {"protocol": "knn"}],
)
def test_cells_that_differ_in_more_than_the_seed_are_different_methods(difference: dict[str, Any]) -> None:
    assert len(methods_of(run_of({}, {"seed": 1, **difference}))) == 2


def test_leaderboard_leaves_out_few_labels_where_some_method_had_all() -> None:
    (row,) = board_of({}, {"shots": 8, "value": 0.95}).metrics["auroc"]
    assert row.method.protocol_and_size == "linear"


def test_aims_are_ranked_separately() -> None:
    run = run_of({}, {"aim": "segmentation", "metric": "dice", "value": 0.99, "protocol": "segment"}, masked=9)
    first, second = leaderboards(run)
    assert (first.aim, first.primary, second.aim, second.primary) == ("classification", "auroc", "segmentation", "dice")
    assert [len(board.metrics[board.primary or ""]) for board in (first, second)] == [1, 1]


def test_bias_is_ranked_by_its_distance_from_zero() -> None:
    row = {"aim": "segmentation", "metric": "volume_error_ml"}
    board = board_of(
        {**row, "backbone": "low", "value": -9.0}, {**row, "value": 2.0}, {**row, "backbone": "b", "value": 3.0}
    )
    assert [row.value for row in board.metrics["volume_error_ml"]] == [2, 3, -9]
    axis = axis_for("volume_error_ml", board.metrics["volume_error_ml"])
    assert axis is not None
    assert axis.low <= -9


@pytest.mark.parametrize(
    ("metric", "best"), [("auroc", "high"), ("log_loss", "low"), ("hd95_mm", "low"), ("new", "high")]
)
def test_better_direction_leads(metric: str, best: str) -> None:
    board = board_of(
        {"backbone": "low", "value": 0.2, "metric": metric},
        {"backbone": "high", "value": 0.9, "metric": metric},
        {"backbone": "hollow", "value": NAN, "metric": metric},
    )
    names = [row.method.backbone for row in board.metrics[metric]]
    assert names[0] == best
    assert names[-1] == "hollow"


def test_test_sets_come_before_selection_splits() -> None:
    run = run_of(*({"split": split, "cell": "c"} for split in ("val", "external", "test")))
    assert [board.split for board in leaderboards(run)] == ["test", "external", "val"]
    assert [board.is_selection_split for board in leaderboards(run)] == [False, False, True]


@pytest.mark.parametrize(
    ("split", "why"),
    [
        (
            {"outputs": {"a": {"positive": 9, "negative": 0}, "b": {"positive": 0, "negative": 9}}},
            "every labelled case here is 'a'",
        ),
        ({"labelled": 0}, "no case here is labelled"),
        (
            {"outputs": {"a": {"positive": 0, "negative": 9}, "b": {"positive": 0, "negative": 9}}},
            "no class or finding has both",
        ),
        ({}, "do not determine it"),
    ],
)
def test_undefined_states_its_reason(split: dict[str, Any], why: str) -> None:
    board = board_of({"value": NAN, "ci_low": NAN, "ci_high": NAN, "n_scored": 0}, **split)
    assert why in board.reason(board.metrics["auroc"][0])


def test_mean_over_some_classes_is_marked() -> None:
    board = board_of({"n_undefined": 1})
    assert board.reason(board.metrics["auroc"][0]) == "mean over 1 of 2; 1 undefined"


def test_bars_hold_every_interval_and_the_value_of_guessing() -> None:
    board = board_of({"value": 0.83, "ci_low": 0.61, "ci_high": 0.97})
    axis = axis_for("auroc", board.metrics["auroc"])
    assert axis is not None
    assert axis.low == pytest.approx(0.5)
    assert axis.high == pytest.approx(1.0)
    assert axis.chance == 0
    assert axis.position(0.75) == pytest.approx(50)
    assert axis.position(7) == 100


@pytest.mark.parametrize(("low", "high"), [(-0.4, 0.2), (0.9, 0.9), (3.2, 141.0), (0.0, 1e6)])
def test_bars_of_any_range(low: float, high: float) -> None:
    board = board_of({"metric": "loss", "value": high, "ci_low": low, "ci_high": high})
    axis = axis_for("loss", board.metrics["loss"])
    assert axis is not None
    assert 0 <= axis.position(low) <= axis.position(high) <= 100
    assert 1 <= len(axis.ticks) <= 8


def test_no_bars_without_numbers() -> None:
    assert axis_for("auroc", board_of({"value": NAN, "ci_low": NAN, "ci_high": NAN}).metrics["auroc"]) is None


def test_formatting_of_numbers() -> None:
    assert [shown(x) for x in (0.12345, -0.5, -0.0001, NAN, None)] == ["0.123", "−0.500", "0.000", "—", "—"]
    assert [interval(0.1, 0.2, 1), interval(-0.1, 0.2, 1), interval(NAN, 0.2)] == ["0.1–0.2", "−0.1 to 0.2", "—"]
    assert [counted(1, "case"), counted(1234, "case"), counted(0, "class", "classes")] == [
        "1 case",
        "1,234 cases",
        "0 classes",
    ]
    assert [duration(s) for s in (1.25, 59.6, 61, 3725, NAN)] == [
        "1.2 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 02 min",
        "—",
    ]


def test_findings_use_the_threshold_of_the_metrics() -> None:
    """A finding at exactly 0.5, as a vote of two neighbours gives it, is absent in both."""
    truth, probabilities = (
        np.array([[1.0], [1.0], [0.0], [0.0], [np.nan]]),
        np.array([[0.5], [0.9], [0.5], [0.1], [1.0]]),
    )
    method = Method("k", "lgg", "dino", "knn", None, ())
    record = CellRecord("c", Path("cells"), {})
    predictions = ClassificationPredictions(method, record, ("mass",), truth, probabilities)
    assert decisions(predictions) == [{"name": "mass", "tp": 1, "fn": 1, "fp": 0, "tn": 2}]
    table = score(
        truth, probabilities, list("vwxyz"), task="multilabel", outputs=["mass"], rng=np.random.default_rng(0)
    )
    values = table.set_index("metric")["value"]
    assert (values["sensitivity:mass"], values["specificity:mass"]) == (0.5, 1.0)
