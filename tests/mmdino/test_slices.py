"""Slices of cases: all sequences in one place whatever grid they have, absent ones black, and no mask in prediction."""

import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache, aligned
from radapt.images import slice_cache as images_slices
from radapt.images.foreground import LEAST, around
from radapt.locations import Location
from radapt.mmdino.slices import SliceLoader

SIZE = 32
NAMES = ("t1", "t2", "flair")
SEEDS = np.random.default_rng(0).integers(0, 2**63, 400).astype(np.uint64)
LEVEL = {"t1": 100, "t2": 150, "flair": 200}


def saved(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Location:
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return Location(path)


def head(shape: tuple[int, int, int], level: int, number: int) -> np.ndarray:
    """A bright cuboid that fills the middle half along each axis, with a level of its own in one corner."""
    volume = np.zeros(shape, np.uint8)
    low, high = ([side // 4 for side in shape], [3 * side // 4 for side in shape])
    volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = level + number
    return volume


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Case 0 has everything and a mask, 1 lacks t1 and has no mask, 2 has flair only, 3 has t2 on a coarser grid.

    Grey values tell sequence and case.
    """
    folder = tmp_path_factory.mktemp("images")
    cases = []
    for number, names in enumerate((NAMES, ("t2", "flair"), ("flair",), ("t1", "t2"))):
        images = {}
        for name in names:
            coarse = number == 3 and name == "t2"
            volume = head((16, 16, 8) if coarse else (32, 32, 16), LEVEL[name], number)
            images[name] = saved(folder / f"{number}-{name}.nii.gz", volume, (2.0, 2.0, 2.0) if coarse else (1, 1, 1))
        mask = np.zeros((32, 32, 16), np.uint8)
        mask[10:14, 18:22, 6:8], mask[10:12, 18:22, 8] = 1, 2
        place = saved(folder / f"{number}-mask.nii.gz", mask) if number in (0, 3) else None
        cases.append(Case(f"c{number}", f"p{number}", "train", images, mask=place))
    return Cohort("toy", "other", tuple(cases), NAMES, mask_labels={1: "core", 2: "rim"})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> SliceCache:
    return SliceCache(tmp_path_factory.mktemp("cache"))


def feed_of(cohort: Cohort, cache: SliceCache, axis: str = "axial", **options: object) -> SliceLoader:
    names = options.pop("modalities", NAMES)
    return SliceLoader(cohort, cache, Recipe.for_kind("other", size=SIZE, axis=axis), names, **options)  # type: ignore[arg-type]


def test_a_slice_has_every_sequence_that_is_there(cohort: Cohort, cache: SliceCache) -> None:
    rows = np.asarray([0, 1, 2, 0])
    sample = feed_of(cohort, cache).sample(rows, SEEDS[:4])
    assert sample.planes.shape == (4, 3, 1, SIZE, SIZE)
    assert sample.present.tolist() == [[True, True, True], [False, True, True], [False, False, True], [True] * 3]
    for at, row in enumerate(rows):
        for column, name in enumerate(NAMES):
            expected = LEVEL[name] + row if sample.present[at, column] else 0
            assert sample.planes[at, column].max() == expected


def test_modalities_come_in_the_order_of_the_model(cohort: Cohort, cache: SliceCache) -> None:
    rows = np.asarray([0, 1])
    plain = feed_of(cohort, cache).sample(rows, SEEDS[:2])
    other = feed_of(cohort, cache, modalities=("flair", "never", "t1", "t2")).sample(rows, SEEDS[:2])
    assert other.present.tolist() == [[True, False, True, True], [True, False, False, True]]
    np.testing.assert_array_equal(other.planes[:, [2, 3, 0]], plain.planes)


def test_a_sequence_on_another_grid_is_brought_onto_that_of_the_first(cohort: Cohort, cache: SliceCache) -> None:
    bag = feed_of(cohort, cache).bag(3)
    planes = bag.planes[len(bag.planes) // 2, :, 0].float()
    assert planes[0].max() == LEVEL["t1"] + 3
    assert planes[1].max() == LEVEL["t2"] + 3
    both = ((planes[0] > 50) & (planes[1] > 50)).sum() / ((planes[0] > 50) | (planes[1] > 50)).sum()
    assert both > 0.8
    alone = feed_of(cohort, cache).bag(3, modalities=["t2"])
    assert len(alone.planes) < len(bag.planes)  # on its own, coarser grid


def test_planes_drawn_show_the_patient_and_every_one_of_them_is_drawn(cohort: Cohort, cache: SliceCache) -> None:
    sample = feed_of(cohort, cache, focus="foreground").sample(np.zeros(400, int), SEEDS)
    assert sorted(set(sample.plane.tolist())) == list(range(4, 12))
    assert sample.lesion.isnan().all()
    assert (sample.boxes == sample.boxes[0]).all()
    assert sample.boxes[0].tolist() == [8, 8, 24, 24]


def test_the_tip_of_a_head_is_not_drawn(tmp_path: Path) -> None:
    """Areas of 256, 26, 25 and 0 pixels: a tenth of the largest is enough."""
    volume = np.zeros((32, 32, 4), np.uint8)
    volume[8:24, 8:24, 0] = volume[8:21, 8:10, 1] = volume[8:13, 8:13, 2] = 200
    case = Case("c", "p", "train", {"t1": saved(tmp_path / "tip.nii.gz", volume)})
    feed = feed_of(Cohort("tip", "other", (case,), ("t1",)), SliceCache(tmp_path / "cache"))
    assert feed.bag(0).plane.tolist() == [0, 1]
    assert set(feed.sample(np.zeros(50, int), SEEDS[:50]).plane.tolist()) == {0, 1}


def test_every_axis_is_drawn_as_often(cohort: Cohort, cache: SliceCache) -> None:
    """16 axial planes, 32 coronal and 32 sagittal ones; half of each show the head."""
    sample = feed_of(cohort, cache, "triplanar", focus="foreground").sample(np.ones(400, int), SEEDS)
    axis = np.digitize(sample.plane.numpy(), [16, 48])
    np.testing.assert_allclose(np.bincount(axis) / 400, 1 / 3, atol=0.08)
    assert sample.planes.amax((1, 2, 3, 4)).min() > 0


def test_mask_draws_planes_that_are_marked_and_boxes_around_the_mark(cohort: Cohort, cache: SliceCache) -> None:
    sample = feed_of(cohort, cache, focus="mask").sample(np.repeat([0, 1], 200), SEEDS)
    marked = sample.plane[:200]
    assert sorted(set(marked.tolist())) == [6, 7, 8]
    low, high = sample.boxes[:200, :2], sample.boxes[:200, 2:]
    # Rows run to the back and columns to the left, against both axes of these volumes.
    assert (low <= torch.tensor([10, 18])).all()
    assert (high >= torch.tensor([14, 22])).all()
    assert ((high - low) < 12).all()
    share = {6: 16 / SIZE**2, 7: 16 / SIZE**2, 8: 8 / SIZE**2}
    np.testing.assert_allclose(sample.lesion[:200], [share[plane] for plane in marked.tolist()])
    assert sample.lesion[200:].isnan().all()  # without a mask: as foreground
    assert (sample.boxes[200:] == sample.boxes[200]).all()
    assert len(set(sample.plane[200:].tolist())) == 8


def test_auto_prefers_marked_planes_with_the_chance_given(cohort: Cohort, cache: SliceCache) -> None:
    rows = np.zeros(400, int)
    never = feed_of(cohort, cache, marked=0.0).sample(rows, SEEDS)
    np.testing.assert_array_equal(never.planes, feed_of(cohort, cache, focus="foreground").sample(rows, SEEDS).planes)
    half = feed_of(cohort, cache, marked=0.5).sample(rows, SEEDS)
    assert (half.lesion > 0).float().mean() == pytest.approx(0.5 + 0.5 * 3 / 8, abs=0.07)
    always = feed_of(cohort, cache, marked=1.0).sample(rows, SEEDS)
    assert (always.lesion > 0).all()
    whole = (always.boxes == never.boxes).all(1).float().mean()
    assert 0.2 < whole < 0.6  # the others look closer


def test_a_slice_depends_on_its_seed_alone(cohort: Cohort, cache: SliceCache) -> None:
    rows = np.arange(40) % 4
    feed = feed_of(cohort, cache, "triplanar")
    every = feed.sample(rows, SEEDS[:40])
    order = np.random.default_rng(1).permutation(40)
    again = pickle.loads(pickle.dumps(feed)).sample(rows[order], SEEDS[:40][order])
    for name in ("planes", "present", "boxes", "plane"):
        np.testing.assert_array_equal(getattr(again, name), getattr(every, name)[order])


def test_prediction_never_looks_at_a_mask(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "mask.nii.gz"
    broken.write_bytes(b"no image at all")
    torn = replace(cohort, cases=tuple(replace(case, mask=Location(broken)) for case in cohort))
    read = []
    decode = images_slices.read
    monkeypatch.setattr(images_slices, "read", lambda place, *a, **k: (read.append(place), decode(place, *a, **k))[1])
    feed = feed_of(torn, SliceCache(tmp_path / "cache"), focus="mask")
    bags = [feed.bag(row, 4) for row in range(len(torn))]
    assert not [place for place in read if place.path == broken]
    assert all(bag.lesion.isnan().all() for bag in bags)
    unmasked = feed_of(replace(cohort, cases=cohort.unlabelled), SliceCache(tmp_path / "other"))
    for row, bag in enumerate(bags):
        np.testing.assert_array_equal(bag.planes, unmasked.bag(row, 4).planes)
        np.testing.assert_array_equal(bag.boxes, unmasked.bag(row, 4).boxes)
    with pytest.raises(DataError, match=r"Case c1: .*mask\.nii\.gz"):
        feed.sample(np.asarray([1]), SEEDS[:1])


def test_a_bag_is_spread_over_what_shows_the_patient(cohort: Cohort, cache: SliceCache) -> None:
    feed = feed_of(cohort, cache)
    assert feed.bag(0).plane.tolist() == list(range(4, 12))
    assert feed.bag(0, 4).plane.tolist() == [5, 7, 9, 11]
    assert feed.bag(0, 1).plane.tolist() == [8]
    assert feed.bag(0, 100).plane.tolist() == list(range(4, 12))
    three = feed_of(cohort, cache, "triplanar")
    assert np.bincount(np.digitize(three.bag(0, 8).plane, [16, 48])).tolist() == [3, 3, 2]
    assert len(three.bag(0, 1).plane) == 3
    with pytest.raises(UsageError, match="at least 1"):
        feed.bag(0, 0)


def test_a_bag_of_some_sequences_is_as_if_there_were_no_others(cohort: Cohort, cache: SliceCache) -> None:
    feed = feed_of(cohort, cache)
    images = {"t2": cohort.cases[3].images["t2"]}
    alone = feed_of(replace(cohort, cases=(replace(cohort.cases[3], images=images),)), cache).bag(0)
    some = feed.bag(3, modalities={"t2", "flair"})
    for name in ("planes", "present", "boxes", "plane"):
        np.testing.assert_array_equal(getattr(some, name), getattr(alone, name))
    with pytest.raises(DataError, match="Case c2 has flair, but none of t1"):
        feed.bag(2, modalities=["t1"])
    with pytest.raises(UsageError, match="flair"):
        feed.bag(0, modalities=["flare"])


def test_nothing_is_decoded_or_measured_twice(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    first = feed_of(cohort, SliceCache(folder), "triplanar")
    first.prepare()
    expected = first.sample(np.arange(4), SEEDS[:4])
    first.marked_planes(np.arange(4), expected.plane.numpy())

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(images_slices, "read", refuse)
    monkeypatch.setattr(aligned, "resampled", refuse)
    again = feed_of(cohort, SliceCache(folder), "triplanar")
    np.testing.assert_array_equal(again.sample(np.arange(4), SEEDS[:4]).planes, expected.planes)
    again.marked_planes(np.arange(4), expected.plane.numpy())


def test_a_cleared_cache_is_made_again(cohort: Cohort, tmp_path: Path) -> None:
    import shutil

    feed = feed_of(cohort, SliceCache(tmp_path / "cache"), channels=1)
    expected = feed.sample(np.arange(4), SEEDS[:4])
    for room in ("slices", "matched", "extents", "grids", "masks"):
        shutil.rmtree(tmp_path / "cache" / room, ignore_errors=True)
    fresh = pickle.loads(pickle.dumps(feed))
    np.testing.assert_array_equal(fresh.sample(np.arange(4), SEEDS[:4]).planes, expected.planes)


def test_marks_tell_labels_apart_on_the_grid_of_the_reference(cohort: Cohort, cache: SliceCache) -> None:
    feed = feed_of(cohort, cache)
    assert feed.marks == (1, 2)
    marks, known = feed.marked_planes(np.asarray([0, 0, 1, 3]), np.asarray([7, 8, 7, 8]))
    assert known.tolist() == [True, True, False, True]
    assert [np.unique(plane, return_counts=True)[1].tolist()[1:] for plane in marks] == [[16], [8], [], [8]]
    assert [int(plane.max()) for plane in marks] == [1, 2, 0, 2]


def test_rates_are_the_shares_of_what_crops_are_taken_from(cohort: Cohort, cache: SliceCache) -> None:
    """Of 8 planes with a foreground of 16 × 16 pixels, two have 16 of the first mark and one 8 of the second."""
    feed = feed_of(cohort, cache, focus="foreground")
    rates = feed.mark_rates(np.zeros(500, int), seed=0)
    np.testing.assert_allclose(rates, [2 / 8 * 16 / 256, 1 / 8 * 8 / 256], rtol=0.25)
    np.testing.assert_array_equal(rates, feed.mark_rates(np.zeros(500, int), seed=0))
    np.testing.assert_array_equal(feed.mark_rates(np.asarray([1, 2]), seed=0), 0)  # without a mask
    closer = feed_of(cohort, cache, focus="mask").mark_rates(np.zeros(100, int), seed=0)
    assert (closer > 2 * rates).all()


def test_marks_without_declared_labels_are_one_mark(cohort: Cohort, cache: SliceCache) -> None:
    feed = feed_of(replace(cohort, mask_labels={}), cache)
    assert feed.marks == (1,)
    marks, _ = feed.marked_planes(np.asarray([0, 0, 0]), np.asarray([7, 8, 1]))
    assert [int(plane.sum()) for plane in marks] == [16, 8, 0]
    assert feed_of(replace(cohort, cases=cohort.unlabelled), cache).marks == ()


def test_a_number_that_has_no_name_is_found_before_it_is_drawn(cohort: Cohort, cache: SliceCache) -> None:
    feed = feed_of(replace(cohort, mask_labels={1: "core"}), cache)
    feed.prepare()
    with pytest.raises(DataError, match=r"case c0: .*the mask holds 2, mask_labels has 1"):
        feed.prepare(marks=True)


def test_a_mask_on_another_grid_than_the_reference_is_brought_onto_it(cohort: Cohort, cache: SliceCache) -> None:
    """Case 3 seen from its coarser t2: a quarter of the pixels, each with four times the area."""
    one = cohort.select(np.asarray([3]))
    fine = feed_of(one, cache, focus="mask").sample(np.zeros(50, int), SEEDS[:50])
    coarse = feed_of(one, cache, focus="mask", modalities=("t2",)).sample(np.zeros(50, int), SEEDS[:50])
    assert float(coarse.lesion.max()) == pytest.approx(float(fine.lesion.max()), rel=0.5)
    np.testing.assert_allclose(coarse.boxes.mean(0), fine.boxes.mean(0), atol=2)


def test_a_mask_elsewhere_in_the_patient_is_named(cohort: Cohort, tmp_path: Path) -> None:
    nib.save(
        nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.diag([1, 1, 1, 1]) + 500 * np.eye(4, k=3)), tmp_path / "m.nii"
    )
    case = replace(cohort.cases[0], mask=Location(tmp_path / "m.nii"))
    with pytest.raises(DataError, match=r"Case c0: Mask .*m\.nii"):
        feed_of(replace(cohort, cases=(case,)), SliceCache(tmp_path / "cache")).sample(np.asarray([0]), SEEDS[:1])


def test_a_case_without_foreground_shows_whole_planes(cohort: Cohort, tmp_path: Path) -> None:
    place = saved(tmp_path / "black.nii.gz", np.zeros((32, 32, 4), np.uint8))
    black = replace(cohort, cases=(replace(cohort.cases[0], images={"t1": place}, mask=None),))
    bag = feed_of(black, SliceCache(tmp_path / "cache")).bag(0)
    assert bag.plane.tolist() == [0, 1, 2, 3]
    assert bag.boxes.tolist() == [[0, 0, SIZE, SIZE]] * 4


def test_films_are_one_plane_and_the_whole_of_it(tmp_path: Path) -> None:
    film = np.random.default_rng(0).integers(500, 4000, (40, 40)).astype(np.uint16)
    np.save(tmp_path / "film.npy", film)
    cases = (Case("c", "p", "train", {"xray": Location(tmp_path / "film.npy")}),)
    cohort = Cohort("films", "xray", cases, ("xray",))
    feed = SliceLoader(cohort, SliceCache(tmp_path / "cache"), Recipe.for_kind("xray", size=SIZE), ("xray",))
    sample = feed.sample(np.zeros(5, int), SEEDS[:5])
    assert sample.plane.tolist() == [0] * 5
    assert sample.boxes.tolist() == [[0, 0, SIZE, SIZE]] * 5
    assert len(feed.bag(0, 16).planes) == 1


def test_three_windows_are_three_channels(tmp_path: Path) -> None:
    volume = np.full((32, 32, 4), -1000, np.int16)
    volume[8:24, 8:24] = 40
    cases = (Case("c", "p", "train", {"ct": saved(tmp_path / "ct.nii.gz", volume)}),)
    recipe = Recipe.for_kind("ct", size=SIZE)
    feed = SliceLoader(Cohort("ct", "ct", cases, ("ct",)), SliceCache(tmp_path / "cache"), recipe, ("ct",))
    assert feed.channels == 3
    assert feed.bag(0).planes.shape == (4, 1, 3, SIZE, SIZE)
    assert feed.bag(0).boxes.tolist() == [[8, 8, 24, 24]] * 4


def test_grey_beside_colour_is_repeated_and_colour_made_grey_on_request(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colour, grey = rng.integers(0, 255, (1, SIZE, SIZE, 3)), rng.integers(0, 255, (1, SIZE, SIZE))
    np.save(tmp_path / "colour.npy", colour.astype(np.uint8))
    np.save(tmp_path / "grey.npy", grey.astype(np.uint8))
    images = {"photo": Location(tmp_path / "colour.npy"), "scan": Location(tmp_path / "grey.npy")}
    cohort = Cohort("both", "other", (Case("c", "p", "train", images),), ("photo", "scan"))
    cache, recipe = SliceCache(tmp_path / "cache"), Recipe.for_kind("other", size=SIZE)
    both = SliceLoader(cohort, cache, recipe, ("photo", "scan")).bag(0).planes[0].numpy()
    np.testing.assert_array_equal(both[0], np.moveaxis(colour[0], -1, 0))
    np.testing.assert_array_equal(both[1], np.repeat(grey, 3, axis=0))
    one = SliceLoader(cohort, cache, recipe, ("photo", "scan"), channels=1).bag(0).planes[0].numpy()
    np.testing.assert_array_equal(one[0, 0], np.rint(colour[0].mean(-1)))


def test_cases_without_a_known_sequence_are_named(cohort: Cohort, cache: SliceCache) -> None:
    with pytest.raises(DataError, match=r"t1.*case c1 has t2, flair; case c2 has flair"):
        feed_of(cohort, cache, modalities=("t1",))


def test_pictures_of_different_sizes_are_named_by_case(tmp_path: Path) -> None:
    for name, side in {"a": 20, "b": 24}.items():
        np.save(tmp_path / f"{name}.npy", np.full((side, side), 9, np.uint8))
    images = {name: Location(tmp_path / f"{name}.npy") for name in "ab"}
    cohort = Cohort("odd", "other", (Case("c7", "p", "train", images),), ("a", "b"))
    feed = SliceLoader(cohort, SliceCache(tmp_path / "cache"), Recipe.for_kind("other", size=SIZE), ("a", "b"))
    with pytest.raises(DataError, match=r"Case c7, b: .*without geometry"):
        feed.bag(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modalities": ()}, "at least one"), ({"modalities": ("t1", "t1")}, "each once"), ({"focus": "masks"}, "mask"),
        ({"marked": 1.5}, "0 to 1"), ({"channels": 2}, "1 or 3"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(cohort: Cohort, cache: SliceCache, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        feed_of(cohort, cache, **options)


def test_the_box_around_a_speck_keeps_its_least_size_and_stays_in_the_plane() -> None:
    assert around(np.asarray([0, 50, 1, 51]), (64, 64)).tolist() == [0, 42.5, 16, 58.5]
    assert around(np.asarray([10, 10, 30, 50]), (64, 64)).tolist() == [5, 0, 35, 60]
    assert around(np.asarray([0, 0, 64, 64]), (64, 64)).tolist() == [0, 0, 64, 64]
    assert LEAST == 0.25
