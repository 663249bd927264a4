"""The one training loop: every network of radapt is trained by `train`."""

import math
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from radapt.devices import pick_device
from radapt.errors import DataError, UsageError
from radapt.progress import ProgressMaker, silent
from radapt.training.ahead import Ahead, Part
from radapt.training.checkpoint import Checkpoint
from radapt.training.groups import count_parameters
from radapt.training.memory import PeakMemory, ran_out, release
from radapt.training.processes import add_up, fail_together, on_several
from radapt.training.regime import Regime
from radapt.training.seeds import derived, sample_seeds
from radapt.training.state import State, copied, restore
from radapt.training.task import Task
from radapt.training.trained import Trained

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_NAMED = 8  # samples that an error message names


def train(
    task: Task,
    regime: Regime,
    *,
    seed: int,
    device: str = "cpu",
    devices: int = 1,
    checkpoint: Path | None = None,
    interval_s: float = 300.0,
    progress: ProgressMaker = silent,
    label: str = "training",
) -> Trained:
    """Train the module of a task, and leave it with the weights that were best on val, on the device, in eval mode.

    Equal seeds give equal weights on one kind of machine. Order, the seeds of samples and torch's own random numbers
    (dropout) are derived from `seed`, epoch and position; the random state of the caller is as before. Cutting
    batches smaller, other numbers of devices and going on after a kill give the same gradients, the last one the
    same bits; only layers that look across samples (BatchNorm) and dropout notice how batches are cut.

    With a path, `checkpoint` is written about every `interval_s` seconds and at the end; a later call goes on from
    it in the middle of an epoch, and does nothing more if training was over. Remove it when it is no longer
    needed. Where memory runs out, the batch goes through in halves of its size (see the notes of the result).

    `devices` > 1 starts so many processes on this machine (GPUs, or on a CPU gloo): the task and `progress` must be
    picklable, and a script needs its `if __name__ == "__main__":`. `batch` stays the number of samples
    over all of them.

    Raises DataError where there are no samples, and where the loss or the gradient is not finite, naming the samples
    of the batch; UsageError where nothing is trained, one sample does not fit in memory, there are fewer devices, or
    the task cannot be sent to processes.
    """
    from radapt.training.fabric import make_fabric

    chosen = torch.device(pick_device(device))
    here = torch.cuda.device_count() if chosen.type == "cuda" else devices
    if not 1 <= devices <= here:
        raise UsageError(f"Training on {devices} devices of type {chosen.type}: expected 1 to {max(here, 1)}.")
    if count_parameters(task.module)[0] == 0:
        raise UsageError("There is nothing to train: no parameter of the module has requires_grad.")
    fabric = make_fabric(chosen, devices, regime.precision)
    given = (task, regime, seed, checkpoint, interval_s, progress, label)
    if devices == 1:
        fabric.launch()
        return _work(fabric, *given)[0]
    task.module.cpu()
    trained, weights = on_several(fabric, _work, *given)
    restore(task.module, weights)
    task.module.to(chosen).eval()
    return trained


def _work(
    fabric: "Fabric",
    task: Task,
    regime: Regime,
    seed: int,
    checkpoint: Path | None,
    interval_s: float,
    progress: ProgressMaker,
    label: str,
) -> tuple[Trained, nn.Module]:
    """What each process does."""
    cuda = [fabric.device.index or 0] if fabric.device.type == "cuda" else []
    with PeakMemory(fabric.device) as memory, torch.random.fork_rng(devices=cuda):
        task.module.to(fabric.device)
        training = _Training(fabric, task, regime, seed, memory)
        first = fabric.global_rank == 0
        file = Checkpoint(checkpoint, interval_s, task.module, regime, seed=seed, samples=task.size)
        training.state = file.read(training.optimiser, training.state)
        with (progress if first else silent)(training.total, label, "steps") as advance:
            advance(training.state.step)
            for _ in training.steps():
                advance(1)
                if first and file.due:
                    file.write(training.optimiser, training.now())
        if not training.was_over:
            training.now()
            if first:
                file.write(training.optimiser, training.state)
    return training.result(), task.module


