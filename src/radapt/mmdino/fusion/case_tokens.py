"""The stored tokens of cases: every slice of every sequence is encoded once, as a rule cropped to its own foreground.

What is stored of a sequence depends on its own pixels alone, so that a subset of the sequences of a case needs no pass
of the encoder, unless it lacks the reference image and the next one lies on another grid.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from radapt.cases.case_extents import CaseExtents, ExtentReader
from radapt.cases.recent import Recent
from radapt.cases.sampling import evenly_spaced
from radapt.digests import digest
from radapt.features.batches import SliceSource
from radapt.features.token_store import slice_keys
from radapt.images.cropping import cropped
from radapt.images.recipe import Look
from radapt.locations import Location
from radapt.mmdino.crops import whole
from radapt.mmdino.fusion.token_kind import TokenKind
from radapt.mmdino.inference import CaseQuery
from radapt.mmdino.slices import SliceLoader
from radapt.progress import Advance, ProgressMaker, silent

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

_CROPPED = 64  # planes that are cropped at once
_PLANS = 1 << 16  # queries whose planes stay in memory, some hundred bytes each
_KEYS_VERSION = 1
"""Raise it when the same image gives other crops."""


class CaseTokens:
    """The tokens of the cases of a loader, M sequences in the order of its `modalities`, from at most `slices` planes
    of a case.

    A token has D numbers; a slice of a sequence has R + P of them (see `TokenKind`), CLS first. Planes are evenly
    spaced over the grid of the reference image; those on which none of the sequences in question shows the patient are
    left out. Every plane is cropped to the foreground of its sequence; with `look` whole none is cropped or left out.
    Masks are read by `lesions` only.
    """

    def __init__(
        self,
        loader: SliceLoader,
        backbone: "Backbone",
        kind: TokenKind,
        slices: int,
        look: Look,
    ) -> None:
        self.look = look
        self.loader, self.backbone, self.slices = loader, backbone, slices
        self.extents = ExtentReader(loader.reader)
        self.kind, self.places, self.width = kind, kind.places, kind.width
        self.store = kind.store(loader.reader.cache.folder)
        self._keys: dict[tuple[int, str, str], dict[int, str]] = {}
        self._plans = Recent[tuple[np.ndarray, str]](_PLANS)

    def prepare(self, queries: Sequence[CaseQuery], progress: ProgressMaker = silent) -> None:
        """Encode what the queries need and the store lacks. A killed process resumes with the next call.

        Raises DataError for images that cannot be read, or whose tokens float16 cannot hold.
        """
        needed = [query for query in queries if self._lacks(query)]
        if needed:
            with progress(len(needed), "Encoding slices", "cases") as advance:
                self.store.fill(self.backbone, self._images(needed, advance), lambda count: None)

    def planes(self, query: CaseQuery) -> np.ndarray:
        """(n,): the planes that show the patient in the sequences of the query; n ≥ 1."""
        return self._plan(query)[0]

    def tokens(self, query: CaseQuery, planes: np.ndarray) -> np.ndarray:
        """float16 (n, M, R + P, D) of `planes` (n,), which are prepared; 0 where a sequence is not in the query."""
        out = np.zeros((len(planes), len(self.loader.modalities), self.places, self.width), np.float16)
        grid = self._grid(query)
        for column in self.loader.reader.columns(*query):
            known = self._keys[query.row, grid, self.loader.modalities[column]]
            rows = self.store.gather(self.store.row_addresses([known[plane] for plane in planes.tolist()]))
            out[:, column] = rows.reshape(len(planes), self.places, self.width)
        return out

    def lesions(self, row: int, planes: np.ndarray) -> np.ndarray:
        """float16 (n, M, P, L): the share of each patch of `planes` (n,) that the mask gives each of L labels; 0 where
        a sequence is missing. Raises DataError for a case without a mask."""
        labels, reader = self.loader.marks, self.loader.reader
        values = sorted(self.loader.cohort.mask_labels)
        masks = torch.from_numpy(reader.mask_planes(row, values, resample=True)[planes])  # (n, H, W)
        maps = torch.stack([(masks == number + 1).float() for number in range(len(labels))], dim=1)[:, :, None]
        side = self.kind.side
        out = np.zeros((len(planes), len(self.loader.modalities), side * side, len(labels)), np.float16)
        for column, extents in zip(reader.columns(row), self.extents.each(row), strict=True):
            boxes = torch.from_numpy(self._boxes(extents)[planes].astype(np.float32))
            crops = whole(maps, boxes, self._side)[:, :, 0]  # (n, L, s, s)
            out[:, column] = adaptive_avg_pool2d(crops, side).flatten(2).transpose(1, 2).numpy()
        return out

    @property
    def _side(self) -> int:
        return max(self.loader.recipe.size)

    def _boxes(self, extents: CaseExtents) -> np.ndarray:
        """(n, 4): what is encoded of each plane."""
        if self.look == "whole":
            return np.tile([0, 0, *self.loader.recipe.size], (len(extents.boxes), 1))
        return extents.boxes

    def _grid(self, query: CaseQuery) -> str:
        """The grid of the reference image of a query."""
        return self._plan(query)[1]

    def _plan(self, query: CaseQuery) -> tuple[np.ndarray, str]:
        """The planes and the grid of a query."""
        return self._plans.get(query, lambda: (self._shown(query), self._measured_grid(query)))

    def _shown(self, query: CaseQuery) -> np.ndarray:
        lattice = evenly_spaced(self.extents.planes(*query), self.slices)
        if self.look == "whole":
            return lattice
        shown = np.concatenate([np.concatenate(each.shown) for each in self.extents.each(*query)])
        planes = lattice[np.isin(lattice, shown)]
        return planes if len(planes) else lattice

    def _measured_grid(self, query: CaseQuery) -> str:
        grid = self.loader.reader.grid_of(*query)
        return digest([list(map(int, grid.array.shape)), grid.affine.tolist()])

    def _lacks(self, query: CaseQuery) -> bool:
        wanted, grid = set(self.planes(query).tolist()), self._grid(query)
        names = (self.loader.modalities[column] for column in self.loader.reader.columns(*query))
        return any(not wanted <= self._keys.get((query.row, grid, name), {}).keys() for name in names)

    def _images(
        self, queries: Iterable[CaseQuery], advance: Advance
    ) -> Iterator[tuple[SliceSource, np.ndarray, Sequence[str]]]:
        """The crops of the slices that are needed, with the keys that they are stored under."""
        reader = self.loader.reader
        for query in queries:
            planes, grid = self.planes(query), self._grid(query)
            for column, extents in zip(reader.columns(*query), self.extents.each(*query), strict=True):
                name = self.loader.modalities[column]
                known = self._keys.setdefault((query.row, grid, name), {})
                missing = np.asarray([plane for plane in planes.tolist() if plane not in known], np.int64)
                source = SliceSource(grid, reader.case(query.row).case, name, reader.location(query.row, column))
                crop = partial(self._crops, query, column, self._boxes(extents))
                for start in range(0, len(missing), _CROPPED):
                    some = missing[start : start + _CROPPED]
                    keys, crops = self._read(source.location, grid, some, crop)
                    known.update(zip(some.tolist(), keys, strict=True))
                    if any(key not in self.store for key in keys):
                        yield source, crop(some) if crops is None else crops, keys
            advance(1)

    def _crops(self, query: CaseQuery, column: int, boxes: np.ndarray, planes: np.ndarray) -> np.ndarray:
        """uint8 (n, C, s, s): what is encoded of `planes` (n,) of a sequence."""
        image = self.loader.reader.image(query.row, column, query.modalities)
        return cropped(image[planes], boxes[planes], (self._side, self._side))

    def _read(
        self, location: Location, grid: str, planes: np.ndarray, crop: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[list[str], np.ndarray | None]:
        """The keys of the crops of `planes`, from the cache if they were made before, and the crops if they had to be
        made."""
        cache, made = self.loader.reader.cache, list[np.ndarray]()

        def measure() -> np.ndarray:
            made.append(crop(planes))
            return np.asarray([list(bytes.fromhex(key)) for key in slice_keys(made[0])], np.uint8)

        make = cache.unchanged(location, measure)
        facts = [_KEYS_VERSION, self.loader.recipe.digest, self.look, cache.bytes_digest(location), grid]
        kept = cache.array(
            "slice_keys", digest([*facts, self.loader.channels, planes.tolist()]), make,
            lambda keys: keys.dtype == np.uint8 and keys.ndim == 2 and len(keys) == len(planes),
        )  # fmt: skip
        return [row.tobytes().hex() for row in kept], made[0] if made else None
