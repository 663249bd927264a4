"""Answering for a patient: slices of a case through the encoder, and one linear classifier on what they have in mean.

A case is a bag of slices. Its vector is the mean of theirs, so that a linear classifier of the vector answers with the
mean of the slices' logits, whatever it was fitted on. Slices weigh alike, or as a reader finds (see `reading`).
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.multimodal_vit.crops import Crops
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.cases.foreground import around
from radapt.errors import UsageError, counted
from radapt.mmdino.crops import squares, whole
from radapt.mmdino.label_encoding import Kind
from radapt.mmdino.lesion_attention import LesionAttention, Read, boxes_around
from radapt.mmdino.slices import Sample, SliceLoader

SEQUENCES = 32
"""Slices that are encoded at once: on a CPU 8 to 16 images fill it best, and slices of a few modalities are small."""


class CaseQuery(NamedTuple):
    """A case of a feed, as if it had no modalities but these; None: all it has."""

    row: int
    modalities: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class CaseEncoder:
    """How cases are looked at: at most `slices` slices of each, at `size` pixels, and `closer` of them once more."""

    network: MultiModalViT
    reader: LesionAttention
    slices: int
    size: int
    closer: int

    @torch.no_grad()
    def vectors(self, feed: SliceLoader, wishes: Sequence[CaseQuery]) -> np.ndarray:
        """float32 (n, W + L): what the reader makes of each wish, in the mean over its slices, and with L marks the
        logarithms of how much of a plane was marked where it was looked at most closely.

        A vector does not depend on the other wishes. Raises DataError for a case without any of the modalities it
        shall have, and for images that cannot be read.
        """
        was_training, found = (
            self.network.training,
            np.empty((len(wishes), sum(self.reader.blocks.values())), np.float32),
        )
        self.network.eval()
        for group in _groups(range(len(wishes)), max(1, SEQUENCES // self.slices)):
            bags = [feed.bag(wishes[at].row, self.slices, wishes[at].modalities) for at in group]
            found[group] = self._of(bags).cpu().numpy()
        self.network.train(was_training)
        return found

    def _of(self, bags: list[Sample]) -> Tensor:
        """(n, W + L) of the bags of n cases."""
        planes, present, boxes = (
            torch.cat([getattr(bag, name) for bag in bags]) for name in ("planes", "present", "boxes")
        )
        counts = [len(bag.planes) for bag in bags]
        read = self._look(planes, present, boxes)
        if read.marks is None:
            return _means(read.vectors, read.weights, counts)
        if not self.closer:
            amounts = self._amounts(read, planes, boxes)
            return torch.cat([_means(read.vectors, read.weights, counts), _logs(amounts, counts)], dim=1)
        best = [part.topk(min(self.closer, len(part))).indices for part in read.weights.split(counts)]
        first = np.cumsum([0, *counts[:-1]])
        chosen = torch.cat([part + int(start) for part, start in zip(best, first, strict=True)])
        found = boxes_around(read.marks.anything[chosen], squares(boxes.to(chosen.device)[chosen])).cpu()
        again = np.stack([around(box, (planes.shape[-2], planes.shape[-1])) for box in found.numpy()])
        at, close = chosen.cpu(), torch.from_numpy(again).float()
        closer, sizes = self._look(planes[at], present[at], close), [len(part) for part in best]
        near = _means(closer.vectors, read.weights[chosen], sizes)
        return torch.cat([near, _logs(self._amounts(closer, planes, close), sizes)], dim=1)

    def _look(self, planes: Tensor, present: Tensor, boxes: Tensor) -> Read:
        """What is read in the squares around `boxes`."""
        crops = whole(planes.to(self.network.mask_token.device), boxes, self.size)
        none = torch.zeros(*present.shape, *self.network.grid(self.size, self.size), dtype=torch.bool)
        read: Read = self.reader(
            self.network(Crops(crops, present, None, none if self.reader.weight is None else None))
        )
        return read

    def _amounts(self, read: Read, planes: Tensor, boxes: Tensor) -> Tensor:
        """(slices, L): the share of a whole plane that has each mark, from what was read around `boxes`."""
        given = squares(boxes.to(read.vectors.device).float())
        area = (given[:, 2:] - given[:, :2]).prod(1, keepdim=True) / (planes.shape[-2] * planes.shape[-1])
        return read.vectors[:, -self.reader.marks :].exp() * area


def checked_rows(rows: Sequence[int] | np.ndarray, cases: int) -> np.ndarray:
    """int64 (n,): numbers of cases of a cohort of `cases`, in any order, some perhaps repeated.

    Raises UsageError for anything else: numbers out of range, negative ones, floats, and masks of booleans.
    """
    given = np.asarray(rows)
    if not given.size and given.ndim == 1:
        return np.empty(0, np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        kind = f"{given.dtype} of shape {given.shape}"
        fix = " numpy.flatnonzero makes them of a mask." if given.dtype == bool else ""
        raise UsageError(f"rows are {kind}; expected a list of whole numbers of cases, such as [0, 3].{fix}")
    wrong = given[(given < 0) | (given >= cases)]
    if len(wrong):
        raise UsageError(
            f"There is no case {', '.join(map(str, wrong[:5].tolist()))} among the rows of the cohort, which has "
            f"{counted(cases, 'case')}. They are counted from 0{f' to {cases - 1}' if cases else ''}."
        )
    return given.astype(np.int64)


def _logs(amounts: Tensor, counts: list[int]) -> Tensor:
    """(n, L): the logarithms of the mean amounts of `counts` slices each."""
    return _means(amounts, torch.ones_like(amounts[:, 0]), counts).log()


def _means(vectors: Tensor, weights: Tensor, counts: list[int]) -> Tensor:
    """(n, W): weighted means over `counts` vectors each. Double, so that the order of slices costs no digits."""
    parts = zip(vectors.double().split(counts), weights.double().split(counts), strict=True)
    return torch.stack([weight @ vector / weight.sum() for vector, weight in parts])


def subsets_of(names: Sequence[str], most: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """All 2^M − 1 subsets of `names` but the empty one; where these are more than `most`, all names and some drawn."""
    if 2 ** len(names) - 1 <= most:
        return [one for size in range(1, len(names) + 1) for one in itertools.combinations(names, size)]
    drawn = {tuple(names)}
    while len(drawn) < most:
        size = int(rng.integers(1, len(names)))
        chosen = set(rng.choice(len(names), size, replace=False).tolist())
        drawn.add(tuple(name for place, name in enumerate(names) if place in chosen))
    return sorted(drawn, key=lambda one: (len(one), one))


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Probabilities from vectors: logits = vectors · weightᵀ + bias, a softmax of classes, a sigmoid per finding.

    `prior` (outputs,) is the answer for who has no image at all: the frequencies of training.
    """

    kind: Kind
    weight: np.ndarray  # (outputs, D) float64
    bias: np.ndarray  # (outputs,) float64
    prior: np.ndarray  # (outputs,) float64

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """float64 (n, outputs) of vectors (n, D)."""
        logits = torch.from_numpy(vectors.astype(np.float64) @ self.weight.T + self.bias)
        return (torch.softmax(logits, dim=1) if self.kind == "classes" else torch.sigmoid(logits)).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers, as they are kept in a file."""
        return {name: torch.from_numpy(getattr(self, name)) for name in ("weight", "bias", "prior")}

    def shifted(self, by: np.ndarray) -> "LinearClassifier":
        """With `by` (outputs,) added to the logits."""
        return replace(self, bias=self.bias + by)


def _groups(items: Collection[int], size: int) -> Iterator[list[int]]:
    rest = iter(items)
    while group := list(itertools.islice(rest, size)):
        yield group
