"""What training must keep to: gradients do not depend on how batches are cut, errors name cases, the best is kept."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from radapt.errors import DataError, UsageError
from radapt.training import Group, Task, TrainConfig, TrainResult, train
from toy_task import ToyTask, config, records, same, weights


def trained(task: ToyTask, made: TrainConfig, **options: Any) -> TrainResult:
    return train(task, made, **{"seed": 3, **options})


def far(first: ToyTask, second: ToyTask) -> float:
    mine, other = weights(first), weights(second)
    return max(float((mine[name] - other[name]).abs().max()) for name in mine if name != "seen")


def test_it_learns_the_same_with_the_same_seed_and_something_else_with_another() -> None:
    tasks = [ToyTask(), ToyTask(), ToyTask()]
    results = [trained(task, config(epochs=30), seed=seed) for task, seed in zip(tasks, (1, 1, 2), strict=True)]
    assert results[0].score > -0.15 > ToyTask().score()
    assert same(weights(tasks[0]), weights(tasks[1]))
    assert records(results[0].history) == records(results[1].history)
    assert not same(weights(tasks[0]), weights(tasks[2]))


def test_it_is_what_a_plain_loop_in_torch_does() -> None:
    """An oracle by hand: the same batches, AdamW, clipping and schedule."""
    task, by_hand = ToyTask(dropout=0.0), ToyTask(dropout=0.0)
    batches: list[dict[str, Any]] = []
    task.before_loss = lambda count, batch: batches.append(batch)
    made = config(epochs=2, weight_decay=0.0)
    result = trained(task, made)
    optimiser = torch.optim.AdamW([p for p in by_hand.module.parameters() if p.requires_grad], weight_decay=0.0)
    losses = [0.0, 0.0]
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = 0.05 * made.lr_factor(step, 10)
        optimiser.zero_grad()
        loss = by_hand.loss(batch, np.zeros(0))
        loss.backward()
        losses[step // 5] += float(loss.detach()) * len(batch["x"]) / 23
        nn.utils.clip_grad_norm_(by_hand.module.parameters(), 1.0)
        optimiser.step()
    assert far(task, by_hand) < 1e-5
    assert [entry["loss"] for entry in result.history] == pytest.approx(losses, rel=1e-5)


def test_sgd_has_nesterovs_momentum() -> None:
    """A gradient of 1 and momentum 0.9: velocities 1 and 1.9, steps of 1 + 0.9 · 1 and 1 + 0.9 · 1.9."""
    task = ToyTask(frozen=False)
    bias = task.module[3].bias
    before = float(bias.detach())
    task.loss = lambda batch, seeds: bias.sum()  # type: ignore[method-assign]
    options = {"optimiser": "sgd", "warmup": 0.0, "schedule": "constant", "clip": None, "weight_decay": 0.0}
    trained(task, config(epochs=2, batch=23, lr=0.1, score_every=None, steps=2, **options))
    assert before - float(bias.detach()) == pytest.approx(0.1 * (1.9 + 2.71), rel=1e-5)


def test_every_part_of_every_step_has_its_own_order_and_random_numbers() -> None:
    task = ToyTask(24)
    numbers, seen = [], []

    def record(count: int, batch: dict[str, Any]) -> None:
        numbers.append(float(torch.rand(())))
        seen.extend(batch["y"][0][:, 0].tolist())

    task.before_loss = record
    trained(task, config(epochs=2, batch=8, accumulate=2))
    assert len(set(numbers)) == len(numbers) == 2 * 3 * 2
    assert sorted(seen[:24]) == sorted(seen[24:])
    assert seen[:24] != seen[24:]


def test_every_sample_is_seen_once_an_epoch_and_none_is_alone() -> None:
    task = ToyTask(21)
    sizes: list[int] = []
    task.before_loss = lambda count, batch: sizes.append(len(batch["x"]))
    assert trained(task, config(epochs=1)).steps == 5
    assert sorted(sizes) == [4, 4, 4, 4, 5]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("accumulate", [2, 3, 5, 50])
def test_parts_of_a_batch_give_the_gradient_of_the_batch(accumulate: int, optimiser: str) -> None:
    whole, parts = ToyTask(dropout=0.0), ToyTask(dropout=0.0)
    result = trained(whole, config(optimiser=optimiser))
    cut = trained(parts, config(optimiser=optimiser, accumulate=accumulate))
    assert far(whole, parts) < 1e-5
    assert parts.largest == cut.micro_batch < whole.largest == result.micro_batch
    assert [entry["loss"] for entry in cut.history] == pytest.approx(
        [entry["loss"] for entry in result.history], rel=1e-5
    )


def no_memory_for(limit: int) -> Any:
    def before_loss(count: int, batch: dict[str, Any]) -> None:
        if len(batch["x"]) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    return before_loss


def test_running_out_of_memory_gives_what_the_smaller_parts_would_have() -> None:
    """With dropout, whose masks depend on the parts: the failed attempts leave no trace at all."""
    tight, chosen = ToyTask(24), ToyTask(24)
    tight.before_loss = no_memory_for(2)
    result = trained(tight, config(batch=8))
    expected = trained(chosen, config(batch=8, accumulate=4))
    assert same(weights(tight), weights(chosen))
    assert records(result.history) == records(expected.history)
    assert result.micro_batch == expected.micro_batch == 2
    assert result.notes == [
        "Parts of 8 samples did not fit in memory: 4 at a time.",
        "Parts of 4 samples did not fit in memory: 2 at a time.",
    ]


def test_one_sample_that_does_not_fit_is_an_error_with_what_to_do() -> None:
    task = ToyTask()
    task.before_loss = no_memory_for(0)
    with pytest.raises(UsageError, match=r"One sample at a time does not fit in the memory of cpu. Use smaller images"):
        trained(task, config())


def test_other_runtime_errors_are_not_taken_for_memory() -> None:
    task = ToyTask()

    def broken(count: int, batch: Any) -> None:
        raise RuntimeError("shapes do not fit")

    task.before_loss = broken
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        trained(task, config())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_the_cases_of_its_part(value: float) -> None:
    task = ToyTask()
    task.y[7] = value
    before = weights(task)
    with pytest.raises(
        DataError, match=r"The loss became (nan|inf) at step \d \(epoch 1, learning rate 0\.\d+\)"
    ) as caught:
        trained(task, config(batch=23, accumulate=8))
    assert "case-7" in str(caught.value)
    assert str(caught.value).count("case-") <= 3
    assert same({**before, "seen": torch.tensor(0)}, {**weights(task), "seen": torch.tensor(0)})


def test_many_cases_are_named_in_part() -> None:
    task = ToyTask()
    task.y[:] = math.nan
    with pytest.raises(DataError, match=r"(case-\d+, ){7}case-\d+ and 15 more\. Look for"):
        trained(task, config(batch=23))


def test_a_gradient_that_is_not_finite_is_an_error_too() -> None:
    task = ToyTask()

    def corner(batch: Any, seeds: np.ndarray) -> torch.Tensor:
        return (task.module[0].bias * 0).abs().sum().sqrt()  # zero, with an infinite slope

    task.loss = corner  # type: ignore[method-assign]
    with pytest.raises(DataError, match="The gradient became nan at step 1"):
        trained(task, config())


class Scripted(ToyTask):
    """Its scores are given; it remembers the weights it was scored with."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.scores, self.scored_with = list(scores), list[dict[str, torch.Tensor]]()

    def score(self) -> float:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.scored_with.append(weights(self))
        return self.scores[len(self.scored_with) - 1]


