"""Label maps on disk: what other libraries read back is what was written, whole or not at all."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radapt.errors import DataError, UsageError
from radapt.images import Volume, ending_for, read, write_labels, writers
from radapt.images.volume import IMAGE_AFFINE
from radapt.locations import Location

RNG = np.random.default_rng(0)


def turned(*degrees: float) -> np.ndarray:
    affine = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(4)
        first, second = [other for other in range(3) if other != axis]
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        affine = affine @ turn
    return affine


SPACED = np.diag([0.7, 0.9, 3.3, 1.0])
MOVED = np.array([[1, 0, 0, -91.5], [0, 1, 0, 126.25], [0, 0, 1, -72.1], [0, 0, 0, 1.0]])
AFFINES = {
    "straight": MOVED @ SPACED,
    "flipped": MOVED @ np.diag([-1, -1, 1, 1]) @ SPACED,
    "left-handed": MOVED @ np.diag([-1, 1, 1, 1]) @ SPACED,
    "permuted": (MOVED @ SPACED)[:, [2, 0, 1, 3]],
    "oblique": MOVED @ turned(12, -25, 33) @ SPACED,
    "microns": MOVED @ np.diag([0.01, 0.01, 0.012, 1.0]),
}


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("highest", [2, 300, 70000])
def test_nibabel_and_simpleitk_read_back_what_was_written(tmp_path, affine, ending, highest):
    sitk = pytest.importorskip("SimpleITK")
    array = RNG.integers(0, 3, (5, 7, 9)).astype(np.int32)
    array[1, 2, 3] = highest
    path = tmp_path / f"labels{ending}"
    write_labels(path, Volume(array, affine))
    found = nib.load(path)
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), array)
    np.testing.assert_allclose(found.affine, affine, atol=1e-4)
    np.testing.assert_allclose(found.header.get_zooms(), np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-5)
    assert found.header.get_xyzt_units()[0] == "mm"
    other = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other).transpose(2, 1, 0), array)
    for voxel in ((0, 0, 0), (4, 6, 8), (1, 2, 3)):
        lps = np.asarray(other.TransformIndexToPhysicalPoint(voxel))
        np.testing.assert_allclose(lps * [-1, -1, 1], affine[:3, :3] @ voxel + affine[:3, 3], atol=1e-3)
    own = read(Location(path))
    np.testing.assert_array_equal(own.array, array)


@pytest.mark.parametrize("flip", [1, -1])
def test_shear_is_kept_and_itk_finds_a_square_grid_beside_it(tmp_path, flip):
    sitk = pytest.importorskip("SimpleITK")
    affine = turned(10, 20, 30) @ np.diag([0.5, 0.5, 2.0, 1.0])
    affine[:3, 2] = (affine[:3, 2] + 0.4 * affine[:3, 1]) * flip  # a tilted gantry
    array = RNG.integers(0, 3, (3, 4, 5)).astype(np.uint8)
    write_labels(tmp_path / "a.nii.gz", Volume(array, affine))
    found = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)
    other = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other).transpose(2, 1, 0), array)
    for voxel in ((0, 0, 0), (2, 0, 0), (0, 3, 0)):  # the first plane lies where it was
        lps = np.asarray(other.TransformIndexToPhysicalPoint(voxel))
        np.testing.assert_allclose(lps * [-1, -1, 1], affine[:3, :3] @ voxel + affine[:3, 3], atol=1e-4)


@pytest.mark.parametrize("highest", [1, 255, 256, 65535])
def test_pillow_reads_back_a_png(tmp_path, highest):
    pixels = RNG.integers(0, 2, (1, 11, 7)).astype(np.int32)
    pixels[0, 3, 2] = highest
    volume = Volume.from_planes(pixels)
    write_labels(tmp_path / "a.png", volume)
    with Image.open(tmp_path / "a.png") as found:
        assert found.mode == ("L" if highest < 256 else "I;16")
        np.testing.assert_array_equal(np.asarray(found), pixels[0])
    np.testing.assert_array_equal(read(Location(tmp_path / "a.png")).array, volume.array)


def test_equal_label_maps_give_equal_bytes(tmp_path):
    volume = Volume(RNG.integers(0, 2, (5, 6, 1)).astype(np.uint8), IMAGE_AFFINE)
    for ending in writers.ENDINGS:
        for name in ("a", "b"):
            write_labels(tmp_path / f"{name}{ending}", volume)
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize(
    ("name", "array", "error", "message"),
    [
        ("a.mha", np.zeros((4, 4, 1), np.uint8), UsageError, r"\.nii\.gz, \.nii, \.png; got a\.mha"),
        ("a.nii.gz", np.zeros((4, 4, 1), np.float32), DataError, "not whole numbers"),
        ("a.nii.gz", np.full((4, 4, 1), -1, np.int16), DataError, "not whole numbers"),
        ("a.nii.gz", np.zeros((4, 4, 1, 3), np.uint8), DataError, "not whole numbers"),
        ("a.png", np.zeros((4, 4, 2), np.uint8), DataError, "one plane of labels up to 65535; got 2 planes"),
        ("a.png", np.full((4, 4, 1), 70000, np.int32), DataError, "int32"),
        ("file/a.png", np.zeros((4, 4, 1), np.uint8), UsageError, "cannot be written"),
    ],
)
def test_what_is_not_written(tmp_path, name, array, error, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match=message):
        write_labels(tmp_path / name, Volume(array, IMAGE_AFFINE))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("ending", writers.ENDINGS)
def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path, ending, monkeypatch):
    path = tmp_path / f"a{ending}"
    volume = Volume(np.ones((4, 4, 1), np.uint8), IMAGE_AFFINE)
    write_labels(path, volume)
    before = path.read_bytes()

    def full(part: Path, *rest: object) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writers, "_write_png", full)
    monkeypatch.setattr(writers, "_write_nifti", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_labels(path, volume)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("image", "shape", "affine", "ending"),
    [
        ("film.png", (20, 30, 1), IMAGE_AFFINE, ".png"),
        ("film.JPG", (20, 30, 1), IMAGE_AFFINE, ".png"),
        ("stack.tif", (20, 30, 4), IMAGE_AFFINE, ".nii.gz"),
        ("images.npz", (20, 30, 1), IMAGE_AFFINE, ".png"),
        ("one.nii.gz", (20, 30, 1), IMAGE_AFFINE, ".nii.gz"),
        ("bare.dcm", (20, 30, 1), IMAGE_AFFINE, ".nii.gz"),
        ("film.dcm", (20, 30, 1), np.diag([-0.14, -0.14, 1, 1]), ".nii.gz"),
        ("series", (20, 30, 9), np.diag([-0.5, -0.5, 3, 1]), ".nii.gz"),
    ],
)
def test_pictures_get_pictures_and_patients_get_nifti(image, shape, affine, ending):
    assert ending_for(Path(image), Volume.blank(shape, affine)) == ending
