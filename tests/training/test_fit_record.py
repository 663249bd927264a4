"""The record of a fit: a round trip through JSON, undefined numbers included, and what is refused."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from radapt.errors import UsageError
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord, LabelDraw


def full_record() -> FitRecord:
    return FitRecord(
        candidates=(
            Candidate({"lr": 0.1}, {"auroc": math.nan, "log_loss": math.nan}, None, 0, 0, "The loss became nan."),
            Candidate({"lr": 1e-3}, {"auroc": math.nan, "log_loss": np.float64(0.5)}, 3, 5, 40),
        ),
        chosen=1,
        criterion="macro AUROC on val, ties by log-loss",
        cases=FitCases(20, 5, "train", refit=25),
        cost=Cost(10, 100, math.nan, 1.5),
        history=({"epoch": 1, "loss": 0.7, "score": math.nan}, {"epoch": 2, "loss": 0.6, "score": 0.8}),
        notes=("A note.",),
        notes_before_refit=("Another.",),
        details={"plan": {"patch": (32, 32), "longest": None}},
        draw=LabelDraw(4, None, 2, 8, ("Class b has 3 patients only.",)),
    )  # fmt: skip


def through_json(record: FitRecord) -> FitRecord:
    return FitRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))


def test_a_record_comes_back_from_json_as_it_was() -> None:
    record = full_record()
    back = through_json(record)
    assert back.to_json() == record.to_json()
    assert back.winner == back.candidates[1]
    assert (back.winner.options, back.winner.best_epoch, back.winner.diverged) == ({"lr": 1e-3}, 3, None)
    assert back.candidates[0].diverged == "The loss became nan."
    assert (back.cases, back.draw, back.notes) == (record.cases, record.draw, record.notes)
    assert isinstance(back.notes, tuple)
    assert isinstance(back.history, tuple)


def test_undefined_numbers_are_null_in_json_and_nan_again() -> None:
    written = full_record().to_json()
    assert written["candidates"][1]["val"] == {"auroc": None, "log_loss": 0.5}
    assert written["history"][0]["score"] is None
    assert written["cost"]["peak_memory_mb"] is None
    back = through_json(full_record())
    assert math.isnan(back.winner.val["auroc"])
    assert math.isnan(back.history[0]["score"])
    assert math.isnan(back.cost.peak_memory_mb)
    assert back.details["plan"]["longest"] is None, "where None is a value of its own it stays one"


def test_a_record_without_draw_and_training_comes_back() -> None:
    plain = FitRecord(
        candidates=(Candidate({"k": 5}),), chosen=0, criterion="the default", cases=FitCases(3, 0, "none"),
        cost=Cost(0, 0, 0.0, 0.0),
    )  # fmt: skip
    assert through_json(plain) == plain
    assert plain.winner.val == {}


def test_where_nothing_was_chosen_the_record_says_so() -> None:
    record = FitRecord.unchosen({"kind": "centroid"}, train=4, trained=12)
    assert through_json(record) == record
    assert (record.winner.options, record.cases, record.cost.trained) == (
        {"kind": "centroid"},
        FitCases(4, 0, "none"),
        12,
    )


def test_equal_fits_have_equal_records_whatever_they_cost() -> None:
    record = through_json(replace(full_record(), candidates=(Candidate({"lr": 1.0}),), chosen=0, history=()))
    assert replace(record, cost=Cost(10, 100, 3.0, 99.0)) == record
    assert replace(record, criterion="another") != record


@pytest.mark.parametrize("chosen", [-1, 2])
def test_the_choice_is_one_of_the_candidates(chosen: int) -> None:
    with pytest.raises(ValueError, match="none of 2 candidates"):
        replace(full_record(), chosen=chosen)


def test_what_diverged_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="diverged: The loss became nan"):
        replace(full_record(), chosen=0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found.pop("cases"),
        lambda found: found["cases"].update(unknown=1),
        lambda found: found.update(candidates=[]),
        lambda found: found.update(candidates=None),
        lambda found: found["candidates"][0].pop("options"),
        lambda found: found.update(chosen="1"),
        lambda found: found.update(cost=[]),
        lambda found: found.update(history=[1]),
        lambda found: found.update(draw={"shots": 1}),
    ],
)
def test_a_damaged_record_is_refused(spoil: Any) -> None:
    found = full_record().to_json()
    spoil(found)
    with pytest.raises(UsageError, match="no record of a fit"):
        FitRecord.from_json(found)
