"""What a task may do around each step, and what of it survives a kill, other processes and the best epoch."""

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.training import Group, TrainConfig, train
from toy_task import ToyTask, config, records, same, weights


class Killed(BaseException):
    """Nobody catches it, as nobody catches a signal."""


class Followed(ToyTask):
    """A teacher in the module that follows the student, and a centre outside it that follows answers."""

    def __init__(self, size: int = 23, **options: Any) -> None:
        super().__init__(size, **options)
        self.student = copy.deepcopy(self.module)
        self.module.add_module("teacher", copy.deepcopy(self.student).requires_grad_(False))
        self.centre = torch.zeros(2, dtype=torch.float64)  # sum and count of answers
        self.answers: list[Tensor] = []
        self.told: list[Any] = []

    def before_step(self, step: int, total: int) -> None:
        self.told.append(("before", step, total))
        self.answers.clear()

    def loss(self, batch: dict[str, Any], seeds: np.ndarray) -> Tensor:
        self.before_loss(self.losses, batch)
        self.losses += 1
        answers = self.module[:4](batch["x"])
        self.told.append("loss")
        self.answers += answers.detach()
        return (answers - batch["y"][0]).square().mean()

    def after_step(self, step: int, total: int) -> None:
        self.told.append(("after", step, total))
        self.centre += torch.stack([torch.stack(self.answers).sum(), torch.tensor(float(len(self.answers)))])
        for name, mine in self.module.teacher.named_parameters():
            mine.data.lerp_(self.module.get_parameter(name).data, 1 / (step + 2))

    def score(self) -> float:
        return -float((self.module[:4](self.x) - self.y).square().mean())

    def state(self) -> dict[str, Tensor]:
        return {"centre": self.centre, **dict(self.module.teacher.named_parameters(prefix="teacher"))}


def everything(task: Followed) -> dict[str, Tensor]:
    return {**weights(task), "centre": task.centre.clone()}


def kept(task: ToyTask, path: Path, made: TrainConfig | None = None) -> Any:
    return train(task, made or config(), seed=3, checkpoint=path, interval_s=0.0)


def test_a_step_is_before_then_losses_then_after() -> None:
    task = Followed()
    train(task, config(epochs=1, accumulate=2), seed=3)
    assert task.told == [
        word for step in range(5) for word in (("before", step, 5), "loss", "loss", ("after", step, 5))
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 7, 19])
def test_killed_anywhere_teacher_and_student_end_as_if_undisturbed(tmp_path: Path, count: int) -> None:
    undisturbed, task, again = Followed(), Followed(), Followed()
    expected = train(undisturbed, config(), seed=3)

    def before_loss(done: int, batch: Any) -> None:
        if done == count:
            raise Killed

    task.before_loss = before_loss
    with pytest.raises(Killed):
        kept(task, tmp_path / "training.pt")
    again.module.teacher[0].weight.data += 1  # whatever changes comes from the checkpoint
    result = kept(again, tmp_path / "training.pt")
    assert (result.notes, again.losses) == ([], 20 - count)
    assert same(everything(again), everything(undisturbed))
    assert records(result.history) == records(expected.history)
    assert not same(weights(again), weights(Followed()))


def test_what_is_frozen_beside_the_teacher_is_still_compared(tmp_path: Path) -> None:
    kept(Followed(), tmp_path / "training.pt", config(epochs=1))
    other = Followed()
    other.module[0].weight.data *= 1.01
    result = kept(other, tmp_path / "training.pt", config(epochs=1))
    assert result.notes == ["training.pt belongs to a different run; training started from the beginning."]


def test_a_checkpoint_without_a_tensor_of_the_task_is_of_another_training(tmp_path: Path) -> None:
    kept(Followed(), tmp_path / "training.pt")

    class More(Followed):
        def state(self) -> dict[str, Tensor]:
            return {**super().state(), "more": torch.zeros(1)}

    assert "a different run" in kept(More(), tmp_path / "training.pt").notes[0]


