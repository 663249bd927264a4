"""What the student must not see: blocks of patches, whole modalities, and modalities that a crop lacks.

Everything is drawn from a seed per crop, never spread over a batch as DINOv2 does, so that a result does not depend on
how batches are cut.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radapt.errors import UsageError, suggest
from radapt.training.seeds import derived, mixed, uniform

HOW = ("drawn", "one", "none")
How = Literal["drawn", "one", "none"]

SMALLEST_BLOCK = 4  # patches; iBOT (Zhou et al. 2022) and DINOv2
LOWEST_ASPECT = 0.3  # of height to width; the highest is its inverse; iBOT and DINOv2
ROUNDS = 24
"""Blocks tried for one crop; what they leave is filled up."""

LEVELS = 4
"""Different numbers of hidden patches, so that crops share lengths and attention runs in few groups."""

_SEEDS = {name: np.int64(derived("radapt.mmdino.masking", name)) for name in ("blocks", "modalities", "kept", "crops")}
_FILL = 4 * ROUNDS


def block_masks(seeds: np.ndarray, grid: tuple[int, int], counts: np.ndarray) -> np.ndarray:
    """bool (B, h, w) with exactly `counts` (B,) patches of a `grid` (h, w) hidden, from `seeds` uint64 (B,).

    As in iBOT and DINOv2: rectangles of at least 4 patches and at most as many as are left to hide, with an aspect
    ratio from 0.3 to 1 / 0.3, one over the other. What rectangles leave is filled up with patches beside hidden ones.
    Raises UsageError for counts that do not fit the grid.
    """
    counts = np.asarray(counts, np.int64)
    height, width = grid
    if ((counts < 0) | (counts > height * width)).any():
        raise UsageError(
            f"From {counts.min()} to {counts.max()} hidden patches of {height} × {width}: expected 0 to all of them."
        )
    own = mixed(np.asarray(seeds, np.uint64), _SEEDS["blocks"])
    hidden = np.zeros((len(own), height, width), dtype=bool)
    for number in range(ROUNDS):
        open_ = np.flatnonzero(hidden.sum((1, 2)) < counts)
        if not len(open_):
            return hidden
        left = counts[open_] - hidden[open_].sum((1, 2))
        tried = hidden[open_] | _rectangles(own[open_], number, grid, left)
        fits = tried.sum((1, 2)) <= counts[open_]
        hidden[open_[fits]] = tried[fits]
    return _filled(hidden, counts, own)


def hidden_modalities(seeds: np.ndarray, present: np.ndarray, how: How = "drawn") -> np.ndarray:
    """bool (B, M): modalities hidden as a whole, of those `present` (B, M), from `seeds` uint64 (B,).

    drawn: 0 to all but one of them, every number equally likely. one: exactly one where there are two or more, as in
    MM-DINOv2. none: none. A case always keeps one.
    """
    if how not in HOW:
        raise UsageError(f"There is no way to hide modalities called {how!r}. {suggest(str(how), HOW)}")
    own = mixed(np.asarray(seeds, np.uint64), _SEEDS["modalities"])
    there = present.sum(axis=1)
    numbers = {
        "drawn": (uniform(own, 0) * there).astype(np.int64),
        "one": (there >= 2).astype(np.int64),
        "none": np.zeros_like(there),
    }
    return present & (_ranks(own, present) < numbers[how][:, None])


def kept_modalities(seeds: np.ndarray, present: np.ndarray, chance: float) -> np.ndarray:
    """bool (B, M): what is left of the modalities `present` (B, M) when each is dropped with a `chance`.

    Where all would be, one of them stays.
    """
    own = mixed(np.asarray(seeds, np.uint64), _SEEDS["kept"])
    drawn = _numbers(own, present.shape[1])
    kept = present & (drawn >= chance)
    last = present & (_ranks(own, present) == present.sum(axis=1, keepdims=True) - 1)
    return np.where(kept.any(axis=1, keepdims=True), kept, last)


@dataclass(frozen=True)
class Masking:
    """What is hidden in the student's large crops: blocks in a share of them, and whole modalities in another.

    `blocks` is the share of crops with blocks, `ratio` the shares of patches they hide, drawn from the middles of
    `LEVELS` equal parts of this range. Both default to what DINOv2 and MM-DINOv2 do. `modalities` see
    `hidden_modalities`; they are hidden in a share of `whole` crops, drawn apart from that of blocks.
    """

    blocks: float = 0.5
    ratio: tuple[float, float] = (0.1, 0.5)
    modalities: How = "drawn"
    whole: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.blocks <= 1:
            raise UsageError(f"Blocks in a share of {self.blocks} of the crops: expected 0 to 1.")
        if not 0 <= self.whole <= 1:
            raise UsageError(f"Modalities hidden in a share of {self.whole} of the crops: expected 0 to 1.")
        if not 0 <= self.ratio[0] <= self.ratio[1] < 1:
            raise UsageError(f"Blocks that hide {self.ratio} of the patches: expected rising shares from 0, below 1.")
        if self.modalities not in HOW:
            raise UsageError(
                f"There is no way to hide modalities called {self.modalities!r}. {suggest(str(self.modalities), HOW)}"
            )

    def draw(self, seeds: np.ndarray, present: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """bool (B, M, h, w): hidden patches of crops with `present` (B, M) modalities, from `seeds` uint64 (B,).

        The blocks of a crop are the same in all of its modalities, so that no modality gives away what another
        hides. Absent modalities have nothing hidden.
        """
        own = mixed(np.asarray(seeds, np.uint64), _SEEDS["crops"])
        blocks = block_masks(seeds, grid, self._counts(own, grid))
        chosen = np.asarray(uniform(own, 2) < self.whole)
        whole = hidden_modalities(seeds, present, self.modalities) & chosen[:, None]
        return (blocks[:, None] | whole[:, :, None, None]) & present[:, :, None, None]

    def _counts(self, own: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """(B,) patches to hide."""
        level = np.floor(uniform(own, 1) * LEVELS)
        share = self.ratio[0] + (self.ratio[1] - self.ratio[0]) * (level + 0.5) / LEVELS
        patches = grid[0] * grid[1]
        counts = np.minimum(np.rint(share * patches), patches - 1).astype(np.int64)
        return np.where(uniform(own, 0) < self.blocks, counts, 0)


def _rectangles(own: np.ndarray, number: int, grid: tuple[int, int], left: np.ndarray) -> np.ndarray:
    """bool (b, h, w): one rectangle each, of at most about `left` (b,) patches, none where it does not fit the grid."""
    least = np.minimum(SMALLEST_BLOCK, left)
    area = least + (left - least) * uniform(own, 4 * number)
    aspect = np.exp(np.log(LOWEST_ASPECT) * (1 - 2 * uniform(own, 4 * number + 1)))
    sides = np.rint(np.sqrt(np.stack([area * aspect, area / aspect]))).astype(np.int64)  # (2, b)
    size = np.asarray(grid)[:, None]
    fits = (sides >= 1).all(0) & (sides <= size).all(0)
    drawn = np.stack([uniform(own, 4 * number + 2), uniform(own, 4 * number + 3)])
    start = (drawn * (size - sides + 1)).astype(np.int64)
    rows, columns = (
        (np.arange(grid[axis]) >= start[axis][:, None]) & (np.arange(grid[axis]) < (start + sides)[axis][:, None])
        for axis in (0, 1)
    )
    return rows[:, :, None] & columns[:, None, :] & fits[:, None, None]


def _filled(hidden: np.ndarray, counts: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The masks with as many hidden patches as wanted: those with most hidden neighbours first, then at random."""
    batch, height, width = hidden.shape
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1))).astype(np.int64)
    beside = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    drawn = np.stack([uniform(own, _FILL + place) for place in range(height * width)], axis=1)
    # Hidden ones come first, as no free patch has more than four neighbours.
    score = np.where(hidden, 5, beside).reshape(batch, -1) + drawn
    place = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1, kind="stable")
    return (place < counts[:, None]).reshape(hidden.shape)


def _ranks(own: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(B, M): the place of each modality in a random order of those present, from 0; absent ones come last."""
    drawn = np.where(present, _numbers(own, present.shape[1]), 2.0)
    return np.argsort(np.argsort(drawn, axis=1, kind="stable"), axis=1, kind="stable")


def _numbers(own: np.ndarray, count: int) -> np.ndarray:
    """(B, count) in [0, 1), beside the number 0 of each stream."""
    return np.stack([uniform(own, 1 + number) for number in range(count)], axis=1)
