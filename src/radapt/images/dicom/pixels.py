"""From the pixel data of a DICOM file to values: decoding, colour, rescaling, inversion, padding."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from radapt.errors import DataError
from radapt.images.dicom import jpeg
from radapt.images.dicom.frames import FIX, PIXELS, DicomFrame, read_header
from radapt.images.dicom.streams import check_streams
from radapt.images.reading import reading

PREFERRED = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.57": jpeg.NAME,  # JPEG lossless
    "1.2.840.10008.1.2.4.70": jpeg.NAME,  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pillow",  # JPEG 2000
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS
}
"""Decoders that are used even if GDCM is installed, which ends the process on some damaged files."""


def read_pixels(frames: Sequence[DicomFrame]) -> tuple[np.ndarray, float | None]:
    """All planes (n, rows, columns[, 3]) of one file in stored order, and T if values were inverted by v → T - v.

    Grey values are rescaled to their unit (Hounsfield for CT), padding is set to the darkest value, and MONOCHROME1 is
    inverted so that larger is brighter. Colour is RGB. Integers stay integers if the rescale slope allows it.
    """
    path = frames[0].path
    header = read_header(path, pixels=True)
    if header is None or not any(tag in header for tag in PIXELS[:3]):
        raise DataError(f"{path} has no pixel data. {FIX}")
    with reading(path, "DICOM", FIX):
        stored = _decoded(header, path)
        stored = stored.reshape(len(frames), *frames[0].size[:2], *stored.shape[3 if len(frames) > 1 else 2 :])
        photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
        if photometric == "PALETTE COLOR":
            return _palette(stored, header), None
        if stored.ndim == 4:
            return stored, None
        return _grey(stored, frames, header, photometric == "MONOCHROME1")


def _decoded(header: Any, path: Any) -> np.ndarray:
    from pydicom.pixels import get_decoder, pixel_array
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in header.file_meta:
        implicit = header.original_encoding[0]
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = header.file_meta.TransferSyntaxUID
    jpeg.register()
    try:
        plugins = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ("none",)
    except NotImplementedError as error:
        raise DataError(f"{path} holds {syntax.name}, which radapt cannot read as an image.") from error
    if not plugins:
        raise DataError(
            f"{path} is compressed as {syntax.name} and no decoder for it is installed. "
            "Install one with: pip install 'radapt[dicom]'"
        )
    check_streams(header, path)
    return _used_bits(pixel_array(header, decoding_plugin=_decoder(syntax, plugins)), header)


def _decoder(syntax: str, plugins: Sequence[str]) -> str:
    """The decoder of pydicom to use; empty for its own choice."""
    preferred = PREFERRED.get(syntax, "")
    return preferred if preferred in plugins else ""


def _used_bits(stored: np.ndarray, header: Any) -> np.ndarray:
    """`stored` with the bits above BitsStored cleared, or filled with the sign of signed values.

    Those bits may hold anything (PS3.5 8.1.1). Decoders take them from the stream: JPEG-LS and JPEG 2000 often code the
    whole word.
    """
    unused = stored.dtype.itemsize * 8 - int(header.get("BitsStored") or 0)
    if "PixelData" not in header or stored.dtype.kind not in "iu" or not 0 < unused < stored.dtype.itemsize * 8:
        return stored
    return (stored << stored.dtype.type(unused)) >> stored.dtype.type(unused)


def _palette(stored: np.ndarray, header: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    colours = apply_color_lut(stored, header)[..., :3]
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours


def _grey(
    stored: np.ndarray, frames: Sequence[DicomFrame], header: Any, inverted: bool
) -> tuple[np.ndarray, float | None]:
    padding = _padding(stored, header)
    if header.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        values = np.asarray(apply_modality_lut(stored, header), dtype=np.float32)
        total = float(values.min() + values.max())
    else:
        values, total = _rescaled(stored, frames, header)
    if inverted:
        values = np.float32(total) - values if values.dtype.kind == "f" else np.int64(total) - values
    if padding is not None and padding.any() and not padding.all():
        values = np.where(padding, values[~padding].min(), values)
    return _smallest(values), total if inverted else None


def _rescaled(stored: np.ndarray, frames: Sequence[DicomFrame], header: Any) -> tuple[np.ndarray, float]:
    """Values after slope and intercept, and the sum of the smallest and the largest possible value."""
    group = "PixelValueTransformationSequence"
    slopes = np.asarray([_number(frame.get("RescaleSlope", group), 1.0) for frame in frames])
    intercepts = np.asarray([_number(frame.get("RescaleIntercept", group), 0.0) for frame in frames])
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    ends = -1 if header.get("PixelRepresentation") else 2**bits - 1  # lowest + highest stored value
    total = float(ends * slopes[0] + 2 * intercepts[0])
    if stored.dtype.kind != "f" and (slopes == 1).all() and (intercepts == np.rint(intercepts)).all():
        if not intercepts.any():
            return stored, total
        return stored.astype(np.int64) + intercepts.astype(np.int64)[:, None, None], total
    scaled = stored.astype(np.float32)
    scaled *= slopes.astype(np.float32)[:, None, None]
    scaled += intercepts.astype(np.float32)[:, None, None]
    return scaled, total


def _padding(stored: np.ndarray, header: Any) -> np.ndarray | None:
    value = header.get("PixelPaddingValue")
    if value is None or not isinstance(value, int):
        return None
    limit = header.get("PixelPaddingRangeLimit")
    ends = sorted((value, limit if isinstance(limit, int) else value))
    return (stored >= ends[0]) & (stored <= ends[1])


def _smallest(values: np.ndarray) -> np.ndarray:
    """64-bit integers as 16 or 32 bits if they fit; other types unchanged."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return values
    kinds: tuple[type, ...] = (np.int16, np.int32)
    low, high = values.min(), values.max()
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.float32)


def _number(value: Any, default: float) -> float:
    return default if value is None else float(value)
