"""What segmentation sees of a cohort: planes of all modalities and the mask on one grid, checked before training."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, Volume
from radapt.locations import Location
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation import SegmentationData, mean_dice
from radapt.segmentation.criterion import case_dice

AFFINE = np.array([[-0.8, 0, 0, 10], [0, 0.9, 0.1, -5], [0, -0.1, 2.5, 7], [0, 0, 0, 1.0]])
SHAPE = (22, 26, 7)


def save(folder: Path, name: str, array: np.ndarray, affine: np.ndarray = AFFINE) -> Location:
    nib.save(nib.Nifti1Image(array, affine), folder / f"{name}.nii.gz")
    return Location(folder / f"{name}.nii.gz")


def drawing(seed: int, labels: tuple[int, ...] = (1, 2), shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sides = (np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape)
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
    found = np.zeros(shape, np.uint8)
    for label in labels:
        found[((grid - rng.uniform(-0.4, 0.4, 3)) ** 2).sum(axis=-1) < 0.3] = label
    return found


def grey(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 5, mask.shape)
    return (np.minimum(mask.astype(int), 5) * 40 + noise).astype(np.uint8)


def cohort_of(cases: list[Case], labels: dict[int, str] | None = None, kind: str = "other") -> Cohort:
    modalities = tuple(dict.fromkeys(name for case in cases for name in case.images))
    named = {1: "core", 2: "rim"} if labels is None else labels
    return Cohort("toy", kind, tuple(cases), modalities, mask_labels=named)  # type: ignore[arg-type]


def problem_of(cohort: Cohort, folder: Path, **options: object) -> ImageProblem:
    recipe = Recipe.for_kind(cohort.kind, **{"size": 48, **options})  # type: ignore[arg-type]
    return ImageProblem.of(cohort, "segmentation", recipe, folder / "cache")


def data_of(cohort: Cohort, folder: Path, **options: object) -> SegmentationData:
    return SegmentationData(problem_of(cohort, folder, **options))


SPLITS = ("train", "train", "val", "test")


@pytest.fixture
def simple(tmp_path: Path) -> Cohort:
    cases = []
    for row, split in enumerate(SPLITS):
        mask = drawing(row)
        images = {"image": save(tmp_path, f"i{row}", grey(mask))}
        cases.append(Case(f"c{row}", f"p{row}", split, images, mask=save(tmp_path, f"m{row}", mask)))
    return cohort_of(cases)


def test_planes_and_masks_lie_on_each_other(simple, tmp_path):
    data = data_of(simple, tmp_path)
    assert data.labels == {1: "core", 2: "rim"}
    assert (data.classes, data.colours, data.channels, data.modalities) == (3, 1, 1, ("image",))
    assert data.rows("train").tolist() == [0, 1]
    assert data.rows("val").tolist() == [2]
    for row in range(3):
        planes, present = data.planes(row)
        masks = data.mask_planes(row)
        assert planes.shape == (7, 1, 1, 48, 48)
        assert masks.shape == (7, 48, 48)
        assert present.tolist() == [True]
        assert data.count(row) == 7
        inner = masks > 0
        assert np.abs(planes[:, 0, 0][inner] / 40.0 - masks[inner]).mean() < 0.2
        np.testing.assert_array_equal(data.pixels(row).sum(axis=1), 48 * 48)
        np.testing.assert_array_equal(data.pixels(row)[:, 2], (masks == 2).sum(axis=(1, 2)))
        some = np.array([5, 0, 5])
        np.testing.assert_array_equal(data.planes(row, some)[0], planes[some])
        np.testing.assert_array_equal(data.mask_planes(row, some), masks[some])


def test_an_answer_comes_back_in_the_grid_and_the_numbers_of_the_masks(simple, tmp_path):
    numbers = {0: 0, 1: 3, 2: 17}
    cases = []
    for row, case in enumerate(simple):
        mask = np.vectorize(numbers.get)(drawing(row)).astype(np.int16)
        cases.append(replace(case, mask=save(tmp_path, f"n{row}", mask)))
    data = data_of(replace(simple, cases=tuple(cases), mask_labels={3: "core", 17: "rim"}), tmp_path)

    def segment(row):
        return data.draw(
            row, np.moveaxis(np.eye(3, dtype=np.float32)[data.mask_planes(row)], -1, 1), logarithms=False
        ).mask

    assert set(np.unique(segment(0).array)) == {0, 3, 17}
    np.testing.assert_allclose(segment(0).affine, AFFINE, atol=1e-6)
    assert segment(0).array.shape == SHAPE
    assert mean_dice(data, [0, 1, 2], segment) > 0.97
    with pytest.raises(DataError, match="do not have 3 classes"):
        data.draw(0, np.zeros((7, 2, 8, 8), np.float32), logarithms=False)


def test_masks_of_test_cases_are_never_seen(simple, tmp_path):
    data = data_of(simple, tmp_path)
    for look in (data.truth, data.mask_planes, data.pixels):
        with pytest.raises(DataError, match="Case c3 has no mask that may be seen"):
            look(3)
    assert data.planes(3)[0].shape == (7, 1, 1, 48, 48)
    np.testing.assert_allclose(data.grid(3).affine, AFFINE, atol=1e-6)


def test_the_second_time_nothing_is_decoded(simple, tmp_path, monkeypatch):
    first = data_of(simple, tmp_path)
    expected = [(np.array(first.planes(row)[0]), np.array(first.mask_planes(row))) for row in range(3)]
    from radapt.images import SliceCache

    monkeypatch.setattr(SliceCache, "read", lambda *args: pytest.fail("decoded again"))
    again = data_of(simple, tmp_path)
    for row in range(3):
        np.testing.assert_array_equal(again.planes(row)[0], expected[row][0])
        np.testing.assert_array_equal(again.mask_planes(row), expected[row][1])
        assert isinstance(again.mask_planes(row), np.memmap)


def test_each_image_and_mask_is_decoded_at_most_twice(simple, tmp_path, monkeypatch):
    from radapt.images import SliceCache

    seen = []
    read = SliceCache.read
    monkeypatch.setattr(SliceCache, "read", lambda self, place, *rest: (seen.append(place), read(self, place))[1])
    data = data_of(simple, tmp_path)
    for row in range(3):
        data.planes(row), data.mask_planes(row), data.planes(row)
    images = [place for place in seen if place.path.name.startswith("i")]
    assert len(images) == len(set(images)) == 3
    assert len(seen) <= 3 + 2 * 3


def test_a_cache_that_is_cleared_meanwhile_costs_time_only(simple, tmp_path):
    data = data_of(simple, tmp_path)
    expected = np.array(data.planes(0)[0]), np.array(data.mask_planes(0))
    for path in (tmp_path / "cache").rglob("*.npy"):
        path.unlink()
    data.reader.files.forget()
    np.testing.assert_array_equal(data.planes(0)[0], expected[0])
    np.testing.assert_array_equal(data.mask_planes(0), expected[1])


def test_a_changed_mask_or_label_is_another_plane(simple, tmp_path):
    before = np.array(data_of(simple, tmp_path).mask_planes(0))
    swapped = replace(simple, mask_labels={1: "core", 2: "rim", 5: "new"})
    np.testing.assert_array_equal(data_of(swapped, tmp_path).mask_planes(0), before)
    save(tmp_path, "m0", drawing(0)[::-1])
    assert (data_of(simple, tmp_path).mask_planes(0) != before).any()
    assert data_of(simple, tmp_path, size=40).mask_planes(0).shape == (7, 40, 40)


def test_the_class_of_a_number_depends_on_the_labels_declared(simple, tmp_path):
    rims = simple
    for row in range(3):
        rims = with_mask(rims, row, save(tmp_path, f"rim{row}", drawing(row, (2,))))
    assert data_of(rims, tmp_path).mask_planes(0).max() == 2
    assert data_of(replace(rims, mask_labels={2: "rim"}), tmp_path).mask_planes(0).max() == 1


# Several modalities


def several(tmp_path: Path) -> Cohort:
    """FLAIR in the grid of the mask, T1 finer and turned in another, missing in case 1."""
    cases = []
    for row, split in enumerate(SPLITS):
        mask = drawing(row)
        fine = np.repeat(np.repeat(mask.transpose(2, 0, 1), 2, axis=2), 2, axis=0)
        affine = AFFINE[:, [2, 0, 1, 3]] @ np.diag([0.5, 1.0, 0.5, 1.0])
        affine[:3, 3] -= 0.25 * AFFINE[:3, 2] + 0.25 * AFFINE[:3, 1]
        images = {"t1": save(tmp_path, f"t{row}", grey(fine), affine)} if row != 1 else {}
        images["flair"] = save(tmp_path, f"f{row}", grey(mask))
        cases.append(Case(f"c{row}", f"p{row}", split, images, mask=save(tmp_path, f"m{row}", mask)))
    return cohort_of(cases)


def test_modalities_on_other_grids_come_to_the_masks_grid(tmp_path):
    cohort = several(tmp_path)
    data = data_of(cohort, tmp_path)
    assert data.modalities == ("t1", "flair")
    assert data.channels == 2
    for row in range(3):
        planes, present = data.planes(row)
        assert present.tolist() == [row != 1, True]
        masks = data.mask_planes(row)
        for place in np.flatnonzero(present):
            inner = masks > 0
            assert np.abs(planes[:, place, 0][inner] / 40.0 - masks[inner]).mean() < 0.35
        if row == 1:
            assert not planes[:, 0].any()
        assert data.grid(row).array.shape == SHAPE
    # The test case has no mask to see: masks were drawn on FLAIR in train, so it is segmented there too.
    assert data.grid(3).array.shape == SHAPE
    volumes = data.volumes(0)
    assert all(volume is not None and volume.array.shape == SHAPE for volume in volumes)
    assert data.volumes(1)[0] is None


def test_modalities_that_share_the_grid_keep_the_order_of_the_cohort(simple, tmp_path):
    cases = [replace(case, images={"a": case.images["image"], "b": case.images["image"]}) for case in simple]
    cases[3] = replace(cases[3], images={"b": cases[3].images["b"]})
    data = data_of(cohort_of(cases), tmp_path)
    assert data.modalities == ("a", "b")
    planes, _ = data.planes(0)
    np.testing.assert_array_equal(planes[:, 0], planes[:, 1])
    assert data.planes(3)[1].tolist() == [False, True]
    assert data.reference(3).modality == "b"


def test_a_modality_elsewhere_in_the_patient_is_said(simple, tmp_path):
    away = AFFINE.copy()
    away[:3, 3] += 500
    cases = [
        replace(case, images={**case.images, "b": save(tmp_path, "away", grey(drawing(0)), away)}) for case in simple
    ]
    data = data_of(cohort_of(cases), tmp_path)
    with pytest.raises(DataError, match="do not overlap in space"):
        data.planes(0)


# Pictures and colour


def picture(tmp_path: Path, name: str, array: np.ndarray) -> Location:
    Image.fromarray(array).save(tmp_path / f"{name}.png")
    return Location(tmp_path / f"{name}.png")


def test_pictures_grey_and_colour_with_masks_of_white(tmp_path):
    cases = []
    for row, split in enumerate(SPLITS):
        mask = drawing(row, (1,), (40, 31, 1))[..., 0]
        array = np.repeat(grey(mask)[..., None], 3, axis=2) if row == 1 else grey(mask)
        if row == 1:
            array[..., 0] //= 2
        images = {"image": picture(tmp_path, f"i{row}", array)}
        white = mask * np.uint8(255 if row != 2 else 1)
        cases.append(Case(f"c{row}", f"p{row}", split, images, mask=picture(tmp_path, f"m{row}", white)))
    cohort = cohort_of(cases, {1: "lung"}, "xray")
    data = data_of(cohort, tmp_path)
    assert (data.colours, data.channels, data.classes) == (3, 3, 2)
    for row in range(3):
        planes, _ = data.planes(row)
        assert planes.shape == (1, 1, 3, 48, 48)
        assert set(np.unique(data.mask_planes(row))) == {0, 1}
        assert set(np.unique(data.truth(row).array)) == {0, 1}
    assert not data.notes
    grey_only = cohort_of([replace(cases[0]), replace(cases[2]), replace(cases[1], split="val")], {1: "lung"}, "xray")
    alone = data_of(grey_only, tmp_path)
    assert alone.colours == 1
    assert alone.planes(2)[0].shape == (1, 1, 1, 48, 48)


@pytest.mark.parametrize("axis", ["coronal", "triplanar"])
def test_other_axes(simple, tmp_path, axis):
    data = data_of(simple, tmp_path, axis=axis)
    assert data.count(0) == len(data.mask_planes(0)) == len(data.planes(0)[0]) == (26 if axis == "coronal" else 55)
    scores = np.moveaxis(np.eye(3, dtype=np.float32)[data.mask_planes(0)], -1, 1)
    assert case_dice(drawing(0), data.draw(0, scores, logarithms=False).mask.array, [1, 2]).min() > 0.97


# Labels


def test_labels_that_are_not_declared_are_those_of_the_training_masks(simple, tmp_path):
    data = data_of(replace(simple, mask_labels={}), tmp_path)
    assert data.labels == {1: "1", 2: "2"}


def test_background_may_be_declared_and_absent_labels_are_noted(simple, tmp_path):
    named = {0: "background", 1: "core", 2: "rim", 7: "cyst"}
    data = data_of(replace(simple, mask_labels=named), tmp_path)
    assert data.labels == {1: "core", 2: "rim", 7: "cyst"}
    assert data.notes == ("label 'cyst' is in no mask of train, so it cannot be learned",)


def with_mask(cohort: Cohort, row: int, mask: Location) -> Cohort:
    cases = list(cohort.cases)
    cases[row] = replace(cases[row], mask=mask)
    return replace(cohort, cases=tuple(cases))


def shifted(axis: int, mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[axis, 3] += mm
    return affine


BAD = {
    "undeclared": (lambda d: save(d, "x", drawing(0, (1, 5))), r"holds 1, 5|holds 5, mask_labels has 1, 2"),
    "half a voxel": (lambda d: save(d, "x", drawing(0), shifted(0, 0.4)), r"0\.4 mm away .* up to 0\.5 of a voxel"),
    "another size": (lambda d: save(d, "x", drawing(0)[1:]), r"size 21 × 26 × 7, the image has 22 × 26 × 7"),
    "fractions": (lambda d: save(d, "x", drawing(0) * np.float32(0.5)), r"holds 0\.5, expected whole numbers"),
    "negative": (lambda d: save(d, "x", -drawing(0).astype(np.int16)), r"holds -2, -1, expected whole"),
    "white among two": (lambda d: save(d, "x", drawing(0, (255,))), r"holds 255, mask_labels has 1, 2.*instead of 255"),
    "missing file": (lambda d: Location(d / "none.nii.gz"), "none.nii.gz"),
}


@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_masks_that_cannot_be_used_are_all_listed(simple, tmp_path, make, message, row):
    with pytest.raises(DataError, match=message) as caught:
        data_of(with_mask(simple, row, make(tmp_path)), tmp_path)
    assert "1 of 3 masked cases of toy cannot be used" in str(caught.value)
    assert f"case c{row}:" in str(caught.value)


def test_every_bad_mask_is_named(simple, tmp_path):
    bad = with_mask(simple, 0, save(tmp_path, "x", drawing(0, (9,))))
    bad = with_mask(bad, 2, save(tmp_path, "y", drawing(0), shifted(1, 30)))
    with pytest.raises(DataError, match=r"(?s)2 of 3 masked cases.*case c0.*holds 9.*case c2.*30\.0 mm away"):
        data_of(bad, tmp_path)


def test_a_truncated_mask_is_named(simple, tmp_path):
    path = simple.cases[0].mask.path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"case c0: .*m0\.nii\.gz"):
        data_of(simple, tmp_path)


def test_masks_in_colour_are_refused_with_the_fix(tmp_path):
    mask = drawing(0, (1,), (40, 31, 1))[..., 0]
    colour = np.stack([mask * 200, mask * 10, mask], axis=-1).astype(np.uint8)
    image = picture(tmp_path, "i", grey(mask))
    cases = [Case("c0", "p0", "train", {"image": image}, mask=picture(tmp_path, "m", colour))]
    with pytest.raises(DataError, match=r"colour image of 2 colours.*Save one whole number per pixel"):
        data_of(cohort_of(cases, {1: "lung"}, "xray"), tmp_path)


def test_floats_that_are_whole_and_empty_masks_are_fine(simple, tmp_path):
    cohort = with_mask(simple, 0, save(tmp_path, "x", drawing(0).astype(np.float64)))
    cohort = with_mask(cohort, 1, save(tmp_path, "y", np.zeros(SHAPE, np.uint8)))
    data = data_of(cohort, tmp_path)
    assert data.truth(0).array.dtype == np.uint8
    assert not data.mask_planes(1).any()


def test_what_nothing_can_be_learned_from(simple, tmp_path):
    empty = save(tmp_path, "x", np.zeros(SHAPE, np.uint8))
    nothing = with_mask(with_mask(replace(simple, mask_labels={}), 0, empty), 1, empty)
    with pytest.raises(DataError, match="Every mask of cohort 'toy' in split 'train' is empty"):
        data_of(nothing, tmp_path)
    mixed = with_mask(
        with_mask(replace(simple, mask_labels={}), 0, save(tmp_path, "a", drawing(0, (1,)))),
        1,
        save(tmp_path, "b", drawing(0, (255,))),
    )
    with pytest.raises(DataError, match=r"some 255.*mask_labels: \{1: name\} and 255 is read as 1"):
        data_of(mixed, tmp_path)
    with pytest.raises(UsageError, match="calls two numbers 'core'"):
        data_of(replace(simple, mask_labels={1: "core", 2: "core"}), tmp_path)
    with pytest.raises(UsageError, match="more than 255"):
        data_of(replace(simple, mask_labels={n: str(n) for n in range(1, 300)}), tmp_path)


def test_masks_stored_with_other_axes_are_turned(simple, tmp_path):
    mask = drawing(0)
    affine = AFFINE[:, [2, 1, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * 6
    affine[:3, 0] *= -1
    turned = save(tmp_path, "x", np.flip(mask.transpose(2, 1, 0), 0), affine)
    data = data_of(with_mask(simple, 0, turned), tmp_path)
    np.testing.assert_array_equal(data.truth(0).array, mask)
    np.testing.assert_array_equal(data.mask_planes(0), data_of(simple, tmp_path).mask_planes(0))


def test_dice_of_hand_drawn_maps():
    truth, predicted = np.array([[0, 1, 1, 4]]), np.array([[1, 1, 0, 0]])
    np.testing.assert_allclose(case_dice(truth, predicted, [1, 4, 6]), [0.5, 0, np.nan])
    with pytest.raises(DataError, match="shape"):
        case_dice(truth, predicted[:, :2], [1])


def test_mean_dice_is_a_mean_of_means(simple, tmp_path):
    data = data_of(simple, tmp_path)

    def segment(row):
        truth = data.truth(row)
        return truth if row else Volume(np.where(truth.array == 2, 0, truth.array).astype(np.uint8), truth.affine)

    assert mean_dice(data, [0, 1], segment) == pytest.approx((1 + 0.5) / 2)
    assert np.isnan(mean_dice(data, [], segment))
