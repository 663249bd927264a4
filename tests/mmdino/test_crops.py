"""Crops: where they lie, that all modalities show the same place, and that a seed gives the same crop anywhere."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from radapt.errors import UsageError
from radapt.mmdino.crops import ASPECT, MultiCrop, squares, whole

RNG = np.random.default_rng(0)
SEEDS = RNG.integers(0, 2**63, 300).astype(np.uint64)
SIDE = 64
BOXES = np.tile([8.0, 12.0, 56.0, 50.0], (300, 1))
QUIET = {"global_size": 28, "local_size": 14, "strength": "none"}


def ramps(count: int) -> torch.Tensor:
    """(B, 2, 1, H, W): a modality that tells the row, one that tells the column, in shares of the plane."""
    at = (torch.arange(SIDE) + 0.5) / SIDE
    return torch.stack([at[:, None].expand(SIDE, SIDE), at.expand(SIDE, SIDE)])[None, :, None].repeat(count, 1, 1, 1, 1)


def shown(crops: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Rows and columns of the plane, in pixels, at the four corners (top left, top right, bottom left, right)."""
    corners = crops[:, :, 0][:, :, [0, 0, -1, -1], [0, -1, 0, -1]] * SIDE
    return corners[:, 0].numpy(), corners[:, 1].numpy()


def test_shapes_and_order_are_crop_major() -> None:
    crops = MultiCrop(**QUIET, globals=2, locals=3)
    large, small = crops.apply(ramps(5), crops.draw(SEEDS[:5], BOXES[:5]))
    assert large.shape == (10, 2, 1, 28, 28)
    assert small.shape == (15, 2, 1, 14, 14)
    alone = crops.apply(ramps(1), crops.draw(SEEDS[3:4], BOXES[3:4]))
    torch.testing.assert_close(large[[3, 8]], alone[0])
    torch.testing.assert_close(small[[3, 8, 13]], alone[1])
    assert not torch.equal(alone[0][0], alone[0][1])


def test_without_local_crops_there_are_none() -> None:
    crops = MultiCrop(**QUIET, locals=0)
    assert crops.apply(ramps(2), crops.draw(SEEDS[:2], BOXES[:2]))[1].shape == (0, 2, 1, 14, 14)


def test_crops_lie_in_the_box_with_the_area_and_shape_they_should() -> None:
    crops = MultiCrop(**QUIET, globals=1, locals=1)
    box = BOXES[0]
    area = np.prod(box[2:] - box[:2])
    found = crops.apply(ramps(300), crops.draw(SEEDS, BOXES))
    for images, scale, size in zip(found, ((0.5, 1.0), (0.2, 0.5)), (28, 14), strict=True):
        rows, columns = shown(images)
        # Corners are middles of pixels: half a pixel of the crop lies beyond them.
        sides = np.stack([rows.max(1) - rows.min(1), columns.max(1) - columns.min(1)], 1) * size / (size - 1)
        share = sides.prod(1) / area
        assert share.min() >= scale[0] - 0.01
        assert share.max() <= scale[1] + 0.01
        assert share.mean() == pytest.approx(np.mean(scale), abs=0.03)
        aspect = sides[:, 1] / sides[:, 0]
        assert aspect.min() >= ASPECT[0] - 0.01
        assert aspect.max() <= ASPECT[1] + 0.01
        assert aspect.std() > 0.05
        half = sides / 2
        for found_at, low, high, reach in (
            (rows.mean(1), box[0], box[2], half[:, 0]),
            (columns.mean(1), box[1], box[3], half[:, 1]),
        ):
            assert (found_at - reach >= low - 0.1).all()
            assert (found_at + reach <= high + 0.1).all()


def test_a_box_too_narrow_is_not_stretched() -> None:
    crops = MultiCrop(**QUIET, globals=1)
    boxes = np.tile([4.0, 30.0, 60.0, 36.0], (50, 1))
    rows, columns = shown(crops.apply(ramps(50), crops.draw(SEEDS[:50], boxes))[0])
    aspect = (columns.max(1) - columns.min(1)) / (rows.max(1) - rows.min(1))
    np.testing.assert_allclose(aspect, ASPECT[0], rtol=0.02)
    np.testing.assert_allclose(columns.mean(1), 33, atol=0.1)
    assert rows.min() >= 4


