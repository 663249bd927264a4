"""Slices on their way to the encoder: packed into batches of one fixed size."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from radapt.cases.channels import with_channels
from radapt.locations import Location


class ModalityPart(NamedTuple):
    """One of several images that are encoded together: its column in the encoder's modalities, and where it lies."""

    column: int
    location: Location


class SliceSource(NamedTuple):
    """One modality of one case, or several `parts` seen together, and the key its features are stored under."""

    key: str
    case: str
    modality: str
    location: Location
    parts: tuple[ModalityPart, ...] = ()


class Span(NamedTuple):
    """Rows start ≤ row < stop of a batch are slices of `image`, which has `total` of them."""

    image: SliceSource
    start: int
    stop: int
    total: int


class Batch(NamedTuple):
    """Pixels uint8 (B, C, H, W), C = 1 or 3; rows beyond the last span are padding.

    Of images seen together they are (B, M, C, H, W), and `present` (B, M) bool says which a row has.
    """

    pixels: np.ndarray
    spans: tuple[Span, ...]
    present: np.ndarray | None = None


def pack(read: Iterable[tuple[SliceSource, np.ndarray]], size: int) -> Iterator[Batch]:
    """Batches of exactly `size` slices, across the borders of images; the last one is filled up with zeros.

    Every batch having one shape is what makes a slice's numbers the same whatever else is in its batch.
    """
    pieces: list[np.ndarray] = []
    spans: list[Span] = []
    filled = 0
    for image, planes in read:
        done = 0
        while done < len(planes):
            take = min(size - filled, len(planes) - done)
            pieces.append(planes[done : done + take])
            spans.append(Span(image, filled, filled + take, len(planes)))
            done, filled = done + take, filled + take
            if filled == size:
                yield _batch(pieces, spans, size)
                pieces, spans, filled = [], [], 0
    if spans:
        yield _batch(pieces, spans, size)


def _batch(pieces: list[np.ndarray], spans: list[Span], size: int) -> Batch:
    first, channels = pieces[0], max(piece.shape[-3] for piece in pieces)
    pixels = np.zeros((size, *first.shape[1:-3], channels, *first.shape[-2:]), dtype=np.uint8)
    for piece, span in zip(pieces, spans, strict=True):
        pixels[span.start : span.stop] = with_channels(piece, channels)
    return Batch(pixels, tuple(spans))