def test_the_weights_that_were_best_on_val_come_back() -> None:
    task = Scripted(0.1, 0.5, 0.3, 0.5)
    result = trained(task, config())
    assert (result.score, result.best_epoch, result.epochs) == (0.5, 2, 4)
    assert same(weights(task), task.scored_with[1])
    assert not task.module.training


def test_training_stops_after_epochs_without_improvement() -> None:
    task = Scripted(0.1, 0.5, 0.3, math.nan, 0.5, 0.9)
    result = trained(task, config(epochs=6, patience=3))
    assert (result.epochs, result.steps, result.best_epoch) == (5, 25, 2)


def test_undefined_scores_stop_nothing_and_keep_the_last_weights() -> None:
    task = Scripted(math.nan, math.nan, math.nan)
    result = trained(task, config(epochs=3, patience=1))
    assert (result.epochs, result.best_epoch) == (3, None)
    assert math.isnan(result.score)
    assert same(weights(task), task.scored_with[2])


def test_a_first_defined_score_beats_undefined_ones() -> None:
    assert trained(Scripted(math.nan, -5.0, -6.0), config(epochs=3)).best_epoch == 2


def test_scores_are_asked_for_as_often_as_said_and_at_the_end() -> None:
    result = trained(Scripted(0.1, 0.2, 0.3), config(epochs=5, score_every=2))
    assert [entry["epoch"] for entry in result.history if not math.isnan(entry["score"])] == [2, 4, 5]


def test_a_cap_of_steps_ends_training_in_the_middle_of_an_epoch() -> None:
    result = trained(Scripted(0.1, 0.2), config(steps=7))
    assert (result.steps, result.epochs) == (7, 2)
    assert [entry["step"] for entry in result.history] == [5, 7]


def test_frozen_parameters_do_not_move_and_the_counts_say_so() -> None:
    task = ToyTask()
    before = task.module[0].weight.clone()
    result = trained(task, config())
    assert torch.equal(before, task.module[0].weight)
    assert (result.trained_parameters, result.parameters) == (8 + 9, 48 + 8 + 9)


