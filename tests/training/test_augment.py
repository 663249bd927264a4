"""Augmentation on images one can draw: moved exactly where that is possible, masks with their images, replay."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor

from radapt.errors import UsageError
from radapt.training import Augmentation, Draws, Range
from radapt.training.intensity import blurred, coarser, normal
from radapt.training.seeds import sample_seeds

STRONG: dict[str, Any] = {
    "rotation": Range(0.7, -40.0, 40.0),
    "scale": Range(0.7, 0.8, 1.3),
    "shift": Range(0.7, -0.1, 0.1),
    "elastic": Range(0.7, 0.0, 0.05),
    "brightness": Range(0.7, 0.7, 1.3),
    "contrast": Range(0.7, 0.7, 1.3),
    "gamma": Range(0.7, 0.7, 1.5),
    "gamma_inverted": 0.5,
    "noise": Range(0.7, 0.0, 0.1),
    "blur": Range(0.7, 0.5, 1.5),
    "resolution": Range(0.7, 0.4, 0.9),
}


def seeds(count: int) -> np.ndarray:
    return sample_seeds(1, 0, np.arange(count))


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def only(dims: int = 2, **drawn: Any) -> Augmentation:
    """One thing, in every sample."""
    return Augmentation(dims, **{"flips": (0.0,) * dims, **drawn})


def drawn_letter() -> Tensor:
    """A 12 × 16 picture of an F: no symmetry leaves it as it is."""
    letter = torch.zeros(12, 16)
    letter[2:10, 3:5] = letter[2:4, 3:11] = letter[5:7, 3:9] = 1
    return letter


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["xray", "ct", "mri", "other"])
def test_the_same_seeds_give_the_same_images_in_any_batch(kind: Any, dims: int) -> None:
    size = (20, 24) if dims == 2 else (8, 12, 10)
    augmentation = Augmentation.for_kind(kind, dims, **STRONG)
    images, given = noise(9, 2, *size), seeds(9)
    masks = (noise(9, *size) * 4).long()
    whole, whole_masks = augmentation.apply(images, augmentation.draw(given), masks)
    again, _ = augmentation.apply(images, augmentation.draw(given), masks)
    assert torch.equal(whole, again)
    for part in (np.array([4]), np.array([8, 2, 5])):
        some, some_masks = augmentation.apply(images[part], augmentation.draw(given[part]), masks[part])
        torch.testing.assert_close(some, whole[part], atol=1e-5, rtol=0)
        assert torch.equal(some_masks, whole_masks[part])  # type: ignore[arg-type, index]


@pytest.mark.parametrize("dims", [2, 3])
def test_flips_are_exact_and_along_the_axis_they_are_declared_for(dims: int) -> None:
    size = (5, 6, 7)[:dims]
    images, masks = noise(3, 2, *size), (noise(3, *size) * 5).long()
    for axis in range(dims):
        chances = tuple(float(number == axis) for number in range(dims))
        augmentation = only(dims, flips=chances)
        found, found_masks = augmentation.apply(images, augmentation.draw(seeds(3)), masks)
        assert torch.equal(found, images.flip(2 + axis))
        assert torch.equal(found_masks, masks.flip(1 + axis))  # type: ignore[arg-type]


def test_flips_happen_as_often_as_declared() -> None:
    flips = only(flips=(0.0, 0.3)).draw(seeds(4000)).flips
    assert not flips[:, 0].any()
    assert flips[:, 1].mean() == pytest.approx(0.3, abs=0.03)


def turned(degrees: float, **options: Any) -> Augmentation:
    return only(rotation=Range(1.0, degrees, degrees), **options)


@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (180, 2), (-90, 1)])
def test_right_angles_turn_as_torch_does(degrees: float, turns: int) -> None:
    images, masks = noise(2, 3, 9, 9), (noise(2, 9, 9) * 5).long()
    augmentation = turned(degrees)
    found, found_masks = augmentation.apply(images, augmentation.draw(seeds(2)), masks)
    torch.testing.assert_close(found, images.rot90(turns, (2, 3)), atol=1e-5, rtol=0)
    assert torch.equal(found_masks, masks.rot90(turns, (1, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("shape", "spacing"), [((24, 40), None), ((40, 24), (1.0, 1.0)), ((12, 40), (2.0, 1.0))])
def test_rotation_keeps_shapes_in_mm_whatever_the_sides_of_image_and_voxel(
    shape: tuple[int, int], spacing: tuple[float, float] | None
) -> None:
    """A bar of 4 × 16 mm standing upright lies down after a quarter turn, and is still 4 × 16 mm."""
    sides = spacing or (1.0, 1.0)
    rows = (np.arange(shape[0]) + 0.5 - shape[0] / 2) * sides[0]
    columns = (np.arange(shape[1]) + 0.5 - shape[1] / 2) * sides[1]
    upright = (np.abs(rows)[:, None] < 8) & (np.abs(columns)[None] < 2)
    lying = (np.abs(rows)[:, None] < 2) & (np.abs(columns)[None] < 8)
    augmentation = turned(90.0, spacing=spacing)
    mask = torch.from_numpy(upright).long()[None]
    image, found = augmentation.apply(mask[:, None].float(), augmentation.draw(seeds(1)), mask)
    assert torch.equal(found[0].bool(), torch.from_numpy(lying))  # type: ignore[index]
    assert torch.equal(image[0, 0] > 0.5, torch.from_numpy(lying))


def test_affine_is_that_of_scipy() -> None:
    """An oracle with the same matrix: turned, resized and shifted at once, in 3D with unequal voxels."""
    spacing = (3.0, 1.0, 1.5)
    augmentation = only(3, rotation=Range(1, 5, 30), scale=Range(1, 0.9, 1.2), shift=Range(1, 0, 0.1), spacing=spacing)
    draws = augmentation.draw(seeds(2))
    smooth = ndimage.gaussian_filter(noise(14, 20, 18).numpy(), 2)
    smooth[[0, -1]] = smooth[:, [0, -1]] = smooth[:, :, [0, -1]] = 0
    found, _ = augmentation.apply(torch.from_numpy(smooth).expand(2, 1, -1, -1, -1), draws)
    size, sides = np.array(smooth.shape), np.array(spacing)
    for number in range(2):
        matrix = draws.matrix[number] * sides[None, :] / sides[:, None]
        centre = (size - 1) / 2
        offset = centre - matrix @ centre + draws.shift[number] * size
        expected = ndimage.affine_transform(smooth, matrix, offset, order=1, mode="constant")
        assert np.abs(found[number, 0].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("spacing", [(5.0, 1.0, 1.0), (1.0, 1.0, 4.0)])
def test_thick_slices_turn_in_their_plane_only(spacing: tuple[float, float, float]) -> None:
    matrix = only(3, rotation=Range(1.0, 20.0, 30.0), spacing=spacing).draw(seeds(5)).matrix
    long = int(np.argmax(spacing))
    assert np.allclose(matrix[:, long], np.eye(3)[long])
    assert np.allclose(matrix[:, :, long], np.eye(3)[long])
    assert (np.abs(matrix - np.eye(3)).max((1, 2)) > 0.3).all()


def test_cubic_voxels_turn_about_every_axis() -> None:
    matrix = only(3, rotation=Range(1.0, 20.0, 30.0), spacing=(1.0, 1.0, 1.5)).draw(seeds(5)).matrix
    assert (np.abs(matrix - np.eye(3)) > 0.05).all()
    assert np.allclose(matrix @ matrix.transpose(0, 2, 1), np.eye(3))


def test_scale_enlarges_and_shift_moves_by_shares_of_the_size() -> None:
    square = torch.zeros(1, 1, 20, 20)
    square[..., 8:12, 8:12] = 1
    larger = only(scale=Range(1.0, 2.0, 2.0))
    found, _ = larger.apply(square, larger.draw(seeds(1)))
    assert found.sum() == pytest.approx(64, rel=0.05)
    moved = only(shift=Range(1.0, 0.1, 0.1))
    found, _ = moved.apply(square, moved.draw(seeds(1)))
    expected = torch.zeros(1, 1, 20, 20)
    expected[..., 6:10, 6:10] = 1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("number", range(12))
def test_masks_move_with_their_images(number: int) -> None:
    """A drawn letter: after any motion the mask is where the image is bright, and holds no new label."""
    letter = drawn_letter().repeat_interleave(4, 0).repeat_interleave(4, 1)
    names = ("rotation", "scale", "shift", "elastic")
    augmentation = Augmentation(2, (0.5, 0.5), **{name: STRONG[name]._replace(chance=1.0) for name in names})
    image, mask = augmentation.apply(
        letter[None, None], augmentation.draw(seeds(12)[number : number + 1]), 7 * letter.long()[None]
    )
    assert mask is not None
    assert set(mask.unique().tolist()) == {0, 7}
    sure = (image[0, 0] - 0.5).abs() > 0.45
    assert torch.equal(mask[0][sure] == 7, image[0, 0][sure] > 0.5)
    assert sure.float().mean() > 0.8
    assert mask.dtype == torch.int64
    assert not torch.equal(mask[0], 7 * letter.long())


def test_labels_that_mean_ignore_survive_and_outside_is_background() -> None:
    augmentation = only(shift=Range(1.0, 0.5, 0.5))
    mask = torch.full((1, 4, 4), -1)
    _, found = augmentation.apply(torch.ones(1, 1, 4, 4), augmentation.draw(seeds(1)), mask)
    assert found is not None
    assert found[0].tolist() == [[-1, -1, 0, 0]] * 2 + [[0] * 4] * 2


def test_outside_is_the_lower_bound() -> None:
    augmentation = only(shift=Range(1.0, 0.5, 0.5), bounds=(-1.0, 1.0))
    image = 0.25 * torch.arange(4.0).expand(1, 1, 4, 4)
    found, _ = augmentation.apply(image, augmentation.draw(seeds(1)))
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.5, 0.75, -1, -1]] * 2 + [[-1.0] * 4] * 2))


@pytest.mark.parametrize("kind", ["xray", "ct", "mri", "other"])
def test_strength_none_changes_nothing(kind: Any) -> None:
    augmentation = Augmentation.for_kind(kind, 2, "none")
    images, masks = noise(4, 3, 8, 8), (noise(4, 8, 8) * 3).long()
    found, found_masks = augmentation.apply(images, augmentation.draw(seeds(4)), masks)
    assert torch.equal(found, images)
    assert torch.equal(found_masks, masks)  # type: ignore[arg-type]


def test_what_is_given_stays_as_it_was() -> None:
    images, masks = noise(6, 1, 16, 16), (noise(6, 16, 16) * 3).long()
    before, masks_before = images.clone(), masks.clone()
    augmentation = Augmentation.for_kind("mri", 2, **STRONG)
    augmentation.apply(images, augmentation.draw(seeds(6)), masks)
    assert torch.equal(images, before)
    assert torch.equal(masks, masks_before)


@pytest.mark.parametrize("dims", [2, 3])
def test_images_keep_to_their_range(dims: int) -> None:
    """Bytes become numbers from 0 to 1, and numbers from 0 to 1 stay so."""
    size = (16,) * dims
    augmentation = Augmentation.for_kind("ct", dims, **STRONG)
    images = (noise(30, 1, *size) * 256).byte()
    draws = augmentation.draw(seeds(30))
    found, _ = augmentation.apply(images, draws)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, augmentation.apply(images.float() / 255, draws)[0])
    assert found.std() > 0.1


def test_images_without_bounds_change_relative_to_their_own_range() -> None:
    """z-scores: augmenting commutes with another zero and another unit."""
    augmentation = Augmentation(2, **{**STRONG, "brightness": None, "rotation": None, "shift": None}, bounds=None)
    augmentation = dataclasses.replace(augmentation, scale=None, elastic=None)
    images, draws = noise(20, 2, 12, 12), augmentation.draw(seeds(20))
    found, _ = augmentation.apply(images, draws)
    other, _ = augmentation.apply(images * 50 - 20, draws)
    torch.testing.assert_close(other, found * 50 - 20, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_a_missing_modality_stays_missing(bounds: Any) -> None:
    """A channel of zeros beside one with an image."""
    augmentation = dataclasses.replace(Augmentation.for_kind("mri", 2, **STRONG), bounds=bounds)
    images = noise(40, 2, 12, 12)
    images[:, 1] = 0
    found, _ = augmentation.apply(images, augmentation.draw(seeds(40)))
    assert not found[:, 1].any()
    assert torch.isfinite(found).all()


def one(image: Tensor, **drawn: Any) -> Tensor:
    augmentation = only(**drawn)
    return augmentation.apply(image, augmentation.draw(seeds(len(image))))[0]


def test_brightness_contrast_and_gamma_follow_their_formulas() -> None:
    image = 0.2 + 0.4 * noise(2, 1, 6, 6)
    torch.testing.assert_close(one(image, brightness=Range(1, 1.2, 1.2)), image * 1.2)
    mean = image.mean((2, 3), keepdim=True)
    torch.testing.assert_close(one(image, contrast=Range(1, 0.5, 0.5)), (image + mean) / 2)
    torch.testing.assert_close(one(image, gamma=Range(1, 1.5, 1.5)), image**1.5)
    inverted = one(image, gamma=Range(1, 1.5, 1.5), gamma_inverted=1.0)
    torch.testing.assert_close(inverted, 1 - (1 - image) ** 1.5)


def test_noise_is_normal_different_in_each_place_and_as_strong_as_drawn() -> None:
    image = torch.full((2, 2, 64, 64), 0.5)
    image[..., 0, 0] = 0.4  # not constant
    difference = (one(image, noise=Range(1, 0.05, 0.05)) - image).flatten(1)
    assert difference.std().item() == pytest.approx(0.05, rel=0.03)
    assert stats.kstest(difference[0].numpy() / 0.05, "norm").pvalue > 0.001
    assert abs(np.corrcoef(difference[0], difference[1])[0, 1]) < 0.03
    assert abs(np.corrcoef(difference[0][:-1], difference[0][1:])[0, 1]) < 0.03


def test_normal_numbers_are_finite_and_reach_far_enough() -> None:
    found = normal(seeds(2), torch.zeros(2, 1_000_000))
    assert torch.isfinite(found).all()
    assert 4.3 < found.abs().max() < 6
    assert float((found**4).mean()) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("shape", [(20, 17), (9, 12, 10)])
def test_blur_is_that_of_scipy_each_with_its_own_width(shape: tuple[int, ...]) -> None:
    images, sigma = noise(3, 2, *shape), np.array([0.5, 1.5, 0.9])
    found = blurred(images, sigma)
    for number in range(3):
        reach = int(np.ceil(3 * sigma[number]))
        expected = ndimage.gaussian_filter(images[number, 1].numpy(), sigma[number], mode="nearest", radius=reach)
        assert np.abs(found[number, 1].numpy() - expected).max() < 1e-5


def test_lower_resolution_keeps_ramps_and_loses_detail() -> None:
    ramp = torch.linspace(0, 1, 32)[None, None, :, None].expand(2, 1, 32, 32)
    assert (coarser(ramp, np.array([0.5, 0.8])) - ramp).abs().max() < 0.05
    stripes = (torch.arange(32) % 2).float()[None, None, None].expand(1, 1, 32, 32)
    assert coarser(stripes, np.array([0.5])).std() < 0.1
    images = noise(1, 2, 9, 10, 11)
    assert torch.equal(coarser(images, np.array([1.0])), images)


def test_elastic_bends_but_stays_within_its_amplitude() -> None:
    """Coordinates as the image: what arrives somewhere came from at most the drawn share of the size away."""
    size = 40
    rows = torch.arange(size).float()[:, None].expand(size, size) / size
    augmentation = only(elastic=Range(1.0, 0.05, 0.05))
    found, _ = augmentation.apply(rows[None, None], augmentation.draw(seeds(1)))
    inner = (found[0, 0] - rows)[6:-6, 6:-6]
    assert 0.01 < inner.abs().max() < 0.05 * 1.2
    assert inner.std() > 0.005


def test_films_are_never_mirrored_and_slices_are() -> None:
    assert Augmentation.for_kind("xray").flips == (0.0, 0.0)
    assert Augmentation.for_kind("other").flips == (0.0, 0.5)
    assert Augmentation.for_kind("ct", 3).flips == (0.5, 0.5, 0.5)
    assert Augmentation.for_kind("mri", flips=(0.0, 0.0)).flips == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["xray", "ct", "mri", "other"])
@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_drawn_lies_within_what_is_declared(kind: Any, dims: int) -> None:
    augmentation = Augmentation.for_kind(kind, dims)
    draws = augmentation.draw(seeds(3000))
    assert len(draws) == 3000
    for name in ("brightness", "contrast", "gamma", "noise", "blur", "resolution"):
        declared, neutral = getattr(augmentation, name), {"noise": 0.0, "blur": 0.0}.get(name, 1.0)
        values = getattr(draws, name)
        changed = values[values != neutral]
        if declared is None:
            assert not len(changed)
            continue
        assert declared.low <= changed.min()
        assert changed.max() <= declared.high
        assert len(changed) / 3000 == pytest.approx(declared.chance, abs=0.04)
    volume = np.linalg.det(draws.matrix) ** (-1 / dims)
    assert augmentation.scale is not None
    assert volume.min() >= augmentation.scale.low - 1e-9
    assert volume.max() <= augmentation.scale.high + 1e-9


def test_two_things_are_drawn_independently() -> None:
    draws = Augmentation(2, **STRONG).draw(seeds(4000))
    both = np.mean((draws.noise != 0) & (draws.blur != 0))
    assert both == pytest.approx(0.49, abs=0.03)


def test_draws_are_numbers_per_sample() -> None:
    draws = Augmentation.for_kind("mri", 3).draw(seeds(5))
    assert all(len(getattr(draws, each.name)) == 5 for each in dataclasses.fields(Draws))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "xrya"}, "Did you mean 'xray'"),
        ({"strength": "strong"}, "Known: default, none"),
        ({"rotaton": None}, "Did you mean 'rotation'"),
        ({"dims": 4}, "dims = 4: expected 2 or 3"),
        ({"flips": (0.5,)}, "expected 2 numbers, one per axis"),
        ({"spacing": (1.0, 1.0, 1.0)}, "expected 2 numbers"),
        ({"scale": Range(1.0, 0.0, 1.0)}, "scale from 0.0: expected more than 0"),
        ({"resolution": Range(1.0, 0.5, 2.0)}, "expected at most 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Augmentation.for_kind(**{"kind": "ct", **options})


@pytest.mark.parametrize(
    ("images", "masks"), [((3, 1, 8, 8), None), ((2, 8, 8), None), ((2, 1, 8, 8), (2, 8, 7)), ((2, 1, 4, 4, 4), None)]
)
def test_sizes_that_do_not_fit_are_refused(images: tuple[int, ...], masks: tuple[int, ...] | None) -> None:
    augmentation = Augmentation.for_kind("ct")
    with pytest.raises(UsageError, match="Augmentation of images"):
        augmentation.apply(
            torch.zeros(images), augmentation.draw(seeds(2)), None if masks is None else torch.zeros(masks).long()
        )
