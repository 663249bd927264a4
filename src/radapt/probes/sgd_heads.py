"""Linear heads trained by stochastic gradient descent, all of a grid in one pass over stored features.

Every head sees the same minibatches in the same order. Heads that read the same columns are one matrix product;
the gradient of a linear head is Xᵀ (p - y), so nothing is recorded for automatic differentiation. The problem is
convex, so all heads start from zero, and only the order of the cases is random.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.probes.linear_models import LinearModels
from radapt.protocols.feature_matrix import FeatureMatrix, Scale, aligned
from radapt.protocols.targets import Targets

MOMENTUM = 0.9
REFERENCE_BATCH = 256
"""Learning rates are for batches of this size and scale with the batch (DINOv2, dinov2/eval/linear.py)."""


@dataclass(frozen=True)
class Schedule:
    """Epochs and batch size; the learning rate falls to zero along half a cosine, step by step."""

    epochs: int = 10
    batch: int = 128

    def order(self, cases: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Positions of each minibatch: every case once an epoch, the last minibatch may be short."""
        for _ in range(self.epochs):
            shuffled = rng.permutation(cases)
            yield from (shuffled[start : start + self.batch] for start in range(0, cases, self.batch))

    def factors(self, cases: int) -> Iterator[float]:
        """The learning-rate factor of each step."""
        steps = self.epochs * math.ceil(cases / self.batch)
        scale = self.batch / REFERENCE_BATCH
        return (scale * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps))


@dataclass(frozen=True)
class Inputs:
    """Heads that read the same `columns` (k,) of the source, one for each of `rates`."""

    columns: np.ndarray
    rates: tuple[float, ...]


class _Group:
    """Weights (k, H, c) and bias (H, c) of one `Inputs`, with the bias as a last row, and their momentum."""

    def __init__(self, inputs: Inputs, width: int, outputs: int) -> None:
        whole = len(inputs.columns) == width and bool((np.diff(inputs.columns) == 1).all())
        self.columns = None if whole else torch.from_numpy(inputs.columns)
        self.weights = torch.zeros(len(inputs.columns) + 1, len(inputs.rates) * outputs)
        self.momentum = torch.zeros_like(self.weights)
        self.rates = torch.tensor(inputs.rates).repeat_interleave(outputs)

    def read(self, batch: Tensor) -> Tensor:
        return batch if self.columns is None else batch.index_select(1, self.columns)

    def step(self, read: Tensor, residual: Tensor, factor: float) -> None:
        """(B, k), (B, H · c)"""
        self.momentum *= MOMENTUM
        self.momentum[:-1].addmm_(read.T, residual)
        self.momentum[-1] += residual.sum(0)
        self.weights -= self.momentum * (self.rates * factor)


def train_heads(
    source: FeatureMatrix,
    rows: np.ndarray,
    targets: Targets,
    inputs: Sequence[Inputs],
    rng: np.random.Generator,
    schedule: Schedule,
) -> LinearModels:
    """Train every head of every group; the models come in the order of groups and their rates.

    Features are standardised by training's mean and deviation, so that one grid of rates means the same for every
    backbone. The loss is averaged over a minibatch's cases and summed over findings, each over its known cases: a
    finding with unknown cases learns more slowly, and never from a few cases as if they were a whole batch. Class
    weights, if any, are those of the training set.
    """
    scale = Scale.fit(source, rows)
    mean, inverse = scale.mean.float(), (1 / scale.deviation).float()
    desired = torch.from_numpy(targets.values).float()
    weights = torch.from_numpy(targets.weights).float()
    c = desired.shape[1]
    groups = [_Group(heads, source.columns, c) for heads in inputs]
    sizes = [group.weights.shape[1] for group in groups]
    for batch, factor in zip(schedule.order(len(rows), rng), schedule.factors(len(rows)), strict=True):
        if c == 0:
            break
        values = (aligned(source.gather(rows[batch])) - mean) * inverse
        read = [group.read(values) for group in groups]
        logits = [torch.addmm(g.weights[-1], x, g.weights[:-1]) for g, x in zip(groups, read, strict=True)]
        residual = _residual(torch.cat(logits, 1), desired[batch], weights[batch], targets.link)
        for group, x, gradient in zip(groups, read, residual.split(sizes, 1), strict=True):
            group.step(x, gradient, factor)
    return _folded(groups, inputs, scale, targets, c)


def _residual(logits: Tensor, desired: Tensor, weights: Tensor, link: str) -> Tensor:
    """Gradient of the mean loss: (B, heads · c), (B, c), (B, c) -> (B, heads · c)."""
    logits = logits.view(len(desired), -1, desired.shape[1])  # (B, heads, c)
    linked = torch.sigmoid(logits) if link == "sigmoid" else torch.softmax(logits, -1)
    residual = (linked - desired[:, None]) * weights[:, None] / len(desired)
    return residual.flatten(1)


def _folded(groups: Sequence[_Group], inputs: Sequence[Inputs], scale: Scale, targets: Targets, c: int) -> LinearModels:
    """All heads over all columns, zero in columns that a head does not read, with standardisation folded in."""
    heads = sum(len(group_inputs.rates) for group_inputs in inputs)
    weights = torch.zeros(len(scale.mean), heads, c, dtype=torch.float64)
    bias = torch.zeros(heads, c, dtype=torch.float64)
    first = 0
    for group, group_inputs in zip(groups, inputs, strict=True):
        own = slice(first, first + len(group_inputs.rates))
        values = group.weights.double().view(len(group_inputs.columns) + 1, len(group_inputs.rates), c)
        weights[torch.from_numpy(group_inputs.columns), own] = values[:-1]
        bias[own] = values[-1]
        first = own.stop
    weights /= scale.deviation[:, None, None]
    bias -= torch.einsum("k,kgc->gc", scale.mean, weights)
    return LinearModels(targets, weights, bias, np.ones(heads, dtype=bool))
