"""PNG, JPEG and BMP images: grey of 1 to 16 bits, colour of 8 bits per channel."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from radapt.errors import DataError
from radapt.images.claims import DEFLATE, JPEG, PACKED, check_claim
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.locations import Location

FORMATS = ("PNG", "JPEG", "BMP")
"""The formats that Pillow may open: some others run external programs."""

_PNG = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by PNG's colour type."""

_PALETTE = 3
"""PNG's colour type of pixels that are indices of a palette."""

_JPEG = b"\xff\xd8"
_OTHERS = ((b"GIF8", "a GIF"), (b"RIFF", "a WebP"), (b"\0\0\0\x0cjP", "JPEG 2000"), (b"%PDF", "a PDF"), (b"<", "text"))
_SCAN = 0xDA
_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xDA))
_MOST_STRAY = 1 << 16
"""Bytes between the segments of a JPEG header that are skipped."""

FIX = "Was the copy or download interrupted? Copy it again."


def read_label_map(location: Location) -> Volume | None:
    """The numbers that a grey PNG of 1, 2 or 4 bits or one with a palette holds; None for any other file.

    As a picture it is read with its values spread to 255, or in the colours of its palette; in a label map the stored
    number is the label. Raises DataError for a palette that paints a label black and 0 in a colour.
    """
    path = location.path
    if location.array is not None or not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(26)
    bits, colour = (start[24], start[25]) if start.startswith(_PNG) and len(start) == 26 else (8, 0)
    if colour != _PALETTE and (colour != 0 or bits not in (1, 2, 4)):
        return None
    with reading(path, "a picture", FIX):
        content = path.read_bytes()
        _check_end(path, content)
        _check_png(path, content)
        with Image.open(path, formats=FORMATS) as file:
            file.load()
            pixels = np.asarray(ImageOps.exif_transpose(file))
            if colour == _PALETTE:
                _check_background(path, pixels, file.getpalette() or [])
    if colour != _PALETTE and bits > 1:
        pixels = pixels // (255 // (2**bits - 1))
    return Volume.from_planes(plain_voxels(pixels[None], path))


def _check_background(path: Path, labels: np.ndarray, palette: list[int]) -> None:
    """Raise DataError if 0 has a colour and another number of the mask is black: which is the background?"""
    black = [int(value) for value in np.unique(labels) if value > 0 and not any(palette[3 * value : 3 * value + 3])]
    if black and any(palette[:3]):
        raise DataError(
            f"{path} paints its number {black[0]} black and 0 in a colour, so its background is unknown. "
            "Save it as grey: 0 for background, and for each structure its number."
        )


def read_raster(location: Location, modality: str | None = None) -> Volume:
    """Read an image as a volume of one plane at 1 mm; its axial plane is the image as a viewer shows it.

    EXIF orientation is applied. 16-bit grey keeps its values. PNG with colour or alpha of 16 bits per channel is read
    with the upper 8 bits, which is all Pillow gives; save it as TIFF or npy to keep them. Transparency is blended with
    black. Colour with three equal channels is read as grey.
    """
    path = location.path
    no_named_parts(location)
    with reading(path, "a picture", FIX):
        content = path.read_bytes()
        _check_end(path, content)
        if content.startswith(_PNG):
            _check_png(path, content)
        elif content.startswith(_JPEG):
            _check_jpeg(path, content)
        elif other := next((name for start, name in _OTHERS if content.startswith(start)), ""):
            raise DataError(f"{path} holds {other}, which radapt does not read. Convert it to PNG or TIFF.")
        with Image.open(path, formats=FORMATS) as file:
            if not content.startswith(_PNG):
                # Pillow has read the header only; run-length coded bitmaps hold less than their pixels.
                ratio = JPEG if file.format == "JPEG" else PACKED
                claimed = file.width * file.height * (1 if file.format == "JPEG" else len(file.getbands()))
                check_claim(path, claimed, len(content), ratio, FIX)
            file.load()
            pixels = pillow_pixels(ImageOps.exif_transpose(file))
    return Volume.from_planes(plain_voxels(without_equal_channels(pixels[None]), path), modality=modality)


def pillow_pixels(image: Image.Image) -> np.ndarray:
    """(H, W) or (H, W, 3) values of a Pillow image; palettes are applied, transparency is blended with black."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        if image.mode.startswith("I"):
            return np.asarray(image)  # a transparent grey level of a 16-bit image keeps its value
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, image).convert("RGB"))
    if image.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        return np.asarray(image.convert("RGB"))
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    return np.asarray(image)


def without_equal_channels(planes: np.ndarray) -> np.ndarray:
    """(n, H, W) if the three channels of (n, H, W, 3) are equal: radiographs are often saved as RGB."""
    if planes.ndim == 4 and (planes[..., 0] == planes[..., 1]).all() and (planes[..., 0] == planes[..., 2]).all():
        return planes[..., 0]
    return planes


def no_named_parts(location: Location) -> None:
    """Raise DataError if `location` names an array of a file that has no named parts."""
    if location.array is not None:
        raise DataError(f"{location}: this kind of file has no named parts. Write {location.path} alone.")


def _check_png(path: Path, content: bytes) -> None:
    """Raise DataError for a chunk with a wrong checksum, which Pillow does not compare for pixels, and for a size that
    the pixels cannot have."""
    at, pixels, size = len(_PNG), 0, 0
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        end = at + 8 + length
        kind = content[at + 4 : at + 8]
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big") or end + 4 > len(content):
            raise DataError(f"{path} is damaged: the checksum of its part {kind!r} is wrong. {FIX}")
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack(">IIBB", content[at + 8 : at + 18])
            size = height * (1 + width * bits * _SAMPLES.get(colour, 4) // 8)
        pixels += length * (kind == b"IDAT")
        if kind == b"IEND":
            break
        at = end + 4
    check_claim(path, size, pixels, DEFLATE, FIX)


def _check_jpeg(path: Path, content: bytes) -> None:
    """Raise DataError for a header that leads to no pixels: Pillow would look for them byte by byte."""
    at, stray = len(_JPEG), 0
    while 0 <= at < len(content) - 3 and stray <= _MOST_STRAY:
        if content[at] != 0xFF:
            found = content.find(b"\xff", at)
            at, stray = found, stray + found - at
        elif content[at + 1] == _SCAN:
            return
        elif content[at + 1] == 0xFF:
            at, stray = at + 1, stray + 1
        elif content[at + 1] in _WITHOUT_LENGTH:
            at, stray = at + 2, stray + 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    raise DataError(f"{path} is damaged: its header leads to no pixels. {FIX}")


def _check_end(path: Path, content: bytes) -> None:
    """Refuse truncated files by their missing end marker: Pillow would fill in their last rows silently."""
    png_cut = content.startswith(_PNG) and b"IEND\xaeB`\x82" not in content[-4096:]
    # Inside JPEG's compressed data a byte FF is always followed by 00 or a restart marker.
    jpeg_cut = content.startswith(_JPEG) and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    if png_cut or jpeg_cut:
        raise DataError(f"{path} is truncated: the end of the image is missing. {FIX}")
