"""Planes and masks brought into another grid: cached by everything that decides them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radapt.images import AlignedSliceCache, Recipe, SliceCache, Volume, read, resampled
from radapt.locations import Location

RECIPES = (Recipe.for_kind("mri", size=32), Recipe.for_kind("mri", size=32, every=2), Recipe.for_kind("other", size=32))
GRIDS = tuple(
    Volume.blank((20, 24, planes), np.diag([1.0, 1.0, thickness, 1.0]))
    for planes, thickness in ((9, 1.0), (4, 2.0), (3, 3.0))
)


@pytest.fixture
def image(tmp_path: Path) -> Location:
    array = np.random.default_rng(0).integers(0, 500, (20, 24, 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    return Location(tmp_path / "a.nii.gz")


def test_planes_depend_on_the_recipe_and_on_the_grid(image: Location, tmp_path: Path) -> None:
    """All of them twice, through one cache: each is what it would be alone."""
    slices = SliceCache(tmp_path / "cache")
    for _ in range(2):
        for recipe in RECIPES:
            for grid in GRIDS:
                found = AlignedSliceCache(slices, recipe).planes(image, grid)
                np.testing.assert_array_equal(found, recipe.apply(resampled(read(image), grid)))


def test_masks_depend_on_the_recipe_the_grid_the_labels_and_the_way(tmp_path: Path) -> None:
    """Labels 3 and 7 are numbered by their place in the list of labels; a resampled mask may lie in another grid."""
    array = np.random.default_rng(1).choice([0, 3, 7], (20, 24, 9)).astype(np.uint8)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "m.nii.gz")
    mask, slices = Location(tmp_path / "m.nii.gz"), SliceCache(tmp_path / "cache")
    for _ in range(2):
        for recipe in RECIPES[:2]:
            aligned = AlignedSliceCache(slices, recipe)
            for values in ([3, 7], [3, 5, 7]):
                for grid in GRIDS:
                    planes = recipe.place(grid).masks(resampled(read(mask), grid, nearest=True))
                    expected = np.select([planes == 3, planes == 7], [1, len(values)])
                    found = aligned.mask_planes(mask, grid, values, resample=True)
                    np.testing.assert_array_equal(found, expected)
                plain = aligned.mask_planes(mask, GRIDS[0], values)
                np.testing.assert_array_equal(plain, aligned.mask_planes(mask, GRIDS[0], values, resample=True))


def test_at_45_degrees_planes_are_shown_as_the_reference_says(tmp_path: Path) -> None:
    """Rounding decides which axis counts as right: the image and its reference differ in it, though not in a voxel."""
    slices, recipe = SliceCache(tmp_path / "cache"), Recipe.for_kind("other", size=16)
    array = np.random.default_rng(2).integers(0, 500, (12, 12, 5)).astype(np.int16)

    def turned(degrees: float) -> np.ndarray:
        angle, affine = np.radians(degrees), np.eye(4)
        affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        return affine

    nib.save(nib.Nifti1Image(array, turned(44.999)), tmp_path / "a.nii.gz")
    like = Volume.blank(array.shape, turned(45.001))
    image = Location(tmp_path / "a.nii.gz")
    assert not np.array_equal(recipe.apply(read(image)), recipe.apply(resampled(read(image), like)))
    found = AlignedSliceCache(slices, recipe).planes(image, like)
    np.testing.assert_array_equal(found, recipe.apply(resampled(read(image), like)))
