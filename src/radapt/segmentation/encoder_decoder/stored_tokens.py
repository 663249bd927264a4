"""Storing the tokens of a frozen encoder: whether they fit, writing them, and the time this saves."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from radapt.features.batches import SliceSource
from radapt.features.encode import default_batch
from radapt.features.token_store import TokenLayout, TokenSource, TokenStore, slice_keys
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.modality_view import ModalityView

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

GB = 1e9

_SPARE = 1.1
"""Free disk space required per stored byte: room for the index and for other files."""


@dataclass(frozen=True, eq=False)
class StoredTokens:
    """Tokens of all slices of some cases. `places[row]` (n, m, 2) is their address, -1 where a modality is missing.

    `made` slices were newly encoded, in `seconds`.
    """

    store: TokenStore
    places: dict[int, np.ndarray]
    made: int
    seconds: float

    def load(self, row: np.ndarray, plane: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows float16 (b, m, numbers) and `present` bool (b, m) of slices given by case and number."""
        places = np.stack([self.places[int(r)][p] for r, p in zip(row, plane, strict=True)])
        rows = self.store.gather(places.reshape(-1, 2)).reshape(*places.shape[:2], -1)
        return torch.from_numpy(rows), torch.from_numpy(places[..., 0] >= 0)

    def maps(self, rows: Tensor) -> list[Tensor]:
        """Rows as maps (b, m, h, w, D_i) float32."""
        return self.store.source.layout.split(rows.float())


@dataclass(frozen=True, eq=False)
class TokenPlan:
    """The disk space that storing takes, computed before anything is decoded or encoded."""

    layout: TokenLayout
    slices: int
    folder: Path
    budget_gb: float

    @classmethod
    def of(
        cls, problem: ImageProblem, seen: ModalityView, layout: TokenLayout, rows: np.ndarray, budget_gb: float
    ) -> "TokenPlan":
        slices = sum(seen.data.count(int(row)) * int(seen.present(int(row)).sum()) for row in rows)
        return cls(layout, slices, Path(problem.slices.folder), budget_gb)

    @property
    def gb(self) -> float:
        return self.layout.bytes(self.slices) / GB

    @property
    def free_gb(self) -> float:
        """Free space on the disk of the cache, in GB."""
        existing = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        return shutil.disk_usage(existing).free / GB

    def refusal(self, stored: int = 0) -> str | None:
        """Why tokens are not stored, or None if they are; `stored` slices are in the store already."""
        if self.gb > self.budget_gb:
            return f"they would take {self.gb:.3g} GB, more than token_budget_gb = {self.budget_gb:g}"
        missing = self.layout.bytes(max(0, self.slices - stored)) / GB
        if missing * _SPARE > self.free_gb:
            return f"they would take {missing:.3g} GB more, and the disk of the cache has {self.free_gb:.3g} GB left"
        return None


def store_tokens(
    problem: ImageProblem, seen: ModalityView, backbone: "Backbone", layout: TokenLayout, rows: np.ndarray
) -> StoredTokens:
    """Encode every slice of the cases at `rows` that is not in the store yet."""
    source = TokenSource(backbone.name, backbone.token_identity, layout, problem.machine.precision)
    store = TokenStore(Path(problem.slices.folder), source)
    keys = {int(row): _keys(seen, int(row)) for row in rows}
    missing = len({key for case in keys.values() for some in case for key in some or () if key not in store})
    start = time.monotonic()
    if missing:
        with problem.machine.progress(missing, f"{backbone.name}: storing tokens", "slices") as advance:
            store.fill(backbone, _images(seen, keys, store), advance)
    seconds = time.monotonic() - start
    places = {row: _places(store, case) for row, case in keys.items()}
    return StoredTokens(store, places, missing, seconds)


Keys = Sequence[Sequence[str] | None]
"""Keys of the slices of each modality of one case; None if the modality is missing."""


def _keys(seen: ModalityView, row: int) -> Keys:
    planes, present = seen.planes(row)
    return [slice_keys(planes[:, m]) if available else None for m, available in enumerate(present)]


def _images(
    seen: ModalityView, keys: dict[int, Keys], store: TokenStore
) -> Iterator[tuple[SliceSource, np.ndarray, Sequence[str]]]:
    """Every image with a slice that is not stored yet, with all its slices."""
    for row, case in keys.items():
        if all(key in store for some in case for key in some or ()):
            continue
        planes, _ = seen.planes(row)
        images = seen.data.cohort.cases[row].images
        for m, (name, some) in enumerate(zip(seen.names, case, strict=True)):
            if some is not None:
                yield SliceSource(some[0], seen.case(row), name, images[name]), planes[:, m], some


def _places(store: TokenStore, case: Keys) -> np.ndarray:
    missing = np.full((max(len(some or ()) for some in case), 2), -1, np.int64)
    return np.stack([missing if some is None else store.row_addresses(some) for some in case], axis=1)


def encoding_seconds(backbone: "Backbone", planes: np.ndarray, layers: Sequence[int]) -> float:
    """Seconds the encoder takes per slice, measured on one batch made of `planes` uint8 (n, C, H, W)."""
    size = default_batch(torch.device(backbone.device))
    images = torch.from_numpy(np.resize(planes, (size, *planes.shape[1:])))
    with torch.inference_mode():
        backbone.tokens(images[:1], layers=layers)
        start = time.perf_counter()
        last = backbone.tokens(images, layers=layers).patches
        last[0, 0, 0, 0].item()  # waits for the device
    return (time.perf_counter() - start) / size


def report(plan: TokenPlan, tokens: StoredTokens, per_slice: float, passes: int) -> dict[str, Any]:
    """Cost and savings of storing, for the fit record. `passes`: how often a slice was read instead of encoded."""
    return {
        "stored": True,
        "layers": list(plan.layout.layers),
        "slices": plan.slices,
        "gb": round(plan.gb, 6),
        "encoded_now": tokens.made,
        "seconds_storing": round(tokens.seconds, 3),
        "encoder_seconds_per_slice": round(per_slice, 6),
        "slices_read": passes,
        "seconds_saved": round(passes * per_slice - tokens.seconds, 3),
    }
