"""Pooled features read through a fitted design, with the memory they occupy given back on the way."""

import mmap

import numpy as np

from radapt.features import Design
from radapt.protocols.table import Source

_RELEASE_BYTES = 16 << 20
_AROUND_BYTES = 1 << 16  # what the system maps around a page that is looked at


class DesignSource(Source):
    """Vectors of cases, from pooled features (N, M, D) through a design that was fitted on training cases.

    Rows of a mapped file stay in this process's memory once looked at. They are let go again and again, so that
    memory does not grow with the cohort; the system keeps the file's pages and hands them out again in no time.
    """

    def __init__(self, design: Design, pooled: np.ndarray, presence: np.ndarray) -> None:
        self.design = design
        self._pooled, self._presence = pooled, presence
        self._file = _file_behind(pooled)
        self._release()

    @property
    def columns(self) -> int:
        return self.design.width

    def gather(self, rows: np.ndarray) -> np.ndarray:
        values = self.design.transform(self._pooled, self._presence, rows)
        self._read += len(rows) * max(self._pooled[0].nbytes, _AROUND_BYTES)
        if self._read > _RELEASE_BYTES:
            self._release()
        return values

    def _release(self) -> None:
        self._read = 0
        if self._file is not None:
            self._file.madvise(mmap.MADV_DONTNEED)


def _file_behind(array: np.ndarray) -> mmap.mmap | None:
    """The read-only file map an array is a view of; None for any other memory, which must not be let go."""
    if array.flags.writeable or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
