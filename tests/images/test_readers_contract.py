"""Every registered reader: a good file is read, a damaged one ends in a DataError that names it, and nothing else."""

import gzip
import io
import subprocess
import sys
import zlib

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.uid import RLELossless

from radapt.errors import DataError
from radapt.images import Volume, read
from radapt.images.readers import READERS
from radapt.locations import Location
from radapt.parsing.matlab import MAGIC

# On damaged files pydicom warns before it gives up.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")

PIXELS = np.random.default_rng(5).integers(0, 255, (12, 16)).astype(np.uint8)


def nifti_bytes():
    return nib.Nifti1Image(PIXELS[..., None], np.eye(4)).to_bytes()


def picture(form, pixels=PIXELS, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def numpy_bytes(save, *arrays, **named):
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def tiff_bytes(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PIXELS, **options)
    return buffer.getvalue()


def dicom_bytes(dicom, compress=False):
    data = dicom(PIXELS)
    if compress:
        data.compress(RLELossless)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def metaimage_bytes(compressed):
    header = b"NDims = 2\nDimSize = 12 16\nElementType = MET_UCHAR\nCompressedData = %s\nElementDataFile = LOCAL\n"
    voxels = zlib.compress(PIXELS.tobytes()) if compressed else PIXELS.tobytes()
    return header % (b"True" if compressed else b"False") + voxels


def nrrd_bytes(encoding, voxels):
    return b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 12 16\nencoding: %s\n\n" % encoding + voxels


def matlab_bytes():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        file.create_dataset("image", data=PIXELS.T, compression="gzip")
    return MAGIC.ljust(512, b"\0") + buffer.getvalue()[512:]


def good_file(ending, dicom):
    """The bytes of a small good file for an ending."""
    match ending:
        case ".nii":
            return nifti_bytes()
        case ".nii.gz":
            return gzip.compress(nifti_bytes(), mtime=0)
        case ".dcm":
            return dicom_bytes(dicom)
        case ".dicom" | ".ima":
            return dicom_bytes(dicom, compress=True)
        case ".png":
            return picture("PNG")
        case ".jpg" | ".jpeg":
            return picture("JPEG")
        case ".bmp":
            return picture("BMP")
        case ".tif":
            return tiff_bytes()
        case ".tiff":
            return tiff_bytes(compression="zlib", bigtiff=True)
        case ".mha":
            return metaimage_bytes(compressed=False)
        case ".mhd":
            return metaimage_bytes(compressed=True)
        case ".nrrd":
            return nrrd_bytes(b"raw", PIXELS.tobytes())
        case ".nhdr":
            return nrrd_bytes(b"gzip", gzip.compress(PIXELS.tobytes(), mtime=0))
        case ".mat":
            return matlab_bytes()
        case ".npy":
            return numpy_bytes(np.save, PIXELS)
        case ".npz":
            return numpy_bytes(np.savez_compressed, image=PIXELS)
    raise AssertionError(f"no good file for {ending}: add one here with the reader")


def outcome(path):
    """The volume, or the one kind of error a reader may raise."""
    try:
        return read(Location(path))
    except DataError as error:
        return error


ENDINGS = [ending for reader in READERS for ending in reader.endings]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_good_file_is_read_under_any_case_of_its_ending(tmp_path, dicom, ending):
    for name in (f"a{ending}", f"b{ending.upper()}"):
        (tmp_path / name).write_bytes(good_file(ending, dicom))
        volume = read(Location(tmp_path / name), "t1")
        assert isinstance(volume, Volume)
        assert volume.modality == "t1"
        assert sorted(volume.array.shape) == [1, 12, 16]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_cut_off_anywhere_is_named(tmp_path, dicom, ending):
    content = good_file(ending, dicom)
    path = tmp_path / f"cut{ending}"
    ends = {0, 1, 2, 4, 10, 100, 131, 132, 140, 200, 348, 352, len(content) - 2, len(content) - 1}
    ends |= set(np.random.default_rng(0).integers(0, len(content), 40).tolist())
    for end in sorted(end for end in ends if end < len(content)):
        path.write_bytes(content[:end])
        found = outcome(path)
        if isinstance(found, DataError):
            assert str(path) in str(found), end
            continue
        # What was cut lay behind the picture: then nothing of the picture may be missing.
        whole = tmp_path / f"whole{ending}"
        whole.write_bytes(content)
        np.testing.assert_array_equal(found.array, read(Location(whole)).array, err_msg=f"cut at {end}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_bytes_never_end_in_another_error(tmp_path, dicom, ending):
    content = good_file(ending, dicom)
    path = tmp_path / f"damaged{ending}"
    rng = np.random.default_rng(7)
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 600), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        found = outcome(path)
        assert isinstance(found, Volume) or str(path) in str(found)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("content", [b"", b"hello world", b"\0" * 5000, b"\xff" * 5000, b"<html>" * 100])
def test_wrong_content_is_refused(tmp_path, ending, content):
    path = tmp_path / f"wrong{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="wrong"):
        read(Location(path))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_content_decides_and_not_the_ending(tmp_path, dicom, ending):
    for other in READERS:
        content = good_file(other.endings[0], dicom)
        (tmp_path / f"named{ending}").write_bytes(content)
        (tmp_path / f"right{other.endings[0]}").write_bytes(content)
        found, expected = (read(Location(tmp_path / name)) for name in (f"named{ending}", f"right{other.endings[0]}"))
        assert np.array_equal(found.array, expected.array)
        assert np.array_equal(found.affine, expected.affine)


@pytest.mark.parametrize(
    ("start", "what"), [(b"\x1f\x8b\x08", "NIfTI"), (b"PK\x03\x04", "NumPy"), (b"\x08\0", "DICOM")]
)
def test_bytes_that_many_files_begin_with_do_not_overrule_the_ending(tmp_path, start, what):
    (tmp_path / "wrong.png").write_bytes(start + bytes(600))
    with pytest.raises(DataError, match=f"named as picture but holds {what}"):
        read(Location(tmp_path / "wrong.png"))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_file_without_ending_is_recognised(tmp_path, dicom, reader):
    content = good_file(reader.endings[0], dicom)
    (tmp_path / "image").write_bytes(content)
    assert sorted(read(Location(tmp_path / "image")).array.shape) == [1, 12, 16]


def test_missing_and_unknown_files_are_answered_with_a_fix(tmp_path):
    (tmp_path / "scan_001.png").write_bytes(picture("PNG"))
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7 hello")
    for name, message in [
        ("scan_01.png", "Did you mean scan_001.png"),
        ("gone/scan.png", "gone does not exist either"),
        ("notes.pdf", "Known endings: .nii"),
    ]:
        with pytest.raises(DataError, match=message):
            read(Location(tmp_path / name))


def test_reading_needs_neither_torch_nor_monai(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_bytes(), mtime=0))
    code = (
        "import sys\nfrom pathlib import Path\nfrom radapt.images import read\nfrom radapt.locations import Location\n"
        f"read(Location(Path({str(tmp_path / 'a.nii.gz')!r})))\n"
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
