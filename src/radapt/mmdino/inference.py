"""Prediction for a patient: the slices of a case through the encoder, and one linear classifier on their mean vector.

A case is a bag of slices. Its vector is the mean of theirs, so that the logits of a linear classifier are the mean of
the slices' logits. Slices have equal weights, or the weights of the lesion attention.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.multimodal_vit.inputs import Crops
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.errors import UsageError, counted
from radapt.images.foreground import around
from radapt.mmdino.crops import squares, whole
from radapt.mmdino.label_encoding import Kind
from radapt.mmdino.lesion_attention import LesionAttention, SliceVectors, boxes_around
from radapt.mmdino.slices import Sample, SliceLoader
from radapt.protocols.row_products import row_products

SEQUENCES = 32
"""Slices that are encoded at once. A CPU is fastest with 8 to 16 images, and slices of a few modalities are small."""


class CaseQuery(NamedTuple):
    """A case of a loader, by its row, and the modalities to use; None: all that it has."""

    row: int
    modalities: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class CaseEncoder:
    """Encodes at most `slices` slices of a case at `size` pixels, and `zoom_slices` of them a second time, zoomed
    in."""

    network: MultiModalViT
    reader: LesionAttention
    slices: int
    size: int
    zoom_slices: int

    @torch.no_grad()
    def vectors(self, loader: SliceLoader, queries: Sequence[CaseQuery], *, together: bool = False) -> np.ndarray:
        """float32 (n, W + L): for each query the weighted mean of its slices' vectors, and with L lesion labels the
        logarithm of each label's predicted share of a slice, from the pass that was zoomed in furthest.

        A vector does not depend on the other queries, but for its last bits where small cases are encoded `together`,
        which is faster. Raises DataError for a case without any of the modalities of its
        query, and for images that cannot be read.
        """
        was_training = self.network.training
        vectors = np.empty((len(queries), sum(self.reader.blocks.values())), np.float32)
        self.network.eval()
        for group in _groups(range(len(queries)), max(1, SEQUENCES // self.slices) if together else 1):
            bags = [loader.bag(queries[number].row, self.slices, queries[number].modalities) for number in group]
            vectors[group] = self._case_vectors(bags).cpu().numpy()
        self.network.train(was_training)
        return vectors

    @torch.no_grad()
    def weights(self, loader: SliceLoader, query: CaseQuery) -> tuple[np.ndarray, np.ndarray] | None:
        """The numbers of the planes of a case and their weights (n,) in its vector, which sum to 1; None where all
        slices weigh alike. Where slices are zoomed in, only these count."""
        if self.reader.weight is None:
            return None
        bag = loader.bag(query.row, self.slices, query.modalities)
        was_training = self.network.training
        self.network.eval()
        weights = self._encode(bag.planes, bag.present, bag.boxes).weights.double().cpu()
        self.network.train(was_training)
        if self.zoom_slices:
            kept = weights.topk(min(self.zoom_slices, len(weights))).indices
            weights = torch.zeros_like(weights).index_copy(0, kept, weights[kept])
        return bag.plane.numpy(), (weights / weights.sum()).numpy()

    def _case_vectors(self, bags: list[Sample]) -> Tensor:
        """(n, W + L) of the bags of n cases."""
        planes, present, boxes = (
            torch.cat([getattr(bag, name) for bag in bags]) for name in ("planes", "present", "boxes")
        )
        counts = [len(bag.planes) for bag in bags]
        first = self._encode(planes, present, boxes)
        if first.lesions is None:
            return _means(first.vectors, first.weights, counts)
        if not self.zoom_slices:
            amounts = self._amounts(first, planes, boxes)
            return torch.cat([_means(first.vectors, first.weights, counts), _logs(amounts, counts)], dim=1)
        best = [weights.topk(min(self.zoom_slices, len(weights))).indices for weights in first.weights.split(counts)]
        starts = np.cumsum([0, *counts[:-1]])
        chosen = torch.cat([numbers + int(start) for numbers, start in zip(best, starts, strict=True)])
        tight = boxes_around(first.lesions.any_lesion[chosen], squares(boxes.to(chosen.device)[chosen])).cpu()
        wider = np.stack([around(box, (planes.shape[-2], planes.shape[-1])) for box in tight.numpy()])
        rows, zoomed = chosen.cpu(), torch.from_numpy(wider).float()
        second, sizes = self._encode(planes[rows], present[rows], zoomed), [len(numbers) for numbers in best]
        means = _means(second.vectors, first.weights[chosen], sizes)
        return torch.cat([means, _logs(self._amounts(second, planes, zoomed), sizes)], dim=1)

    def _encode(self, planes: Tensor, present: Tensor, boxes: Tensor) -> SliceVectors:
        """The slices, cropped to the squares around `boxes`, through the encoder."""
        crops = whole(planes.to(self.network.mask_token.device), boxes, self.size)
        none = torch.zeros(*present.shape, *self.network.grid(self.size, self.size), dtype=torch.bool)
        wanted = none if self.reader.weight is None else None
        vectors: SliceVectors = self.reader(self.network(Crops(crops, present, None, wanted)))
        return vectors

    def _amounts(self, slices: SliceVectors, planes: Tensor, boxes: Tensor) -> Tensor:
        """(slices, L): the predicted share of a whole slice that has each label, which was seen around `boxes` only."""
        fields = squares(boxes.to(slices.vectors.device).float())
        area = (fields[:, 2:] - fields[:, :2]).prod(1, keepdim=True) / (planes.shape[-2] * planes.shape[-1])
        return slices.vectors[:, -self.reader.labels :].exp() * area


def checked_rows(rows: Sequence[int] | np.ndarray, cases: int) -> np.ndarray:
    """int64 (n,): row numbers of a cohort of `cases`, in any order, repetitions allowed.

    Raises UsageError for anything else: numbers out of range, negative ones, floats, and boolean masks.
    """
    given = np.asarray(rows)
    if not given.size and given.ndim == 1:
        return np.empty(0, np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        kind = f"{given.dtype} of shape {given.shape}"
        fix = " numpy.flatnonzero gives those of a mask." if given.dtype == bool else ""
        raise UsageError(f"rows are {kind}; expected a list of row numbers, such as [0, 3].{fix}")
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
    """The 2^M − 1 non-empty subsets of `names`; where these are more than `most`, all names together and random
    ones."""
    if 2 ** len(names) - 1 <= most:
        return [subset for size in range(1, len(names) + 1) for subset in itertools.combinations(names, size)]
    drawn = {tuple(names)}
    while len(drawn) < most:
        size = int(rng.integers(1, len(names)))
        chosen = set(rng.choice(len(names), size, replace=False).tolist())
        drawn.add(tuple(name for number, name in enumerate(names) if number in chosen))
    return sorted(drawn, key=lambda subset: (len(subset), subset))


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Probabilities from vectors: logits = vectors · weightᵀ + bias, then a softmax over classes or a sigmoid per
    finding.

    `prior` (outputs,) are the class frequencies of training, predicted for a case without any image.
    """

    kind: Kind
    weight: np.ndarray  # (outputs, D) float64
    bias: np.ndarray  # (outputs,) float64
    prior: np.ndarray  # (outputs,) float64

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """float64 (n, outputs) of vectors (n, D)."""
        logits = row_products(vectors, self.weight) + self.bias
        if self.kind == "findings":
            return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Weight, bias and prior, as a file stores them."""
        return {name: torch.from_numpy(getattr(self, name)) for name in ("weight", "bias", "prior")}

    def shifted(self, by: np.ndarray) -> "LinearClassifier":
        """With `by` (outputs,) added to the logits."""
        return replace(self, bias=self.bias + by)


def _groups(items: Collection[int], size: int) -> Iterator[list[int]]:
    rest = iter(items)
    while group := list(itertools.islice(rest, size)):
        yield group
