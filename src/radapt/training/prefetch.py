"""Prefetching: a thread loads the next batch while the network trains on the current one."""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

Tree = TypeVar("Tree")


class Part(NamedTuple):
    """A micro-batch: the samples at positions start ≤ p < stop in the order of an epoch."""

    epoch: int
    start: int
    stop: int
    indices: np.ndarray
    seeds: np.ndarray

    @property
    def key(self) -> tuple[int, int, int]:
        return self.epoch, self.start, self.stop


class Prefetch:
    """Loads one part ahead. Use it in a `with` block, whose end stops the thread."""

    def __init__(self, load: Callable[[np.ndarray, np.ndarray], Any], device: torch.device) -> None:
        self._load, self._device = load, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="radapt-load")
        self._key: tuple[int, int, int] | None = None
        self._coming: Future[Any] | None = None

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def get(self, part: Part, following: Part | None) -> Any:
        """The batch of a part, on the device; the part that is `following` starts loading."""
        batch = self._take(part).result()
        if following is not None:
            self._key, self._coming = following.key, self._thread.submit(self._read, following)
        return mapped(batch, lambda tensor: tensor.to(self._device, non_blocking=True))

    def _take(self, part: Part) -> "Future[Any]":
        coming, key = self._coming, self._key
        self._coming = self._key = None
        if coming is not None and key == part.key:
            return coming
        if coming is not None:  # memory ran out, and the batch is now split differently
            coming.cancel()
        return self._thread.submit(self._read, part)

    def _read(self, part: Part) -> Any:
        batch = self._load(part.indices, part.seeds)
        return mapped(batch, _pinned) if self._device.type == "cuda" else batch


def with_next(parts: list[Part], after: Part | None = None) -> Iterator[tuple[Part, Part | None]]:
    """Each part with the one that follows it; `after` follows the last one."""
    return ((part, parts[number + 1] if number + 1 < len(parts) else after) for number, part in enumerate(parts))


def cut(part: Part, count: int) -> list[Part]:
    """`count` consecutive parts of nearly equal size."""
    bounds = [number * len(part.indices) // count for number in range(count + 1)]
    return [
        Part(part.epoch, part.start + low, part.start + high, part.indices[low:high], part.seeds[low:high])
        for low, high in pairwise(bounds)
    ]


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor


def mapped(tree: Tree, function: Callable[[Tensor], Tensor]) -> Tree:
    """Apply `function` to every tensor in dicts, lists, tuples and dataclasses; other values stay as they are."""
    result: Any = tree
    if isinstance(tree, Tensor):
        result = function(tree)
    elif isinstance(tree, dict):
        result = {key: mapped(value, function) for key, value in tree.items()}
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        result = type(tree)(*(mapped(value, function) for value in tree))
    elif isinstance(tree, list | tuple):
        result = type(tree)(mapped(value, function) for value in tree)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree) if field.init]
        result = dataclasses.replace(tree, **{name: mapped(getattr(tree, name), function) for name in names})
    return result