def test_groups_scale_the_learning_rate() -> None:
    class Half(ToyTask):
        def groups(self) -> list[Group]:
            head = self.module[3]
            return [Group([head.weight], 0.0), Group([head.bias], 1.0, decay=False)]

    task = Half()
    before = weights(task)
    trained(task, config())
    moved = {name for name, each in weights(task).items() if not torch.equal(each, before[name])} - {"seen"}
    assert moved == {"3.bias"}


def test_the_random_state_of_the_caller_stays_as_it_was() -> None:
    first, second = ToyTask(), ToyTask()
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    trained(first, config())
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002
    torch.manual_seed(99)
    trained(second, config())
    assert same(weights(first), weights(second))


def test_bfloat16_runs_matrix_products_in_it_and_keeps_weights() -> None:
    task = ToyTask()
    seen: set[torch.dtype] = set()
    task.module[3].register_forward_hook(lambda module, given, found: seen.add(found.dtype))
    result = trained(task, config(epochs=20, precision="bfloat16"))
    assert seen == {torch.bfloat16}
    assert {each.dtype for each in task.module.parameters()} == {torch.float32}
    assert result.score > ToyTask().score()


def test_the_order_may_repeat_samples() -> None:
    class Repeating(ToyTask):
        def order(self, rng: np.random.Generator) -> np.ndarray:
            return rng.integers(0, 2, 10)

    task = Repeating()
    task.y[2:] = math.nan  # never seen
    task.score = lambda: 0.0  # type: ignore[method-assign]
    assert trained(task, config()).steps == 8


def test_an_epoch_of_another_length_is_refused() -> None:
    class Shrinking(ToyTask):
        def order(self, rng: np.random.Generator) -> np.ndarray:
            return np.arange(rng.integers(5, 20))

    with pytest.raises(ValueError, match=r"Task\.order gave \d+ samples in the first epoch and \d+ in another"):
        trained(Shrinking(), config(epochs=30))


def test_nothing_to_train_or_to_train_on_is_an_error() -> None:
    task = ToyTask()
    task.module.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing to train: no parameter"):
        trained(task, config())
    with pytest.raises(DataError, match="no samples"):
        trained(ToyTask(0), config())


def test_an_error_while_loading_arrives_as_it_is() -> None:
    class Unreadable(ToyTask):
        def load(self, indices: np.ndarray, seeds: np.ndarray) -> dict[str, Any]:
            raise DataError("Image x.png cannot be read.")

    with pytest.raises(DataError, match=r"x\.png cannot be read"):
        trained(Unreadable(), config())


def test_a_loss_per_sample_is_refused() -> None:
    task = ToyTask()
    task.loss = lambda batch, seeds: task.module(batch["x"])  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"Task.loss gave a tensor of shape \([45], 1\)"):
        trained(task, config())


def test_progress_counts_the_steps() -> None:
    from collections.abc import Iterator
    from contextlib import contextmanager

    told: list[Any] = []

    @contextmanager
    def remember(total: int, label: str, unit: str) -> Iterator[Any]:
        told.extend([total, label, unit])
        yield told.append

    trained(ToyTask(), config(epochs=1), progress=remember, label="lora")
    assert told == [5, "lora", "steps", 0, 1, 1, 1, 1, 1]


def test_memory_of_a_large_batch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import mmap
    import threading

    from radapt.training.memory import PeakMemory

    measured, plain = threading.Event(), PeakMemory._measure

    def look(meter: PeakMemory) -> None:
        plain(meter)
        measured.set()

    class Large(ToyTask):
        def loss(self, batch: Any, seeds: np.ndarray) -> torch.Tensor:
            ballast = mmap.mmap(-1, 40 * 2**20)  # straight from the system: the allocator may have some left over
            np.frombuffer(ballast, np.uint8)[:] = 1
            for _ in range(2):  # the first measurement may have begun before the ballast was there
                measured.clear()
                assert measured.wait(60)
            return super().loss(batch, seeds)

    monkeypatch.setattr(PeakMemory, "_measure", look)

    result = train(Large(), config(epochs=1, batch=23), seed=0)
    assert 30 < result.peak_memory_mb < 200


def test_batches_keep_their_shape_of_dict_tuple_list_and_dataclass() -> None:
    from dataclasses import dataclass
    from typing import NamedTuple

    from radapt.training.prefetch import mapped

    @dataclass(frozen=True)
    class Holder:
        tensor: torch.Tensor
        word: str

    class Pair(NamedTuple):
        first: torch.Tensor
        second: int

    one = torch.ones(2)
    tree = {"a": [one, (one, "x")], "b": Holder(one, "y"), "c": Pair(one, 3), "d": None}
    found: Any = mapped(tree, lambda tensor: tensor + 1)
    assert found["a"][0].tolist() == found["a"][1][0].tolist() == found["b"].tensor.tolist() == [2, 2]
    assert found["a"][1][1] == "x"
    assert (found["b"].word, found["c"].second, found["d"]) == ("y", 3, None)
    assert isinstance(found["c"], Pair)


def test_a_task_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Task()  # type: ignore[abstract]
