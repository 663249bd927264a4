"""Patch tokens of whole planes on the reference grid of each case, on which a lesion locator is fitted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from radapt.cases.case_extents import ExtentReader
from radapt.cases.reader import CaseReader, naming
from radapt.cohorts.cohort import Cohort
from radapt.features.batches import SliceSource
from radapt.features.token_store import TokenLayout, TokenSource, TokenStore, slice_keys
from radapt.images import Recipe, SliceCache
from radapt.progress import Advance, ProgressMaker

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone


@dataclass(frozen=True)
class TypedSource(TokenSource):
    """A token source whose encoder has weights of a `dtype`."""

    dtype: str = "float32"

    @property
    def facts(self) -> dict[str, object]:
        return {**super().facts, "dtype": self.dtype}


class LesionTokens:
    """Tokens of the last layer and lesion shares of the cases of a cohort, with planes whole and on one grid per case.

    Tokens are stored once by the pixels of their slice, for all folds of a cohort.
    """

    def __init__(self, cohort: Cohort, backbone: "Backbone", recipe: Recipe, cache: SliceCache) -> None:
        self.backbone, self.recipe = backbone, recipe.whole
        self.reader = CaseReader(cohort, cache, self.recipe, cohort.modalities, grid="reference")
        self.extents = ExtentReader(self.reader)
        layout = TokenLayout.of(backbone, (-1,), recipe.size)
        dtype = str(backbone.dtype).removeprefix("torch.")
        self.store = TokenStore(cache.folder, TypedSource(backbone.name, backbone.token_identity, layout, dtype=dtype))

    def prepare(self, progress: ProgressMaker) -> None:
        """Encode the slices that are not stored. Raises DataError for images that cannot be read."""
        rows = range(len(self.reader.cohort))
        with progress(len(rows), "Encoding slices to find lesions in", "cases") as advance:
            self.store.fill(self.backbone, self._images(rows, advance), lambda count: None)

    def tokens(self, row: int) -> dict[str, np.ndarray]:
        """float16 (n, h, w, D) by modality, of the planes of a case."""
        shape = self.store.source.layout.shapes[0]
        found = {}
        for column in self.reader.columns(row):
            keys = slice_keys(self.reader.image(row, column))
            rows = self.store.gather(self.store.row_addresses(keys))
            found[self.reader.modalities[column]] = rows.reshape(len(rows), *shape)
        return found

    def marked(self, row: int) -> np.ndarray:
        """bool (n, H, W): what the mask of a case marks on its planes. Raises DataError for a case without one."""
        mask = self.reader.case(row).mask
        if mask is None:
            raise ValueError(f"Case {self.reader.case(row).case} has no mask.")
        with naming(self.reader.case(row).case):
            marked: np.ndarray = self.reader.files.aligned.placed_mask(mask, self.reader.grid_of(row)) > 0
            return marked

    def shares(self, row: int) -> np.ndarray:
        """float32 (n, h, w): the share of each patch that the mask of a case marks."""
        height, width, _ = self.store.source.layout.shapes[0]
        marked = torch.from_numpy(self.marked(row)).float()[:, None]
        shares: np.ndarray = adaptive_avg_pool2d(marked, (height, width))[:, 0].numpy()
        return shares

    def axes(self, row: int) -> np.ndarray:
        """(n,) the axis of each plane."""
        return self.recipe.place(self.reader.grid_of(row)).axes

    def _images(self, rows: Sequence[int], advance: Advance) -> Iterator[tuple[SliceSource, np.ndarray, Sequence[str]]]:
        for row in rows:
            case = self.reader.case(row)
            for column in self.reader.columns(row):
                planes, name = np.asarray(self.reader.image(row, column)), self.reader.modalities[column]
                yield SliceSource("", case.case, name, self.reader.location(row, column)), planes, slice_keys(planes)
            advance(1)
