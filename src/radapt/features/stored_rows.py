"""Where the features of some cases lie, as a model that looks them up again writes it down."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radapt.errors import UsageError
from radapt.features.features import Features, SliceReduction, reduce_slices
from radapt.features.store import FeatureStore


@dataclass(frozen=True)
class StoredRows:
    """The store's `folder`, the `width` D of its rows, and a key per case and modality (n, M), None if missing."""

    folder: Path
    width: int
    keys: tuple[tuple[str | None, ...], ...]

    @classmethod
    def of(cls, features: Features, rows: np.ndarray) -> "StoredRows":
        """Those of the cases at `rows`."""
        return cls(features.store.folder, features.width, tuple(features.keys[int(row)] for row in rows))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "StoredRows":
        return cls(Path(facts["folder"]), facts["width"], tuple(map(tuple, facts["keys"])))

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        return {"folder": str(self.folder.absolute()), "width": self.width, "keys": [list(keys) for keys in self.keys]}

    def pooled(self, slices: SliceReduction, columns: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Pooled features float32 (n, M, K) of some columns, NaN where a modality is missing, and presence (n, M).

        Raises UsageError if they are no longer there.
        """
        store = FeatureStore(self.folder, self.width)
        lost = [key for keys in self.keys for key in keys if key is not None and not store.is_intact(key)]
        if lost:
            raise UsageError(
                f"{len(lost)} images that the model learned from are no longer among the features in {self.folder}. "
                "Extract them again with the same cache."
            )
        width = sum(part.stop - part.start for part in columns)
        found = np.full((len(self.keys), len(self.keys[0]), width), np.nan, dtype=np.float32)
        for case, keys in enumerate(self.keys):
            for modality, key in enumerate(keys):
                if key is not None:
                    row = reduce_slices(store.read(store.entry(key)), slices)
                    found[case, modality] = np.concatenate([row[part] for part in columns])
        return found, np.asarray([[key is not None for key in keys] for keys in self.keys], dtype=bool)
