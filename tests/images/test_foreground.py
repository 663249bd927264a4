"""What counts as foreground: heads in MRI, bodies in CT, all of a film; and the boxes around it."""

import numpy as np
import pytest

from radapt.images import Recipe, Volume
from radapt.images.foreground import Extents, extents, foreground


def measured(volume: np.ndarray, recipe: Recipe) -> Extents:
    planes = recipe.apply(Volume(volume, np.diag([-1.0, -1.0, 1.0, 1.0])))
    return foreground(planes, recipe.dark_levels(planes.shape[1]))


def test_a_box_goes_around_what_is_inside() -> None:
    inside = np.zeros((3, 6, 8), bool)
    inside[0, 2:4, 3:7] = True
    inside[1, 0, 0] = inside[1, 5, 7] = True
    found = extents(inside)
    assert found.area.tolist() == [8, 2, 0]
    assert found.boxes.tolist() == [[2, 3, 4, 7], [0, 0, 6, 8], [0, 0, 0, 0]]


def test_specks_do_not_widen_a_box() -> None:
    inside = np.zeros((2, 100, 100), bool)
    inside[:, 30:60, 40:70] = True
    inside[0, 5, 5] = inside[0, 90, 95] = True
    assert extents(inside, 0.02).boxes.tolist() == [[30, 40, 60, 70]] * 2
    assert extents(inside).boxes[0].tolist() == [5, 5, 91, 96]


def test_specks_alone_are_no_foreground() -> None:
    inside = np.zeros((1, 100, 100), bool)
    inside[0, 5, 5] = True
    assert extents(inside, 0.02).area.tolist() == [0]


def test_together_is_the_box_around_both() -> None:
    one, other = np.zeros((3, 9, 9), bool), np.zeros((3, 9, 9), bool)
    one[0, 1:3, 1:3], other[0, 5:6, 0:8] = True, True
    one[1, 4:5, 4:5] = True
    either = extents(one) | extents(other)
    np.testing.assert_array_equal(either.boxes, extents(one | other).boxes)
    assert either.area.tolist() == [8, 1, 0]
    np.testing.assert_array_equal((extents(other) | extents(one)).boxes, either.boxes)


def test_a_table_keeps_everything() -> None:
    found = extents(np.random.default_rng(0).random((5, 20, 30)) < 0.02)
    again = Extents.from_table(found.table)
    np.testing.assert_array_equal(again.boxes, found.boxes)
    np.testing.assert_array_equal(again.area, found.area)


def test_a_bright_speck_outside_the_head_does_not_widen_its_box() -> None:
    planes = np.zeros((1, 1, 100, 100), np.uint8)
    planes[0, 0, 30:60, 40:70] = 200
    planes[0, 0, 5, 95] = 255  # alone in its line, of which 2 % are two pixels
    assert foreground(planes, np.array([25])).boxes.tolist() == [[30, 40, 60, 70]]


@pytest.mark.parametrize("noise", [0, 8])
def test_mri_shows_the_head(noise: int) -> None:
    rng = np.random.default_rng(0)
    volume = np.abs(rng.normal(0, noise, (64, 64, 2))) if noise else np.zeros((64, 64, 2))
    volume[16:40, 20:50] = rng.normal(300, 60, (24, 30, 2)).clip(150)
    found = measured(volume.astype(np.int16), Recipe.for_kind("mri", size=64))
    np.testing.assert_allclose(found.boxes, [[20, 16, 50, 40]] * 2, atol=1)
    np.testing.assert_allclose(found.area, 720, rtol=0.15)  # the darkest tissue is as dark as noise


@pytest.mark.parametrize("windows", [("lung", "soft-tissue", "bone"), "lung", "soft-tissue", "bone"])
def test_ct_shows_the_body_and_not_the_air_around_it(windows: object) -> None:
    volume = np.full((64, 64, 1), -1000, np.int16)
    volume += np.random.default_rng(0).normal(0, 20, volume.shape).astype(np.int16)
    volume[10:50, 15:45] = 40
    volume[20:30, 20:40] = -850  # a lung
    found = measured(volume, Recipe.for_kind("ct", size=64, windows=windows))
    assert found.boxes.tolist() == [[15, 10, 45, 50]]


def test_films_are_foreground_but_not_the_black_around_them() -> None:
    rng = np.random.default_rng(0)
    film = rng.normal(1000, 200, (64, 64, 1)).astype(np.int16)
    assert measured(film, Recipe.for_kind("xray", size=64)).boxes.tolist() == [[0, 0, 64, 64]]
    wide = rng.normal(1000, 200, (64, 32, 1)).astype(np.int16)
    assert measured(wide, Recipe.for_kind("xray", size=64)).boxes.tolist() == [[16, 0, 48, 64]]


def test_colour_on_white_is_all_foreground() -> None:
    picture = np.full((32, 32, 1, 3), 255, np.uint8)
    picture[8:20, 8:20, :, 1:] = 0
    assert measured(picture, Recipe.for_kind("other", size=32)).boxes.tolist() == [[0, 0, 32, 32]]


def test_neighbouring_planes_do_not_count() -> None:
    volume = np.zeros((32, 32, 3), np.int16)
    volume[4:10, 4:10, 0] = volume[20:30, 20:30, 1] = 500
    volume[..., 2] = 1
    found = measured(volume, Recipe.for_kind("other", size=32, neighbours=1))
    assert found.boxes[:2].tolist() == [[4, 4, 10, 10], [20, 20, 30, 30]]


def test_a_black_volume_has_none() -> None:
    assert measured(np.zeros((8, 8, 2), np.int16), Recipe.for_kind("mri", size=16)).area.tolist() == [0, 0]
