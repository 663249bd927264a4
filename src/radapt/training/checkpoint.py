"""The file from which a killed training goes on: whole or not there, and read without executing anything."""

import dataclasses
import pickle
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from radapt.digests import digest
from radapt.durable import atomic_path
from radapt.training.config import TrainConfig
from radapt.training.state import State, changing, check, restore, unchanging
from radapt.training.task import Task

_FORMAT = 1
_NORM_TOLERANCE = 1e-4  # relative: the order of a sum depends on the number of threads
_BROKEN = (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, pickle.UnpicklingError)


class Checkpoint:
    """Reads and writes one checkpoint file; without a path it does neither.

    It belongs to a regime, a seed, a number of samples and a task's module and own tensors: one of anything else is
    left unused, and
    training starts from the beginning. Frozen weights are not stored, only compared by their norms.
    """

    def __init__(self, path: Path | None, interval_s: float, task: Task, regime: TrainConfig, *, seed: int) -> None:
        self._path, self._interval_s, self._task = path, interval_s, task
        if path is None:
            return
        shapes = {name: list(each.shape) for name, each in changing(task).items()}
        self._key = digest([_FORMAT, dataclasses.asdict(regime), seed, task.size, shapes])
        self._frozen = _norms(task)
        self._written = time.monotonic()

    def read(self, optimiser: Optimizer, fresh: State) -> State:
        """The state to go on from, with the module and the optimiser as they were; `fresh` if there is none.

        A file that is broken or belongs to another training is mentioned in the notes of `fresh`.
        """
        if self._path is None or not self._path.exists():
            return fresh
        try:
            found = torch.load(self._path, map_location="cpu", weights_only=True)
            if found["key"] != self._key or not _alike(found["frozen"], self._frozen):
                fresh.notes.append(f"{self._path.name} is of another training and was not used; started afresh.")
                return fresh
            state = State(**found["state"])
            if "module" in found:
                check(self._task, found["module"])
                optimiser.load_state_dict(found["optimiser"])  # checks, too, before it changes anything
                restore(self._task, found["module"])
        except _BROKEN as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            fresh.notes.append(f"{self._path.name} could not be read ({reason}); started afresh.")
            return fresh
        return state

    @property
    def due(self) -> bool:
        return self._path is not None and time.monotonic() - self._written >= self._interval_s

    def write(self, optimiser: Optimizer, state: State) -> None:
        """Replace the file. Of a finished training it keeps the best weights only."""
        if self._path is None:
            return
        found: dict[str, Any] = {"key": self._key, "frozen": self._frozen, "state": state.plain()}
        if not state.finished or state.best is None:
            found |= {"module": changing(self._task), "optimiser": optimiser.state_dict()}
        with atomic_path(self._path) as part:
            torch.save(found, part)
        self._written = time.monotonic()


def _norms(task: Task) -> Tensor:
    """(n,): the norm of each parameter that training leaves alone."""
    frozen = [each for each in unchanging(task) if each.is_floating_point()]
    if not frozen:
        return torch.zeros(0)
    return torch.stack([each.float().norm() for each in frozen]).cpu()


def _alike(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=_NORM_TOLERANCE)
