"""Checkpoint files, from which an interrupted run resumes: written atomically, and read without executing code."""

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
_NORM_TOLERANCE = 1e-4  # relative: the order of summation depends on the number of threads
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
    """Key of everything that decides a fit, so that a checkpoint of a different run is never resumed: 32 hex digits.

    `options` are those of the protocol. `data` (JSON-like) identifies the input bytes and how they are read: keys of
    the images, digest of the recipe. `arrays` are the rows and labels of the cases. `network` is whatever else
    decides the network: the identity of a backbone, a plan. The version of radapt is always part of the key.
    """
    numbers = [
        [str(array.dtype), list(array.shape), hashlib.blake2b(np.ascontiguousarray(array).tobytes()).hexdigest()]
        for array in arrays
    ]
    return digest([__version__, protocol, options, seed, precision, data, numbers, network])


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file atomically. Tensors must be contiguous and share no memory."""
    from safetensors.torch import save_file

    with atomic_path(path) as part:
        save_file(dict(tensors), part)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """What `save_tensors` wrote, on the CPU."""
    from safetensors.torch import load_file

    return load_file(path)


class Checkpoint:
    """Reads and writes one checkpoint file; without a path it does neither.

    A checkpoint belongs to one `TrainConfig`, seed, number of samples and set of trained tensors. A checkpoint of
    anything else is ignored, and training starts from the beginning. Frozen weights are not stored; their norms are
    compared.
    """

    def __init__(self, path: Path | None, interval_s: float, task: Task, config: TrainConfig, *, seed: int) -> None:
        self._path, self._interval_s, self._task = path, interval_s, task
        if path is None:
            return
        shapes = {name: list(tensor.shape) for name, tensor in changing(task).items()}
        self._key = digest([_FORMAT, dataclasses.asdict(config), seed, task.size, shapes])
        self._frozen = _norms(task)
        self._written = time.monotonic()

    def read(self, optimiser: Optimizer, fresh: State) -> State:
        """The state to resume from, with the module and the optimiser as they were; `fresh` if there is none.

        A file that is damaged or belongs to a different run is mentioned in the notes of `fresh`.
        """
        if self._path is None or not self._path.exists():
            return fresh
        try:
            stored = torch.load(self._path, map_location="cpu", weights_only=True)
            if stored["key"] != self._key or not _alike(stored["frozen"], self._frozen):
                fresh.notes.append(
                    f"{self._path.name} belongs to a different run; training started from the beginning."
                )
                return fresh
            state = State(**stored["state"])
            if "module" in stored:
                check(self._task, stored["module"])
                optimiser.load_state_dict(stored["optimiser"])  # also checks, before it changes anything
                restore(self._task, stored["module"])
        except _BROKEN as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            fresh.notes.append(f"{self._path.name} could not be read ({reason}); training started from the beginning.")
            return fresh
        return state

    @property
    def due(self) -> bool:
        return self._path is not None and time.monotonic() - self._written >= self._interval_s

    def write(self, optimiser: Optimizer, state: State) -> None:
        """Replace the file. A finished run keeps its best weights only."""
        if self._path is None:
            return
        stored: dict[str, Any] = {"key": self._key, "frozen": self._frozen, "state": state.plain()}
        if not state.finished or state.best is None:
            stored |= {"module": changing(self._task), "optimiser": optimiser.state_dict()}
        with atomic_path(self._path) as part:
            torch.save(stored, part)
        self._written = time.monotonic()


def _norms(task: Task) -> Tensor:
    """(n,): the norm of each frozen parameter."""
    frozen = [parameter for parameter in unchanging(task) if parameter.is_floating_point()]
    if not frozen:
        return torch.zeros(0)
    return torch.stack([parameter.float().norm() for parameter in frozen]).cpu()


def _alike(stored: Tensor, expected: Tensor) -> bool:
    return stored.shape == expected.shape and torch.allclose(stored, expected, rtol=_NORM_TOLERANCE)
