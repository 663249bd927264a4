"""How a task is trained: how long, in which batches, with which optimiser, schedule and precision."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from radapt.errors import UsageError, suggest

Optimiser = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "poly", "constant"]
Precision = Literal["float32", "bfloat16"]

_POLY_POWER = 0.9  # Chen et al., DeepLab, 2017; nnU-Net uses the same


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a training but the task and the seed.

    `batch` is the number of samples per step of the optimiser, over all devices: an epoch is cut into the fewest
    batches of at most that many, as equal as can be, so that no sample is left out and none is alone. `accumulate`
    is the number of parts in which a batch goes through the network, with the same gradient and less memory.
    """

    epochs: int
    batch: int
    lr: float  # of the heads; groups may scale it
    steps: int | None = None  # stop, and end the schedule, after so many steps even if epochs are left
    weight_decay: float = 0.05  # MAE and DINOv2 fine-tuning; Steiner et al., How to train your ViT, 2022
    weight_decay_end: float | None = None  # what it changes to, along half a cosine, as in DINO; None: it stays
    optimiser: Optimiser = "adamw"  # Loshchilov and Hutter 2019, with torch's β = (0.9, 0.999)
    momentum: float = 0.9  # of SGD, which is Nesterov's (Sutskever et al. 2013); nnU-Net has 0.99
    warmup: float = 0.1  # share of all steps with a linear rise; MAE fine-tunes with 5 of 50 epochs
    schedule: Schedule = "cosine"  # Loshchilov and Hutter, SGDR, 2017, without restarts
    lr_end: float = 0.0  # the share of the learning rate that cosine and poly go down to
    clip: float | None = 1.0  # norm of the whole gradient, as in DeiT III and most ViT training; None: no clipping
    accumulate: int = 1
    patience: int | None = None  # epochs without a better score on val after which training stops; None: never
    stop_after: int | None = None  # end after so many epochs, in the middle of the schedule, as if it went on
    score_every: int | None = 1  # epochs between scores; None: no score before the last epoch, which always has one
    precision: Precision = "float32"  # of matrix products: bfloat16 is autocast, and weights stay float32

    def __post_init__(self) -> None:
        """Raises UsageError for a value out of its range."""
        whole: dict[str, int | None] = {"epochs": self.epochs, "batch": self.batch, "accumulate": self.accumulate}
        whole |= {"score_every": self.score_every, "steps": self.steps, "patience": self.patience}
        whole["stop_after"] = self.stop_after
        for name, value in whole.items():
            if value is not None and value < 1:
                raise UsageError(f"Training with {name} = {value}: expected a whole number of at least 1.")
        self._check("lr", 0 < self.lr < math.inf, "a positive number")
        self._check("weight_decay", 0 <= self.weight_decay < math.inf, "0 or a positive number")
        end = self.weight_decay_end
        self._check("weight_decay_end", end is None or 0 <= end < math.inf, "0 or a positive number, or none")
        self._check("lr_end", 0 <= self.lr_end <= 1, "a share of the learning rate, from 0 to 1")
        self._check("momentum", 0 <= self.momentum < 1, "a number from 0 to less than 1")
        self._check("warmup", 0 <= self.warmup < 1, "a share of the steps, from 0 to less than 1")
        self._check("clip", self.clip is None or self.clip > 0, "a positive number, or none")
        known = {"optimiser": Optimiser, "schedule": Schedule, "precision": Precision}
        for name, names in known.items():
            if getattr(self, name) not in get_args(names):
                given = getattr(self, name)
                raise UsageError(f"Training with {name} = {given!r}. {suggest(given, get_args(names))}")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise UsageError(f"Training with {name} = {getattr(self, name)}: expected {expected}.")

    def total_steps(self, samples: int) -> int:
        """Steps of the optimiser in the whole training, with so many samples in an epoch."""
        steps = self.epochs * self.epoch_steps(samples)
        return steps if self.steps is None else min(steps, self.steps)

    def epoch_steps(self, samples: int) -> int:
        """Steps of the optimiser in one epoch of so many samples."""
        return -(-samples // self.batch)

    def epochs_at_most(self, samples: int) -> float:
        """Epochs of so many samples in the whole training, a part of one included: fewer where steps are capped."""
        return self.total_steps(samples) / self.epoch_steps(samples) if samples else 0.0

    def lr_factor(self, step: int, total: int) -> float:
        """The share of the learning rate at `step`, from 0 to total − 1.

        Warm-up rises as (step + 1) / (warm-up steps + 1) and reaches 1 where the schedule begins; cosine and poly
        would reach `lr_end` at step `total`, which there is not.
        """
        rise = int(self.warmup * total)
        if step < rise:
            return (step + 1) / (rise + 1)
        share = (step - rise) / max(total - rise, 1)
        if self.schedule == "constant":
            return 1.0
        left = _half_cosine(share) if self.schedule == "cosine" else (1 - share) ** _POLY_POWER
        return self.lr_end + (1 - self.lr_end) * left

    def weight_decay_at(self, step: int, total: int) -> float:
        """The weight decay at `step`, from 0 to total − 1: half a cosine without warm-up, if it changes at all."""
        if self.weight_decay_end is None:
            return self.weight_decay
        return self.weight_decay_end + (self.weight_decay - self.weight_decay_end) * _half_cosine(step / total)


def _half_cosine(share: float) -> float:
    """From 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * share))
