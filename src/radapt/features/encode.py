"""The encoder pass: batches of slices in, rows of features out, with copies and computation overlapping on a GPU."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.errors import UsageError
from radapt.features.batches import Batch
from radapt.features.joint import joint_rows

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.backbones.tokens import LayerTokens

TokenReadout = Callable[["Backbone", torch.Tensor, tuple[int, ...]], torch.Tensor]
"""(backbone, pixels uint8 (B, C, H, W), layers) → rows (B, D)."""

_LOG = logging.getLogger("radapt")

CPU_BATCH = 16  # measured: 8–16 is best on a CPU, 32 is up to a quarter slower
DEVICE_BATCH = 128


def default_batch(device: torch.device) -> int:
    return CPU_BATCH if device.type == "cpu" else DEVICE_BATCH


def encode(
    backbone: "Backbone", batches: Iterable[Batch], layers: tuple[int, ...], read: TokenReadout | None = None
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch with its rows (B, D): the result of `read`, by default `pooled_rows`, or `joint_rows` for modalities
    that are encoded together.

    The rows of a batch are fetched after the next batch is sent, so that on a GPU copies and reading overlap with
    computation. Batches that do not fit into the memory of the device are halved from then on, which the log notes.
    Raises UsageError if not even one slice fits.
    """
    running: _Running | None = None
    most = [sys.maxsize]  # slices at once
    for batch in batches:
        started = _start(backbone, batch, layers, read or pooled_rows, most)
        if running is not None:
            yield running.batch, running.finish()
        running = started
    if running is not None:
        yield running.batch, running.finish()


@dataclass
class _Running:
    """A batch whose rows may still be in transfer from the device."""

    batch: Batch
    rows: torch.Tensor
    transferred: torch.cuda.Event | None

    def finish(self) -> np.ndarray:
        if self.transferred is not None:
            self.transferred.synchronize()
        return self.rows.numpy()


def _start(
    backbone: "Backbone", batch: Batch, layers: tuple[int, ...], read: TokenReadout, most: list[int]
) -> _Running:
    while True:
        try:
            parts = [_rows(backbone, part, layers, read) for part in _parts(batch, most[0])]
            return _fetch(batch, parts[0] if len(parts) == 1 else torch.cat(parts))
        except torch.OutOfMemoryError as error:
            size, device = min(most[0], len(batch.pixels)), torch.device(backbone.device)
            if size == 1:
                raise UsageError(
                    f"One slice at a time does not fit into the memory of {device} with {backbone.name}. Use smaller "
                    "images, a smaller encoder or --dtype bfloat16."
                ) from error
        # Here, and not above, as the error holds on to the tensors of the failed attempt.
        most[0] = -(-size // 2)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        _LOG.warning(
            "%d slices at once do not fit into the memory of %s with %s: %d at a time. Numbers may differ by rounding "
            "from those of larger batches; --batch sets the size.", size, device, backbone.name, most[0],
        )  # fmt: skip


def _parts(batch: Batch, most: int) -> Iterator[Batch]:
    """The batch in parts of at most `most` slices."""
    for start in range(0, len(batch.pixels), most):
        rows = slice(start, start + most)
        yield Batch(batch.pixels[rows], (), None if batch.present is None else batch.present[rows])


def _rows(backbone: "Backbone", batch: Batch, layers: tuple[int, ...], read: TokenReadout) -> torch.Tensor:
    device, pixels = torch.device(backbone.device), torch.from_numpy(batch.pixels)
    with torch.inference_mode():
        if device.type == "cuda":
            pixels = pixels.pin_memory()
        pixels = pixels.to(device, non_blocking=True)
        if batch.present is not None:
            return joint_rows(backbone, pixels, torch.from_numpy(batch.present), layers)
        return read(backbone, pixels, layers)


def pooled_rows(backbone: "Backbone", pixels: torch.Tensor, layers: tuple[int, ...]) -> torch.Tensor:
    """float32 (B, D) of pixels uint8 (B, C, H, W)."""
    return pooled(backbone.tokens(pixels, layers=layers).layers)


def pooled(layers: Sequence["LayerTokens"]) -> torch.Tensor:
    """float32 (B, D): the CLS of every layer, then the patch mean of every layer."""
    cls = [layer.cls.to(torch.float32) for layer in layers]
    means = [layer.patches.mean(dim=(1, 2), dtype=torch.float32) for layer in layers]  # (B, h, w, D) -> (B, D)
    return torch.cat([*cls, *means], dim=1)


def _fetch(batch: Batch, rows: torch.Tensor) -> _Running:
    if rows.device.type != "cuda":
        return _Running(batch, rows.cpu(), None)
    host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
    host.copy_(rows, non_blocking=True)
    transferred = torch.cuda.Event()
    transferred.record()
    return _Running(batch, host, transferred)
