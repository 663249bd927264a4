"""MetaImage and NRRD files that SimpleITK wrote, or that are written by hand, read as SimpleITK reads them."""

from pathlib import Path

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location

sitk = pytest.importorskip("SimpleITK")
sitk.ProcessObject.SetGlobalWarningDisplay(False)

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ENDINGS = (".mha", ".mhd", ".nrrd", ".nhdr")


def oblique(array: np.ndarray, is_vector: bool = False) -> "sitk.Image":
    """An image on a grid that is rotated and flipped in space."""
    image = sitk.GetImageFromArray(array, isVector=is_vector)
    size = image.GetDimension()
    turn = np.eye(size)
    turn[:2, :2] = [[0.8, 0.6], [0.6, -0.8]]
    image.SetSpacing([0.7, 0.9, 3.0, 1.0][:size])
    image.SetOrigin([-10.0, 20.0, 5.0, 0.0][:size])
    image.SetDirection(turn.ravel().tolist())
    return image


def affine_by_simpleitk(path: Path) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    affine[:3, :3] = direction[:3, :3] * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return TO_RAS @ affine


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["int16", "uint16", "uint8", "int8", "int32", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_volumes_are_those_of_simpleitk(ending: str, kind: str, compressed: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(kind)
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(oblique(array), str(path), compressed)
    volume = read(Location(path))
    assert np.array_equal(volume.array, array.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, affine_by_simpleitk(path), atol=1e-6)


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_colour_a_plane_and_four_dimensions(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"a{ending}"
    colour = rng.integers(0, 255, (2, 4, 5, 3)).astype(np.uint8)
    sitk.WriteImage(oblique(colour, is_vector=True), str(path))
    assert np.array_equal(read(Location(path)).array, colour.transpose(2, 1, 0, 3))
    plane = rng.integers(0, 255, (4, 5)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(plane), str(path))
    assert np.array_equal(read(Location(path)).array[..., 0], plane.T)
    for array, is_vector in ((rng.random((6, 2, 4, 5)), False), (rng.random((2, 4, 5, 6)), True)):
        sitk.WriteImage(oblique(array.astype(np.float32), is_vector), str(path))
        first = array[4] if not is_vector else array[..., 4]
        volume = read(Location(path, "channels", 4))
        np.testing.assert_array_equal(volume.array, first.transpose(2, 1, 0).astype(np.float32))
        np.testing.assert_allclose(volume.affine[:3, :3] @ [0, 0, 1], [0, 0, 3], atol=1e-6)
        with pytest.raises(DataError, match=r"6 volumes in one file.*channels\[0\]"):
            read(Location(path))
        with pytest.raises(DataError, match="holds 6 volumes"):
            read(Location(path, "channels", 6))


HANDWRITTEN = {
    "big.mha": (
        "NDims = 3\nDimSize = 5 4 3\nElementSpacing = 2 1 1\nPosition = 1 2 3\nBinaryDataByteOrderMSB = True\n"
        "ElementType = MET_USHORT\nElementDataFile = LOCAL\n",
        ">u2",
    ),
    "long.mha": (
        "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = MET_LONG\nElementDataFile = LOCAL\n",
        "<i4",
    ),
    "turned.mha": (
        "NDims = 3\nDimSize = 5 4 3\nRotation = 0 1 0 -1 0 0 0 0 1\nElementSpacing = 2 3 4\nOrigin = 7 8 9\n"
        "ElementType = MET_FLOAT\nElementDataFile = LOCAL\n",
        "<f4",
    ),
    "ras.nrrd": (
        "NRRD0005\ntype: short int\ndimension: 3\nspace: RAS\nsizes: 5 4 3\n"
        "space directions: (0,2,0) (1,0,0) (0,0,-4)\nspace origin: (1,2,3)\nendian: big\n"
        "encoding: raw\nwho:=me: too\n# a: comment\n\n",
        ">i2",
    ),
    "las.nrrd": (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-anterior-superior\nsizes: 5 4 3\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (1,2,3)\nencoding: raw\n\n",
        "<u1",
    ),
    "spacings.nrrd": (
        "NRRD0001\ntype: uint8\ndimension: 3\nsizes: 5 4 3\nspacings: 0.5 0.5 nan\nencoding: raw\n\n",
        "<u1",
    ),
}


@pytest.mark.parametrize("name", sorted(HANDWRITTEN))
def test_headers_written_by_hand(name: str, tmp_path: Path) -> None:
    header, dtype = HANDWRITTEN[name]
    array = np.arange(60).reshape(5, 4, 3).astype(dtype)
    path = tmp_path / name
    path.write_bytes(header.encode() + array.tobytes(order="F"))
    volume = read(Location(path))
    assert np.array_equal(volume.array, array)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, array)
    if name != "spacings.nrrd":  # ITK takes a step that is not a number for zero
        np.testing.assert_allclose(volume.affine, affine_by_simpleitk(path), atol=1e-6)


def test_a_plane_in_space_lies_where_it_was_taken(tmp_path: Path) -> None:
    path = tmp_path / "sagittal.nrrd"
    header = (
        "NRRD0004\ntype: uchar\ndimension: 2\nspace: RAS\nsizes: 5 4\nspace directions: (0,2,0) (0,0,3)\n"
        "space origin: (1,2,3)\nencoding: raw\n\n"
    )
    path.write_bytes(header.encode() + bytes(range(20)))
    volume = read(Location(path))
    assert volume.flat_axis == "sagittal"
    np.testing.assert_allclose(volume.affine @ [1, 1, 0, 1], [1, 4, 6, 1])
