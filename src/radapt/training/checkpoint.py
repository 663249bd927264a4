"""The files from which a killed training resumes: whole or not there, and read without executing anything."""

import dataclasses
import hashlib
import pickle
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from radapt.digests import digest
from radapt.durable import atomic_path
from radapt.training.config import TrainConfig
from radapt.training.state import State, changing, check, restore, unchanging
from radapt.training.task import Task
from radapt.versions import __version__

_FORMAT = 1
_NORM_TOLERANCE = 1e-4  # relative: the order of a sum depends on the number of threads
_BROKEN = (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, pickle.UnpicklingError)


def fit_key(
    *,
    protocol: str,
    options: Mapping[str, Any],
    seed: int,
    precision: str,
    data: Any,
    arrays: Sequence[np.ndarray] = (),
    network: Any = None,
) -> str:
    """Names all that decides a fit, so that a checkpoint of a different one is never resumed: 32 hex digits.

    `options` are the protocol's; `data` names, JSON-like, the bytes that are read and how (keys of the images, digest
    of the recipe); `arrays` are the rows and labels of the cases; `network` is what decides the network beside options
    and data: the identity of a backbone, a plan. The version of radapt is always part of the key.
    """
    numbers = [
        [str(each.dtype), list(each.shape), hashlib.blake2b(np.ascontiguousarray(each).tobytes()).hexdigest()]
        for each in arrays
    ]
    return digest([__version__, protocol, options, seed, precision, data, numbers, network])


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all. Tensors must be contiguous and share no memory."""
    from safetensors.torch import save_file

    with atomic_path(path) as part:
        save_file(dict(tensors), part)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """What `save_tensors` wrote, on the CPU."""
    from safetensors.torch import load_file

    return load_file(path)


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
        """The state to resume from, with the module and the optimiser as they were; `fresh` if there is none.

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