def test_what_a_failed_attempt_gathered_is_forgotten() -> None:
    """Parts that do not fit in memory, the second of a batch included: centre and teacher as with parts that do."""
    tight, chosen = Followed(24, dropout=0.0), Followed(24, dropout=0.0)
    failed: list[int] = []

    def before_loss(count: int, batch: Any) -> None:
        if count == 3 and not failed:  # the second half of the second batch
            failed.append(count)
            raise torch.OutOfMemoryError("CUDA out of memory.")

    tight.before_loss = before_loss
    result = train(tight, config(batch=8, accumulate=2), seed=3)
    train(chosen, config(batch=8, accumulate=4), seed=3)
    assert result.micro_batch == 2
    assert float(tight.centre[1]) == 4 * 24
    for name, each in everything(tight).items():
        torch.testing.assert_close(each, everything(chosen)[name], rtol=0, atol=1e-5)


def test_the_teacher_of_the_best_epoch_comes_back() -> None:
    class Scripted(Followed):
        seen: list[dict[str, Tensor]]

        def score(self) -> float:
            self.seen = [*getattr(self, "seen", []), everything(self)]
            return [0.1, 0.5, 0.3, 0.4][len(self.seen) - 1]

    task = Scripted()
    assert train(task, config(), seed=3).best_epoch == 2
    assert same(everything(task), task.seen[1])


def test_records_stand_in_the_history() -> None:
    class Recorded(Followed):
        def records(self) -> dict[str, float]:
            mean = float(self.centre[0] / self.centre[1])
            self.centre.zero_()
            return {"answer": mean}

    task = Recorded()
    history = train(task, config(epochs=2), seed=3).history
    assert [list(entry) for entry in history] == [["epoch", "step", "loss", "score", "lr", "answer"]] * 2
    assert history[0]["answer"] != history[1]["answer"]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_what_is_kept_for_a_version_of_the_weights_is_known_to_be_old(optimiser: str) -> None:
    """As the interpolated position embeddings of encoders are, which are asked for again when a network is scored."""
    task = ToyTask()
    versions: list[int] = []
    task.after_step = lambda step, total: versions.append(task.module[3].weight._version)  # type: ignore[method-assign]
    train(task, config(epochs=1, optimiser=optimiser), seed=3)
    assert len(set(versions)) == 5


class Late(ToyTask):
    """The second layer waits for half of the steps; how it stands before every step."""

    def groups(self) -> list[Group]:
        last = self.module[3]
        return [Group([self.module[0].bias]), Group([last.weight], frozen=0.5), Group([last.bias], frozen=0.5)]

    def before_step(self, step: int, total: int) -> None:
        self.seen = [*getattr(self, "seen", []), self.module[3].weight.detach().clone()]

    def after_step(self, step: int, total: int) -> None:
        self.gradients = [*getattr(self, "gradients", []), self.module[3].weight.grad is not None]


def test_a_frozen_beginning_leaves_weights_and_costs_no_gradient() -> None:
    task = Late()
    result = train(task, config(epochs=2, weight_decay=0.5), seed=3)
    assert task.gradients == [False] * 5 + [True] * 5
    assert all(torch.equal(each, task.seen[0]) for each in task.seen[:6])
    assert not torch.equal(task.seen[6], task.seen[0])
    assert result.trained_parameters == 17
    assert task.module[3].weight.requires_grad


def test_a_frozen_beginning_leaves_no_moments_behind() -> None:
    """AdamW's second moment starts with the first gradient: the first step is a whole learning rate long."""
    task = Late(dropout=0.0)
    made = config(epochs=2, weight_decay=0.0, warmup=0.0, clip=None, schedule="constant")
    train(task, made, seed=3)
    torch.testing.assert_close((task.seen[6] - task.seen[5]).abs(), torch.full((1, 8), 0.05), rtol=1e-3, atol=0)


