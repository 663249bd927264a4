"""A small file that claims to be huge is refused at once, and nothing is allocated for what it claims."""

import gzip
import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)


def tiff(compression: str | None) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, compression=compression)
    raw = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(raw)) as opened:
        at = [opened.pages[0].tags[name].offset for name in ("ImageWidth", "ImageLength")]
    for offset in at:
        raw[offset + 2 : offset + 12] = struct.pack("<HII", 4, 1, 40_000)
    return bytes(raw)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    raw = bytearray(file.getvalue())
    raw[16:24] = struct.pack(">II", 12_000, 12_000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw)


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG")
    raw = bytearray(file.getvalue())
    at = raw.index(b"\xff\xc0")
    raw[at + 5 : at + 9] = struct.pack(">HH", 12_000, 12_000)
    return bytes(raw)


def bmp() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "BMP")
    raw = bytearray(file.getvalue())
    raw[18:26] = struct.pack("<ii", 12_000, 12_000)
    return bytes(raw)


def nifti_gz() -> bytes:
    voxels = np.random.default_rng(0).integers(0, 256, (64, 64, 32)).astype("<i2")
    raw = bytearray(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    raw[43] = 0x3F
    return gzip.compress(bytes(raw), 1)


def npz() -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (40_000, 40_000)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"1" * 50)
    raw = bytearray(file.getvalue())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 1_600_000_200)
    return bytes(raw)


def dicom(syntax: str, **tags: int) -> Callable[[], bytes]:
    def make() -> bytes:
        data = pydicom.Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
        data.Rows = data.Columns = 16
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        pixels = bytes(512)
        if syntax == JPEG2000Lossless:
            pixels = pydicom.encaps.encapsulate([pixels])
        data.PixelData = pixels
        data["PixelData"].VR = "OW"
        data["PixelData"].is_undefined_length = syntax == JPEG2000Lossless
        for name, value in tags.items():
            setattr(data, name, value)
        file = io.BytesIO()
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()

    return make


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("x.tif", lambda: tiff("zlib")),
        ("x.tif", lambda: tiff(None)),
        ("x.png", png),
        ("x.jpg", jpeg),
        ("x.bmp", bmp),
        ("x.nii.gz", nifti_gz),
        ("x.npz", npz),
        ("x.dcm", dicom(ExplicitVRLittleEndian, NumberOfFrames=50_000_000)),
        ("x.dcm", dicom(ExplicitVRLittleEndian, Rows=65_000, Columns=65_000)),
        ("x.dcm", dicom(JPEG2000Lossless, NumberOfFrames=2**31 - 1)),
    ],
)
def test_a_claim_beyond_the_file_is_refused(name: str, make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(make())
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(DataError, match=name):
            read(Location(path))
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 30


def test_a_png_claims_its_samples_and_a_byte_per_row(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png())
    with pytest.raises(DataError, match="its header claims 144,012,000 bytes"):  # 12,000 rows of 12,001
        read(Location(tmp_path / "x.png"))


def test_a_compressed_file_may_hold_more_than_its_size(tmp_path: Path) -> None:
    black = np.zeros((2000, 2000), np.uint8)
    for name, options in (("x.png", {}), ("x.jpg", {}), ("y.jpg", {"progressive": True}), ("x.bmp", {})):
        Image.fromarray(black).save(tmp_path / name, **options)
    tifffile.imwrite(tmp_path / "x.tif", black, compression="zlib")
    nib.save(nib.Nifti1Image(np.zeros((200, 200, 50), np.int16), np.eye(4)), tmp_path / "x.nii.gz")
    np.savez_compressed(tmp_path / "x.npz", images=black)
    file = io.BytesIO()
    Image.fromarray(black).save(file, "JPEG")
    data = pydicom.dcmread(io.BytesIO(dicom(ExplicitVRLittleEndian, Rows=2000, Columns=2000)()))
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = pydicom.encaps.encapsulate([file.getvalue()])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    for path in tmp_path.iterdir():
        assert not read(Location(path)).array.any()


def test_a_jpeg_whose_header_leads_nowhere_is_refused_at_once(tmp_path: Path) -> None:
    """Pillow would look for the pixels byte by byte."""
    Image.fromarray(np.tile(PIXELS, (60, 60))).save(tmp_path / "x.jpg")
    raw = (tmp_path / "x.jpg").read_bytes()
    at = raw.index(b"\xff\xc0")
    (tmp_path / "x.jpg").write_bytes(raw[: at + 2] + b"\xff\xff" + raw[at + 4 :])
    with pytest.raises(DataError, match="leads to no pixels"):
        read(Location(tmp_path / "x.jpg"))


def test_stray_bytes_in_a_jpeg_header_are_skipped(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg")
    raw, expected = (tmp_path / "x.jpg").read_bytes(), read(Location(tmp_path / "x.jpg")).array
    at = raw.index(b"\xff\xc0")
    (tmp_path / "x.jpg").write_bytes(raw[:at] + b"\0\x07\xff\xff" + raw[at:])
    np.testing.assert_array_equal(read(Location(tmp_path / "x.jpg")).array, expected)


@pytest.mark.parametrize("at", [0, 40, 200])
def test_a_png_with_a_wrong_checksum_is_refused(at: int, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png", compress_level=0)  # stored, so that any byte is a pixel
    raw = bytearray((tmp_path / "x.png").read_bytes())
    raw[60 + at] ^= 1
    (tmp_path / "x.png").write_bytes(raw)
    with pytest.raises(DataError, match="checksum"):
        read(Location(tmp_path / "x.png"))


def test_a_gz_that_never_ends_is_refused(tmp_path: Path) -> None:
    volume = nib.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)).to_bytes()
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(volume + bytes(80 << 20), 1))
    with pytest.raises(DataError, match="twice the voxels"):
        read(Location(tmp_path / "x.nii.gz"))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("following", [0, 1, None])
def test_directories_of_a_tiff_that_have_no_end_are_refused(big: bool, following: int | None, tmp_path: Path) -> None:
    """The last directory is followed by the first one, by one that overlaps it, or by one beyond the file."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([PIXELS, PIXELS]), bigtiff=big)
    raw = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(raw)) as opened:
        first, last = (page.offset for page in opened.pages)
        at = last + (8 + 20 * len(opened.pages[1].tags) if big else 2 + 12 * len(opened.pages[1].tags))
    offset = len(raw) - 12 if following is None else first + following
    raw[at : at + (8 if big else 4)] = offset.to_bytes(8 if big else 4, "little")
    (tmp_path / "x.tif").write_bytes(raw)
    with pytest.raises(DataError, match=r"x\.tif is damaged: its directories|x\.tif cannot be read"):
        read(Location(tmp_path / "x.tif"))
