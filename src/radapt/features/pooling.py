"""From rows per image to one vector per case: which columns and modalities, and what if one is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from radapt.errors import DataError, UsageError, suggest
from radapt.features.features import Segment, SliceReduction

ModalityUse = Literal["concat", "mean"]

_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class Pooling:
    """How the slices of an image, and then the modalities of a case, become one vector.

    Slices are averaged (arXiv 2312.02366, 3D classification) or their maximum is taken. Modalities are put
    side by side, or those present are averaged.
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


def select(segments: Sequence[Segment], blocks: int = 1, patch_mean: bool = False) -> tuple[slice, ...]:
    """The columns of the CLS of the last `blocks` stored layers, with the last layer's patch mean if asked.

    Raises UsageError if fewer layers are stored.
    """
    layers = sorted({segment.layer for segment in segments})
    if not 1 <= blocks <= len(layers):
        raise UsageError(f"The CLS of {blocks} layers was asked for; the features hold {len(layers)}: {layers}.")
    wanted = {(layer, "cls") for layer in layers[-blocks:]}
    if patch_mean:
        wanted.add((layers[-1], "patch_mean"))
    return tuple(slice(part.start, part.stop) for part in segments if (part.layer, part.kind) in wanted)


@dataclass(frozen=True, eq=False)
class Design:
    """Turns pooled features into the matrix a classifier sees; missing modalities are never silently zero.

    `concat`: the modalities side by side; a missing one is filled with its mean over the training rows that
    have it. `mean`: the average over the modalities present; a case with none of the kept ones gets the
    training mean. Both add one 0/1 column for each modality that is `partial` (M,), which some training rows have
    and others lack, 1 = missing, so that the classifier can tell a filled value from a measured one. A modality
    no training row has cannot be learned from: it is `dropped` (M,) and `notes` says so. A modality missing only
    outside training is filled without an indicator, whose weight nothing could decide.

    `unit_length` is for what compares whole vectors and learns no weight per column: before they are joined, the
    vectors of all modalities get length 1 (a zero vector stays zero), what fills a gap of `concat` too, and
    there are no indicators. The cosine of two cases with `concat` is then the mean of their modalities' cosines,
    whatever unit an encoder's numbers are in.
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
        """Learn what fills the gaps from the training `rows` (indices or mask) of `pooled` (N, M, D).

        `presence` is (N, M) bool.

        Raises DataError if there are no training rows, or one of them has no modality at all.
        """
        rows = np.arange(len(presence))[rows]
        if not len(rows):
            raise DataError("There are no training cases to fit on; at least one labelled case must be in train.")
        present = presence[rows]
        _refuse_empty(present, rows)
        dropped = ~present.any(axis=0)
        partial = ~present.all(axis=0) & ~dropped
        bare = cls(columns, modalities, dropped, partial, np.zeros((0, _width(columns)), np.float32), unit_length)
        sums: np.ndarray | float = 0.0
        counts: np.ndarray | float = 0.0
        for part, values in bare._read(pooled, presence, rows):
            sums = sums + np.nansum(values, axis=0, dtype=np.float64)
            counts = counts + part.sum(axis=0, dtype=np.float64)
        fill = (sums / np.maximum(counts, 1).reshape(-1, 1)).astype(np.float32)
        return replace(bare, fill=_unit(fill) if unit_length and modalities == "concat" else fill)

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
        """(M,) bool: modalities with a 0/1 column, in this order after all others."""
        return self.partial & (not self.unit_length)

    @property
    def width(self) -> int:
        """The number of columns `transform` returns."""
        parts = 1 if self.modalities == "mean" else int((~self.dropped).sum())
        return parts * _width(self.columns) + int(self.indicated.sum())

    def transform(self, pooled: np.ndarray, presence: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The `rows` (indices or mask) of `pooled` (N, M, D) as (n, width) float32, all finite.

        Only the chosen columns of these rows are read.

        Raises DataError if one of the rows has no modality at all.
        """
        rows = np.arange(len(presence))[rows]
        _refuse_empty(presence[rows], rows)
        matrix = np.empty((len(rows), self.width), dtype=np.float32)
        first, split = 0, self.width - int(self.indicated.sum())
        for _, values in self._read(pooled, presence, rows):
            values = np.where(np.isnan(values), self.fill, values)
            kept = values if self.modalities == "mean" else values[:, ~self.dropped]
            matrix[first : first + len(kept), :split] = kept.reshape(len(kept), -1)
            first += len(kept)
        matrix[:, split:] = ~presence[np.ix_(rows, np.flatnonzero(self.indicated))]
        return matrix

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        """What a reader should know about modalities, given their names; empty if no case lacks any."""
        said: list[str] = []
        if self.dropped.any():
            lost = ", ".join(np.asarray(names, dtype=object)[self.dropped])
            said.append(f"No training case has {lost}; left out.")
        if self.partial.any():
            partial = ", ".join(np.asarray(names, dtype=object)[self.partial])
            how = "training mean" if self.modalities == "concat" else "average over those present"
            then = "each modality at unit length" if self.unit_length else "with an indicator"
            said.append(f"Missing in some training cases: {partial}; {how}, {then}.")
        return tuple(said)

    def _read(
        self, pooled: np.ndarray, presence: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Chunks of presence (n, P) and values (n, P, K), NaN where missing; P is M, or 1 after averaging."""
        usable = presence & ~self.dropped
        step = max(1, _CHUNK_BYTES // max(1, presence.shape[1] * _width(self.columns) * 4))
        for first in range(0, len(rows), step):
            chunk = rows[first : first + step]
            values = np.concatenate([pooled[chunk, :, part] for part in self.columns], axis=2)
            part = usable[chunk]
            if self.unit_length:
                values = _unit(values)
            if self.modalities == "mean":
                values, part = _average(values, part)
            else:
                values[~part] = np.nan
            yield part, values


def _average(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, M, K) → (n, 1, K) over the modalities present, NaN if there is none."""
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
    return sum(part.stop - part.start for part in columns)


def _refuse_empty(present: np.ndarray, rows: np.ndarray) -> None:
    empty = np.asarray(rows)[~present.any(axis=1)]
    if len(empty):
        listed = ", ".join(str(row) for row in empty[:5])
        raise DataError(
            f"{len(empty)} cases have no image at all (positions in the cohort, from 0: {listed}); "
            "every case needs at least one modality."
        )
