"""TIFF images and stacks: one page is one plane."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from radapt.errors import DataError
from radapt.images.claims import DEFLATE, JPEG, LZW, OTHER, PACKED, check_claim
from radapt.images.raster import FIX, no_named_parts, pillow_pixels, without_equal_channels
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.locations import Location

UPRIGHT: dict[int, tuple[bool, bool, bool]] = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""TIFF 6.0 Orientation → (swap rows and columns, then flip rows, flip columns)."""

_RATIOS = {1: 1, 5: LZW, 6: 4 * JPEG, 7: 4 * JPEG, 8: DEFLATE, 32946: DEFLATE, 32773: PACKED}
"""Decoded bytes of a stored byte, by the number of TIFF's compression."""


def read_tiff(location: Location, modality: str | None = None) -> Volume:
    """Read a TIFF of any bit depth as a stack of planes at 1 mm, in page order.

    Palettes, 1-bit, inverted grey, alpha (over black) and the orientation tag are applied. Pages of different sizes and
    microscopy axes beyond pages are refused. LZW, JPEG and other compressions need `radapt[tiff]` unless Pillow can
    read them.
    """
    path = location.path
    no_named_parts(location)
    with reading(path, "a TIFF picture", FIX):
        _check_directories(path)
        planes = _tifffile_planes(path)
        if planes is None:
            planes = _pillow_planes(path)
    return Volume.from_planes(plain_voxels(without_equal_channels(planes), path), modality=modality)


def _tifffile_planes(path: Path) -> np.ndarray | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        shapes = {page.shape for page in file.pages}
        if len(shapes) != 1:
            raise DataError(f"{path} has {len(file.pages)} pages of different sizes. Save those you mean as one stack.")
        _check_claims(path, file.pages)
        try:
            pages = [np.asarray(page.asarray()) for page in file.pages]
        except ValueError as error:
            if "imagecodecs" in str(error):
                return None
            raise
        first: Any = file.pages.first
        return _upright(np.stack([_page(page, first) for page in pages]), first)


def _check_directories(path: Path) -> None:
    """Raise DataError for directories of pages that overlap, form a circle, or reach beyond the file: following them
    could take minutes in a file of some kilobytes."""
    size, left = path.stat().st_size, path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order = "<" if start.startswith(b"II") else ">"
        big = struct.unpack(order + "H", start[2:4])[0] == 43
        count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
        width = struct.calcsize(count), struct.calcsize(offset)
        (at,) = struct.unpack(order + offset, start[8:16] if big else start[4:8])
        while at:
            file.seek(at)
            (entries,) = struct.unpack(order + count, file.read(width[0]))
            length = width[0] + entry * entries + width[1]
            left -= length
            if left < 0 or at + length > size:
                raise DataError(f"{path} is damaged: its directories of pages overlap or reach beyond its end. {FIX}")
            file.seek(at + length - width[1])
            (at,) = struct.unpack(order + offset, file.read(width[1]))


def _check_claims(path: Path, pages: Any) -> None:
    """Raise DataError for pages that claim more pixels than their strips or tiles can hold."""
    claimed, ratio, whole = 0, 1, path.stat().st_size
    for page in pages:
        claimed += int(np.prod([int(size) for size in page.shape], dtype=object)) * max(1, page.bitspersample) // 8
        ratio = max(ratio, _RATIOS.get(int(page.compression), OTHER))
    check_claim(path, claimed, whole, ratio, FIX)


def _page(pixels: np.ndarray, page: Any) -> np.ndarray:
    """(H, W) or (H, W, 3) grey or colour values of one page."""
    photometric = page.photometric.name
    if page.axes.startswith("S") and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if photometric == "PALETTE":
        return (page.colormap[:, pixels] >> 8).astype(np.uint8).transpose(1, 2, 0)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if photometric == "MINISWHITE" and pixels.dtype.kind == "u":
        pixels = np.iinfo(pixels.dtype).max - pixels
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels = _over_black(pixels)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels


def _over_black(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind != "u":
        return pixels[..., :-1]
    alpha = pixels[..., -1:].astype(np.float32) / np.iinfo(pixels.dtype).max
    return np.rint(pixels[..., :-1] * alpha).astype(pixels.dtype)


def _upright(planes: np.ndarray, page: Any) -> np.ndarray:
    tag = page.tags.get("Orientation")
    swap, rows, columns = UPRIGHT.get(int(tag.value) if tag else 1, UPRIGHT[1])
    if swap:
        planes = planes.swapaxes(1, 2)
    return planes[:, :: -1 if rows else 1, :: -1 if columns else 1]


def _pillow_planes(path: Path) -> np.ndarray:
    """Planes with a compression for which tifffile needs imagecodecs, if Pillow can read it."""
    hint = f"{path} uses a TIFF compression that needs: pip install 'radapt[tiff]'"
    try:
        with Image.open(path, formats=("TIFF",)) as file:
            if file.tag_v2.get(258, (8,))[0] > 8 and len(file.getbands()) > 1:  # type: ignore[attr-defined]
                raise DataError(hint)  # Pillow would drop the lower 8 bits
            planes = []
            for index in range(getattr(file, "n_frames", 1)):
                file.seek(index)
                planes.append(pillow_pixels(file.copy()))
            return np.stack(planes)
    except Image.UnidentifiedImageError as error:
        raise DataError(hint) from error
