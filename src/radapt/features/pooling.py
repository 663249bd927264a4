"""Pooling from rows per image to one vector per case: columns, modalities, and how missing ones are filled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from radapt.errors import DataError, UsageError, suggest
from radapt.features.features import RowSegment, SliceReduction

ModalityUse = Literal["concat", "mean"]

_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class Pooling:
    """How the slices of an image, and then the modalities of a case, become one vector.

    Slices are averaged (arXiv 2312.02366, 3D classification) or reduced by their maximum. Modalities are concatenated,
    or the available ones are averaged.
    """

    slices: SliceReduction = "mean"
    modalities: ModalityUse = "concat"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("slices", self.slices, ("mean", "max")),
            ("modalities", self.modalities, ("concat", "mean")),
        ):
            if value not in known:
                raise UsageError(f"Pooling of {name} cannot be {value!r}. {suggest(str(value), known)}")


def select(segments: Sequence[RowSegment], blocks: int = 1, patch_mean: bool = False) -> tuple[slice, ...]:
    """The columns of the CLS of the last `blocks` stored layers, with `patch_mean` also the last layer's patch mean.

    Raises UsageError if fewer layers are stored.
    """
    layers = sorted({segment.layer for segment in segments})
    if not 1 <= blocks <= len(layers):
        raise UsageError(f"Expected 1 to {len(layers)} layers, as the features hold {layers}; got {blocks}.")
    wanted = {(layer, "cls") for layer in layers[-blocks:]}
    if patch_mean:
        wanted.add((layers[-1], "patch_mean"))
    return tuple(slice(s.start, s.stop) for s in segments if (s.layer, s.kind) in wanted)


@dataclass(frozen=True, eq=False)
class Design:
    """The design matrix of a classifier from pooled features; missing modalities are never silently zero.

    `concat`: the modalities are concatenated; a missing one is filled with its mean over the training rows that have
    it. `mean`: the average over the available modalities; a case with none of the used ones gets the training mean.
    Both add a 0/1 missingness indicator for each modality that is `partial` (M,), missing in some training rows only,
    so that the classifier can distinguish a filled value from a measured one. A modality without training rows is
    `dropped` (M,), and `notes` says so. A modality missing only outside training is filled without an indicator, whose
    weight could not be learned.

    `unit_length` is for classifiers that compare whole vectors without learned weights: the vectors of all modalities
    are scaled to length 1 before they are joined (a zero vector stays zero), also those that fill gaps of `concat`, and
    there are no indicators. The cosine of two cases with `concat` is then the mean of their modalities' cosines,
    whatever the scale of an encoder.
    """

    columns: tuple[slice, ...]
    modalities: ModalityUse
    dropped: np.ndarray  # (M,) bool
    partial: np.ndarray  # (M,) bool
    fill: np.ndarray  # (M, K) for concat, (1, K) for mean, float32
    unit_length: bool = False

    @classmethod
    def fit(
        cls,
        pooled: np.ndarray,
        presence: np.ndarray,
        rows: np.ndarray,
        columns: tuple[slice, ...],
        modalities: ModalityUse = "concat",
        unit_length: bool = False,
    ) -> "Design":
        """Fit the fill values on the training `rows` (indices or mask) of `pooled` (N, M, D).

        `presence` is (N, M) bool.

        Raises DataError without training rows, and for a row without any modality.
        """
        rows = np.arange(len(presence))[rows]
        if not len(rows):
            raise DataError("There are no training cases to fit on; at least one labelled case must be in train.")
        present = presence[rows]
        _refuse_empty(present, rows)
        dropped = ~present.any(axis=0)
        partial = ~present.all(axis=0) & ~dropped
        unfitted = cls(columns, modalities, dropped, partial, np.zeros((0, _width(columns)), np.float32), unit_length)
        sums: np.ndarray | float = 0.0
        counts: np.ndarray | float = 0.0
        for available, values in unfitted._read(pooled, presence, rows):
            sums = sums + np.nansum(values, axis=0, dtype=np.float64)
            counts = counts + available.sum(axis=0, dtype=np.float64)
        fill = (sums / np.maximum(counts, 1).reshape(-1, 1)).astype(np.float32)
        return replace(unfitted, fill=_unit(fill) if unit_length and modalities == "concat" else fill)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], fill: np.ndarray) -> "Design":
        """From `facts` and `fill`."""
        columns = tuple(slice(start, stop) for start, stop in facts["columns"])
        dropped, partial = (np.asarray(facts[name], dtype=bool) for name in ("dropped", "partial"))
        return cls(columns, facts["modalities"], dropped, partial, fill, facts["unit_length"])

    @property
    def facts(self) -> dict[str, Any]:
        """All but `fill`, JSON-like."""
        return {
            "columns": [[part.start, part.stop] for part in self.columns],
            "modalities": self.modalities,
            "dropped": self.dropped.tolist(),
            "partial": self.partial.tolist(),
            "unit_length": self.unit_length,
        }

    @property
    def indicated(self) -> np.ndarray:
        """(M,) bool: modalities with an indicator column; these are the last columns."""
        return self.partial & (not self.unit_length)

    @property
    def width(self) -> int:
        """The number of columns `transform` returns."""
        slots = 1 if self.modalities == "mean" else int((~self.dropped).sum())
        return slots * _width(self.columns) + int(self.indicated.sum())

    def transform(self, pooled: np.ndarray, presence: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The `rows` (indices or mask) of `pooled` (N, M, D) as (n, width) float32, all finite.

        Only the selected columns of these rows are read.

        Raises DataError for a row without any modality.
        """
        rows = np.arange(len(presence))[rows]
        _refuse_empty(presence[rows], rows)
        matrix = np.empty((len(rows), self.width), dtype=np.float32)
        first, split = 0, self.width - int(self.indicated.sum())
        for _, values in self._read(pooled, presence, rows):
            values = np.where(np.isnan(values), self.fill, values)
            used = values if self.modalities == "mean" else values[:, ~self.dropped]
            matrix[first : first + len(used), :split] = used.reshape(len(used), -1)
            first += len(used)
        matrix[:, split:] = ~presence[np.ix_(rows, np.flatnonzero(self.indicated))]
        return matrix

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Notes about missing modalities, given their names; empty if none is missing."""
        notes: list[str] = []
        if self.dropped.any():
            absent = ", ".join(np.asarray(names, dtype=object)[self.dropped])
            notes.append(f"No training case has {absent}; left out.")
        if self.partial.any():
            partial = ", ".join(np.asarray(names, dtype=object)[self.partial])
            how = "training mean" if self.modalities == "concat" else "average over those present"
            then = "each modality at unit length" if self.unit_length else "with an indicator"
            notes.append(f"Missing in some training cases: {partial}; {how}, {then}.")
        return tuple(notes)

    def _read(
        self, pooled: np.ndarray, presence: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Chunks of availability (n, P) and values (n, P, K), NaN where missing; P is M, or 1 after averaging."""
        usable = presence & ~self.dropped
        step = max(1, _CHUNK_BYTES // max(1, presence.shape[1] * _width(self.columns) * 4))
        for first in range(0, len(rows), step):
            chunk = rows[first : first + step]
            values = np.concatenate([pooled[chunk, :, columns] for columns in self.columns], axis=2)
            available = usable[chunk]
            if self.unit_length:
                values = _unit(values)
            if self.modalities == "mean":
                values, available = _average(values, available)
            else:
                values[~available] = np.nan
            yield available, values


def _average(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, M, K) → (n, 1, K): the mean over the available modalities, NaN without any."""
    counts = present.sum(axis=1)
    sums = np.where(present[:, :, None], values, 0).sum(axis=1, dtype=np.float64)
    means = np.full(sums.shape, np.nan, dtype=np.float32)
    some = counts > 0
    means[some] = sums[some] / counts[some, None]
    return means[:, None], some[:, None]


def _unit(values: np.ndarray) -> np.ndarray:
    """(..., K) float32 divided by its length; NaN stays NaN and zero stays zero."""
    length = np.sqrt(np.einsum("...k,...k->...", values, values, dtype=np.float64))[..., None]
    return (values / np.where(length == 0, 1, length)).astype(np.float32)


def _width(columns: Sequence[slice]) -> int:
    return sum(block.stop - block.start for block in columns)


def _refuse_empty(present: np.ndarray, rows: np.ndarray) -> None:
    empty = np.asarray(rows)[~present.any(axis=1)]
    if len(empty):
        listed = ", ".join(str(row) for row in empty[:5])
        raise DataError(
            f"{len(empty)} cases have no image (positions in the cohort, from 0: {listed}); "
            "every case needs at least one modality."
        )
