"""What a U-Net sees of a volume: grids, greys, patches, held against SciPy and cases one can draw."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from radapt.images import Recipe, Volume
from radapt.networks import Budget, Channel, Fingerprint, UNetPlan, plan_unet
from radapt.networks.unet.architecture import Scaling
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.unet.fingerprint import CaseFacts, Cases, colours_of, fingerprint, measure
from radapt.segmentation.unet.grids import GridCrop, content_box, highest, resized, resized_labels
from radapt.segmentation.unet.patches import corner, cut, kept_modalities
from radapt.segmentation.unet.prepared import Prepared, PreparedCases, places_of
from radapt.segmentation.unet.task import middle, supervised
from radapt.segmentation.unet.volumes import gridded, split, stacked, standardised
from radapt.training.segmentation_loss import dice_ce
from toy_masks import ball, balls_cohort

GREY = Channel("t1", 10.0, 90.0, 50.0, 20.0, 0.0)


def plan_of(spacing: tuple[float, ...] = (1.0, 1.0, 1.0), dims: int = 3, **more: object) -> UNetPlan:
    shapes = ((32, 32, 32),)
    made = plan_unet(Fingerprint("mri", shapes, (spacing,), (GREY,)), dims, Budget(features=4))
    return replace(made, **more)  # type: ignore[arg-type]


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2.5).astype(np.float32)


def whole(before: tuple[int, ...], after: tuple[int, ...]) -> GridCrop:
    return GridCrop(before, (0, 0, 0), before, after)


def test_a_smooth_image_is_resized_as_scipy_does_it() -> None:
    image = smooth((20, 24, 18))
    found = resized(image[None], whole(image.shape, (30, 24, 27)), (1, 1, 1))[0]
    oracle = ndimage.zoom(image, (1.5, 1, 1.5), order=3, mode="nearest", grid_mode=True)
    assert found.shape == oracle.shape
    assert np.abs(found - oracle)[3:-3, :, 3:-3].max() < 0.02 * np.abs(image).max()


def test_an_axis_more_than_three_times_as_coarse_is_interpolated_linearly() -> None:
    image = np.array([0, 1, 0], np.float32).reshape(1, 1, 1, 3)
    linear = resized(image, whole((1, 1, 3), (1, 1, 6)), (1.0, 1.0, 3.1))
    np.testing.assert_allclose(linear.ravel(), [0, 0.25, 0.75, 0.75, 0.25, 0], atol=1e-6)
    cubic = resized(image, whole((1, 1, 3), (1, 1, 6)), (1.0, 1.0, 3.0)).ravel()
    assert cubic.min() < 0  # overshoots
    assert cubic[2] > 0.8


def test_shrinking_does_not_alias() -> None:
    """Stripes finer than the new voxels become their mean."""
    image = np.tile([0.0, 2.0], 30).astype(np.float32).reshape(1, 60, 1, 1)
    found = resized(image, whole((60, 1, 1), (10, 1, 1)), (1, 1, 1))
    assert np.abs(found[0, 1:-1] - 1).max() < 0.05


@pytest.mark.parametrize("after", [(17, 9, 11), (5, 20, 11), (34, 18, 22)])
def test_a_constant_image_stays_constant_and_a_ramp_keeps_its_place(after: tuple[int, ...]) -> None:
    before = (17, 9, 11)
    frame = whole(before, after)
    assert np.allclose(resized(np.full((1, *before), 3.0, np.float32), frame, (1, 1, 1)), 3.0, atol=1e-5)
    ramp = np.broadcast_to((np.arange(17) + 0.5).reshape(1, 17, 1, 1), (1, *before)).astype(np.float32)
    found = resized(ramp, frame, (1, 1, 1))[0, :, 0, 0]
    place = (np.arange(after[0]) + 0.5) * 17 / after[0]
    inner = (place > 3 * max(1, 17 / after[0])) & (place < 17 - 3 * max(1, 17 / after[0]))
    assert np.allclose(found[inner], place[inner], atol=1e-4)


def test_labels_go_to_a_finer_grid_and_back() -> None:
    labels = ball((24, 20, 22), (12, 10, 11), 7, (1, 1, 1)).astype(np.uint8)
    labels[ball(labels.shape, (12, 10, 11), 3, (1, 1, 1))] = 2
    finer = resized_labels(labels, (48, 40, 44), 3)
    assert set(np.unique(finer)) == {0, 1, 2}
    assert abs((finer == 2).sum() / 8 / (labels == 2).sum() - 1) < 0.15
    assert (resized_labels(finer, labels.shape, 3) == labels).mean() > 0.99


@pytest.mark.parametrize("slab", [1, 1 << 30])
def test_scores_in_slabs_are_scores_at_once(monkeypatch: pytest.MonkeyPatch, slab: int) -> None:
    monkeypatch.setattr("radapt.segmentation.unet.grids.SLAB_BYTES", slab)
    scores = torch.from_numpy(np.random.default_rng(0).random((3, 6, 5, 4), dtype=np.float32))
    found = highest(lambda low, high: scores[:, low:high], (6, 5, 4), (13, 5, 9), 3)
    oracle = torch.nn.functional.interpolate(scores[None], (13, 5, 9), mode="trilinear", align_corners=False)[0]
    assert (found == oracle.argmax(0).numpy()).mean() > 0.995


def test_the_box_of_a_masked_image() -> None:
    image = np.zeros((2, 9, 8, 7), np.float32)
    image[0, 2:5, 3, 1:6] = 1
    image[1, 4, 3:6, 2] = -1
    assert content_box(image).tolist() == [[2, 3, 1], [5, 6, 6]]
    assert content_box(np.zeros((1, 4, 4, 4))).tolist() == [[0, 0, 0], [4, 4, 4]]


@pytest.mark.parametrize(
    ("by", "expected"),
    [("foreground", [-2.0, -1.5, 2.0]), ("image", [-1.2247, 0.0, 1.2247])],
)
def test_greys_are_standardised(by: str, expected: list[float]) -> None:
    scaling = Scaling("t1", by, 10.0, 90.0, 50.0, 20.0)  # type: ignore[arg-type]
    values = np.array([0.0, 20.0, 100.0] if by == "foreground" else [1.0, 2.0, 3.0], np.float32).reshape(1, 3, 1, 1)
    found = standardised(values, np.array([True]), (scaling,)).ravel()
    assert np.allclose(found, expected, atol=1e-3)


def test_zeros_of_a_masked_image_stay_zeros() -> None:
    values = np.array([0.0, 0.0, 4.0, 6.0], np.float32).reshape(1, 4, 1, 1)
    found = standardised(values, np.array([True]), (Scaling("t1", "nonzero", 0, 0, 0, 0),)).ravel()
    assert found.tolist() == [0.0, 0.0, -1.0, 1.0]


@pytest.mark.parametrize("by", ["foreground", "image", "nonzero"])
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant_and_missing_channels_are_zeros(by: str, value: float) -> None:
    images = np.full((2, 4, 4, 4), value, np.float32)
    scaling = Scaling("t1", by, value, value, value, 0.0)  # type: ignore[arg-type]
    found = standardised(images, np.array([True, False]), (scaling, scaling))
    assert not found.any()
    assert np.isfinite(found).all()


def test_scaling_of_the_values_changes_nothing_for_relative_greys() -> None:
    image = smooth((8, 8, 8))[None]
    scaling = (Scaling("t1", "image", 0, 0, 0, 0),)
    there = np.array([True])
    assert np.allclose(standardised(image, there, scaling), standardised(5 * image + 3, there, scaling), atol=1e-4)


def test_colour_and_grey_share_channels() -> None:
    rng = np.random.default_rng(0)
    colour = Volume(rng.integers(0, 255, (5, 4, 1, 3)).astype(np.uint8), np.eye(4))
    grey = Volume(rng.integers(0, 255, (5, 4, 1)).astype(np.uint8), np.eye(4))
    found = stacked([colour, None, grey], (3, 1, 3), (5, 4, 1))
    assert found.shape == (7, 5, 4, 1)
    assert (found[:3] == np.moveaxis(colour.array, 3, 0)).all()
    assert not found[3].any()
    assert (found[4:] == grey.array).all()
    assert np.allclose(stacked([colour], (1,), (5, 4, 1))[0], colour.array.mean(axis=3))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_stand_on_the_axis_of_the_plan(axis: int) -> None:
    image = smooth((6, 7, 8))[None]
    spacing = tuple(5.0 if a == axis else 1.0 for a in range(3))
    plan = plan_unet(Fingerprint("mri", ((6, 7, 8),), (spacing,), (GREY,)), 2, Budget(features=4))
    found, frame = gridded(image, np.array([True]), spacing, plan)
    assert found.shape[0] == image.shape[axis + 1]
    assert frame.size == (6, 7, 8)
    assert np.allclose(found[:, 0], split(standardised(image, np.array([True]), plan.scalings), plan)[:, 0], atol=1e-5)


def a_case(shape: tuple[int, ...] = (30, 20, 16), n: int = 1) -> Prepared:
    labels = np.zeros((n, *shape), np.uint8)
    labels[:, 2:6, 3:8, 4:9] = 1
    labels[:, 25, 15, 12] = 2
    images = np.random.default_rng(0).normal(size=(n, 1, *shape)).astype(np.float16)
    return Prepared(images, labels, np.array([True]), places_of(labels, 3), whole(shape, shape))


def test_every_label_gets_its_turn_however_small_it_is() -> None:
    case = a_case()
    seen = np.zeros(3)
    for seed in range(300):
        patch = cut(case.labels[0], corner(case, np.uint64(seed), (8, 8, 8), 1.0)[1:], (8, 8, 8))
        seen += np.bincount(np.unique(patch), minlength=3)
    assert seen[1] > 100
    assert seen[2] > 100  # one voxel of 9,600: anywhere, it would be seen about once in ten times


@pytest.mark.parametrize(
    ("voxel", "first"), [((10, 7, 9), (0, 6, 5, 6)), ((29, 0, 9), (0, 22, 0, 6))], ids=["middle", "border"]
)
def test_a_patch_inside_a_label_is_centred_on_its_voxel(voxel: tuple[int, ...], first: tuple[int, ...]) -> None:
    labels = np.zeros((1, 30, 20, 16), np.uint8)
    labels[(0, *voxel)] = 1
    case = replace(a_case(), labels=labels, places=places_of(labels, 2))
    assert all(corner(case, np.uint64(seed), (8, 4, 6), 1.0) == first for seed in range(20))


def test_patches_lie_anywhere_inside_and_reach_every_border() -> None:
    case = a_case()
    firsts = np.array([corner(case, np.uint64(seed), (8, 8, 8), 0.0)[1:] for seed in range(400)])
    assert firsts.min(axis=0).tolist() == [0, 0, 0]
    assert firsts.max(axis=0).tolist() == [22, 12, 8]


@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_a_case_smaller_than_the_patch_is_in_its_middle(inside: float) -> None:
    case = a_case()
    first = corner(case, np.uint64(3), (40, 20, 20), inside)
    assert first == (0, -5, 0, -2)
    found = cut(np.asarray(case.labels[0]), first[1:], (40, 20, 20))
    assert (found[5:35, :, 2:18] == case.labels[0]).all()
    assert found.sum() == case.labels.astype(int).sum()


def test_a_case_without_a_label_gives_patches_anywhere() -> None:
    empty = replace(a_case(), places=np.zeros((0, 2), np.int64))
    assert len({corner(empty, np.uint64(seed), (8, 8, 8), 1.0) for seed in range(20)}) > 10


@pytest.mark.parametrize("first", [(-30, 0, 0), (31, 0, 0), (0, -9, 25)])
def test_a_patch_outside_the_image_is_zero(first: tuple[int, ...]) -> None:
    assert not cut(np.ones((30, 20, 16)), first, (8, 8, 8)).any()


def test_the_voxels_kept_of_a_label_are_spread_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.segmentation.unet.prepared.PLACES", 10)
    labels = np.repeat(np.array([0, 2, 1, 2], np.uint8), 100)[None]
    places = places_of(labels, 4)
    assert places[:, 0].tolist() == [1] * 10 + [2] * 10
    assert (labels.ravel()[places[:, 1]] == places[:, 0]).all()
    assert places[10:, 1].min() == 100
    assert places[10:, 1].max() >= 380


def test_modalities_are_lost_but_never_all() -> None:
    present = np.tile([[True, True, False]], (500, 1))
    kept = kept_modalities(present, np.arange(500, dtype=np.uint64), 0.5)
    assert kept.any(axis=1).all()
    assert not kept[:, 2].any()
    assert 0.5 < kept[:, :2].mean() < 0.85
    assert (kept_modalities(present, np.arange(500, dtype=np.uint64), 0.0) == present).all()


def test_the_loss_weighs_resolutions_by_halves() -> None:
    labels = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    fine, coarse = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    expected = (2 * dice_ce(fine, labels) + dice_ce(coarse, labels[:, 1::2, 1::2])) / 3
    assert torch.allclose(supervised([fine, coarse], labels), expected)


def test_the_middle_of_an_enlarged_patch() -> None:
    assert middle(torch.arange(10)[None], (4,)).tolist() == [[3, 4, 5, 6]]


def test_the_fingerprint_of_drawn_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, spacings = ((20, 18, 16), (24, 18, 14)), ((1.0, 1.0, 1.0), (1.0, 1.0, 2.0))
    cohort = balls_cohort(tmp_path / "data", shapes, spacings, modalities=("t1", "t2"), missing={1: "t2"}, noise=0.0)
    problem = ImageProblem.of(cohort, "segmentation", Recipe.for_kind("mri", size=32), tmp_path / "cache")
    cases = Cases(problem, SegmentationData(problem))
    facts = measure(cases, [0, 1])
    found = fingerprint("mri", ("t1", "t2"), facts)
    assert colours_of(facts) == (1, 1)
    assert (found.shapes, found.spacings_mm) == (shapes, spacings)
    assert [channel.name for channel in found.channels] == ["t1", "t2"]
    assert (found.channels[0].low, found.channels[0].high) == (200.0, 300.0)
    assert found.channels[1].mean == pytest.approx(found.channels[0].mean + 10, rel=0.05)  # of the case that has it
    monkeypatch.setattr(Cases, "_measure", None)  # they are in the cache now
    again = Cases(problem, cases.data)
    assert (again.facts(0).values[0] == facts[0].values[0]).all()
    assert fingerprint("mri", ("t1", "t2"), [again.facts(0), again.facts(1)]) == found


def case_of(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], *values: np.ndarray, zeros: float = 0.0
) -> CaseFacts:
    box = np.array([[1, 1, 0], shape])
    colours = np.array([len(each) if each.size else 0 for each in values])
    return CaseFacts(
        np.array(shape), np.array(spacing_mm), box, np.ones(2), colours, np.full(len(values), zeros), values
    )


def test_a_fingerprint_by_hand() -> None:
    """The percentiles 0.5 and 99.5 of 0…100 and 100…200 together lie 1.005 places from the ends."""
    grey, none = np.arange(101.0)[None], np.zeros((1, 0))
    cases = [
        case_of((8, 9, 1), (1, 1, 1), grey, none, zeros=0.1),
        case_of((6, 6, 1), (1, 1, 1), grey + 100, none, zeros=0.3),
    ]
    found = fingerprint("other", ("a", "b"), cases)
    assert (found.shapes, found.measured) == (((8, 9, 1), (6, 6, 1)), False)
    (channel,) = found.channels
    assert (channel.name, channel.mean) == ("a", 100)
    assert (channel.low, channel.high) == pytest.approx((1.005, 198.995))
    assert channel.sd == pytest.approx(np.concatenate([grey, grey + 100], axis=1).std())
    assert channel.zeros == pytest.approx(0.2)
    assert fingerprint("other", ("a", "b"), [replace(cases[0], spacing_mm=np.array([1, 2, 1]))]).measured
    assert fingerprint("other", ("a", "b"), [replace(cases[0], shape=np.array([8, 9, 2]))]).measured
    colour = case_of((4, 4, 1), (1, 1, 1), np.stack([grey[0], grey[0] + 1, grey[0] + 2]), none)
    both = fingerprint("other", ("a", "b"), [cases[0], colour])
    assert [(one.name, one.mean) for one in both.channels] == [("a:red", 50), ("a:green", 50.5), ("a:blue", 51)]
    unmarked = replace(cases[0], values=(np.zeros((1, 0)), none))  # its mask is empty
    assert fingerprint("other", ("a", "b"), [unmarked]).channels == (Channel("a", 0, 0, 0, 0, 0.1),)
    masked = fingerprint("mri", ("a", "b"), [replace(case, zeros=np.full(2, 0.9)) for case in cases])
    assert masked.shapes == ((7, 8, 1), (5, 5, 1))  # the boxes of what is not 0


@pytest.mark.parametrize("part", ["images.npy", "labels.npy", "frame.npy"])
def test_a_damaged_entry_of_the_cache_is_made_again(tmp_path: Path, part: str) -> None:
    cohort = balls_cohort(tmp_path / "data")
    problem = ImageProblem.of(cohort, "segmentation", Recipe.for_kind("mri", size=32), tmp_path / "cache")
    cases = Cases(problem, SegmentationData(problem))
    facts = measure(cases, [0])
    plan = plan_unet(fingerprint("mri", ("t1",), facts), 3, Budget(features=4))
    prepared = PreparedCases(cases, plan, (0,), (1,))
    (name,) = prepared.ready([0])
    before = np.array(prepared.open(0).images)
    file = next((tmp_path / "cache").rglob(f"{name}/{part}"))
    file.write_bytes(file.read_bytes()[:40])
    fresh = PreparedCases(cases, plan, (0,), (1,))
    assert fresh.ready([0]) == [name]
    assert (np.array(fresh.open(0).images) == before).all()
    other = PreparedCases(cases, replace(plan, spacing_mm=(2.0, 1.0, 1.0)), (0,), (1,))
    assert other.ready([0]) != [name]
    assert other.open(0).labels.shape == (1, 10, 18, 16)


def test_an_entry_of_the_cache_belongs_to_one_case_and_its_mask(tmp_path: Path) -> None:
    cohort = balls_cohort(tmp_path / "data")
    problem = ImageProblem.of(cohort, "segmentation", Recipe.for_kind("mri", size=32), tmp_path / "cache")
    cases = Cases(problem, SegmentationData(problem))
    plan = plan_unet(fingerprint("mri", ("t1",), measure(cases, [0, 1])), 3, Budget(features=4))
    first, second = PreparedCases(cases, plan, (0,), (1,)).ready([0, 1])
    assert first != second
    shutil.copy(tmp_path / "data" / "c2_mask.nii.gz", tmp_path / "data" / "c0_mask.nii.gz")
    changed = Cases(problem, SegmentationData(problem))
    assert PreparedCases(changed, plan, (0,), (1,)).ready([0, 1]) != [first, second]
    assert PreparedCases(changed, plan, (0,), (1,)).ready([1]) == [second]
