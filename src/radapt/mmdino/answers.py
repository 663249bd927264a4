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

from radapt.backbones.multimodal import MultiModalViT
from radapt.backbones.multimodal_crops import Crops
from radapt.mmdino.crops import whole
from radapt.mmdino.questions import Kind
from radapt.mmdino.reading import Reader
from radapt.mmdino.slices import SliceFeed

SEQUENCES = 32
"""Slices that are encoded at once: on a CPU 8 to 16 images fill it best, and slices of a few modalities are small."""


class Wish(NamedTuple):
    """A case of a feed, as if it had no modalities but these; None: all it has."""

    row: int
    modalities: tuple[str, ...] | None = None


@torch.no_grad()
def case_vectors(
    network: MultiModalViT, reader: Reader, feed: SliceFeed, wishes: Sequence[Wish], *, slices: int, size: int
) -> np.ndarray:
    """float32 (n, W): the mean of what `reader` makes of at most `slices` slices of each wish, at `size` pixels.

    A vector does not depend on the other wishes. Raises DataError for a case without any of the modalities it shall
    have, and for images that cannot be read.
    """
    device = network.mask_token.device
    was_training, found = network.training, np.empty((len(wishes), reader.width), np.float32)
    network.eval()
    for group in _groups(range(len(wishes)), max(1, SEQUENCES // slices)):
        bags = [feed.bag(wishes[at].row, slices, wishes[at].modalities) for at in group]
        planes = torch.cat([whole(bag.planes.to(device), bag.boxes, size) for bag in bags])
        present = torch.cat([bag.present for bag in bags])
        none = torch.zeros(*present.shape, *network.grid(size, size), dtype=torch.bool)
        read = reader(network(Crops(planes, present, None, none if reader.weight is None else None)))
        counts = [len(bag.planes) for bag in bags]
        parts = zip(read.vectors.double().split(counts), read.weights.double().split(counts), strict=True)
        for at, (vectors, weights) in zip(group, parts, strict=True):
            found[at] = (weights @ vectors / weights.sum()).cpu().numpy()
    network.train(was_training)
    return found


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
class LinearAnswer:
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

    def shifted(self, by: np.ndarray) -> "LinearAnswer":
        """With `by` (outputs,) added to the logits."""
        return replace(self, bias=self.bias + by)


def _groups(items: Collection[int], size: int) -> Iterator[list[int]]:
    rest = iter(items)
    while group := list(itertools.islice(rest, size)):
        yield group
