"""The token store: patch tokens of a frozen encoder on disk, so that decoders train on them without the encoder.

A row holds the tokens of one slice of one modality, all layers concatenated, in float16: half of float32, with
a relative error of at most 2⁻¹¹ (0.05 %; absolute 3e-8 below 6e-5). Rows are in a `FeatureStore`: resumable, crash-safe
and shareable between processes.
"""

import math
import mmap
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from radapt.cases.prefetch import prefetch
from radapt.digests import digest
from radapt.durable import write_json
from radapt.errors import DataError
from radapt.features.batches import SliceSource, pack
from radapt.features.encode import default_batch, encode
from radapt.features.store import FLOAT16, FeatureStore, Place, ShardWriter
from radapt.progress import Advance
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.backbones.tokens import LayerTokens

Precision = Literal["float32", "bfloat16"]

_FORMAT = 1  # raised when the computation of rows changes, so that old rows are not reused
_RELEASE_BYTES = 256 << 20


@dataclass(frozen=True)
class TokenLayout:
    """The layout of a row: the tokens of each of `layers` (shallow to deep), of `shapes` (h, w, D)."""

    layers: tuple[int, ...]
    shapes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, backbone: "Backbone", layers: Sequence[int], size: tuple[int, int]) -> "TokenLayout":
        """The layout of `backbone` for slices of `size` (H, W) pixels. Runs it once on a black slice."""
        with torch.inference_mode():
            tokens = backbone.tokens(torch.zeros(1, 1, *size, dtype=torch.uint8), layers=layers)
        shapes = tuple(tuple(layer.patches.shape[1:]) for layer in tokens.layers)
        return cls(tuple(layers), shapes)  # type: ignore[arg-type]

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def widths(self) -> tuple[int, ...]:
        """D of each layer."""
        return tuple(shape[2] for shape in self.shapes)

    def bytes(self, slices: int) -> int:
        """The size on disk of that many slices; the index adds about a hundred bytes per slice."""
        return slices * self.width * FLOAT16.itemsize

    def split(self, rows: Tensor) -> list[Tensor]:
        """(..., width) -> one view (..., h, w, D) per layer."""
        sizes = [math.prod(shape) for shape in self.shapes]
        layers = rows.split(sizes, dim=-1)
        return [layer.unflatten(-1, shape) for layer, shape in zip(layers, self.shapes, strict=True)]


@dataclass(frozen=True)
class TokenSource:
    """What decides a row besides the pixels of its slice: the weights, their precision, and the layers."""

    backbone: str
    identity: str
    layout: TokenLayout
    precision: Precision = "float32"

    @property
    def facts(self) -> dict[str, object]:
        """The values of the digest. The recipe is not among them: it acts through the pixels, which key the rows."""
        return {
            "format": _FORMAT,
            "encoder": self.identity,
            "layers": list(self.layout.layers),
            "shapes": [list(shape) for shape in self.layout.shapes],
            "precision": self.precision,
            "numbers": "float16",
        }

    def folder(self, cache: Path) -> Path:
        return cache / "tokens" / digest(self.facts)


def slice_keys(planes: np.ndarray) -> list[str]:
    """The key of each slice of `planes` uint8 (n, C, H, W): 32 hex digits of its pixels and their shape."""
    head = str(planes.shape[1:]).encode()
    return [blake2b(head + np.ascontiguousarray(plane).tobytes(), digest_size=16).hexdigest() for plane in planes]


