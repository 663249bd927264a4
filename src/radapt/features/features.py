"""The features of a cohort: a row per slice and modality, and their mean or maximum per case."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.digests import digest
from radapt.errors import DataError, UsageError, suggest
from radapt.features.lesions.places import LesionPlaces
from radapt.features.store import FeatureStore
from radapt.notebook import Described
from radapt.sealed import open_sealed, sealing

if TYPE_CHECKING:
    import pandas as pd

    from radapt.backbones.reference import BackboneReference
    from radapt.images import Recipe

SegmentKind = Literal["cls", "patch_mean"]
SliceReduction = Literal["mean", "max"]

_CHUNK_BYTES = 16 << 20


class RowSegment(NamedTuple):
    """Columns start ≤ column < stop of a row: one token kind of one layer (-1: the last block)."""

    layer: int
    kind: SegmentKind
    start: int
    stop: int


def lay_out(layers: tuple[int, ...], widths: tuple[int, ...]) -> tuple[RowSegment, ...]:
    """The segments of a row: the CLS of every layer, then the patch mean of every layer, layers in order.

    The CLS of the last n blocks, which probes use most, are then adjacent columns.
    """
    segments, start = [], 0
    kinds: tuple[SegmentKind, ...] = ("cls", "patch_mean")
    for kind in kinds:
        for layer, width in zip(layers, widths, strict=True):
            segments.append(RowSegment(layer, kind, start, start + width))
            start += width
    return tuple(segments)


@dataclass(frozen=True, repr=False)
class Features(Described):
    """The features of a backbone for each slice of each modality of each case of a cohort.

    An adapted backbone encodes the modalities of a slice together: `joint` names them, and the features have a single
    modality called `joint`; otherwise `joint` is empty, and `modalities` are the cohort's.

    `backbone` is the name and `identity` the digest of the weights. `keys` holds the store's key of each modality of
    each case, None where it is missing. `config` holds the values that decide the rows. Rows have `width` (D) float32
    columns, divided into `segments`. Everything is in files, not in memory.
    """

    cohort: Cohort
    backbone: str
    identity: str
    dtype: str
    layers: tuple[int, ...]
    segments: tuple[RowSegment, ...]
    config: Mapping[str, Any]
    keys: tuple[tuple[str | None, ...], ...]
    store: FeatureStore
    joint: tuple[str, ...] = ()
    recipe: "Recipe | None" = None
    """Of the images; with `encoder`, what a model that is fitted on the features writes down."""
    encoder: "BackboneReference | None" = None
    places: LesionPlaces | None = None
    """Where the lesion was looked for, with `look: lesion`."""

    def __repr__(self) -> str:
        rows, cases = int(self.counts.sum()), len(self.cohort)
        return (
            f"Features of {self.backbone!r} on cohort {self.cohort.name!r}: {rows:,} rows of {self.width} columns\n"
            f"  cases: {cases:,}; modalities: {', '.join(self.modalities[:12])}\n"
            f"  layers: {', '.join(map(str, self.layers))}; computed in {self.dtype} by "
            f"{self.runtime}, in files and not in memory"
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """(M,) names of the modalities of the rows: the cohort's, or `joint` for all of them together."""
        return ("joint",) if self.joint else self.cohort.modalities

    @property
    def runtime(self) -> str:
        """What computed the rows."""
        return str(self.config.get("runtime", "pytorch"))

    @property
    def width(self) -> int:
        return self.segments[-1].stop

    @cached_property
    def presence(self) -> np.ndarray:
        """(N, M) bool: which modalities each case has."""
        flat = [[key is not None for key in row] for row in self.keys]
        return np.asarray(flat, dtype=bool).reshape(self._shape)

    @cached_property
    def counts(self) -> np.ndarray:
        """(N, M) int64: the number of slices; 0 for a missing modality."""
        flat = [[self.store.entry(key).rows if key else 0 for key in row] for row in self.keys]
        return np.asarray(flat, dtype=np.int64).reshape(self._shape)

    @cached_property
    def digest(self) -> str:
        """32 hex digits of the images of every case in order and of everything that decides the rows."""
        return digest([dict(self.config), list(self.modalities), [list(row) for row in self.keys]])

    def to_numpy(self, slices: SliceReduction = "mean") -> np.ndarray:
        """(N, M · D) float32 in memory: the pooled features of every modality side by side, NaN where one is missing.

        Rows are the cases of `cohort`, in its order; columns as those of `to_pandas`.
        """
        pooled = self.pooled(slices)
        return np.array(pooled).reshape(len(pooled), -1)

    def to_pandas(self, slices: SliceReduction = "mean") -> "pd.DataFrame":
        """`to_numpy` with the cases as its index, and columns `<modality>:<kind><layer>:<number>`, such as
        `t1:cls-1:0`."""
        import pandas as pd

        names = [
            f"{modality}:{segment.kind}{segment.layer}:{number}"
            for modality in self.modalities
            for segment in self.segments
            for number in range(segment.stop - segment.start)
        ]
        cases = pd.Index([case.case for case in self.cohort], name="case")
        return pd.DataFrame(self.to_numpy(slices), index=cases, columns=names)

    def __array__(self, dtype: "np.typing.DTypeLike | None" = None, copy: bool | None = None) -> np.ndarray:
        """`np.asarray(features)` is `to_numpy()`."""
        return self.to_numpy().astype(dtype or np.float32, copy=False)

    def __len__(self) -> int:
        """The number of cases."""
        return len(self.keys)

    def slices(self, case_index: int, modality: str) -> np.ndarray:
        """Rows (n, D) of one image as a memory-mapped, read-only view; (0, D) for a missing modality."""
        if modality not in self.modalities:
            raise UsageError(f"Unknown modality {modality!r}. {suggest(modality, self.modalities)}")
        key = self.keys[case_index][self.modalities.index(modality)]
        return self.store.view(self.store.entry(key)) if key else self._no_rows

    def pooled(self, slices: SliceReduction = "mean") -> np.ndarray:
        """(N, M, D) float32: mean or maximum over the slices of each image, NaN where a modality is missing.

        A read-only memory map of a file next to the store, written at the first call in one pass over the rows.
        """
        if slices not in ("mean", "max"):
            raise UsageError(f"Slices cannot be pooled by {slices!r}. {suggest(slices, ('mean', 'max'))}")
        path = self.store.folder / "pooled" / f"{self.digest}-{slices}.npy"
        shape = (*self._shape, self.width)
        if (ready := _open_array(path, shape)) is not None:
            return ready
        with sealing(path) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for block in self._pooled_blocks(slices):
                file.write(block.tobytes())
        if (written := _open_array(path, shape)) is None:
            raise DataError(f"Pooled features were written to {path}, but cannot be read back.")
        return written

    def _pooled_blocks(self, slices: SliceReduction) -> Iterator[np.ndarray]:
        cases, modalities = self._shape
        step = max(1, _CHUNK_BYTES // max(1, modalities * self.width * 4))
        for first in range(0, cases, step):
            rows = self.keys[first : first + step]
            block = np.full((len(rows), modalities, self.width), np.nan, dtype="<f4")
            for case, keys in enumerate(rows):
                for modality, key in enumerate(keys):
                    if key:
                        block[case, modality] = reduce_slices(self.store.read(self.store.entry(key)), slices)
            yield block

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.keys), len(self.modalities)

    @property
    def _no_rows(self) -> np.ndarray:
        return np.empty((0, self.width), dtype=np.float32)


def reduce_slices(rows: np.ndarray, slices: SliceReduction) -> np.ndarray:
    """(n, D) → (D,); sums in float64, so that a thousand slices lose no precision."""
    return rows.max(axis=0) if slices == "max" else rows.mean(axis=0, dtype=np.float64).astype(np.float32)


def _open_array(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The memory-mapped array at `path`, or None if it is absent or damaged."""
    array = open_sealed(path)
    return array if array is not None and array.shape == shape and array.dtype == np.float32 else None
