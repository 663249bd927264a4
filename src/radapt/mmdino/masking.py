"""Masking of the student's crops: blocks of patches, whole modalities, and dropped modalities.

Every crop has a seed of its own. DINOv2 distributes masks over a batch instead, so that they depend on its size.
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
"""Blocks tried for a crop; what remains to be masked is filled up."""

LEVELS = 4
"""Number of different mask sizes, so that crops share lengths and attention runs in few groups."""

_SEEDS = {name: np.int64(derived("radapt.mmdino.masking", name)) for name in ("blocks", "modalities", "kept", "crops")}
_FILL = 4 * ROUNDS


def block_masks(seeds: np.ndarray, grid: tuple[int, int], counts: np.ndarray) -> np.ndarray:
    """bool (B, h, w): masks of exactly `counts` (B,) patches of a `grid` (h, w), drawn from `seeds` uint64 (B,).

    As in iBOT and DINOv2: overlapping rectangles of at least 4 patches and at most as many as remain to be masked, with
    an aspect ratio from 0.3 to 1 / 0.3. The rest is filled up with neighbours of masked patches.
    Raises UsageError for counts that do not fit the grid.
    """
    counts = np.asarray(counts, np.int64)
    height, width = grid
    if ((counts < 0) | (counts > height * width)).any():
        raise UsageError(
            f"Masks of {counts.min()} to {counts.max()} patches of {height} × {width}: expected 0 to all of them."
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
    """bool (B, M): modalities masked as a whole, of those `present` (B, M), drawn from `seeds` uint64 (B,).

    `drawn`: 0 to all but one, every number equally likely. `one`: exactly one where there are two or more, as in
    MM-DINOv2. `none`: none. At least one stays visible.
    """
    if how not in HOW:
        raise UsageError(f"There is no way to mask modalities called {how!r}. {suggest(str(how), HOW)}")
    own = mixed(np.asarray(seeds, np.uint64), _SEEDS["modalities"])
    available = present.sum(axis=1)
    numbers = {
        "drawn": (uniform(own, 0) * available).astype(np.int64),
        "one": (available >= 2).astype(np.int64),
        "none": np.zeros_like(available),
    }
    return present & (_ranks(own, present) < numbers[how][:, None])


def kept_modalities(seeds: np.ndarray, present: np.ndarray, chance: float) -> np.ndarray:
    """bool (B, M): the modalities `present` (B, M) that stay when each is dropped with probability `chance`.

    Where all would be dropped, one of them stays.
    """
    own = mixed(np.asarray(seeds, np.uint64), _SEEDS["kept"])
    drawn = _numbers(own, present.shape[1])
    kept = present & (drawn >= chance)
    last = present & (_ranks(own, present) == present.sum(axis=1, keepdims=True) - 1)
    return np.where(kept.any(axis=1, keepdims=True), kept, last)


@dataclass(frozen=True)
class Masking:
    """Draws the masks of the student's large crops: blocks in a share of them, and, independently, whole modalities.

    `blocks` is the share of crops with block masks, `ratio` the range of the share of masked patches, drawn from the
    middles of `LEVELS` equal parts of it. The defaults are those of DINOv2 and MM-DINOv2. `modalities`: see
    `hidden_modalities`; `whole` is the share of crops in which modalities are masked.
    """

    blocks: float = 0.5
    ratio: tuple[float, float] = (0.1, 0.5)
    modalities: How = "drawn"
    whole: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.blocks <= 1:
            raise UsageError(f"Blocks in a share of {self.blocks} of the crops: expected 0 to 1.")
        if not 0 <= self.whole <= 1:
            raise UsageError(f"Modalities masked in a share of {self.whole} of the crops: expected 0 to 1.")
        if not 0 <= self.ratio[0] <= self.ratio[1] < 1:
            raise UsageError(f"Blocks that mask {self.ratio} of the patches: expected rising shares from 0, below 1.")
        if self.modalities not in HOW:
            raise UsageError(
                f"There is no way to mask modalities called {self.modalities!r}. {suggest(str(self.modalities), HOW)}"
            )

    def draw(self, seeds: np.ndarray, present: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """bool (B, M, h, w): masked patches of crops with `present` (B, M) modalities, drawn from `seeds` uint64 (B,).

        The blocks of a crop are the same in all of its modalities, so that no modality shows what is masked in another.
        Absent modalities are not masked.
        """
        own = mixed(np.asarray(seeds, np.uint64), _SEEDS["crops"])
        blocks = block_masks(seeds, grid, self._counts(own, grid))
        chosen = np.asarray(uniform(own, 2) < self.whole)
        whole = hidden_modalities(seeds, present, self.modalities) & chosen[:, None]
        return (blocks[:, None] | whole[:, :, None, None]) & present[:, :, None, None]

    def _counts(self, own: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """(B,) number of patches to mask."""
        level = np.floor(uniform(own, 1) * LEVELS)
        share = self.ratio[0] + (self.ratio[1] - self.ratio[0]) * (level + 0.5) / LEVELS
        patches = grid[0] * grid[1]
        counts = np.minimum(np.rint(share * patches), patches - 1).astype(np.int64)
        return np.where(uniform(own, 0) < self.blocks, counts, 0)


def _rectangles(own: np.ndarray, number: int, grid: tuple[int, int], left: np.ndarray) -> np.ndarray:
    """bool (b, h, w): a rectangle each, of at most about `left` (b,) patches; empty where it does not fit the grid."""
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
    """The masks filled up to `counts`: patches with most masked neighbours first, ties at random."""
    batch, height, width = hidden.shape
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1))).astype(np.int64)
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    drawn = np.stack([uniform(own, _FILL + patch) for patch in range(height * width)], axis=1)
    # Masked patches come first, since no other has more than four neighbours.
    score = np.where(hidden, 5, neighbours).reshape(batch, -1) + drawn
    rank = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1, kind="stable")
    return (rank < counts[:, None]).reshape(hidden.shape)


def _ranks(own: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(B, M): the rank, from 0, of each modality in a random order of those present; absent ones come last."""
    drawn = np.where(present, _numbers(own, present.shape[1]), 2.0)
    return np.argsort(np.argsort(drawn, axis=1, kind="stable"), axis=1, kind="stable")


def _numbers(own: np.ndarray, count: int) -> np.ndarray:
    """(B, count) in [0, 1): numbers 1 to `count` of each stream."""
    return np.stack([uniform(own, 1 + number) for number in range(count)], axis=1)