def test_flips_and_turns_are_those_of_the_kind() -> None:
    def corners(kind: str) -> tuple[np.ndarray, np.ndarray]:
        crops = MultiCrop(kind, 28, locals=0, globals=1, strength="default")  # type: ignore[arg-type]
        # Recoloured, but still rising or falling along an axis.
        return shown(crops.apply(ramps(300), crops.draw(SEEDS, BOXES))[0])

    rows, columns = corners("mri")
    assert 0.3 < (rows[:, 0] > rows[:, 2]).mean() < 0.7
    assert 0.3 < (columns[:, 0] > columns[:, 1]).mean() < 0.7
    views = MultiCrop("xray", globals=1).draw(SEEDS, BOXES).large
    assert (np.linalg.det(views.matrix) > 0).all()
    angle = np.rad2deg(np.arctan2(views.matrix[:, 1, 0], views.matrix[:, 0, 0]))
    assert 8 < np.abs(angle).max() <= 15.0
    assert (angle == 0).mean() == pytest.approx(0.5, abs=0.1)


def test_turned_crops_are_turned_about_their_middle() -> None:
    crops = MultiCrop("mri", 28, locals=0, globals=1)
    views = crops.draw(SEEDS, BOXES).large
    turned = np.abs(views.matrix[:, 0, 1]) > 1e-9
    assert turned.mean() == pytest.approx(0.2, abs=0.07)
    np.testing.assert_allclose(np.abs(np.linalg.det(views.matrix)), 1)
    row = int(np.flatnonzero(turned)[0])
    draws = crops.draw(SEEDS[row : row + 1], np.asarray([[26.0, 26.0, 38.0, 38.0]]))
    found = MultiCrop("mri", 28, locals=0, globals=1, strength="none").apply(ramps(1), draws)[0]
    middle = found[0, :, 0].mean((1, 2)).numpy() * SIDE
    np.testing.assert_allclose(middle, draws.large.centre[0], atol=0.01)
    # Along the rows of the crop, the plane is walked through in the direction of the first column of the matrix.
    step = (found[0, :, 0, -1, 14] - found[0, :, 0, 0, 14]).numpy() * SIDE * 28 / 27
    np.testing.assert_allclose(step, draws.large.matrix[0, :, 0] * draws.large.side[0, 0], atol=0.01)


@pytest.mark.parametrize("strength", ["scanners", "default", "none"])
def test_absent_modalities_stay_black_and_values_in_range(strength: str) -> None:
    planes = torch.from_numpy(RNG.integers(0, 256, (6, 3, 1, SIDE, SIDE)).astype(np.uint8))
    planes[2, 1] = 0
    planes[4, :2] = 0
    crops = MultiCrop(global_size=28, local_size=14, strength=strength)  # type: ignore[arg-type]
    for images in crops.apply(planes, crops.draw(SEEDS[:6], BOXES[:6])):
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        by_sample = images.unflatten(0, (-1, 6))
        assert (by_sample[:, 2, 1] == 0).all()
        assert (by_sample[:, 4, :2] == 0).all()
        assert (by_sample[:, 2, [0, 2]].amax((0, 2, 3, 4)) > 0).all()


