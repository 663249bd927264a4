"""Patch sampling: each patch is drawn from the sample's seed alone, a fraction of them centred inside a label."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from radapt.segmentation.unet.prepared import Prepared
from radapt.training.seeds import uniform

_SLOT = 1 << 20  # after all random slots of the augmentation, which uses the same seeds
_INSIDE, _LABEL, _VOXEL, _CORNER, _LOST = (_SLOT + 16 * number for number in range(5))


def corner(case: Prepared, seed: np.uint64, patch: Sequence[int], inside: float) -> tuple[int, ...]:
    """(1 + dims): the plane (or volume) n of the case and the first voxel of a patch, which may be negative.

    With probability `inside` the patch is centred on a voxel of a label, drawn uniformly from the labels of the case;
    otherwise, and if the case has no label, it is anywhere. It stays inside the image, or is centred on an image that
    is smaller than the patch.
    """
    seeds = np.array([seed], dtype=np.uint64)
    shape = np.array(case.labels.shape)
    sides = np.array([1, *patch])
    if uniform(seeds, _INSIDE)[0] < inside and len(case.places):
        voxel = np.array(np.unravel_index(_place(case.places, seeds), case.labels.shape))
        first = voxel - sides // 2
    else:
        draws = np.array([uniform(seeds, _CORNER + axis)[0] for axis in range(len(sides))])
        first = np.floor(draws * (np.maximum(shape - sides, 0) + 1)).astype(np.int64)
    room = shape - sides
    placed = np.where(room >= 0, np.clip(first, 0, np.maximum(room, 0)), room // 2)
    return tuple(int(n) for n in placed)


def cut(array: np.ndarray, first: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """The patch of (..., *S) at `first`, zeros outside the array."""
    sides = array.shape[array.ndim - len(patch) :]
    low = [max(0, start) for start in first]
    high = [min(side, start + size) for side, start, size in zip(sides, first, patch, strict=True)]
    values = np.zeros((*array.shape[: array.ndim - len(patch)], *patch), dtype=array.dtype)
    # Where patch and array do not meet, both slices are empty.
    to = (slice(a - start, max(a, b) - start) for a, b, start in zip(low, high, first, strict=True))
    taken = (slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    into: tuple[Any, ...] = (..., *to)
    source: tuple[Any, ...] = (..., *taken)
    values[into] = array[source]
    return values


def kept_modalities(present: np.ndarray, seeds: np.ndarray, lost: float) -> np.ndarray:
    """(b, M) bool: modalities of `present` (b, M) after dropout with probability `lost`, never all of a sample."""
    draws = np.stack([uniform(seeds, _LOST + index) for index in range(present.shape[1])], axis=1)
    last = np.where(present, draws, -1).argmax(axis=1)[:, None] == np.arange(present.shape[1])
    return present & ((draws >= lost) | last)


def _place(places: np.ndarray, seeds: np.ndarray) -> int:
    """The flat index of a voxel: a label of the case, then one of its voxels, evenly."""
    labels, starts, counts = np.unique(places[:, 0], return_index=True, return_counts=True)
    label = int(uniform(seeds, _LABEL)[0] * len(labels))
    return int(places[starts[label] + int(uniform(seeds, _VOXEL)[0] * counts[label]), 1])
