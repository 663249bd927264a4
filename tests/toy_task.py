"""A task that trains in a blink, with all that resuming can get wrong: dropout, buffers, frozen parts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt.training import Task, TrainConfig

FEATURES = 6


class ToyTask(Task):
    """Regression of a line with a small network; counts what it is asked for."""

    def __init__(self, size: int = 23, *, dropout: float = 0.3, frozen: bool = True) -> None:
        torch_rng = torch.Generator().manual_seed(5)
        self.size = size
        self.x = torch.randn(size, FEATURES, generator=torch_rng)
        self.y = self.x.sum(1, keepdim=True).tanh()
        first = nn.Linear(FEATURES, 8)
        self.module = nn.Sequential(first, nn.Dropout(dropout), nn.Tanh(), nn.Linear(8, 1))
        for parameter in self.module.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=torch_rng)
        first.weight.requires_grad_(not frozen)
        self.module.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.losses = 0
        self.largest = 0
        self.before_loss: Callable[[int, Any], None] = lambda count, batch: None

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> dict[str, Any]:
        wiggle = torch.from_numpy((seeds % np.uint64(1000)).astype(np.float32))[:, None] / 1e4
        return {"x": self.x[indices] + wiggle, "y": (self.y[indices],)}

    def loss(self, batch: dict[str, Any], seeds: np.ndarray) -> Tensor:
        self.before_loss(self.losses, batch)
        self.losses += 1
        self.largest = max(self.largest, len(batch["x"]))
        self.module.seen += 1
        return (self.module(batch["x"]) - batch["y"][0]).square().mean()

    def score(self) -> float:
        return -float((self.module(self.x).detach().float() - self.y).square().mean())

    def name(self, index: int) -> str:
        return f"case-{index}"


def config(**options: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 4, "batch": 5, "lr": 0.05, **options})


def weights(task: Task) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in task.module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def records(history: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Comparable: NaN equals NaN."""
    return [tuple("nan" if math.isnan(value) else value for value in entry.values()) for entry in history]
