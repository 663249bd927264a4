"""A training whose health is lost stops, and goes back to the last state that was good."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.training import Health, TrainResult, train
from toy_task import ToyTask, config, records, same, weights


class Killed(BaseException):
    """Nobody catches it, as nobody catches a signal."""


class Judged(ToyTask):
    """Checked every third step: good until a step, doubtful at one, lost at the next. Remembers its weights then."""

    check_every = 3

    def __init__(self, doubtful: int = 9, *, scores: bool = False) -> None:
        super().__init__()
        self.doubtful, self.scores = doubtful, scores
        self.asked: dict[int, dict[str, Tensor]] = {}
        self.checks = torch.zeros((), dtype=torch.int64)

    def check(self, step: int, total: int) -> Health:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.asked[step] = weights(self)
        self.checks += 1
        numbers = {"spread": 1.0 / (step + 1)}
        if step < self.doubtful:
            return Health(numbers=numbers, warnings=("Small.",))
        stop = "All answers are alike. Use a larger batch." if step >= self.doubtful + 3 else None
        return Health(good=False, stop=stop, numbers=numbers)

    def state(self) -> dict[str, Tensor]:
        return {"checks": self.checks}

    def score(self) -> float:
        return float(len(self.asked)) if self.scores else math.nan


def run(task: ToyTask, path: Path | None = None) -> TrainResult:
    return train(task, config(), seed=3, checkpoint=path, interval_s=0.0)


NOTE = "Training stopped at step 12 of 20, with the state of step 6. All answers are alike. Use a larger batch."


def test_it_stops_and_goes_back_and_says_so() -> None:
    task = Judged()
    result = run(task)
    assert list(task.asked) == [0, 3, 6, 9, 12]
    assert same(weights(task), task.asked[6])
    assert int(task.checks) == 3  # as it was at step 6
    assert not task.module.training
    assert (result.steps, result.epochs, result.good_step) == (12, 3, 6)
    assert result.stopped == "All answers are alike. Use a larger batch."
    assert result.notes == ["Small.", NOTE]
    assert [entry["step"] for entry in result.history] == [5, 10, 12]
    assert result.checks == [{"step": step, "good": step < 9, "spread": 1 / (step + 1)} for step in (0, 3, 6, 9, 12)]


def test_healthy_training_is_what_it_is_without_checks() -> None:
    class Unasked(Judged):
        check_every = None

    task, plain = Judged(doubtful=100), Unasked()
    result, expected = run(task), run(plain)
    assert list(task.asked) == [0, 3, 6, 9, 12, 15, 18, 20]
    assert (result.stopped, result.steps) == (None, 20)
    assert same(weights(task), weights(plain))
    assert records(result.history) == records(expected.history)
    assert expected.checks == []


def test_the_best_on_val_counts_if_it_was_reached_while_all_was_good() -> None:
    """Scores rise: that of epoch 2 (step 10) is best, but from after the last good state of step 6."""
    task = Judged(scores=True)
    seen: list[dict[str, Tensor]] = []
    plain = task.score
    task.score = lambda: seen.append(weights(task)) or plain()  # type: ignore[method-assign, func-returns-value]
    result = run(task)
    assert (result.best_epoch, result.score) == (1, 2.0)
    assert same(weights(task), seen[0])


def test_lost_from_the_start_it_keeps_what_there_is_and_says_so() -> None:
    task = Judged(doubtful=-3)
    result = run(task)
    assert (result.steps, result.epochs, result.history) == (0, 0, [])
    assert result.notes == [
        "Training stopped at step 0 of 20, with the state it is in, as none was good. All answers are alike. "
        "Use a larger batch."
    ]
    assert same(weights(task), weights(Judged()))


def test_lost_at_the_very_end_it_still_goes_back() -> None:
    task = Judged(doubtful=17)
    result = run(task)
    assert (result.steps, result.good_step) == (20, 15)
    assert same(weights(task), task.asked[15])


@pytest.mark.parametrize("count", [2, 7, 9, 10, 11])
def test_killed_on_the_way_it_stops_and_goes_back_all_the_same(tmp_path: Path, count: int) -> None:
    """Also between the last good state and the end: that state is in the checkpoint."""
    undisturbed, task, again = Judged(), Judged(), Judged()
    expected = run(undisturbed)

    def before_loss(done: int, batch: Any) -> None:
        if done == count:
            raise Killed

    task.before_loss = before_loss
    with pytest.raises(Killed):
        run(task, tmp_path / "training.pt")
    result = run(again, tmp_path / "training.pt")
    assert (result.notes, result.stopped, result.good_step) == (expected.notes, expected.stopped, 6)
    assert result.checks == expected.checks
    assert records(result.history) == records(expected.history)
    assert same(weights(again), weights(undisturbed))
    assert int(again.checks) == int(undisturbed.checks)


@pytest.mark.parametrize("scores", [False, True])
def test_a_training_that_was_stopped_stays_stopped(tmp_path: Path, scores: bool) -> None:
    first, again = Judged(scores=scores), Judged(scores=scores)
    expected = run(first, tmp_path / "training.pt")
    result = run(again, tmp_path / "training.pt")
    assert (again.losses, again.asked) == (0, {})
    assert (result.stopped, result.notes, result.good_step) == (expected.stopped, expected.notes, expected.good_step)
    assert same(weights(again), weights(first))
    found = torch.load(tmp_path / "training.pt", weights_only=True)
    assert found["state"]["good"] is None


class Apart(Judged):
    """Can be sent to processes; an error while it is judged comes from the first of them only."""

    broken = False

    def __init__(self) -> None:
        super().__init__()
        self.before_loss = _nothing

    def check(self, step: int, total: int) -> Health:
        if self.broken:
            raise UsageError("The cases that are looked at have no images.")
        return super().check(step, total)


class Broken(Apart):
    broken = True


def _nothing(count: int, batch: Any) -> None:
    pass


@pytest.mark.slow
def test_two_processes_stop_together() -> None:
    one, two = Apart(), Apart()
    expected, result = run(one), train(two, config(), seed=3, devices=2)
    assert (result.stopped, result.steps, result.notes) == (expected.stopped, 12, expected.notes)
    assert int(two.checks) == 3


@pytest.mark.slow
def test_an_error_while_it_is_judged_ends_all_processes() -> None:
    with pytest.raises(UsageError, match="have no images"):
        train(Broken(), config(), seed=3, devices=2)


def test_impossible_wishes_are_refused() -> None:
    task = Judged()
    task.check_every = 0
    with pytest.raises(UsageError, match="check_every = 0"):
        run(task)
    with pytest.raises(ValueError, match="cannot be good"):
        Health(stop="why")
