"""PNG, JPEG and BMP images: grey of 1 to 16 bits, colour of 8 bits per channel."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from radapt.errors import DataError
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.locations import Location

FORMATS = ("PNG", "JPEG", "BMP")
"""The formats that Pillow may open: some others run external programs."""

FIX = "Was the copy or download interrupted? Copy it again."


def read_raster(location: Location, modality: str | None = None) -> Volume:
    """Read an image as a volume of one plane at 1 mm; its axial plane is the image as a viewer shows it.

    EXIF orientation is applied. 16-bit grey keeps its values. PNG with colour or alpha of 16 bits per channel is read
    with the upper 8 bits, which is all Pillow gives; save it as TIFF or npy to keep them. Transparency is blended with
    black. Colour with three equal channels is read as grey.
    """
    path = location.path
    no_named_parts(location)
    with reading(path, "a picture", FIX):
        _check_end(path)
        with Image.open(path, formats=FORMATS) as file:
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


def _check_end(path: Path) -> None:
    """Refuse truncated files by their missing end marker: Pillow would fill in their last rows silently."""
    content = path.read_bytes()
    png_cut = content.startswith(b"\x89PNG") and b"IEND\xaeB`\x82" not in content[-4096:]
    # Inside JPEG's compressed data a byte FF is always followed by 00 or a restart marker.
    jpeg_cut = content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    if png_cut or jpeg_cut:
        raise DataError(f"{path} is truncated: the end of the image is missing. {FIX}")
