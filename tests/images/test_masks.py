"""Masks are read in the grid of their image, or refused with the fix; `radapt check` says the same."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radapt.errors import DataError
from radapt.images import Volume, ending_for, mask_problems, read, read_mask, write_labels
from radapt.locations import Location

AFFINE = np.array([[0.9, 0.1, 0, 3], [-0.1, 0.8, 0, -4], [0, 0, 3.0, 9], [0, 0, 0, 1]])
SHAPE = (9, 8, 5)
IMAGE = Volume(np.zeros(SHAPE, np.int16), AFFINE)
FILM = Volume.from_planes(np.zeros((1, 12, 10), np.uint8))


def values(*found: float, dtype: type = np.uint8, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    array = np.zeros(shape, dtype)
    array.ravel()[: len(found)] = found
    return array


def nifti(folder: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Location:
    nib.save(nib.Nifti1Image(array, affine), folder / "mask.nii.gz")
    return Location(folder / "mask.nii.gz")


def png(folder: Path, array: np.ndarray, name: str = "mask.png") -> Location:
    Image.fromarray(array).save(folder / name)
    return Location(folder / name)


def moved(axis: int, mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[axis, 3] += mm
    return affine


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_whole_numbers_of_any_type(tmp_path, dtype):
    mask = read_mask(nifti(tmp_path, values(1, 7, dtype=dtype)), IMAGE, {1: "a", 7: "b"})
    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(mask.array, values(1, 7))
    assert mask.affine is IMAGE.affine or (mask.affine == IMAGE.affine).all()


def test_numbers_beyond_8_bits_stay(tmp_path):
    mask = read_mask(nifti(tmp_path, values(300, 7, dtype=np.int16)), IMAGE)
    assert mask.array.max() == 300


def test_rounding_of_a_headers_slope_is_no_fraction(tmp_path):
    image = nib.Nifti1Image(values(255, 51), AFFINE)
    image.header.set_slope_inter(1 / 51, 0)
    nib.save(image, tmp_path / "mask.nii")
    content = bytearray((tmp_path / "mask.nii").read_bytes())
    content[112:116] = np.float32(1 / 51).tobytes()  # nibabel writes no slope for integers
    (tmp_path / "mask.nii").write_bytes(content)
    np.testing.assert_array_equal(
        read_mask(Location(tmp_path / "mask.nii"), IMAGE, {1: "a", 5: "b"}).array, values(5, 1)
    )


def test_a_mask_stored_with_other_axes_is_turned_into_the_images_storage(tmp_path):
    array = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    affine = AFFINE[:, [1, 2, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * 4
    affine[:3, 1] *= -1
    place = nifti(tmp_path, np.flip(array.transpose(1, 2, 0), 1), affine)
    np.testing.assert_array_equal(read_mask(place, IMAGE, (1, 2)).array, array)


@pytest.mark.parametrize(
    ("array", "labels", "expected"),
    [
        (values(255), {1: "lung"}, values(1)),
        (values(255), {3: "lung"}, values(3)),
        (np.full(SHAPE, 255, np.uint8), {1: "lung"}, np.ones(SHAPE, np.uint8)),
        (values(255), {0: "background", 1: "lung"}, values(1)),
        (values(255), {255: "lung"}, values(255)),
        (values(255), {}, values(255)),
        (values(0), {1: "lung"}, values(0)),
    ],
)
def test_white_stands_for_the_only_label(tmp_path, array, labels, expected):
    place = nifti(tmp_path, array)
    np.testing.assert_array_equal(read_mask(place, IMAGE, labels).array, expected)
    assert not [found for found in mask_problems(read(place), [IMAGE], labels) if found.severity == "error"]


WRONG = {
    "undeclared": (values(1, 4), AFFINE, {1: "a"}, r"holds 4, mask_labels has 1\. Add them to mask_labels"),
    "white of two": (values(255), AFFINE, {1: "a", 2: "b"}, r"holds 255, mask_labels has 1, 2\. .*instead of 255"),
    "white and one": (values(255, 1), AFFINE, {1: "a"}, r"holds 255, mask_labels has 1"),
    "fraction": (values(0.5, dtype=np.float32), AFFINE, {}, r"holds 0\.5, expected whole numbers.*resampled"),
    "negative": (values(-1, dtype=np.int16), AFFINE, {}, r"holds -1, expected whole numbers from 0"),
    "compressed": (values(*range(1, 30)), AFFINE, {1: "a"}, "lossy compression"),
    "half a voxel": (values(1), moved(2, 1.5), {}, r"1\.5 mm away from the image's, up to 0\.5 of a voxel"),
    "half a small voxel": (values(1), moved(0, 0.45), {}, r"0\.5 mm away"),
    "size": (values(1, shape=(9, 8, 6)), AFFINE, {}, "size 9 × 8 × 6, the image has 9 × 8 × 5"),
    "spacing": (values(1), AFFINE @ np.diag([1, 1, 1.1, 1]), {}, "voxels of .* the image has"),
}


@pytest.mark.parametrize(("array", "affine", "labels", "message"), WRONG.values(), ids=WRONG)
def test_what_is_refused_with_the_fix(tmp_path, array, affine, labels, message):
    place = nifti(tmp_path, array, affine)
    with pytest.raises(DataError, match=message) as caught:
        read_mask(place, IMAGE, labels)
    assert "mask.nii.gz" in str(caught.value)
    # The doctor agrees.
    assert [found for found in mask_problems(read(place), [IMAGE], labels) if found.severity == "error"]


def test_pictures_of_masks(tmp_path):
    lung = np.zeros((12, 10), np.uint8)
    lung[3:6, 2:5] = 255
    found = read_mask(png(tmp_path, lung), FILM, {1: "lung"})
    np.testing.assert_array_equal(found.planes()[0], lung // 255)
    grey = png(tmp_path, np.repeat(lung[..., None], 3, axis=2), "grey.png")  # colour with equal channels is grey
    np.testing.assert_array_equal(read_mask(grey, FILM, {1: "lung"}).array, found.array)
    Image.fromarray(lung > 0).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_mask(Location(tmp_path / "bits.png"), FILM, {1: "lung"}).array, found.array)


def test_colour_is_refused_with_the_fix(tmp_path):
    colour = np.zeros((12, 10, 3), np.uint8)
    colour[3:6, 2:5] = (200, 0, 40)
    with pytest.raises(
        DataError, match=r"of 2 colours: #000000, #c80028\. Save one whole number per pixel: 0 for background"
    ):
        read_mask(png(tmp_path, colour), FILM, {1: "lung"})


COLOURS = [0, 0, 0, 200, 0, 40, 10, 250, 10, 90, 90, 90]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_index_of_a_palette_is_the_label(tmp_path, bits):
    labels = np.zeros((12, 10), np.uint8)
    labels[3:6, 2:5] = 1
    labels[7:9, 4:8] = min(2**bits - 1, 3)
    picture = Image.fromarray(labels, "P")
    picture.putpalette(COLOURS * (2**bits // 4) if bits > 1 else COLOURS[:6])
    picture.save(tmp_path / "mask.png", bits=bits)
    assert (tmp_path / "mask.png").read_bytes()[24:26] == bytes([bits, 3])
    found = read_mask(Location(tmp_path / "mask.png"), FILM)
    np.testing.assert_array_equal(found.planes()[0], labels)


def test_a_palette_whose_background_is_not_0_is_refused(tmp_path):
    labels = np.ones((12, 10), np.uint8)
    labels[3:6, 2:5] = 0
    picture = Image.fromarray(labels, "P")
    picture.putpalette([200, 0, 40, 0, 0, 0])
    picture.save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"paints its number 1 black and 0 in a colour.*Save it as grey"):
        read_mask(Location(tmp_path / "mask.png"), FILM)
    labels[:] = 0  # the black entry of the palette is not used
    picture = Image.fromarray(labels, "P")
    picture.putpalette([200, 0, 40, 0, 0, 0])
    picture.save(tmp_path / "mask.png")
    assert not read_mask(Location(tmp_path / "mask.png"), FILM).array.any()


def test_a_cut_off_file_is_named(tmp_path):
    place = nifti(tmp_path, values(1))
    place.path.write_bytes(place.path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"mask\.nii\.gz"):
        read_mask(place, IMAGE, {1: "a"})
    cut = png(tmp_path, np.eye(12, 10, dtype=np.uint8))
    cut.path.write_bytes(cut.path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"mask\.png is truncated"):
        read_mask(cut, FILM, {1: "a"})


def test_masks_in_archives(tmp_path):
    planes = np.random.default_rng(0).integers(0, 2, (3, 12, 10)).astype(np.uint8)
    np.savez(tmp_path / "masks.npz", masks=planes)
    found = read_mask(Location(tmp_path / "masks.npz", "masks", 2), FILM, {1: "a"}, array_cache=tmp_path / "arrays")
    np.testing.assert_array_equal(found.planes()[0], planes[2])


def test_the_label_map_of_a_dicom_series_is_a_nifti_file_in_its_grid(tmp_path, series):
    pixels = np.random.default_rng(0).integers(0, 400, (6, 9, 7)).astype(np.int16)
    folder = series(pixels, orientation=(0.96, 0.28, 0.0, -0.28, 0.96, 0.0), step=(0.1, 0.0, 2.5))
    image = read(Location(folder))
    drawn = Volume((image.array > 200).astype(np.uint8), image.affine)
    assert ending_for(folder, image) == ".nii.gz"
    write_labels(tmp_path / "labels.nii.gz", drawn)
    found = read_mask(Location(tmp_path / "labels.nii.gz"), image, {1: "bright"})
    np.testing.assert_array_equal(found.array, drawn.array)
    sitk = pytest.importorskip("SimpleITK")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    theirs = sitk.ReadImage(names)
    labels = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    # The brightest voxel of the series, as SimpleITK reads it, is labelled where SimpleITK finds it in the label map.
    array = sitk.GetArrayFromImage(theirs)
    for flat in np.argsort(array.ravel())[[0, 1, -2, -1]]:
        z, y, x = (int(place) for place in np.unravel_index(flat, array.shape))
        point = theirs.TransformIndexToPhysicalPoint((x, y, z))
        assert labels[labels.TransformPhysicalPointToIndex(point)] == int(array[z, y, x] > 200)