def test_grey_values_change_for_each_modality_on_its_own_but_not_the_place() -> None:
    texture = torch.rand(1, 1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    planes = F.avg_pool2d(texture[:, 0], 5, 1, 2)[:, None].repeat(20, 2, 1, 1, 1)
    crops = MultiCrop(global_size=28, locals=0)
    images = crops.apply(planes, crops.draw(SEEDS[:20], BOXES[:20]))[0]
    first, second = images[:, 0].flatten(1), images[:, 1].flatten(1)
    assert ((first - second).abs().amax(1) > 0.02).float().mean() > 0.9
    likeness = [abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(first.numpy(), second.numpy(), strict=True)]
    assert np.median(likeness) > 0.8
    repeated = crops.apply(planes, crops.draw(SEEDS[:20], BOXES[:20]))[0]
    assert torch.equal(images, repeated)
    assert not torch.equal(images, crops.apply(planes, crops.draw(SEEDS[20:40], BOXES[:20]))[0])


def test_shading_is_for_mri_only_and_slow() -> None:
    planes = torch.full((100, 1, 1, SIDE, SIDE), 0.5)
    planes[..., 0, 0] = 0.4  # constant channels are left alone

    def spread(kind: str) -> torch.Tensor:
        crops = MultiCrop(kind, 28, globals=1, locals=0)  # type: ignore[arg-type]
        images = crops.apply(planes, crops.draw(SEEDS[:100], BOXES[:100]))[0][:, 0, 0]
        smooth = F.avg_pool2d(images[:, None], 5, 1)[:, 0]  # noise is no shading
        return (smooth.amax((1, 2)) - smooth.amin((1, 2))) / smooth.mean((1, 2)).clamp_min(0.05)

    assert (spread("mri") > 0.1).float().mean() > 0.12
    assert (spread("ct") > 0.1).float().mean() < 0.05


def test_a_fine_pattern_comes_out_grey_and_not_as_another_pattern() -> None:
    """Every second column white: a crop at less than half the resolution shows their mean."""
    planes = torch.zeros(1, 1, 1, 224, 224)
    planes[..., ::2] = 1
    box = torch.tensor([[0.0, 0.0, 224.0, 224.0]])
    assert whole(planes, box, 98)[..., 4:-4, 4:-4].std() < 0.1  # sampled at single points it is 0.29
    assert whole(planes, box, 84)[..., 4:-4, 4:-4].std() < 0.15  # and here 0.27


def test_the_whole_box_is_a_square_around_it() -> None:
    boxes = torch.tensor([[8.0, 12.0, 56.0, 50.0], [0.0, 10.0, 20.0, 60.0]])
    torch.testing.assert_close(squares(boxes), torch.tensor([[8.0, 7.0, 56.0, 55.0], [-15.0, 10.0, 35.0, 60.0]]))
    found = whole((ramps(2) * 255).round().to(torch.uint8), boxes, 24)
    rows, columns = shown(found[:1])
    np.testing.assert_allclose(rows[0], [9, 9, 55, 55], atol=0.2)
    np.testing.assert_allclose(columns[0], [8, 54, 8, 54], atol=0.2)
    assert (found[1, :, :, :6] == 0).all()  # above the plane


def test_a_whole_plane_in_its_own_size_is_the_plane() -> None:
    planes = torch.from_numpy(RNG.integers(0, 256, (2, 2, 3, 40, 40)).astype(np.uint8))
    found = whole(planes, torch.tensor([[0.0, 0, 40, 40]] * 2), 40)
    torch.testing.assert_close(found, planes.float() / 255, atol=1e-5, rtol=0)


def test_maps_are_placed_as_the_large_crops_are() -> None:
    crops = MultiCrop("mri", 28, local_size=14, strength="default")
    draws = crops.draw(SEEDS[:6], BOXES[:6])
    plain = MultiCrop("mri", 28, local_size=14, strength="none").apply(ramps(6), draws)[0]
    torch.testing.assert_close(crops.placed(ramps(6)[:, :, 0], draws), plain[:, :, 0])


@pytest.mark.parametrize(
    "options",
    [
        {"strength": "scanner"}, {"kind": "mir"}, {"global_scale": (0.9, 0.5)}, {"local_scale": (0.0, 0.5)},
        {"global_scale": (0.5, 1.2)}, {"globals": 0}, {"locals": -1}, {"global_size": 0},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        MultiCrop(**options)


@pytest.mark.parametrize("boxes", [np.zeros((2, 4)), BOXES[:3], np.full((2, 4), np.nan), BOXES[:2, :3]])
def test_boxes_that_hold_nothing_are_refused(boxes: np.ndarray) -> None:
    with pytest.raises(UsageError, match="2 boxes"):
        MultiCrop().draw(SEEDS[:2], boxes)


def test_planes_of_another_shape_are_refused() -> None:
    crops = MultiCrop()
    with pytest.raises(UsageError, match=r"\(B, M, C, H, W\)"):
        crops.apply(torch.zeros(2, 1, SIDE, SIDE), crops.draw(SEEDS[:2], BOXES[:2]))
    with pytest.raises(UsageError, match="2 samples"):
        crops.apply(torch.zeros(3, 1, 1, SIDE, SIDE), crops.draw(SEEDS[:2], BOXES[:2]))
