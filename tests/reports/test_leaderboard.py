"""Who stands where: aggregation over seeds, ranking, undefined numbers, and the sentence that answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.metrics import score
from radapt.reports.bars import axis_for
from radapt.reports.curves import Judged, decisions
from radapt.reports.headline import headline
from radapt.reports.leaderboard import Leaderboard, boards
from radapt.reports.methods import Method, contestants
from radapt.reports.numbers import counted, interval, lasting, shown
from radapt.reports.run_folder import Cell, Run

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
    known = {fact["cell"]: Cell(fact["cell"], Path("cells"), fact, done={}) for fact in facts + (cells or [])}
    cohorts = {"lgg": {"splits": {"test": {**SPLIT_FACTS, **split}}}}
    return Run(Path("run"), {}, {}, tuple(known.values()), cohorts, {}, pd.DataFrame(results))


def board_of(*rows: dict[str, Any], **split: Any) -> Leaderboard:
    return boards(run_of(*rows, **split))[0]


def test_seeds_are_averaged_and_their_spread_is_said_apart() -> None:
    board = board_of(
        {"seed": 0, "value": 0.7, "ci_low": 0.6, "ci_high": 0.8}, {"seed": 1, "value": 0.9, "ci_low": 0.7, "ci_high": 1}
    )
    (standing,) = board.metrics["auroc"]
    assert (standing.value, standing.ci_low, standing.ci_high) == pytest.approx((0.8, 0.65, 0.9))
    assert standing.spread_words == "2 seeds: 0.700 to 0.900, SD 0.141"


def test_repeats_are_called_repeats() -> None:
    (standing,) = board_of({"shots": 4, "repeat": 0}, {"shots": 4, "repeat": 1}).metrics["auroc"]
    assert standing.spread_words.startswith("2 repeats")
    assert standing.contestant.method == "linear, 4 shots"


def test_an_undefined_seed_leaves_no_mean() -> None:
    (standing,) = board_of({"seed": 0, "value": 0.7}, {"seed": 1, "value": NAN}).metrics["auroc"]
    assert standing.value != standing.value
    assert "undefined for 1 of 2 seeds" in standing.spread_words


def test_a_seed_that_is_not_done_is_said() -> None:
    waiting = {"cohort": "lgg", "backbone": "dino", "protocol": "linear", "seed": 1, "cell": "later"}
    run = run_of({"seed": 0, "value": 0.7}, cells=[waiting])
    # Same contestant: what is absent in one cell's facts is None in the other's.
    (standing,) = boards(run)[0].metrics["auroc"]
    assert standing.spread_words == "1 of 2 done"


@pytest.mark.parametrize(
    "difference",
    [{"shots": 8}, {"fraction": 0.1}, {"aim": "segmentation"}, {"backbone": "resnet"}, {"protocol": "knn"}],
)
def test_what_differs_in_more_than_the_seed_is_another_contestant(difference: dict[str, Any]) -> None:
    assert len(contestants(run_of({}, {"seed": 1, **difference}))) == 2


def test_few_labels_do_not_stand_in_the_leaderboard_of_those_with_all() -> None:
    (standing,) = board_of({}, {"shots": 8, "value": 0.95}).metrics["auroc"]
    assert standing.contestant.method == "linear"


def test_few_labels_alone_do_and_the_answer_says_so() -> None:
    found = headline(board_of({"fraction": 0.01, "repeat": 0}, {"fraction": 0.01, "repeat": 1}))
    assert "dino with linear, 1 % of labels is the only one judged" in found.sentence
    assert "It learned from few labels" in found.caution


@pytest.mark.parametrize(("protocol", "words"), [("unet", "unet from scratch"), ("scratch", "scratch")])
def test_networks_without_a_backbone_are_called_from_scratch(protocol: str, words: str) -> None:
    found = headline(board_of({"backbone": "none", "protocol": protocol, "value": 0.9}, {}))
    assert found.sentence.startswith(f"On lgg, {words} is best on test")
    assert found.best is not None
    assert found.best.contestant.backbone == "from scratch"


def test_aims_are_ranked_apart_and_a_mask_does_not_beat_a_class() -> None:
    run = run_of({}, {"aim": "segmentation", "metric": "dice", "value": 0.99, "protocol": "segment"}, masked=9)
    first, second = boards(run)
    assert (first.aim, first.primary, second.aim, second.primary) == ("classification", "auroc", "segmentation", "dice")
    assert [len(board.metrics[board.primary or ""]) for board in (first, second)] == [1, 1]


def test_what_a_segmentation_misses_is_said_beside_its_dice() -> None:
    row = {"aim": "segmentation", "cell": "c"}
    run = run_of(
        {**row, "metric": "dice"},
        {**row, "metric": "missed", "value": 0.25},
        {**row, "metric": "false_alarm", "value": 0},
    )
    found = headline(boards(run)[0])
    assert found.caution == "Where a structure is, it draws nothing of it in 25 % of the cases."


def test_a_bias_is_ranked_by_its_distance_from_nothing() -> None:
    row = {"aim": "segmentation", "metric": "volume_error_ml"}
    board = board_of(
        {**row, "backbone": "low", "value": -9.0}, {**row, "value": 2.0}, {**row, "backbone": "b", "value": 3.0}
    )
    assert [standing.value for standing in board.metrics["volume_error_ml"]] == [2, 3, -9]
    axis = axis_for("volume_error_ml", board.metrics["volume_error_ml"])
    assert axis is not None
    assert axis.low <= -9


@pytest.mark.parametrize(
    ("metric", "best"), [("auroc", "high"), ("log_loss", "low"), ("hd95_mm", "low"), ("new", "high")]
)
def test_the_better_direction_leads(metric: str, best: str) -> None:
    board = board_of(
        {"backbone": "low", "value": 0.2, "metric": metric},
        {"backbone": "high", "value": 0.9, "metric": metric},
        {"backbone": "hollow", "value": NAN, "metric": metric},
    )
    names = [standing.contestant.backbone for standing in board.metrics[metric]]
    assert names[0] == best
    assert names[-1] == "hollow"


def test_test_sets_come_before_the_splits_that_chose() -> None:
    run = run_of(*({"split": split, "cell": "c"} for split in ("val", "external", "test")))
    assert [board.split for board in boards(run)] == ["test", "external", "val"]
    assert [board.choosing for board in boards(run)] == [False, False, True]


def test_headline_of_overlapping_intervals() -> None:
    found = headline(board_of({"value": 0.81, "ci_low": 0.74, "ci_high": 0.87}, {"backbone": "resnet", "value": 0.8}))
    assert found.sentence == (
        "On lgg, dino with linear is best on test: AUROC 0.810 (95 % CI 0.740–0.870), 9 patients; "
        "the interval overlaps with the next, resnet with linear: 0.800 (0.700–0.900)."
    )
    assert not found.caution


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (
            {"value": 0.3, "ci_low": 0.2, "ci_high": 0.4},
            "the interval lies apart from the next, resnet with linear: 0.300",
        ),
        ({"value": 0.8}, "resnet with linear has the same number"),
        ({"value": 0.5, "ci_low": NAN, "ci_high": NAN}, "next is resnet with linear: 0.500"),
    ],
)
def test_headline_says_how_far_the_next_is(second: dict[str, Any], said: str) -> None:
    assert said in headline(board_of({"value": 0.8}, {"backbone": "resnet", **second})).sentence


def test_headline_alone_and_near_guessing() -> None:
    found = headline(board_of({"value": 0.55, "ci_low": 0.4, "ci_high": 0.7}))
    assert "is the only one judged" in found.sentence
    assert "includes 0.5, the value of guessing" in found.caution


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
def test_undefined_says_why(split: dict[str, Any], why: str) -> None:
    board = board_of({"value": NAN, "ci_low": NAN, "ci_high": NAN, "n_scored": 0}, **split)
    assert why in board.reason(board.metrics["auroc"][0])
    assert "AUROC has no value on test: " in headline(board).sentence
    assert why in headline(board).sentence


def test_a_mean_over_some_classes_says_so() -> None:
    board = board_of({"n_undefined": 1})
    assert board.reason(board.metrics["auroc"][0]) == "mean over 1 of 2; 1 undefined"


def test_bars_hold_every_interval_and_the_value_of_guessing() -> None:
    board = board_of({"value": 0.83, "ci_low": 0.61, "ci_high": 0.97})
    axis = axis_for("auroc", board.metrics["auroc"])
    assert axis is not None
    assert axis.low == pytest.approx(0.5)
    assert axis.high == pytest.approx(1.0)
    assert axis.chance == 0
    assert axis.place(0.75) == pytest.approx(50)
    assert axis.place(7) == 100


@pytest.mark.parametrize(("low", "high"), [(-0.4, 0.2), (0.9, 0.9), (3.2, 141.0), (0.0, 1e6)])
def test_bars_of_any_range(low: float, high: float) -> None:
    board = board_of({"metric": "loss", "value": high, "ci_low": low, "ci_high": high})
    axis = axis_for("loss", board.metrics["loss"])
    assert axis is not None
    assert 0 <= axis.place(low) <= axis.place(high) <= 100
    assert 1 <= len(axis.ticks) <= 8


def test_no_bars_without_numbers() -> None:
    assert axis_for("auroc", board_of({"value": NAN, "ci_low": NAN, "ci_high": NAN}).metrics["auroc"]) is None


def test_numbers_in_words() -> None:
    assert [shown(x) for x in (0.12345, -0.5, -0.0001, NAN, None)] == ["0.123", "−0.500", "0.000", "—", "—"]
    assert [interval(0.1, 0.2, 1), interval(-0.1, 0.2, 1), interval(NAN, 0.2)] == ["0.1–0.2", "−0.1 to 0.2", "—"]
    assert [counted(1, "case"), counted(1234, "case"), counted(0, "class", "classes")] == [
        "1 case",
        "1,234 cases",
        "0 classes",
    ]
    assert [lasting(s) for s in (1.25, 59.6, 61, 3725, NAN)] == ["1.2 s", "1 min 00 s", "1 min 01 s", "1 h 02 min", "—"]


def test_findings_are_called_present_as_the_metrics_call_them() -> None:
    """A finding at exactly 0.5, as a vote of two neighbours gives it, is absent in both."""
    truth, probabilities = (
        np.array([[1.0], [1.0], [0.0], [0.0], [np.nan]]),
        np.array([[0.5], [0.9], [0.5], [0.1], [1.0]]),
    )
    one = Method("k", "lgg", "dino", "knn", None, ())
    judged = Judged(one, Cell("c", Path("cells"), {}), ("mass",), truth, probabilities)
    assert decisions(judged) == [{"name": "mass", "tp": 1, "fn": 1, "fp": 0, "tn": 2}]
    table = score(
        truth, probabilities, list("vwxyz"), task="multilabel", outputs=["mass"], rng=np.random.default_rng(0)
    )
    values = table.set_index("metric")["value"]
    assert (values["sensitivity:mass"], values["specificity:mass"]) == (0.5, 1.0)
