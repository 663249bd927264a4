"""Neighbouring planes as channels, and planes of all three axes: on volumes whose every voxel can be predicted."""

from typing import Any

import numpy as np
import pytest

from radapt.errors import DataError, UsageError
from radapt.images import Recipe, Volume

AXES = ("axial", "coronal", "sagittal")
SHAPE = (7, 5, 7)  # right, front, head: every plane has a side of 7, so that none is resized on a canvas of 7


def counted(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Each voxel's value is its index."""
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def volume(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    return Volume(array, np.diag([*spacing, 1.0]))


def recipe(**options: Any) -> Recipe:
    return Recipe.for_kind("other", **{"size": (7, 7), **options})


def unframed(planes: np.ndarray, shape: tuple[int, int], canvas: int = 7) -> np.ndarray:
    """What lies inside the black border of planes that were not resized."""
    top, left = (canvas - shape[0]) // 2, (canvas - shape[1]) // 2
    return planes[..., top : top + shape[0], left : left + shape[1]]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("step", [1, 2, 3, 99])
def test_channels_are_the_plane_before_this_one_and_the_plane_after(axis: str, step: int) -> None:
    stored = volume(counted())
    expected = stored.planes(axis)
    planes = unframed(recipe(axis=axis, neighbours=step).apply(stored), expected.shape[1:3])
    last = len(expected) - 1
    for number, plane in enumerate(planes):
        for channel, offset in enumerate((-step, 0, step)):
            np.testing.assert_array_equal(plane[channel], expected[min(max(number + offset, 0), last)])


@pytest.mark.parametrize("options", [{"every": 2}, {"count": 2}, {"every": 3, "count": 1}, {"count": 50}])
def test_neighbours_are_those_of_the_whole_stack_not_of_the_planes_kept(options: dict[str, int]) -> None:
    array = np.broadcast_to(np.arange(10, dtype=np.uint8) * 20, (7, 7, 10))
    alone = recipe(**options).apply(volume(array))[:, 0, 0, 0].astype(int) // 20
    planes = recipe(neighbours=2, **options).apply(volume(array))[:, :, 0, 0].astype(int) // 20
    np.testing.assert_array_equal(planes, np.clip(alone[:, None] + [-2, 0, 2], 0, 9))


@pytest.mark.parametrize("kind", ["mri", "xray", "other"])
def test_the_middle_channel_is_the_plane_itself(kind: str) -> None:
    array = np.random.default_rng(0).integers(0, 3000, (20, 24, 9)).astype(np.int16)
    stored = volume(array, (1.0, 0.8, 3.0))
    with_, without = (Recipe.for_kind(kind, size=32, neighbours=step).apply(stored) for step in (1, 0))
    assert with_.shape == (9, 3, 32, 32)
    np.testing.assert_array_equal(with_[:, 1:2], without)
    np.testing.assert_array_equal(with_[1:, 0], without[:-1, 0])
    np.testing.assert_array_equal(with_[:-1, 2], without[1:, 0])


def test_one_ct_window_leaves_channels_for_neighbours_and_three_do_not() -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 5)).astype(np.int16)
    one = Recipe.for_kind("ct", size=8, windows="lung", neighbours=1).apply(volume(array))
    alone = Recipe.for_kind("ct", size=8, windows="lung").apply(volume(array))
    np.testing.assert_array_equal(one[:, 0], alone[[0, 0, 1, 2, 3], 0])
    with pytest.raises(UsageError, match=r"windows: \[soft-tissue\]"):
        Recipe.for_kind("ct", neighbours=1)
    with pytest.raises(UsageError, match="three CT windows"):
        Recipe.for_kind("ct", neighbours=1, windows=["lung", "bone", "brain"])


def test_colour_has_no_room_for_neighbours() -> None:
    pixels = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"in colour.* leave out neighbours"):
        recipe(neighbours=1).apply(Volume.from_planes(pixels))


def test_a_single_plane_is_repeated() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 7, 7), dtype=np.uint8)
    planes = recipe(neighbours=1, axis="triplanar").apply(Volume.from_planes(pixels))
    assert planes.shape == (1, 3, 7, 7)
    np.testing.assert_array_equal(planes[0], np.repeat(pixels, 3, axis=0))


