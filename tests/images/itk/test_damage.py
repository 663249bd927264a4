"""MetaImage and NRRD files that are damaged, or that ask for what is not read."""

import bz2
import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from radapt.digests import ByteDigests
from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location

ARRAY = np.arange(60, dtype="<i2").reshape(5, 4, 3)
VOXELS = ARRAY.tobytes(order="F")
META = "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nspacings: 1 1 1\nendian: little\n"
PACKED = {
    "a.mha": (META + "CompressedData = True\nElementDataFile = LOCAL\n", zlib.compress(VOXELS)),
    "b.mha": (META + "CompressedData = True\nElementDataFile = LOCAL\n", gzip.compress(VOXELS)),
    "a.nrrd": (NRRD + "encoding: gz\n\n", gzip.compress(VOXELS)),
    "b.nrrd": (NRRD + "encoding: bzip2\n\n", bz2.compress(VOXELS)),
}


@pytest.mark.parametrize("name", sorted(PACKED))
def test_every_cut_and_every_flipped_bit_of_packed_voxels_is_noticed(name: str, tmp_path: Path) -> None:
    header, packed = PACKED[name]
    path = tmp_path / name
    path.write_bytes(header.encode() + packed)
    assert np.array_equal(read(Location(path)).array, ARRAY)
    for end in range(len(packed)):
        path.write_bytes(header.encode() + packed[:end])
        with pytest.raises(DataError, match=name):
            read(Location(path))
    unread = 0
    for at in range(len(packed) * 8):
        damaged = bytearray(packed)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(header.encode() + damaged)
        try:
            unread += not np.array_equal(read(Location(path)).array, ARRAY)
        except DataError:
            continue
    assert unread == 0  # a bit of gzip's header, such as its time, changes no voxel


@pytest.mark.parametrize(
    ("name", "header", "voxels", "message"),
    [
        ("a.mha", META + "ElementDataFile = LOCAL\n", VOXELS[:-2], r"truncated: size \(1, 5, 4, 3\)"),
        ("a.mha", META + "ElementDataFile = LOCAL\n", VOXELS * 20, "holds more than 1,144"),
        ("a.mha", META, VOXELS, "in its header is no|names no ElementDataFile"),
        ("a.mha", META + "BinaryData = False\nElementDataFile = LOCAL\n", VOXELS, "as text"),
        ("a.mha", META + "ElementDataFile = LIST\n", VOXELS, "a list of files"),
        ("a.mha", META + "ElementDataFile = a%03d.raw 1 3 1\n", VOXELS, "a list of files"),
        ("a.mha", META + "ElementDataFile = ../a.raw\n", b"", "outside its folder"),
        ("a.mha", META + "ElementDataFile = /etc/passwd\n", b"", "outside its folder"),
        ("a.mha", META + "ElementDataFile = gone.raw\n", b"", r"voxels in 'gone\.raw', which does not exist"),
        ("a.mha", META + "NDims = 2\nElementDataFile = LOCAL\n", VOXELS, "'ndims' twice"),
        ("a.mha", META.replace("5 4 3", "5 4") + "ElementDataFile = LOCAL\n", VOXELS, "in 3 dimensions"),
        ("a.mha", META.replace("5 4 3", "5 4 0") + "ElementDataFile = LOCAL\n", VOXELS, "has the size 5 4 0"),
        ("a.mha", META.replace("SHORT", "SHOT") + "ElementDataFile = LOCAL\n", VOXELS, "type 'MET_SHOT'"),
        (
            "a.mha",
            META + "ElementToIntensityFunctionSlope = 2\nElementDataFile = LOCAL\n",
            VOXELS,
            "values times 2 plus 0",
        ),
        ("a.mha", META + "ElementSpacing = 1 0 1\nElementDataFile = LOCAL\n", VOXELS, "geometry is unusable"),
        ("a.mha", META + "ElementSpacing = 1 x 1\nElementDataFile = LOCAL\n", VOXELS, "'elementspacing' in its header"),
        ("a.mha", META.replace("5 4 3", "50000 50000 9") + "ElementDataFile = LOCAL\n", VOXELS, "truncated"),
        ("a.nrrd", NRRD + "encoding: raw\n", b"", "header does not end"),
        ("a.nrrd", NRRD + "encoding: text\n\n", b"1 2 3", "encoded as 'text'"),
        ("a.nrrd", NRRD.replace("short", "block") + "encoding: raw\n\n", VOXELS, "type 'block'"),
        ("a.nrrd", NRRD.replace("dimension: 3", "dimension: 2") + "encoding: raw\n\n", VOXELS, "in 2 dimensions"),
        ("a.nrrd", NRRD + "line skip: 2\nencoding: raw\n\n", VOXELS, "asks for lines"),
        ("a.nrrd", NRRD + "space directions: (1,0,0) none\nencoding: raw\n\n", VOXELS, "2 space directions for 3"),
        ("a.nrrd", NRRD + "space directions: none none none\nencoding: raw\n\n", VOXELS, "no usable space"),
        ("a.nhdr", NRRD + "data file: ../x.raw\nencoding: raw\n", b"", "outside its folder"),
        ("a.nrrd", NRRD + "encoding: gzip\n\n", gzip.compress(VOXELS * 3), "holds more than"),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, header: str, voxels: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(header.encode() + voxels)
    with pytest.raises(DataError, match=message):
        read(Location(path))


def test_voxels_at_the_end_of_a_file_with_a_header_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"something else" + VOXELS)
    (tmp_path / "a.mhd").write_text(META + "HeaderSize = -1\nElementDataFile = a.img\n")
    (tmp_path / "a.nhdr").write_text(NRRD + "byte skip: 14\nencoding: raw\ndatafile: a.img\n")
    assert np.array_equal(read(Location(tmp_path / "a.mhd")).array, ARRAY)
    assert np.array_equal(read(Location(tmp_path / "a.nhdr")).array, ARRAY)


def test_the_digest_is_that_of_the_header_and_its_voxels(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS)
    (tmp_path / "a.mhd").write_text(META + "ElementDataFile = a.raw\n")
    location = Location(tmp_path / "a.mhd")
    before = ByteDigests(tmp_path / "cache").of(location)
    (tmp_path / "a.raw").write_bytes(VOXELS[::-1])
    assert ByteDigests(tmp_path / "cache").of(location) != before
    (tmp_path / "a.raw").unlink()
    with pytest.raises(DataError, match=r"a\.raw cannot be read"):
        ByteDigests(tmp_path / "cache").of(location)


def test_the_content_decides_and_not_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes((META + "ElementDataFile = LOCAL\n").encode() + VOXELS)
    assert np.array_equal(read(Location(path)).array, ARRAY)
    with_comment = tmp_path / "b.mha"
    with_comment.write_bytes(("Comment = x\n" + META + "ElementDataFile = LOCAL\n").encode() + VOXELS)
    assert np.array_equal(read(Location(with_comment)).array, ARRAY)