class _Training:
    """A task on its way, from `state`, which may come from a checkpoint."""

    def __init__(self, fabric: "Fabric", task: Task, regime: Regime, seed: int, memory: PeakMemory) -> None:
        self.fabric, self.task, self.regime, self.seed, self.memory = fabric, task, regime, seed, memory
        self.samples = len(self._order(0))
        if self.samples == 0:
            raise DataError("There is nothing to train on: the task has no samples.")
        self.total = regime.total_steps(self.samples)
        self.optimiser = _optimiser(task, regime)
        self.parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        share = -(-min(regime.batch, self.samples) // fabric.world_size)
        self.state = State(micro_batch=-(-share // regime.accumulate))
        self.was_over = False
        self._start = time.monotonic()

    def steps(self) -> Iterator[None]:
        """Train; yields after every step of the optimiser."""
        self.was_over = self.state.finished
        per_epoch = self.regime.epoch_steps(self.samples)
        with Ahead(self.task.load, self.fabric.device) as ahead:
            while not self.state.finished:
                batches = self._batches(self.state.epoch)
                done = self.state.step - self.state.epoch * per_epoch
                self.task.train_mode()
                for batch, following in _with_next(batches[done : self._last(per_epoch)]):
                    self._step(ahead, batch, following)
                    yield
                self._close_epoch()
        if self.state.best is not None:
            restore(self.task.module, self.state.best)
        self.task.module.eval()

    def now(self) -> State:
        """The state, with the time and the memory up to now."""
        before, self._start = self._start, time.monotonic()
        self.state.seconds += self._start - before
        self.state.peak_memory_mb = max(self.state.peak_memory_mb, self.memory.mb)
        return self.state

    def result(self) -> Trained:
        state = self.state
        trained, parameters = count_parameters(self.task.module)
        return Trained(
            score=state.best_score,
            best_epoch=state.best_epoch,
            epochs=state.epoch,
            steps=state.step,
            history=state.history,
            seconds=state.seconds,
            peak_memory_mb=state.peak_memory_mb,
            trained_parameters=trained,
            parameters=parameters,
            micro_batch=state.micro_batch,
            notes=state.notes,
        )

    def _order(self, epoch: int) -> np.ndarray:
        return np.asarray(self.task.order(np.random.default_rng(derived(self.seed, "order", epoch))))

    def _last(self, per_epoch: int) -> int:
        """Steps of the running epoch: fewer than usual in the last one if steps are capped."""
        return min(per_epoch, self.total - self.state.epoch * per_epoch)

    def _batches(self, epoch: int) -> list[Part]:
        """The batches of an epoch, over all processes."""
        order = self._order(epoch)
        if len(order) != self.samples:
            raise ValueError(f"Task.order gave {self.samples} samples in the first epoch and {len(order)} in another.")
        seeds = sample_seeds(self.seed, epoch, np.arange(len(order)))
        return _cut(Part(epoch, 0, len(order), order, seeds), self.regime.epoch_steps(self.samples))

    def _parts(self, batch: Part) -> list[Part]:
        """This process's share of a batch, in parts of at most `micro_batch` samples."""
        mine = _cut(batch, self.fabric.world_size)[self.fabric.global_rank]
        return _cut(mine, -(-len(mine.indices) // self.state.micro_batch))  # none where there are few samples

    def _step(self, ahead: Ahead, batch: Part, following: Part | None) -> None:
        """One step of the optimiser."""
        factor = self.regime.lr_factor(self.state.step, self.total)
        for group in self.optimiser.param_groups:
            group["lr"] = self.regime.lr * factor * group["lr_scale"]
        loss, failure = 0.0, None
        try:
            loss = self._gradient(ahead, batch, following)
        except Exception as error:
            if self.fabric.world_size == 1:
                raise
            failure = error
        fail_together(self.fabric, failure)
        loss = add_up(self.fabric, self.parameters, loss)
        if self.regime.clip is not None:
            norm = float(nn.utils.clip_grad_norm_(self.parameters, self.regime.clip))
            if not math.isfinite(norm):
                raise self._not_finite("gradient", norm, batch)
        self.optimiser.step()
        self.state.step += 1
        self.state.seen += len(batch.indices)
        self.state.loss_sum += loss * len(batch.indices)

    def _gradient(self, ahead: Ahead, batch: Part, following: Part | None) -> float:
        """Leave this process's share of the gradient of the batch's mean loss; returns its share of the loss."""
        while True:
            parts = self._parts(batch)
            after = None if following is None else next(iter(self._parts(following)), None)
            try:
                return self._accumulate(ahead, parts, after, len(batch.indices))
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
            # Here, and not above, as the error holds on to the tensors of the failed attempt.
            self._halve(max(len(part.indices) for part in parts))

    def _accumulate(self, ahead: Ahead, parts: list[Part], after: Part | None, samples: int) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        for part, following in _with_next(parts, after):
            batch = ahead.get(part, following)
            self._seed_torch("loss", part.epoch, part.start)
            with self.fabric.autocast():
                loss = self.task.loss(batch, part.seeds)
            if loss.ndim:
                raise ValueError(f"Task.loss gave a tensor of shape {tuple(loss.shape)}; expected one number.")
            share = loss.float() * (len(part.indices) / samples)
            self.fabric.backward(share)
            losses.append(share.detach())
            del batch, loss, share
        values = torch.stack(losses).tolist() if losses else []
        for value, part in zip(values, parts, strict=True):
            if not math.isfinite(value):
                raise self._not_finite("loss", value, part)
        return math.fsum(values)

    def _halve(self, size: int) -> None:
        """Take smaller parts from now on. Raises UsageError if they are single samples already."""
        self.optimiser.zero_grad(set_to_none=True)
        release(self.fabric.device)
        if size == 1:
            raise UsageError(
                f"One sample at a time does not fit in the memory of {self.fabric.device}. Use smaller images, a "
                "smaller network, bfloat16, or a method that trains fewer parameters."
            )
        self.state.micro_batch = -(-size // 2)
        self.state.notes.append(f"Parts of {size} samples did not fit in memory: {self.state.micro_batch} at a time.")

    def _not_finite(self, what: str, value: float, part: Part) -> DataError:
        names = list(dict.fromkeys(self.task.name(int(index)) for index in part.indices))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        rate = self.optimiser.param_groups[0]["lr"]
        return DataError(
            f"The {what} became {value} at step {self.state.step + 1} (epoch {self.state.epoch + 1}, learning rate "
            f"{rate:.3g}) with {', '.join(names[:_NAMED])}{more}. Look for values that are not finite in these images, "
            "or train with a smaller learning rate."
        )

    def _close_epoch(self) -> None:
        """Score, keep the best, note the epoch, and decide whether it was the last."""
        state, regime = self.state, self.regime
        state.epoch += 1
        over = state.step >= self.total
        scored = over or state.epoch % regime.score_every == 0
        score = self._score() if scored else math.nan
        if state.improves(score):
            state.best_score, state.best_epoch, state.best = score, state.epoch, copied(self.task.module)
        lr = regime.lr * regime.lr_factor(state.step - 1, self.total)
        loss = state.loss_sum / state.seen
        state.history.append({"epoch": state.epoch, "step": state.step, "loss": loss, "score": score, "lr": lr})
        state.loss_sum, state.seen = 0.0, 0
        state.finished = over or (scored and self._patience_is_over())

    def _patience_is_over(self) -> bool:
        """Never before a first score that is defined: there is nothing to compare with."""
        patience, best = self.regime.patience, self.state.best_epoch
        return patience is not None and best > 0 and self.state.epoch - best >= patience

    def _seed_torch(self, *parts: int | str) -> None:
        """Seed torch on this device only: elsewhere its random state is none of ours."""
        seed = derived(self.seed, *parts)
        torch.default_generator.manual_seed(seed)
        if self.fabric.device.type == "cuda":
            with torch.cuda.device(self.fabric.device):
                torch.cuda.manual_seed(seed)

    def _score(self) -> float:
        """On val, by the first process for all."""
        self.optimiser.zero_grad(set_to_none=True)  # scoring has its own use for the memory
        score, failure = math.nan, None
        if self.fabric.global_rank == 0:
            self.task.module.eval()
            self._seed_torch("score", self.state.epoch)
            try:
                with torch.no_grad(), self.fabric.autocast():
                    score = float(self.task.score())
            except Exception as error:
                if self.fabric.world_size == 1:
                    raise
                failure = error
        fail_together(self.fabric, failure)
        return float(self.fabric.broadcast(score))


def _with_next(parts: list[Part], after: Part | None = None) -> Iterator[tuple[Part, Part | None]]:
    """Each part with the one that follows it; `after` follows the last one."""
    return ((part, parts[number + 1] if number + 1 < len(parts) else after) for number, part in enumerate(parts))


def _cut(part: Part, count: int) -> list[Part]:
    """`count` parts that follow each other, as equal in size as can be."""
    bounds = [number * len(part.indices) // count for number in range(count + 1)]
    return [
        Part(part.epoch, part.start + low, part.start + high, part.indices[low:high], part.seeds[low:high])
        for low, high in pairwise(bounds)
    ]


def _optimiser(task: Task, regime: Regime) -> Optimizer:
    """With the learning rate scale of each group beside it, for the schedule."""
    groups = [
        {
            "params": group.parameters,
            "lr": regime.lr * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": regime.weight_decay if group.decay else 0.0,
        }
        for group in task.groups()
    ]
    if regime.optimiser == "adamw":
        return AdamW(groups, fused=True)
    return SGD(groups, momentum=regime.momentum, nesterov=regime.momentum > 0, fused=True)