@pytest.mark.parametrize("options", [{}, {"every": 2}, {"count": 3}, {"neighbours": 1}, {"neighbours": 2, "count": 2}])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.7, 4.0)])
def test_triplanar_is_the_planes_of_all_three_axes_one_after_the_other(
    options: dict[str, int], spacing: tuple[float, float, float]
) -> None:
    stored = volume(counted().astype(np.int16) * 13, spacing)
    parts = [Recipe.for_kind("mri", size=24, axis=axis, **options).apply(stored) for axis in AXES]
    planes = Recipe.for_kind("mri", size=24, axis="triplanar", **options).apply(stored)
    np.testing.assert_array_equal(planes, np.concatenate(parts))


def test_triplanar_planes_hold_the_voxels_of_their_axis() -> None:
    array = counted()
    planes = recipe(axis="triplanar").apply(volume(array))
    assert len(planes) == 7 + 5 + 7
    axial, coronal, sagittal = np.split(planes[:, 0], [7, 12])
    np.testing.assert_array_equal(unframed(axial, (5, 7))[2], array[::-1, ::-1, 2].T)
    np.testing.assert_array_equal(unframed(coronal, (7, 7))[3], array[::-1, 3, ::-1].T)
    np.testing.assert_array_equal(unframed(sagittal, (7, 5))[4], array[4, ::-1, ::-1].T)


@pytest.mark.parametrize("axis", [*AXES, "triplanar"])
@pytest.mark.parametrize("flipped", [0, 1, 2])
def test_how_the_file_stores_its_axes_does_not_matter(axis: str, flipped: int) -> None:
    straight = volume(counted(), (1.0, 1.5, 2.0))
    affine = straight.affine.copy()
    affine[:, 3] += affine[:, flipped] * (SHAPE[flipped] - 1)
    affine[:, flipped] *= -1
    turned = Volume(np.flip(straight.array, flipped).transpose(1, 2, 0), affine[:, [1, 2, 0, 3]])
    made = recipe(axis=axis, neighbours=1)
    np.testing.assert_array_equal(made.apply(turned), made.apply(straight))


@pytest.mark.parametrize("options", [{"axis": "triplanar"}, {"axis": "triplanar", "every": 2}, {"neighbours": 1}])
def test_masks_lie_on_the_planes_of_the_image(options: dict[str, Any]) -> None:
    stored = volume(counted(), (1.0, 1.0, 1.0))
    made = recipe(**options)
    planes = made.apply(stored)
    middle = planes[:, planes.shape[1] // 2]
    np.testing.assert_array_equal(made.place(stored).masks(stored), middle)


def test_the_digest_changes_with_both_and_is_that_of_older_caches_without() -> None:
    recipes = [
        Recipe.for_kind("mri"),
        Recipe.for_kind("mri", neighbours=1),
        Recipe.for_kind("mri", neighbours=2),
        Recipe.for_kind("mri", axis="triplanar"),
        Recipe.for_kind("mri", axis="triplanar", neighbours=1),
        Recipe.for_kind("mri", axis="triplanar", count=3),
        Recipe.for_kind("mri", count=3),
    ]
    assert len({each.digest for each in recipes}) == len(recipes)
    assert len({each.describe() for each in recipes}) == len(recipes)
    # Made before the two options were added: what was cached then is found again.
    assert Recipe.for_kind("mri", neighbours=0).digest == "f8144eb94fd120dd0b4a71016df69efc"
    assert Recipe.for_kind("ct").digest == "e69b46cf903998fa5e5bd1c7ba7d94be"
    older = Recipe.for_kind("mri", size=(98, 112), axis="coronal", every=2, count=5, percentiles=(1, 99))
    assert older.digest == "5da435854f06aedd15329d53cb2fbc7e"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"neighbours": -1}, "neighbours must be"),
        ({"neighbours": 1.0}, "neighbours must be"),
        ({"neighbours": True}, "neighbours must be"),
        ({"neighbors": 1}, "Did you mean 'neighbours'"),
        ({"axis": "tri-planar"}, "Did you mean 'triplanar'"),
        ({"axis": ["axial"]}, "no plane called"),
    ],
)
def test_wrong_options_are_answered_with_the_right_ones(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipe(**options)
