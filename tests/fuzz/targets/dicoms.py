"""DICOM files in every transfer syntax that can be encoded here, and a folder that `scan` reads."""

import io
import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fuzz.mutations import Field
from fuzz.target import Target, after
from radapt.images import read
from radapt.locations import Location

logging.getLogger("pydicom").setLevel(logging.CRITICAL)
RNG = np.random.default_rng(1)
SLICE = RNG.integers(-1000, 1000, (14, 16)).astype(np.int16)
FRAMES = RNG.integers(0, 4000, (3, 14, 16)).astype(np.uint16)
FILM = np.add.outer(np.arange(14), np.arange(16)).astype(np.uint8)


def dataset(pixels: np.ndarray, **tags: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    facts = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2",
        "Modality": "CT",
        "PatientID": "P1",
        "PatientAge": "045Y",
        "SeriesDescription": "axial",
        "InstanceNumber": 1,
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize,
        "HighBit": 8 * pixels.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "ImagePositionPatient": [0, 0, 5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.7, 0.7],
        "SliceThickness": 2.5,
        "RescaleSlope": 1,
        "RescaleIntercept": -10,
        "WindowCenter": 40,
        "WindowWidth": 400,
        "PixelPaddingValue": 3,
    }
    if pixels.ndim == 3:
        facts["NumberOfFrames"] = len(pixels)
    for name, value in {**facts, **tags}.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    return data


def stored(data: FileDataset, **options: Any) -> bytes:
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True, **options)
    return file.getvalue()


def as_syntax(syntax: str) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        found = []
        for pixels in (SLICE, FRAMES):
            data = dataset(pixels)
            data.file_meta.TransferSyntaxUID = syntax
            if syntax == RLELossless:
                data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                data.compress(RLELossless)
                found.append(stored(data))
            elif syntax == ExplicitVRBigEndian:
                data.PixelData = pixels.byteswap().tobytes()
                file = io.BytesIO()
                pydicom.dcmwrite(file, data, force_encoding=True, little_endian=False, implicit_vr=False)
                found.append(file.getvalue())
            else:
                found.append(stored(data, little_endian=True, implicit_vr=syntax == ImplicitVRLittleEndian))
        return found

    return made


def encoded(syntax: str, encode: Callable[[np.ndarray], bytes], *arrays: np.ndarray) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        found = []
        for pixels in arrays:
            data = dataset(pixels)
            data.PixelData = encapsulate([encode(plane) for plane in (pixels if pixels.ndim == 3 else pixels[None])])
            data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
            data.file_meta.TransferSyntaxUID = syntax
            found.append(stored(data))
        return found

    return made


def enhanced() -> list[bytes]:
    """Frames with functional groups, a colour palette, and a modality table."""
    data = dataset(FRAMES)
    groups = []
    for index in range(3):
        item, position, measures, orientation = (pydicom.Dataset() for _ in range(4))
        position.ImagePositionPatient = [0, 0, 2 * index]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 2
        item.PlanePositionSequence, item.PlaneOrientationSequence, item.PixelMeasuresSequence = (
            [position],
            [orientation],
            [measures],
        )
        groups.append(item)
    data.PerFrameFunctionalGroupsSequence = groups
    del data.ImagePositionPatient
    palette = dataset(FILM, PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(palette, f"{name}PaletteColorLookupTableDescriptor", [64, 0, 16])
        setattr(palette, f"{name}PaletteColorLookupTableData", RNG.integers(0, 65535, 64).astype("<u2").tobytes())
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [32, 0, 16], "HU"
    table.add_new("LUTData", "OW", RNG.integers(0, 4000, 32).astype("<u2").tobytes())
    return [stored(data), stored(palette), stored(dataset(FILM, ModalityLUTSequence=[table]))]


@cache
def element_fields(content: bytes) -> Sequence[Field]:
    """The tag, type, length and value of every element, and the numbers in the stream of pixels."""
    fields: list[Field] = []
    for element in pydicom.dcmread(io.BytesIO(content), force=True).iterall():
        at = element.file_tell
        if at and at < len(content):
            fields += [Field(at - 8, 2), Field(at - 6, 2), Field(at - 4, 4), Field(at, 2), Field(at, 1), Field(at, 4)]
    fields += after(content, [b"\xfe\xff\x00\xe0"], 24, 4) + after(
        content, [b"\xff\xf7", b"\xff\x51", b"\xff\xc0", b"\xff\xc3"], 16, 1
    )
    return [item for item in fields if item.at >= 0 and item.at + item.size <= len(content)]


def opened(content: bytes, folder: Path) -> Any:
    path = folder / "x.dcm"
    path.write_bytes(content)
    found = read(Location(path))
    return found.array, found.affine


@cache
def _slice_at(index: int, position: float) -> bytes:
    place = {"ImagePositionPatient": [0, 0, position], "InstanceNumber": 2 + index}
    return stored(dataset(SLICE, SOPInstanceUID=f"1.2.3.{5 + index}", **place))


@cache
def _of_another_patient() -> bytes:
    return stored(dataset(SLICE, PatientID="P2", SeriesInstanceUID="1.9", StudyInstanceUID="1.8"))


def series(content: bytes, folder: Path) -> Any:
    """The damaged file beside two valid slices."""
    for index, position in enumerate((7.5, 10)):
        (folder / f"{index}.dcm").write_bytes(_slice_at(index, position))
    (folder / "x.dcm").write_bytes(content)
    found = read(Location(folder))
    return found.array, found.affine


def scanned(content: bytes, folder: Path) -> Any:
    from radapt.cohorts.scan import scan

    for patient in range(2):
        path = folder / "d" / f"p{patient}" / "x.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(content if patient else _of_another_patient())
    return repr(scan(folder / "d", out=folder / "cohort.yaml")).replace(str(folder), "")


def _jpeg(plane: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(plane).save(file, "JPEG")
    return file.getvalue()


def _codec(name: str, **options: Any) -> Callable[[np.ndarray], bytes]:
    import imagecodecs

    return lambda plane: getattr(imagecodecs, name)(plane, **options)


def _targets() -> list[Target]:
    j2k = {"level": 0, "codecformat": "j2k", "reversible": True}
    deep = np.maximum(FRAMES, 1)
    made = {
        "explicit": as_syntax(ExplicitVRLittleEndian),
        "implicit": as_syntax(ImplicitVRLittleEndian),
        "big endian": as_syntax(ExplicitVRBigEndian),
        "deflated": as_syntax(DeflatedExplicitVRLittleEndian),
        "rle": as_syntax(RLELossless),
        "enhanced": enhanced,
        "jpeg": encoded(JPEGBaseline8Bit, _jpeg, FILM),
        "jpeg lossless": encoded(JPEGLosslessSV1, _codec("ljpeg_encode", bitspersample=16), deep),
        "jpeg-ls": encoded(JPEGLSLossless, _codec("jpegls_encode"), deep, FILM),
        "jpeg-ls near": encoded(JPEGLSNearLossless, _codec("jpegls_encode", level=2), FILM),
        "jpeg 2000": encoded(JPEG2000Lossless, _codec("jpeg2k_encode", **j2k), deep, FILM),
        "jpeg 2000 lossy": encoded(JPEG2000, _codec("jpeg2k_encode", **j2k), FILM),
    }
    found = [Target(f"dicom {name}", seeds, opened, fields=element_fields) for name, seeds in made.items()]
    one = lambda: made["explicit"]()[:1]  # noqa: E731
    found.append(Target("dicom series", one, series, fields=element_fields, slow=True))
    return [*found, Target("dicom scan", one, scanned, fields=element_fields, slow=True)]


TARGETS = _targets()
