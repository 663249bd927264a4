"""A training under way: step by step, epoch by epoch, the same whatever it is cut into."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from radapt.errors import DataError, UsageError
from radapt.training.config import TrainConfig
from radapt.training.early_stopping import patience_is_over
from radapt.training.groups import count_parameters
from radapt.training.health import Health
from radapt.training.memory import PeakMemory, ran_out, release
from radapt.training.optimiser import frozen_beginning, make_optimiser, set_rates
from radapt.training.prefetch import Part, Prefetch, cut, with_next
from radapt.training.processes import add_up, fail_together
from radapt.training.result import DivergedError, TrainResult
from radapt.training.seeds import derived, sample_seeds
from radapt.training.small_convolutions import SmallConvolutions
from radapt.training.state import State, copied, restore
from radapt.training.task import Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Answer = TypeVar("Answer")

_NAMED = 8  # samples that an error message names


class TrainingRun:
    """A task on its way, from `state`, which may come from a checkpoint. Every process has one."""

    def __init__(self, fabric: "Fabric", task: Task, config: TrainConfig, seed: int, memory: PeakMemory) -> None:
        self.fabric, self.task, self.config, self.seed, self.memory = fabric, task, config, seed, memory
        self.samples = len(self._order(0))
        if self.samples == 0:
            raise DataError("There is nothing to train on: the task has no samples.")
        if task.check_every is not None and task.check_every < 1:
            raise UsageError(f"A task with check_every = {task.check_every}: expected a number of steps, or none.")
        self.total = config.total_steps(self.samples)
        self.optimiser = make_optimiser(task, config)
        self.parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        share = -(-min(config.batch, self.samples) // fabric.world_size)
        self.state = State(micro_batch=-(-share // config.accumulate))
        halves = config.precision == "bfloat16" and fabric.device.type == "cpu"
        self.convolutions = SmallConvolutions() if halves else nullcontext()
        self.was_over = False
        self.loss = math.nan
        """Of the last step."""
        self.gradient_norm: float | None = None
        """Of the last step, before it was clipped; None where gradients are not."""
        self._start = time.monotonic()

    def steps(self) -> Iterator[None]:
        """Train; yields after every step of the optimiser."""
        self.was_over = self.state.finished
        per_epoch = self.config.epoch_steps(self.samples)
        with Prefetch(self.task.load, self.fabric.device) as ahead:
            if self.state.step == 0 and not self.state.finished:
                self._check_health()
            while not self.state.finished:
                batches = self._batches(self.state.epoch)
                done = self.state.step - self.state.epoch * per_epoch
                self.task.train_mode()
                for batch, following in with_next(batches[done : self._last(per_epoch)]):
                    self._step(ahead, batch, following)
                    self._check_health()
                    yield
                    if self.state.finished:
                        break
                else:
                    self._close_epoch()
        if self.state.best is not None:
            restore(self.task, self.state.best)
        self.task.module.eval()

    def now(self) -> State:
        """The state, with the time and the memory up to now."""
        before, self._start = self._start, time.monotonic()
        self.state.seconds += self._start - before
        self.state.peak_memory_mb = max(self.state.peak_memory_mb, self.memory.mb)
        return self.state

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return self.config.lr * self.config.lr_factor(self.state.step - 1, self.total)

    def result(self) -> TrainResult:
        state = self.state
        trained, parameters = count_parameters(self.task.module)
        return TrainResult(
            score=state.best_score,
            best_epoch=state.best_epoch or None,
            epochs=state.epoch,
            steps=state.step,
            history=state.history,
            seconds=state.seconds,
            peak_memory_mb=state.peak_memory_mb,
            trained_parameters=trained,
            parameters=parameters,
            micro_batch=state.micro_batch,
            notes=state.notes,
            stopped=state.stopped,
            good_step=state.good_step,
            checks=state.checks,
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
        return cut(Part(epoch, 0, len(order), order, seeds), self.config.epoch_steps(self.samples))

    def _parts(self, batch: Part) -> list[Part]:
        """This process's share of a batch, in parts of at most `micro_batch` samples."""
        mine = cut(batch, self.fabric.world_size)[self.fabric.global_rank]
        return cut(mine, -(-len(mine.indices) // self.state.micro_batch))  # none where there are few samples

    def _step(self, ahead: Prefetch, batch: Part, following: Part | None) -> None:
        """One step of the optimiser."""
        set_rates(self.optimiser, self.config, self.state.step, self.total)
        loss, failure = 0.0, None
        try:
            with frozen_beginning(self.optimiser, self.state.step, self.total):
                loss = self._gradient(ahead, batch, following)
        except Exception as error:
            if self.fabric.world_size == 1:
                raise
            failure = error
        fail_together(self.fabric, failure)
        loss = add_up(self.fabric, self.parameters, loss)
        if self.config.clip is not None:
            norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
            if not math.isfinite(norm):
                raise self._not_finite("gradient", norm, batch)
            self.gradient_norm = norm
        self.optimiser.step()
        # Fused optimisers change weights behind autograd's back, and what is derived from weights and kept, such as
        # position embeddings at another size, would be taken for still true.
        increment_version(self.parameters)
        self.task.after_step(self.state.step, self.total)
        self.loss = loss
        self.state.step += 1
        self.state.seen += len(batch.indices)
        self.state.loss_sum += loss * len(batch.indices)

    def _gradient(self, ahead: Prefetch, batch: Part, following: Part | None) -> float:
        """Leave this process's share of the gradient of the batch's mean loss; returns its share of the loss."""
        while True:
            parts = self._parts(batch)
            after = None if following is None else next(iter(self._parts(following)), None)
            self.task.before_step(self.state.step, self.total)
            try:
                return self._accumulate(ahead, parts, after, len(batch.indices))
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
            # Here, and not above, as the error holds on to the tensors of the failed attempt.
            self._halve(max(len(part.indices) for part in parts))

    def _accumulate(self, ahead: Prefetch, parts: list[Part], after: Part | None, samples: int) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        for part, following in with_next(parts, after):
            batch = ahead.get(part, following)
            self._seed_torch("loss", part.epoch, part.start)
            with self.fabric.autocast(), self.convolutions:
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

    def _not_finite(self, what: str, value: float, part: Part) -> DivergedError:
        names = list(dict.fromkeys(self.task.name(int(index)) for index in part.indices))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        rate = self.optimiser.param_groups[0]["lr"]
        return DivergedError(
            f"The {what} became {value} at step {self.state.step + 1} (epoch {self.state.epoch + 1}, learning rate "
            f"{rate:.3g}) with {', '.join(names[:_NAMED])}{more}. Look for values that are not finite in these images, "
            "or train with a smaller learning rate."
        )

    def _close_epoch(self) -> None:
        """Score, keep the best, note the epoch, and decide whether it was the last."""
        state, config = self.state, self.config
        state.epoch += 1
        over = state.step >= self.total or state.epoch == config.stop_after
        scored = over or (config.score_every is not None and state.epoch % config.score_every == 0)
        score = self._score() if scored else math.nan
        if state.improves(score):
            state.best_score, state.best_epoch, state.best = score, state.epoch, copied(self.task)
        self._note_epoch(score)
        if over or (scored and patience_is_over(self.config.patience, state.epoch, state.best_epoch)):
            state.finished, state.good = True, None

    def _note_epoch(self, score: float) -> None:
        state = self.state
        entry = {
            "epoch": state.epoch,
            "step": state.step,
            "loss": state.loss_sum / state.seen,
            "score": score,
            "lr": self.lr,
        }
        state.history.append(entry | self.task.records())
        state.loss_sum, state.seen = 0.0, 0

    def _check_health(self) -> None:
        """Ask for it where that is due; keep a good state, or stop and go back to one."""
        state, every = self.state, self.task.check_every
        if every is None or not (state.step % every == 0 or state.step == self.total):
            return
        health = self._health()
        state.checks.append({"step": state.step, "good": health.good, **health.numbers})
        for warning in health.warnings:
            state.note(warning)
        if health.good:
            state.keep_good(self.task)
        if health.stop is not None:
            self._stop(health.stop)

    def _stop(self, reason: str) -> None:
        state = self.state
        if state.seen:
            state.epoch += 1
            self._note_epoch(math.nan)
        state.go_back(self.task)
        kept = "the state it is in, as none was good" if state.good is None else f"the state of step {state.good_step}"
        state.note(f"Training stopped at step {state.step} of {self.total}, with {kept}. {reason}")
        state.stopped, state.finished, state.good = reason, True, None

    def _seed_torch(self, *parts: int | str) -> None:
        """Seed torch on this device only: elsewhere its random state is none of ours."""
        seed = derived(self.seed, *parts)
        torch.default_generator.manual_seed(seed)
        if self.fabric.device.type == "cuda":
            with torch.cuda.device(self.fabric.device):
                torch.cuda.manual_seed(seed)

    def _score(self) -> float:
        """On val."""
        return self._asked(lambda: float(self.task.score()), math.nan, "score", self.state.epoch)

    def _health(self) -> Health:
        health = self._asked(lambda: self.task.check(self.state.step, self.total), Health(), "check", self.state.step)
        self.task.train_mode()
        return health

    def _asked(self, question: Callable[[], Answer], otherwise: Answer, *seed: int | str) -> Answer:
        """What the first process answers, for all, without gradients and in eval mode."""
        self.optimiser.zero_grad(set_to_none=True)  # the question has its own use for the memory
        answer, failure = otherwise, None
        if self.fabric.global_rank == 0:
            self.task.module.eval()
            self._seed_torch(*seed)
            try:
                with torch.no_grad(), self.fabric.autocast():
                    answer = question()
            except Exception as error:
                if self.fabric.world_size == 1:
                    raise
                failure = error
        fail_together(self.fabric, failure)
        found: Answer = self.fabric.broadcast(answer)
        return found
