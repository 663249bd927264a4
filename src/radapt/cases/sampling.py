"""Which slices of cases are seen: bags, evenly spaced ones, and random ones, some of them for what is marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from radapt.cases.reader import CaseReader
from radapt.errors import UsageError


@dataclass(frozen=True)
class Bag:
    """Slices of some cases. S slices of P images of B cases; images stand in the order of cases, then modalities.

    `pixels` uint8 (S, C, H, W); `image` int64 (S,) whose slice it is, `position` float32 (S,) where in its image it
    lies, from 0 to 1 (0.5 of an image with one slice); `case` and `modality` int64 (P,). `origin` int64 (S, 2) is the
    case and the modality of each slice once more, as an array that stays on the host.
    """

    pixels: Tensor
    image: Tensor
    position: Tensor
    case: Tensor
    modality: Tensor
    origin: np.ndarray


def draw_bag(reader: CaseReader, rows: Sequence[int] | np.ndarray, seeds: np.ndarray, most: int | None) -> Bag:
    """A bag of at most `most` slices of each image of the cases at `rows`; a case's draw follows from its seed."""
    pieces: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    owners: list[tuple[int, int]] = []
    for case, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        rng = np.random.default_rng(int(seed))
        for column in reader.columns(int(row)):
            planes = reader.planes(int(row), column)
            chosen = spread(len(planes), most, rng)
            pieces.append(planes[chosen])
            positions.append(place_in_image(chosen, len(planes)))
            owners.append((case, column))
    images_of = np.asarray(owners, dtype=np.int64)
    owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    return Bag(
        torch.from_numpy(np.concatenate(pieces)),
        torch.from_numpy(owner),
        torch.from_numpy(np.concatenate(positions)),
        torch.from_numpy(images_of[:, 0].copy()),
        torch.from_numpy(images_of[:, 1].copy()),
        images_of[owner],
    )


def spread(total: int, most: int | None, rng: np.random.Generator) -> np.ndarray:
    """Indices of at most `most` of `total` slices, rising and spread over the image, each as likely as any other.

    They are `most` steps of total / most from a random start, continued at the beginning past the end, and each moves
    on by up to a step less one slice: so two are never the same. With None, or where there are no more, all.
    """
    if most is None or total <= most:
        return np.arange(total)
    step = total / most
    places = rng.random() * total + np.arange(most) * step + rng.random(most) * (step - 1)
    return np.unique((places % total).astype(np.int64))


def place_in_image(chosen: Any, total: int) -> np.ndarray:
    """float32: where slices lie in an image of `total`, from 0 to 1; 0.5 in an image of one."""
    if total == 1:
        return np.full(len(chosen), 0.5, np.float32)
    return np.asarray(chosen, np.float32) / np.float32(total - 1)


def evenly_spaced(shown: Sequence[np.ndarray], count: int | None) -> np.ndarray:
    """(n,) planes, evenly spaced over those of each axis in `shown`; None takes all.

    Several axes share `count` evenly, at least one plane each. Raises UsageError for a count below 1.
    """
    if count is None:
        return np.concatenate(shown)
    if count < 1:
        raise UsageError(f"A bag of {count} slices: expected at least 1.")
    shares = [max(1, (count + axis) // len(shown)) for axis in reversed(range(len(shown)))]
    return np.concatenate([_even(planes, share) for planes, share in zip(shown, shares, strict=True)])


def random_plane(choices: Sequence[np.ndarray], axis: float, place: float) -> int:
    """A plane from two numbers in [0, 1): each axis of `choices` is as likely, then each of its planes."""
    planes = choices[int(axis * len(choices))]
    return int(planes[int(place * len(planes))])


@dataclass(frozen=True, eq=False)
class SliceIndex:
    """The S slices of some cases: `row` (S,), `plane` (S,), and how many `pixels` each class has (S, K + 1)."""

    row: np.ndarray
    plane: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[int] | np.ndarray, pixels: Callable[[int], np.ndarray]) -> "SliceIndex":
        """All slices of the cases at `rows`, at least one; `pixels` gives (n, K + 1) of a case."""
        counts = [pixels(int(row)) for row in rows]
        slices = [len(case) for case in counts]
        planes = np.concatenate([np.arange(count) for count in slices])
        return cls(np.repeat(np.asarray(rows, np.int64), slices), planes, np.concatenate(counts))

    def __len__(self) -> int:
        return len(self.row)

    @property
    def having(self) -> list[np.ndarray]:
        """Indices of the slices that have each label, for the labels that any slice has."""
        slices = (np.flatnonzero(column) for column in self.pixels[:, 1:].T)
        return [indices for indices in slices if len(indices)]

    def order(self, foreground: float, rng: np.random.Generator) -> np.ndarray:
        """Indices (S,) of one epoch: a permutation, of which a share `foreground` is replaced by slices with a label.

        Those are drawn label by label: first a label, evenly among those there are, then one of its slices. So rare
        labels are seen as often as common ones, as nnU-Net does with a third of its patches. Where every slice has
        every label nothing is replaced.
        """
        order = rng.permutation(len(self))
        having = self.having
        if all(len(slices) == len(self) for slices in having):
            return order
        chosen = np.flatnonzero(rng.random(len(order)) < foreground)
        sizes = np.asarray([len(slices) for slices in having])
        label = rng.integers(len(having), size=len(chosen))
        nth = (rng.random(len(chosen)) * sizes[label]).astype(np.int64)
        order[chosen] = np.concatenate(having)[np.cumsum(sizes)[label] - sizes[label] + nth]
        return order


def _even(planes: np.ndarray, count: int) -> np.ndarray:
    if count >= len(planes):
        return planes
    return planes[((np.arange(count) + 0.5) * len(planes) / count).astype(np.int64)]
