"""The reader gives the bytes that a plain reading gives: image by image, without a cache, resampled by hand."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from radapt.cases import CaseReader, with_channels
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache, Volume, read, resampled
from radapt.images import slice_cache as decoding
from radapt.locations import Location
from toy_cases import oblique_cohort, picture_cohort

SIZE = (28, 32)
COHORTS = {"oblique": oblique_cohort, "pictures": picture_cohort}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="module", params=[("oblique", "axial"), ("oblique", "triplanar"), ("pictures", "axial")])
def cohort_and_recipe(request: pytest.FixtureRequest, folder: Path) -> tuple[Cohort, Recipe]:
    name, axis = request.param
    cohort = COHORTS[name](folder / name)
    return cohort, Recipe.for_kind(cohort.kind, size=SIZE, axis=axis)


def reader_of(cohort: Cohort, recipe: Recipe, cache: Path, grid: str = "reference", **options: object) -> CaseReader:
    names = options.pop("modalities", cohort.modalities)
    return CaseReader(cohort, SliceCache(cache), recipe, names, grid=grid, **options)  # type: ignore[arg-type]


# The plain reading


def plain_channels(planes: np.ndarray, channels: int) -> np.ndarray:
    """Pixel by pixel, in whole numbers: a third of the sum, rounded to the nearest."""
    if planes.shape[1] == channels:
        return np.array(planes)
    if channels == 3:
        return np.stack([planes[:, 0]] * 3, axis=1)
    return ((2 * planes.astype(int).sum(axis=1, keepdims=True) + 3) // 6).astype(np.uint8)


def plain_image(location: Location, recipe: Recipe, reference: Location | None = None) -> np.ndarray:
    volume = read(location)
    if reference is not None and reference != location:
        like = read(reference)
        volume = resampled(volume, Volume.blank(like.array.shape[:3], like.affine))
    return recipe.apply(volume)


def plain_stack(images: dict[int, np.ndarray], columns: int, channels: int) -> np.ndarray:
    shape = next(iter(images.values())).shape
    stack = np.zeros((shape[0], columns, channels, *shape[2:]), np.uint8)
    for column, planes in images.items():
        stack[:, column] = plain_channels(planes, channels)
    return stack


def plain_mask(location: Location, recipe: Recipe, reference: Location, values: Sequence[int]) -> np.ndarray:
    like, mask = read(reference), read(location)
    whole = Volume(np.where(mask.array == 255, 1, mask.array).astype(np.int32), mask.affine)
    moved = resampled(whole, Volume.blank(like.array.shape[:3], like.affine), nearest=True)
    planes = recipe.place(like).masks(moved)
    classes = np.zeros(planes.shape, np.uint8)
    for number, value in enumerate(values, start=1):
        classes[planes == value] = number
    return classes


# Each image on its own grid


@pytest.mark.parametrize("channels", [1, 3, None])
def test_on_its_own_grid_an_image_is_what_the_recipe_gives(
    cohort_and_recipe: tuple[Cohort, Recipe], tmp_path: Path, channels: int | None
) -> None:
    cohort, recipe = cohort_and_recipe
    reader = reader_of(cohort, recipe, tmp_path, "own", channels=channels)
    for row, case in enumerate(cohort):
        names = [cohort.modalities[column] for column in reader.columns(row)]
        assert names == [name for name in cohort.modalities if name in case.images]
        assert reader.present[row].tolist() == [name in case.images for name in cohort.modalities]
        for column, name in zip(reader.columns(row), names, strict=True):
            expected = plain_image(case.images[name], recipe)
            for planes in (reader.planes(row, column), reader.planes(row, column)):  # decoded, then opened again
                np.testing.assert_array_equal(planes, plain_channels(expected, channels or expected.shape[1]))


def test_planes_on_their_own_grids_are_not_stacked(tmp_path: Path) -> None:
    cohort = oblique_cohort(tmp_path / "images")
    with pytest.raises(UsageError, match="grid='reference'"):
        reader_of(cohort, Recipe.for_kind("mri", size=SIZE), tmp_path, "own").stack(0)
    with pytest.raises(UsageError, match=r"no grid 'refrence'\. Did you mean 'reference'"):
        reader_of(cohort, Recipe.for_kind("mri", size=SIZE), tmp_path, "refrence")


# All images on the grid of the reference


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_all_images_come_to_the_grid_of_the_first_modality(
    cohort_and_recipe: tuple[Cohort, Recipe], tmp_path: Path, channels: int, turned: bool
) -> None:
    cohort, recipe = cohort_and_recipe
    order = cohort.modalities[::-1] if turned else cohort.modalities
    reader = reader_of(cohort, recipe, tmp_path, channels=channels, modalities=order)
    for row, case in enumerate(cohort):
        places = {column: case.images[name] for column, name in enumerate(order) if name in case.images}
        reference = places[min(places)]
        images = {column: plain_image(place, recipe, reference) for column, place in places.items()}
        expected = plain_stack(images, len(order), channels)
        np.testing.assert_array_equal(reader.stack(row), expected)
        some = np.arange(len(expected))[::-2]
        np.testing.assert_array_equal(reader.stack(row, some), expected[some])
        assert reader.present[row].tolist() == [column in places for column in range(len(order))]
        for column, place in places.items():
            volume = resampled(read(place), Volume.blank(read(reference).array.shape[:3], read(reference).affine))
            np.testing.assert_array_equal(reader.volume(row, column).array, volume.array)


def test_with_some_modalities_a_case_is_as_if_it_had_no_others(tmp_path: Path) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path)
    alone = reader.stack(0, among=["t2"])
    own = plain_image(cohort.cases[0].images["t2"], recipe)
    np.testing.assert_array_equal(alone, plain_stack({1: own}, 2, 1))
    assert len(alone) == 9 != len(reader.stack(0))
    np.testing.assert_array_equal(
        reader.mask_planes(0, [1, 4], resample=True, among=["t2"]),
        plain_mask(Location(tmp_path / "images/0-mask.nii.gz"), recipe, cohort.cases[0].images["t2"], [1, 4]),
    )


def test_another_reference_may_be_named(tmp_path: Path) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path, references={3: "t2"})
    assert [reader.reference(row) for row in range(4)] == [0, 0, 1, 1]
    reference = cohort.cases[3].images["t2"]
    expected = {
        column: plain_image(cohort.cases[3].images[name], recipe, reference) for column, name in enumerate(("t1", "t2"))
    }
    np.testing.assert_array_equal(reader.stack(3), plain_stack(expected, 2, 1))
    assert reader.reference(3, ["t1"]) == 0


# Masks


@pytest.mark.parametrize("values", [[1, 4], [4]])
def test_a_mask_lies_on_the_planes_of_the_reference(tmp_path: Path, values: list[int]) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE, axis="triplanar")
    reader = reader_of(cohort, recipe, tmp_path)
    for row in (0, 2, 3):
        case = cohort.cases[row]
        reference = case.images["t2" if row == 2 else "t1"]
        if 1 in values:
            expected = plain_mask(case.mask, recipe, reference, values)
            np.testing.assert_array_equal(reader.mask_planes(row, values), expected)
            np.testing.assert_array_equal(reader.mask_planes(row, values, resample=True), expected)
            assert set(np.unique(expected)) == {0, 1, 2}
            np.testing.assert_array_equal(reader.mask_volume(row, values).array, read(case.mask).array)
        else:
            with pytest.raises(DataError, match=rf"Case c{row}: .*holds 1"):
                reader.mask_planes(row, values)
        anything = reader.mask_planes(row, [], resample=True)
        np.testing.assert_array_equal(anything, plain_mask(case.mask, recipe, reference, [1, 4]) > 0)
    with pytest.raises(DataError, match="Case c1 has no mask"):
        reader.mask_planes(1, values)


def test_white_masks_of_pictures_are_their_only_label(tmp_path: Path) -> None:
    cohort, recipe = picture_cohort(tmp_path / "images"), Recipe.for_kind("other", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path)
    for row, name in ((0, "photo"), (2, "scan")):
        case = cohort.cases[row]
        expected = plain_mask(case.mask, recipe, case.images[name], [1])
        np.testing.assert_array_equal(reader.mask_planes(row, [1]), expected)


def test_a_mask_on_another_grid_is_resampled_only_on_request(tmp_path: Path) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path, modalities=("t2", "t1"))
    with pytest.raises(DataError, match=r"Case c0: Mask .* does not lie in the grid"):
        reader.mask_planes(0, [1, 4])
    case = cohort.cases[0]
    np.testing.assert_array_equal(
        reader.mask_planes(0, [1, 4], resample=True), plain_mask(case.mask, recipe, case.images["t2"], [1, 4])
    )


# Channels


def test_channels() -> None:
    rng = np.random.default_rng(2)
    colour = rng.integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    np.testing.assert_array_equal(with_channels(colour, 1), plain_channels(colour, 1))
    np.testing.assert_array_equal(with_channels(colour[:, :1], 3), plain_channels(colour[:, :1], 3))
    assert with_channels(colour, 3) is colour
    several = rng.integers(0, 256, (5, 4, 1, 8, 8)).astype(np.uint8)  # a stack of modalities
    np.testing.assert_array_equal(with_channels(several, 3), np.repeat(several, 3, axis=2))


def test_a_stack_of_stored_images_has_the_most_channels_of_any(tmp_path: Path) -> None:
    cohort, recipe = picture_cohort(tmp_path / "images"), Recipe.for_kind("other", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path)
    assert reader.stack(0).shape == (1, 2, 3, *SIZE)
    assert reader.stack(2).shape == (1, 2, 1, *SIZE)
    assert (reader.most_channels([0, 2]), reader.most_channels([2])) == (3, 1)
    assert reader.with_channels(1).planes(0, 0).shape == (1, 1, *SIZE)
    assert reader.with_channels(1).files is reader.files
    assert reader.channels is None


# Files


def test_nothing_is_decoded_twice_and_planes_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    first = reader_of(cohort, recipe, tmp_path / "cache")
    expected = [np.array(first.stack(row)) for row in range(4)], first.mask_planes(0, [1, 4])
    monkeypatch.setattr(decoding, "read", lambda *args, **options: pytest.fail("decoded again"))
    for reader in (reader_of(cohort, recipe, tmp_path / "cache"), pickle.loads(pickle.dumps(first))):
        for row in range(4):
            np.testing.assert_array_equal(reader.stack(row), expected[0][row])
        np.testing.assert_array_equal(reader.mask_planes(0, [1, 4]), expected[1])
        assert isinstance(reader.image(0, 1), np.memmap)
        assert not reader.image(0, 1).flags.writeable


@pytest.mark.parametrize("grid", ["own", "reference"])
def test_a_cleared_cache_is_filled_again(tmp_path: Path, grid: str) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path / "cache", grid)
    expected = np.array(reader.image(0, 1)), np.array(reader.mask_planes(0, [1, 4]))
    for path in (tmp_path / "cache").rglob("*.npy"):
        path.unlink()
    reader.files.forget()
    np.testing.assert_array_equal(reader.image(0, 1), expected[0])
    np.testing.assert_array_equal(reader.mask_planes(0, [1, 4]), expected[1])


def test_what_was_opened_is_opened_again_without_looking_at_the_image(tmp_path: Path) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path / "cache", "own")
    expected = np.array(reader.image(0, 1))
    cohort.cases[0].images["t2"].path.unlink()
    np.testing.assert_array_equal(reader.image(0, 1), expected)


def test_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.cases.reader.OPEN_FILES", 2)
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    reader = reader_of(cohort, recipe, tmp_path / "cache")
    first = reader.image(0, 0)
    assert reader.image(0, 0) is first
    reader.image(0, 1), reader.image(3, 0)
    assert reader.image(0, 0) is not first
    own = reader_of(cohort, recipe, tmp_path / "cache", "own")
    assert own.image(0, 0) is not own.image(0, 0)


# Errors


def test_errors_name_the_case_and_the_modality(tmp_path: Path) -> None:
    cohort, recipe = oblique_cohort(tmp_path / "images"), Recipe.for_kind("mri", size=SIZE)
    (tmp_path / "images/0-t2.nii.gz").write_bytes(b"torn")
    (tmp_path / "images/3-mask.nii.gz").write_bytes(b"torn")
    (tmp_path / "images/2-t2.nii.gz").write_bytes(b"torn")
    for grid in ("own", "reference"):
        reader = reader_of(cohort, recipe, tmp_path / "cache", grid)
        with pytest.raises(DataError, match=r"^Case c0, t2: .*0-t2"):
            reader.image(0, 1)
    with pytest.raises(DataError, match=r"^Case c3: .*3-mask"):
        reader.mask_planes(3, [1, 4])
    with pytest.raises(DataError, match=r"^Case c2, t2: .*2-t2"):
        reader.stack(2)
    bare = Cohort("bare", "mri", (cohort.cases[1],), ("t2",))
    for ask in ("stack", "grid_of", "reference"):
        with pytest.raises(DataError, match=r"^Case c1 has no image\. Give it one"):
            getattr(reader_of(bare, recipe, tmp_path / "cache"), ask)(0)
