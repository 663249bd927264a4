"""The modalities that a model reads, and the Dice per case of predictions that come slice by slice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from radapt.cases import EVERY, Which
from radapt.errors import DataError, UsageError, suggest
from radapt.segmentation.data import SegmentationData


@dataclass(frozen=True, eq=False)
class ModalityView:
    """The planes of cases in the modalities of training: m of the cohort's, at the indices `kept`."""

    data: SegmentationData
    kept: tuple[int, ...]

    @classmethod
    def of(cls, data: SegmentationData, names: Sequence[str]) -> "ModalityView":
        """Modalities by name."""
        return cls(data, tuple(data.modalities.index(name) for name in names if name in data.modalities))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.data.modalities[index] for index in self.kept)

    def case(self, row: int) -> str:
        return self.data.cohort.cases[row].case

    def present(self, row: int, among: Sequence[str] | None = None) -> np.ndarray:
        """(m,) bool: which modalities a case has, of those `among` or of all.

        Raises DataError if it has none; UsageError for a modality that the model does not read.
        """
        images = self.data.cohort.cases[row].images
        present = np.asarray([name in images for name in self.names])
        if not present.any():
            raise DataError(
                f"Case {self.case(row)} has {', '.join(images)}, of which no training case had one: this model reads "
                f"{', '.join(self.names)}. Leave the case out, or label cases with its modality."
            )
        return present if among is None else self._among(row, present, among)

    def _among(self, row: int, present: np.ndarray, among: Sequence[str]) -> np.ndarray:
        if unknown := [name for name in among if name not in self.names]:
            raise UsageError(f"The model does not read {unknown[0]!r}. {suggest(unknown[0], self.names)}")
        chosen = present & np.asarray([name in among for name in self.names])
        if not chosen.any():
            available = [name for name, there in zip(self.names, present, strict=True) if there]
            raise DataError(
                f"Case {self.case(row)} has {', '.join(available)}, and none of {', '.join(among) or 'no sequence'}. "
                "Name at least one that it has."
            )
        return chosen

    def planes(self, row: int, which: Which = EVERY) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 (n, m, C, H, W), present (m,)), as `SegmentationData.planes`."""
        present = self.present(row)
        planes, _ = self.data.planes(row, which)
        return planes if len(self.kept) == planes.shape[1] else planes[:, list(self.kept)], present


@dataclass(eq=False)
class CanvasDice:
    """Dice per case and label, accumulated slice by slice on the planes' canvas: the validation score of an epoch.

    Each case is scored on its own, over all its slices, as in the evaluation; pixels of patients are never pooled.
    """

    classes: int
    counts: dict[int, np.ndarray] = field(default_factory=dict)
    """By row: the number of pixels with ground truth i and prediction j."""

    def add(self, row: int, truth: Tensor, answer: Tensor) -> None:
        """Slices int64 (b, H, W) of the case at `row`."""
        pairs = (truth * self.classes + answer).flatten()
        counts = torch.bincount(pairs, minlength=self.classes**2).cpu().numpy().reshape(self.classes, self.classes)
        self.counts[row] = self.counts.get(row, 0) + counts

    @property
    def cases(self) -> np.ndarray:
        """(cases, K): NaN where a label is in neither ground truth nor prediction."""
        tables = np.stack(list(self.counts.values())).astype(np.float64)
        both = np.diagonal(tables, axis1=1, axis2=2)[:, 1:]
        either = (tables.sum(1) + tables.sum(2))[:, 1:]
        return np.divide(2 * both, either, out=np.full(both.shape, np.nan), where=either > 0)

    @property
    def mean(self) -> float:
        """Mean over labels of the mean over cases; a label without any Dice is left out, NaN if all are."""
        if not self.counts:
            return float("nan")
        cases = self.cases
        defined = np.isfinite(cases)
        labels = np.where(defined, cases, 0).sum(0)[defined.any(0)] / defined.sum(0)[defined.any(0)]
        return float(labels.mean()) if len(labels) else float("nan")


def parts_of(count: int, size: int) -> Iterator[slice]:
    """Slices that split 0…count into parts of at most `size`."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