class TokenStore:
    """Tokens by the key of a slice (`slice_keys`), under `cache`. Opening reads the index only."""

    def __init__(self, cache: Path, source: TokenSource) -> None:
        self.source, self.folder = source, source.folder(cache)
        self._verified = set[Place]()
        self._open()

    def _open(self) -> None:
        self._rows = FeatureStore(self.folder, self.source.layout.width, FLOAT16, self._verified)
        self._read = 0

    def __contains__(self, key: str) -> bool:
        return self._rows.is_intact(key)

    def __len__(self) -> int:
        return len(self._rows)

    def row_addresses(self, keys: Sequence[str]) -> np.ndarray:
        """int64 (n, 2): shard and row of each key, for `gather`; DataError for a missing key."""
        if not all(map(self._rows.is_intact, keys)):
            raise DataError(f"The token store {self.folder} was removed or changed while it was in use.")
        entries = [self._rows.entry(key) for key in keys]
        return np.asarray([(entry.shard, entry.start) for entry in entries], np.int64).reshape(len(keys), 2)

    def gather(self, row_addresses: np.ndarray) -> np.ndarray:
        """float16 (n, width): the rows at `row_addresses` (n, 2), from mapped files; zeros where the shard is -1."""
        out = np.zeros((len(row_addresses), self.source.layout.width), FLOAT16)
        for shard in np.unique(row_addresses[:, 0]):
            if shard >= 0:
                in_shard = row_addresses[:, 0] == shard
                out[in_shard] = self._rows.shard(int(shard))[row_addresses[in_shard, 1]]
        self._read += out.nbytes
        if self._read > _RELEASE_BYTES:
            self._release(np.unique(row_addresses[:, 0]))
        return out

    def _release(self, shards: np.ndarray) -> None:
        """Release mapped pages, which otherwise count as this process's memory."""
        self._read = 0
        for shard in shards[shards >= 0]:
            mapping = getattr(self._rows.shard(int(shard)), "_mmap", None)
            if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                mapping.madvise(mmap.MADV_DONTNEED)

    def fill(
        self,
        backbone: "Backbone",
        images: Iterable[tuple[SliceSource, np.ndarray, Sequence[str]]],
        advance: Advance,
        batch: int | None = None,
    ) -> int:
        """Encode the missing slices; returns their number.

        `images` are planes uint8 (n, C, H, W) with their n keys; `advance` is called with the number of slices done.
        After a kill, the next call resumes. Rows do not depend on the other slices of a batch.

        Raises a DataError, after everything else is stored, that names the case and modality whose tokens are not
        finite in float16.
        """
        waiting: deque[tuple[SliceSource, str]] = deque()
        size = batch or default_batch(torch.device(backbone.device))
        done, failed = 0, dict[str, None]()
        with self.writer() as writer, closing(prefetch(pack(self._missing(images, waiting), size))) as batches:
            for encoded, rows in encode(backbone, batches, self.source.layout.layers, self._encoded):
                count = sum(span.stop - span.start for span in encoded.spans)
                failed |= dict.fromkeys(_store(writer, [waiting.popleft() for _ in range(count)], rows))
                done += count
                advance(count)
        self._open()
        if failed:
            raise DataError(
                f"{backbone.name} gave tokens that float16 cannot hold, for {', '.join(list(failed)[:5])} "
                f"({len(failed)} images in all). Train without stored tokens: token_budget_gb 0."
            )
        return done

    def writer(self) -> ShardWriter:
        """A writer of new rows, which a store that is opened later sees."""
        self.folder.mkdir(parents=True, exist_ok=True)
        description = {"backbone": self.source.backbone, "radapt": __version__}
        write_json(self.folder / "config.json", {**description, **self.source.facts})
        return self._rows.writer()

    def rows(self, layers: Sequence["LayerTokens"]) -> Tensor:
        """float16 (B, width) of the tokens of the layers of the layout."""
        return torch.cat([layer.patches.flatten(1).half() for layer in layers], dim=1)

    def _missing(
        self, images: Iterable[tuple[SliceSource, np.ndarray, Sequence[str]]], waiting: "deque[tuple[SliceSource, str]]"
    ) -> Iterator[tuple[SliceSource, np.ndarray]]:
        """The slices to encode, each once; their keys are queued in `waiting`."""
        seen: set[str] = set()
        for image, planes, keys in images:
            first = {
                key: i
                for i, key in reversed(list(enumerate(keys)))
                if key not in seen and not self._rows.is_intact(key)
            }
            todo = sorted(first.values())
            if todo:
                seen.update(first)
                waiting.extend((image, keys[i]) for i in todo)
                yield image, planes[todo]

    def _encoded(self, backbone: "Backbone", pixels: Tensor, layers: tuple[int, ...]) -> Tensor:
        """float16 (B, width) of uint8 (B, C, H, W)."""
        half = self.source.precision == "bfloat16"
        with torch.autocast(pixels.device.type, torch.bfloat16) if half else nullcontext():
            tokens = backbone.tokens(pixels, layers=layers)
        return self.rows(tokens.layers)


def _store(writer: ShardWriter, waiting: list[tuple[SliceSource, str]], rows: np.ndarray) -> Iterator[str]:
    """Store the finite rows; yields the names of images with other rows."""
    finite = np.isfinite(rows).all(axis=1)
    for (image, key), row, fine in zip(waiting, rows, finite, strict=False):
        if fine:
            writer.add(key, row[None])
        else:
            yield f"case {image.case} ({image.modality})"