def test_killed_while_something_is_frozen_it_goes_on_exactly(tmp_path: Path) -> None:
    undisturbed, task, again = Late(), Late(), Late()
    train(undisturbed, config(), seed=3)

    def before_loss(done: int, batch: Any) -> None:
        if done == 7:
            raise Killed

    task.before_loss = before_loss
    with pytest.raises(Killed):
        kept(task, tmp_path / "training.pt")
    assert task.module[3].weight.requires_grad
    assert kept(again, tmp_path / "training.pt").notes == []
    assert same(weights(again), weights(undisturbed))


def test_everything_frozen_at_first_is_refused() -> None:
    class Waiting(ToyTask):
        def groups(self) -> list[Group]:
            return [Group(list(self.module.parameters()), frozen=0.1)]

    with pytest.raises(UsageError, match="frozen in the first steps"):
        train(Waiting(), config(), seed=3)
    with pytest.raises(UsageError, match=r"frozen = 1\.5: expected a share"):
        Group([], frozen=1.5)


def test_weight_decay_follows_its_schedule() -> None:
    """Without a gradient AdamW only decays: by (1 − lr · decay) at each step."""

    class Still(ToyTask):
        def loss(self, batch: Any, seeds: np.ndarray) -> Tensor:
            return sum((each * 0).sum() for each in self.module.parameters())  # type: ignore[return-value]

    task = Still(5, frozen=False)
    before = weights(task)
    train(task, config(epochs=4, weight_decay=0.1, weight_decay_end=0.5, schedule="constant", warmup=0.0), seed=3)
    left = 1.0
    for share in (0, 0.25, 0.5, 0.75):
        left *= 1 - 0.05 * (0.5 - 0.4 * 0.5 * (1 + np.cos(np.pi * share)))
    torch.testing.assert_close(weights(task)["3.weight"], before["3.weight"] * left)
    assert torch.equal(weights(task)["3.bias"], before["3.bias"])


def test_the_end_of_the_learning_rate_is_that_of_the_schedule() -> None:
    for schedule in ("cosine", "poly"):
        made = TrainConfig(epochs=1, batch=1, lr=1.0, warmup=0.0, schedule=schedule, lr_end=0.2)
        assert made.lr_factor(0, 10) == 1
        assert made.lr_factor(10, 10) == pytest.approx(0.2)
        plain = TrainConfig(epochs=1, batch=1, lr=1.0, warmup=0.0, schedule=schedule)
        assert made.lr_factor(4, 10) == pytest.approx(0.2 + 0.8 * plain.lr_factor(4, 10))


@pytest.mark.parametrize(("name", "value"), [("weight_decay_end", -1.0), ("lr_end", 1.5), ("lr_end", float("nan"))])
def test_ends_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} = {value}"):
        config(**{name: value})


class Apart(Followed):
    """Sums its centre over processes, and can be sent to them."""

    def __init__(self) -> None:
        super().__init__(9, dropout=0.0)
        self.before_loss = None  # type: ignore[assignment]

    def loss(self, batch: dict[str, Any], seeds: np.ndarray) -> Tensor:
        if os.environ.get("LOCAL_RANK") == "0" and len(batch["x"]) > 2:
            raise torch.OutOfMemoryError("out of memory")
        answers = self.module[:4](batch["x"])
        self.answers += answers.detach()
        return (answers - batch["y"][0]).square().mean()

    def after_step(self, step: int, total: int) -> None:
        before = self.centre.clone()
        super().after_step(step, total)
        if torch.distributed.is_initialized():
            change = self.centre - before
            torch.distributed.all_reduce(change)
            self.centre.copy_(before + change)


@pytest.mark.slow
def test_two_processes_have_the_teacher_and_the_centre_of_one() -> None:
    one, two = Apart(), Apart()
    made = config(batch=9, epochs=6)
    train(one, made, seed=3)
    train(two, made, seed=3, devices=2)
    mine, other = everything(one), everything(two)
    assert max(float((mine[name] - other[name]).abs().max()) for name in mine) < 1e-5
    assert float(two.centre[1]) == 54
    assert not same(dict(nn.Module.state_dict(two.module.teacher)), dict(Apart().module.teacher.state_dict()))
