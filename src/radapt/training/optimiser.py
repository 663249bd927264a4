"""The optimiser of a task: parameter groups with their learning rates, weight decay and frozen first steps."""

import contextlib
import math
from collections.abc import Iterator

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from radapt.errors import UsageError
from radapt.training.config import TrainConfig
from radapt.training.task import Task

_EPSILON = 1e-9  # fractions of the steps are rounded up, but not because of float rounding


def make_optimiser(task: Task, config: TrainConfig) -> Optimizer:
    """Each parameter group with its learning-rate scale and weight decay.

    Raises UsageError if every group is frozen in the first steps.
    """
    declared = task.groups()
    if declared and all(group.frozen > 0 for group in declared):
        raise UsageError("Every parameter group is frozen in the first steps of training, so nothing would be trained.")
    groups = [
        {
            "params": group.parameters,
            "lr": config.lr * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": config.weight_decay if group.decay else 0.0,
            "decays": group.decay,
            "frozen": group.frozen,
        }
        for group in declared
    ]
    if config.optimiser == "adamw":
        return AdamW(groups, fused=True)
    return SGD(groups, momentum=config.momentum, nesterov=config.momentum > 0, fused=True)


def set_rates(optimiser: Optimizer, config: TrainConfig, step: int, total: int) -> None:
    """Set the learning rates and the weight decay of a step, from 0 to total − 1."""
    factor, decay = config.lr_factor(step, total), config.weight_decay_at(step, total)
    for group in optimiser.param_groups:
        group["lr"] = config.lr * factor * group["lr_scale"]
        group["weight_decay"] = decay if group["decays"] else 0.0


@contextlib.contextmanager
def frozen_beginning(optimiser: Optimizer, step: int, total: int) -> Iterator[None]:
    """Disable gradients of the groups that are still frozen at a step.

    Their parameters have no gradient, so the optimiser skips them: no weight decay, no moments.
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
    for parameter in parameters:
        parameter.requires_grad_(gradient)
