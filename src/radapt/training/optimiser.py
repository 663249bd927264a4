"""The optimiser of a task: its groups with their rates, decay and frozen beginning, step by step."""

import contextlib
import math
from collections.abc import Iterator

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from radapt.errors import UsageError
from radapt.training.config import TrainConfig
from radapt.training.task import Task

_EPSILON = 1e-9  # a share of the steps is rounded up, but not because of the last bit of a product


def make_optimiser(task: Task, regime: TrainConfig) -> Optimizer:
    """With what sets each group apart beside it. Raises UsageError if everything is frozen at the beginning."""
    given = task.groups()
    if given and all(group.frozen > 0 for group in given):
        raise UsageError("Every group of parameters is frozen at the beginning of the training: nothing would learn.")
    groups = [
        {
            "params": group.parameters,
            "lr": regime.lr * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": regime.weight_decay if group.decay else 0.0,
            "decays": group.decay,
            "frozen": group.frozen,
        }
        for group in given
    ]
    if regime.optimiser == "adamw":
        return AdamW(groups, fused=True)
    return SGD(groups, momentum=regime.momentum, nesterov=regime.momentum > 0, fused=True)


def set_rates(optimiser: Optimizer, regime: TrainConfig, step: int, total: int) -> None:
    """The learning rates and the weight decay of a step, from 0 to total − 1."""
    factor, decay = regime.lr_factor(step, total), regime.weight_decay_at(step, total)
    for group in optimiser.param_groups:
        group["lr"] = regime.lr * factor * group["lr_scale"]
        group["weight_decay"] = decay if group["decays"] else 0.0


@contextlib.contextmanager
def frozen_beginning(optimiser: Optimizer, step: int, total: int) -> Iterator[None]:
    """Without gradients, and without the work for them, for the groups that are still frozen at a step.

    They are left without a gradient, so that the optimiser passes over them: no decay, no moments.
    """
    still = [
        parameter
        for group in optimiser.param_groups
        if step < math.ceil(group["frozen"] * total - _EPSILON)
        for parameter in group["params"]
    ]
    _require(still, False)
    try:
        yield
    finally:
        _require(still, True)


def _require(parameters: list[nn.Parameter], gradient: bool) -> None:
    for each in parameters:
        each.requires_grad_(gradient)
