"""Stored features as bags of slices: read case by case, standardised, and loaded for a network over slices."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.cases.sampling import place_in_image, spread
from radapt.classification.case_loader import CaseLoader
from radapt.cohorts.cohort import Cohort
from radapt.features import Features
from radapt.networks.case_classifier import CaseClassifier
from radapt.protocols.feature_matrix import CONSTANT, aligned, file_behind


@dataclass(frozen=True)
class SliceBag:
    """S slices of P images of B cases; images are ordered by case, then modality.

    `vectors` float32 (S, D), standardised; `image` int64 (S,) the image of each slice, `position` float32 (S,) its
    position in the image, from 0 to 1; `case` and `modality` int64 (P,).
    """

    vectors: Tensor
    image: Tensor
    position: Tensor
    case: Tensor
    modality: Tensor


@dataclass(frozen=True, eq=False)
class StoredSlices:
    """The stored slices of cases: `columns` of the rows of `modalities`; other modalities of the features are left out.

    Rows are copied from mapped files, which are then released: memory does not grow with the cohort.
    """

    features: Features
    modalities: tuple[str, ...]
    columns: tuple[slice, ...]

    @property
    def cohort(self) -> Cohort:
        return self.features.cohort

    @property
    def width(self) -> int:
        return sum(part.stop - part.start for part in self.columns)

    def present(self, row: int) -> list[int]:
        """Indices in `modalities` of those that a case has."""
        available = dict(zip(self.features.modalities, self.features.presence[row], strict=True))
        return [index for index, name in enumerate(self.modalities) if available.get(name, False)]

    def read(self, row: int, modality: int, positions: np.ndarray | None = None) -> np.ndarray:
        """Slices (n, D) of one image, all of them or those at `positions`."""
        stored = self.features.slices(row, self.modalities[modality])
        rows = slice(None) if positions is None else positions
        vectors = np.concatenate([stored[rows, part] for part in self.columns], axis=1)
        if (file := file_behind(stored)) is not None:
            file.madvise(mmap.MADV_DONTNEED)
        return vectors

    def count(self, row: int, modality: int) -> int:
        """How many slices an image has."""
        return len(self.features.slices(row, self.modalities[modality]))


@dataclass(frozen=True)
class SliceScale:
    """Mean and standard deviation (population) of each column of each modality, (M, D) float32, over the slices of
    training; a constant column has deviation 1."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, stored: StoredSlices, rows: np.ndarray) -> "SliceScale":
        shape = (len(stored.modalities), stored.width)
        counts, mean, squares = np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)
        for row in rows:
            for kind in stored.present(int(row)):
                values = stored.read(int(row), kind).astype(np.float64)
                own, before = values.mean(0), counts[kind]
                counts[kind] += len(values)
                # Chan et al. 1983: combining means avoids the difference of two large sums.
                apart, share = own - mean[kind], len(values) / counts[kind]
                mean[kind] += apart * share
                squares[kind] += np.square(values - own).sum(0) + np.square(apart) * before * share
        deviation = np.sqrt(squares / np.maximum(counts, 1)[:, None])
        varies = (deviation > CONSTANT * np.abs(mean)) & (deviation > 0)
        return cls(mean.astype(np.float32), np.where(varies, deviation, 1).astype(np.float32))

    def apply(self, values: np.ndarray, modality: int) -> np.ndarray:
        """(n, D) float32 -> (n, D) float32"""
        return (values - self.mean[modality]) / self.deviation[modality]


@dataclass(frozen=True, eq=False)
class StoredSliceLoader(CaseLoader[StoredSlices]):
    """For a network over stored slices. Training uses at most `most` slices of an image, spread over it."""

    network: CaseClassifier
    scale: SliceScale
    most: int | None

    def load(self, images: StoredSlices, rows: np.ndarray, seeds: np.ndarray) -> SliceBag:
        return self._bag(images, rows, [np.random.default_rng(int(seed)) for seed in seeds])

    def logits(self, batch: SliceBag, seeds: np.ndarray) -> Tensor:
        return self._answer(batch, len(seeds))

    @torch.no_grad()
    def answers(self, images: StoredSlices, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        logits = np.empty((len(rows), self.network.head.out_features))
        for place in range(len(rows)):  # one at a time: with others beside it, the last bits differ
            some = rows[place : place + 1]
            logits[place] = self._answer(self._bag(images, some, None), 1)[0].double().numpy()
        return logits

    def _answer(self, bag: SliceBag, cases: int) -> Tensor:
        return self.network.classify(bag.vectors, bag.image, bag.position, bag.case, bag.modality, cases)

    def _bag(
        self, images: StoredSlices, rows: Sequence[int] | np.ndarray, draws: list[np.random.Generator] | None
    ) -> SliceBag:
        vectors: list[np.ndarray] = [np.zeros((0, images.width), np.float32)]
        positions: list[np.ndarray] = [np.zeros(0, np.float32)]
        owners: list[tuple[int, int]] = []
        for place, row in enumerate(rows):
            for modality in images.present(int(row)):
                total = images.count(int(row), modality)
                chosen = spread(total, self.most, draws[place]) if draws else np.arange(total)
                whole = None if len(chosen) == total else chosen
                vectors.append(self.scale.apply(images.read(int(row), modality, whole), modality))
                positions.append(place_in_image(chosen, total))
                owners.append((place, modality))
        counts = [len(slices) for slices in vectors[1:]]
        case, modality_of = torch.tensor(owners, dtype=torch.int64).view(-1, 2).unbind(1)
        return SliceBag(
            aligned(np.concatenate(vectors)),
            torch.from_numpy(np.repeat(np.arange(len(counts)), counts)),
            torch.from_numpy(np.concatenate(positions)),
            case,
            modality_of,
        )
