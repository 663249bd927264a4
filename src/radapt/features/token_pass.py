"""Tokens stored in the pass of the encoder that extracts features of the same slices."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.features.batches import Batch
from radapt.features.encode import pooled
from radapt.features.token_store import TokenStore, slice_keys

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

MakeStore = Callable[["Backbone"], TokenStore]
"""The store of the tokens that a protocol reads of a backbone."""


class TokenPass:
    """Reads pooled features and the rows of a token store from one pass; a context manager that flushes the latter."""

    def __init__(self, store: TokenStore, layers: tuple[int, ...]) -> None:
        self._store, self._writer = store, store.writer()
        self._own = [layers.index(layer) for layer in store.source.layout.layers]

    @classmethod
    def of(cls, make: MakeStore | None, backbone: "Backbone", layers: tuple[int, ...]) -> "TokenPass | None":
        """None if there is no store, or its rows are of other layers or of another precision."""
        store = make(backbone) if make else None
        if store is None or backbone.runtime != "pytorch" or not set(store.source.layout.layers) <= set(layers):
            return None
        return cls(store, layers) if str(backbone.dtype) == f"torch.{store.source.precision}" else None

    def read(self, backbone: "Backbone", pixels: torch.Tensor, layers: tuple[int, ...]) -> torch.Tensor:
        """float32 (B, D + width): pooled features, then what the token store holds."""
        tokens = backbone.tokens(pixels, layers=layers).layers
        return torch.cat([pooled(tokens), self._store.rows([tokens[at] for at in self._own]).float()], dim=1)

    def keep(self, batch: Batch, rows: np.ndarray) -> np.ndarray:
        """Store the tokens of a batch, if they are finite; returns the features (B, D)."""
        width = self._store.source.layout.width
        features, tokens = rows[:, :-width], rows[:, -width:]
        filled = batch.spans[-1].stop
        for key, row in zip(slice_keys(batch.pixels[:filled]), tokens, strict=False):
            if key not in self._store and np.isfinite(row).all():
                self._writer.add(key, row[None])
        return features

    def close(self) -> None:
        """Flush."""
        self._writer.close()
