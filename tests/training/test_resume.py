"""A training that was killed goes on as if nothing had happened, bit for bit."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from radapt.training import TrainConfig, TrainResult, train
from radapt.training.state import State, trained_tensors
from toy_task import ToyTask, config, records, same, weights


class Killed(BaseException):
    """Nobody catches it, as nobody catches a signal."""


def killed_at(count: int) -> Any:
    def before_loss(done: int, batch: Any) -> None:
        if done == count:
            raise Killed

    return before_loss


def kept(task: ToyTask, made: TrainConfig, path: Path, **options: Any) -> TrainResult:
    """Trained with a checkpoint after every step."""
    return train(task, made, **{"seed": 3, "checkpoint": path, "interval_s": 0.0, **options})


def killed(path: Path, made: TrainConfig, count: int) -> None:
    task = ToyTask()
    task.before_loss = killed_at(count)
    with pytest.raises(Killed):
        kept(task, made, path)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("count", [1, 4, 5, 7, 10, 19])
def test_killed_anywhere_it_ends_as_if_undisturbed(tmp_path: Path, count: int, optimiser: str) -> None:
    """In the middle of an epoch, just before one ends and just after; dropout, buffers and frozen parts included."""
    made = config(optimiser=optimiser, accumulate=1)
    undisturbed = ToyTask()
    expected = train(undisturbed, made, seed=3)
    killed(tmp_path / "training.pt", made, count)
    again = ToyTask()
    again.module[0].bias.data += 1  # whatever is trained comes from the checkpoint
    result = kept(again, made, tmp_path / "training.pt")
    assert again.losses == 20 - count
    assert same(weights(again), weights(undisturbed))
    assert records(result.history) == records(expected.history)
    assert (result.score, result.best_epoch, result.notes) == (expected.score, expected.best_epoch, [])


def test_killed_while_scoring_it_scores_again(tmp_path: Path) -> None:
    class Falls(ToyTask):
        def score(self) -> float:
            raise Killed

    with pytest.raises(Killed):
        kept(Falls(), config(), tmp_path / "training.pt")
    undisturbed, again = ToyTask(), ToyTask()
    expected = train(undisturbed, config(), seed=3)
    assert records(kept(again, config(), tmp_path / "training.pt").history) == records(expected.history)
    assert same(weights(again), weights(undisturbed))


def test_parts_that_fitted_in_memory_are_remembered(tmp_path: Path) -> None:
    def before_loss(count: int, batch: Any) -> None:
        if len(batch["x"]) > 3:
            raise torch.OutOfMemoryError("out of memory")
        if count == 5:
            raise Killed

    task, again, undisturbed = ToyTask(24), ToyTask(24), ToyTask(24)
    task.before_loss = before_loss
    with pytest.raises(Killed):
        kept(task, config(batch=6), tmp_path / "training.pt")
    expected = train(undisturbed, config(batch=6, accumulate=2), seed=3)
    result = kept(again, config(batch=6), tmp_path / "training.pt")
    assert again.largest == result.micro_batch == expected.micro_batch == 3
    assert same(weights(again), weights(undisturbed))


@pytest.mark.parametrize("scores", [[0.5, 0.1, 0.2, 0.3], [math.nan] * 4])
def test_a_training_that_was_over_does_nothing_more(tmp_path: Path, scores: list[float]) -> None:
    class Scripted(ToyTask):
        def score(self) -> float:
            return scores[int(self.module.seen) // 5 - 1]

    first, again = Scripted(), Scripted()
    expected = kept(first, config(), tmp_path / "training.pt")
    written = (tmp_path / "training.pt").stat().st_mtime_ns
    result = kept(again, config(), tmp_path / "training.pt")
    assert again.losses == 0
    assert (tmp_path / "training.pt").stat().st_mtime_ns == written
    assert same(weights(again), weights(first))
    assert records(result.history) == records(expected.history)
    assert (result.seconds, result.peak_memory_mb, result.steps) == (expected.seconds, expected.peak_memory_mb, 20)


def test_time_of_all_runs_counts(tmp_path: Path) -> None:
    task = ToyTask()
    import time

    task.before_loss = lambda count, batch: time.sleep(0.02) if count < 8 else killed_at(8)(count, batch)
    with pytest.raises(Killed):
        kept(task, config(), tmp_path / "training.pt")
    assert kept(ToyTask(), config(), tmp_path / "training.pt").seconds > 0.16


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a checkpoint"),
        lambda path: path.write_bytes(path.read_bytes()[:-400]),
        lambda path: torch.save({"key": "x"}, path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({**torch.load(path), "module": {}}, path),
        lambda path: torch.save({**torch.load(path), "optimiser": {"state": {}, "param_groups": []}}, path),
        lambda path: torch.save({**torch.load(path), "state": {"tea": 1}}, path),
    ],
)
def test_a_damaged_checkpoint_is_mentioned_and_training_starts_afresh(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "training.pt"
    killed(path, config(), 7)
    damage(path)
    undisturbed, again = ToyTask(), ToyTask()
    train(undisturbed, config(), seed=3)
    result = kept(again, config(), path)
    assert len(result.notes) == 1
    assert "training.pt" in result.notes[0]
    assert "started from the beginning" in result.notes[0]
    assert same(weights(again), weights(undisturbed))


def test_a_checkpoint_that_would_execute_something_is_not_read(tmp_path: Path) -> None:
    import os

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'executed'}",)

    torch.save({"key": Evil()}, tmp_path / "training.pt")
    result = kept(ToyTask(), config(), tmp_path / "training.pt")
    assert "could not be read" in result.notes[0]
    assert not (tmp_path / "executed").exists()


def other_frozen() -> ToyTask:
    task = ToyTask()
    task.module[0].weight.data *= 1.01
    return task


@pytest.mark.parametrize(
    ("task", "made", "seed"),
    [
        (ToyTask(), config(), 4),
        (ToyTask(), config(lr=0.06), 3),
        (ToyTask(24), config(), 3),
        (ToyTask(frozen=False), config(), 3),
        (other_frozen(), config(), 3),
    ],
    ids=["seed", "config", "samples", "trained parts", "frozen weights"],
)
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, task: ToyTask, made: TrainConfig, seed: int
) -> None:
    killed(tmp_path / "training.pt", config(), 7)
    result = kept(task, made, tmp_path / "training.pt", seed=seed)
    assert result.notes == ["training.pt belongs to a different run; training started from the beginning."]
    assert task.losses >= 20


def test_between_two_writes_lies_the_interval(tmp_path: Path) -> None:
    task = ToyTask()
    task.before_loss = killed_at(19)
    with pytest.raises(Killed):
        kept(task, config(), tmp_path / "training.pt", interval_s=60.0)
    assert not (tmp_path / "training.pt").exists()


def test_the_file_holds_no_frozen_weights_and_nothing_but_plain_values(tmp_path: Path) -> None:
    killed(tmp_path / "training.pt", config(), 7)
    found = torch.load(tmp_path / "training.pt", weights_only=True)
    assert found["module"].keys() == {"0.bias", "3.weight", "3.bias", "seen"} == found["state"]["best"].keys()
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]


def test_a_state_is_what_its_fields_are() -> None:
    state = State(micro_batch=3, notes=["x"])
    assert State(**state.plain()) == state


def test_shared_parameters_that_are_frozen_are_under_none_of_their_names() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    module.append(module[0])
    module[0].requires_grad_(False)
    names = {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert trained_tensors(module).keys() == names
