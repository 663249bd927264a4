"""One pass of the encoder: batches of slices in, rows of features out, the device never waiting for the host."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.errors import UsageError
from radapt.features.batches import Batch
from radapt.features.joint import joint_rows

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

Read = Callable[["Backbone", torch.Tensor, tuple[int, ...]], torch.Tensor]
"""(backbone, pixels uint8 (B, C, H, W), layers) → rows (B, D)."""

CPU_BATCH = 16  # FACTS: 8–16 is best on a CPU, 32 is up to a quarter slower
DEVICE_BATCH = 128


def default_batch(device: torch.device) -> int:
    return CPU_BATCH if device.type == "cpu" else DEVICE_BATCH


def encode(
    backbone: "Backbone", batches: Iterable[Batch], layers: tuple[int, ...], read: Read | None = None
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch with its rows (B, D): what `read` takes from the tokens, by default `pooled_rows`, and `joint_rows` of
    images seen together.

    A batch's rows are fetched only after the next batch was sent, so that on a GPU copies and reading overlap
    with computing. Raises UsageError if a batch does not fit in the device's memory.
    """
    running: _Running | None = None
    for batch in batches:
        started = _start(backbone, batch, layers, read or pooled_rows)
        if running is not None:
            yield running.batch, running.finish()
        running = started
    if running is not None:
        yield running.batch, running.finish()


@dataclass
class _Running:
    """A batch whose rows may still be on their way from the device."""

    batch: Batch
    rows: torch.Tensor
    arrived: torch.cuda.Event | None

    def finish(self) -> np.ndarray:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.rows.numpy()


def _start(backbone: "Backbone", batch: Batch, layers: tuple[int, ...], read: Read) -> _Running:
    device = torch.device(backbone.device)
    pixels = torch.from_numpy(batch.pixels)
    try:
        with torch.inference_mode():
            if device.type == "cuda":
                pixels = pixels.pin_memory()
            pixels = pixels.to(device, non_blocking=True)
            if batch.present is not None:
                return _fetch(batch, joint_rows(backbone, pixels, torch.from_numpy(batch.present), layers))
            return _fetch(batch, read(backbone, pixels, layers))
    except torch.OutOfMemoryError as error:
        size = len(batch.pixels)
        raise UsageError(
            f"A batch of {size} slices does not fit in the memory of {device} with {backbone.name}; "
            f"try --batch {max(1, size // 2)} (batch={max(1, size // 2)} in Python)."
        ) from error


def pooled_rows(backbone: "Backbone", pixels: torch.Tensor, layers: tuple[int, ...]) -> torch.Tensor:
    """float32 (B, D): the CLS of every layer, then the patch mean of every layer."""
    tokens = backbone.tokens(pixels, layers=layers)  # pixels (B, C, H, W) uint8
    cls = [layer.cls.to(torch.float32) for layer in tokens.layers]
    means = [layer.patches.mean(dim=(1, 2), dtype=torch.float32) for layer in tokens.layers]  # (B, h, w, D) -> (B, D)
    return torch.cat([*cls, *means], dim=1)


def _fetch(batch: Batch, rows: torch.Tensor) -> _Running:
    if rows.device.type != "cuda":
        return _Running(batch, rows.cpu(), None)
    host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
    host.copy_(rows, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return _Running(batch, host, arrived)
