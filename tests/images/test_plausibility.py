"""What `radapt check` says about masks and images that can be read."""

import numpy as np
import pytest

from radapt.images import Volume, image_problems, mask_problems, same_grid

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
IMAGE = Volume(np.random.default_rng(0).integers(-1000, 1000, (10, 12, 14)).astype(np.int16), AFFINE)


def mask(array=None, affine=AFFINE):
    if array is None:
        array = np.zeros((10, 12, 14), np.uint8)
        array[2:5, 2:5, 2:5] = 1
    return Volume(array, affine)


def moved(**changes):
    affine = AFFINE.copy()
    for place, value in changes.items():
        affine[int(place[1]), int(place[2])] = value
    return affine


def turned(degrees):
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ AFFINE


def test_equal_grids_however_they_are_stored():
    assert same_grid(IMAGE, mask()) is None
    assert same_grid(IMAGE, mask(affine=AFFINE + 1e-4 * np.eye(4))) is None
    flipped = AFFINE.copy()
    flipped[0] = [-1, 0, 0, 9]
    assert same_grid(IMAGE, mask(affine=flipped)) is None
    swapped = Volume(np.zeros((14, 10, 12)), AFFINE[:, [2, 0, 1, 3]])
    assert same_grid(IMAGE, swapped) is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (mask(np.zeros((10, 12, 13))), "size 10 × 12 × 13, the image has 10 × 12 × 14"),
        (mask(affine=moved(a00=1.1)), "voxels of 1.1 × 2 × 3 mm, the image has 1 × 2 × 3 mm"),
        (mask(affine=moved(a03=5.0)), "the same voxels 5.0 mm away"),
        (mask(affine=turned(10)), "another orientation: voxels lie up to"),
    ],
)
def test_what_differs_is_said_in_words(other, words):
    assert words in same_grid(IMAGE, other)
    (problem,) = mask_problems(Volume(other.array + 1, other.affine), [IMAGE])
    assert (problem.severity, problem.code) == ("error", "mask_grid")
    assert words in problem.message


def test_a_grey_mask_lies_on_a_colour_image():
    colour = Volume(np.zeros((10, 12, 14, 3), np.uint8), AFFINE)
    assert same_grid(colour, mask()) is None
    assert same_grid(mask(), colour) is None
    assert same_grid(colour, mask(affine=moved(a03=5.0))).startswith("the same voxels 5.0 mm away")
    assert same_grid(mask(affine=moved(a03=5.0)), colour).startswith("the same voxels 5.0 mm away")


def codes(*args):
    return [(found.severity, found.code) for found in mask_problems(*args)]


def with_value(value, dtype=np.float32):
    array = np.zeros((10, 12, 14), dtype)
    array[0, 0, 0] = value
    return mask(array)


def test_a_good_mask_has_no_remarks():
    assert codes(mask(), [IMAGE], {1: "tumour"}) == []
    assert codes(mask(), [], ()) == []
    assert codes(with_value(3.0), [IMAGE], (1, 2, 3)) == []
    assert codes(with_value(1.0000001), [IMAGE], (1,)) == []  # the slope of a header rounds
    assert codes(with_value(255), [IMAGE], (255,)) == []
    other = Volume(np.zeros((5, 5, 5)), AFFINE)
    assert codes(mask(), [other, IMAGE], ()) == []  # it lies in the grid of one modality


@pytest.mark.parametrize(
    ("found", "labels", "expected"),
    [
        (with_value(0.5), (), [("error", "mask_values")]),
        (with_value(-1), (), [("error", "mask_values")]),
        (with_value(255), (1,), [("warning", "mask_255")]),
        (with_value(255), {0: "background", 1: "lung"}, [("warning", "mask_255")]),
        (with_value(255), (1, 2), [("error", "mask_labels")]),
        (with_value(254), (1,), [("error", "mask_labels")]),
        (with_value(0), (1,), [("warning", "mask_empty")]),
        (Volume(np.ones((10, 12, 14, 3), np.uint8), AFFINE), (), [("error", "mask_values")]),
    ],
)
def test_masks_that_are_none(found, labels, expected):
    assert codes(found, [IMAGE], labels) == expected


def test_values_and_labels_are_listed():
    (problem,) = mask_problems(with_value(255), [IMAGE], {1: "tumour", 2: "oedema"})
    assert problem.message == "the mask holds 255, mask_labels has 1, 2."
    many = np.zeros((10, 12, 14), np.float32)
    many[0, 0] = np.arange(14) + 0.5
    assert "and 4 more" in mask_problems(mask(many), [IMAGE])[0].message


def test_numbers_that_come_of_compression_are_told_apart():
    many = np.zeros((10, 12, 14), np.uint8)
    many[0, 0] = np.arange(14) + 1
    (problem,) = mask_problems(mask(many), [IMAGE], {1: "lung"})
    assert problem.message.startswith("the mask holds 14 values besides 0, nearly all in lines one pixel wide")
    assert "lossy compression" in problem.message
    assert "instead of 255" in mask_problems(with_value(255), [IMAGE], {1: "lung", 2: "heart"})[0].fix


def test_half_a_voxel_is_seen_in_fine_images_too():
    fine = Volume(np.zeros((10, 10, 1), np.uint8), np.diag([0.14, 0.14, 1.0, 1.0]))
    shifted = fine.affine.copy()
    shifted[0, 3] = 0.07
    said = same_grid(fine, Volume(fine.array, shifted))
    assert said == "the same voxels 0.07 mm away from the image's, up to 0.5 of a voxel along an axis"


def test_grids_at_45_degrees_do_not_depend_on_rounding():
    angle = np.pi / 4
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = Volume(np.zeros((9, 7, 5), np.uint8), affine)
    for nudge in (-3e-6, 3e-6):
        rounded = affine.copy()
        rounded[0, 0] += nudge
        assert same_grid(image, Volume(image.array, rounded)) is None


def test_remarks_on_images():
    assert image_problems(IMAGE, "ct") == []
    assert image_problems(Volume(np.zeros((10, 10, 2)), AFFINE))[0].code == "constant_image"
    assert [found.code for found in image_problems(Volume(np.abs(IMAGE.array), AFFINE), "ct")] == ["ct_units"]
    assert image_problems(Volume(np.abs(IMAGE.array).astype(np.uint8), AFFINE), "ct") == []
    assert image_problems(Volume(IMAGE.array[:4], AFFINE), "mri")[0].code == "tiny_image"
    one = Volume(np.arange(200.0).reshape(1, 20, 10), AFFINE)
    assert image_problems(one, "mri") == []
