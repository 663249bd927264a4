"""Placements: masks lie exactly where the image's planes lie, and label maps find the way back to the file's grid."""

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.images import Recipe, Volume, placement

AXES = ("axial", "coronal", "sagittal")


def blobs(shape, seed=0, labels=3):
    """Label maps with a few smooth shapes in each."""
    rng = np.random.default_rng(seed)
    sides = (np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape)
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
    found = np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        centre, radius = rng.uniform(-0.4, 0.4, 3), rng.uniform(0.35, 0.6)
        found[((grid - centre) ** 2).sum(axis=-1) < radius**2] = label
    return found


def restored(place, scores):
    """The label map with the highest score in each voxel, in the stored grid."""
    found = np.empty(place.grid.array.shape, np.uint8)
    ras = Volume(found, place.grid.affine).to_ras().array
    for part, slab in place.slabs(scores):
        ras[..., part] = slab.argmax(dim=1).numpy().transpose(2, 1, 0)
    return Volume(found, place.grid.affine)


def oblique(spacing, degrees=(0.0, 0.0, 0.0), flips=(1, 1, 1)):
    """An affine turned about the three axes."""
    affine = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(4)
        first, second = [other for other in range(3) if other != axis]
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        affine = affine @ turn
    affine[:3, 3] = (-30.5, 12.25, 7.0)
    return affine @ np.diag([*(np.asarray(spacing) * flips), 1.0])


GEOMETRIES = {
    "straight": oblique((1.0, 1.0, 1.0)),
    "anisotropic": oblique((0.7, 0.9, 4.0)),
    "flipped": oblique((1.0, 1.5, 2.0), flips=(-1, 1, -1)),
    "oblique": oblique((0.8, 0.8, 2.5), degrees=(12.0, -25.0, 33.0)),
    "half turned": oblique((1.0, 1.0, 1.0), degrees=(45.0, 0.0, 0.0)),
    "permuted": oblique((1.0, 2.0, 0.5))[:, [2, 0, 1, 3]],
}


def dice(first, second):
    """The lowest Dice over the labels of `first`."""
    shares = []
    for label in np.unique(first[first > 0]):
        a, b = first == label, second == label
        shares.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return min(shares)


def one_hot(planes, classes):
    return np.moveaxis(np.eye(classes, dtype=np.float32)[planes], -1, 1)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("affine", GEOMETRIES.values(), ids=GEOMETRIES)
def test_masks_lie_on_the_planes_of_the_image(affine, axis):
    labels = blobs((37, 30, 25), labels=2)
    image = Volume(np.where(labels == 2, np.uint8(200), np.uint8(0)), affine)
    recipe = Recipe.for_kind("other", size=(97, 88), axis=axis)
    planes, masks = recipe.apply(image)[:, 0].astype(int), recipe.place(image).masks(Volume(labels, affine))
    assert masks.shape == planes.shape
    assert masks.dtype == np.uint8
    clear = np.abs(planes - 100) > 60  # the others are borders
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(masks[clear] == 2, planes[clear] > 100)

    # Their centres agree to what rounding each border to a pixel may do; half a voxel would be more than a pixel.
    np.testing.assert_allclose(centre(masks == 2), centre(planes), atol=0.35)


def centre(weights):
    return [
        np.average(np.arange(size), weights=np.moveaxis(weights, axis, 0).reshape(size, -1).sum(axis=1))
        for axis, size in enumerate(weights.shape)
    ]


@pytest.mark.parametrize("affine", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("axis", AXES)
def test_what_goes_in_comes_back(affine, axis):
    labels = blobs((37, 30, 25))
    place = Recipe.for_kind("other", size=160, axis=axis).place(Volume(labels, affine))
    back = restored(place, one_hot(place.masks(Volume(labels, affine)), 4))
    np.testing.assert_array_equal(back.affine, affine)
    assert back.array.shape == labels.shape
    assert back.array.dtype == np.uint8
    assert dice(labels, back.array) >= 0.97


@pytest.mark.parametrize("axis", AXES)
def test_equal_sizes_come_back_exactly(axis):
    labels = np.random.default_rng(0).integers(0, 4, (24, 24, 24)).astype(np.uint8)
    volume = Volume(labels, oblique((1, 1, 1), degrees=(10, 20, 0), flips=(1, -1, 1)))
    place = Recipe.for_kind("other", size=24, axis=axis).place(volume)
    np.testing.assert_array_equal(restored(place, one_hot(place.masks(volume), 4)).array, labels)


@pytest.mark.parametrize(("size", "shape"), [(33, (64, 80, 9)), ((50, 31), (21, 29, 7)), (224, (35, 51, 4))])
def test_odd_sizes(size, shape):
    labels = blobs(shape, seed=2, labels=2)
    volume = Volume(labels, oblique((1.0, 1.0, 3.0)))
    place = Recipe.for_kind("other", size=size).place(volume)
    canvas = (size, size) if isinstance(size, int) else size
    masks = place.masks(volume)
    assert masks.shape == (shape[2], *canvas)
    assert dice(labels, restored(place, one_hot(masks, 3)).array) >= (0.97 if min(canvas) > min(shape[:2]) else 0.9)


def test_slabs_equal_torchs_resize_where_the_canvas_is_full():
    import torch

    rng = np.random.default_rng(0)
    for shape in ((40, 56, 2), (12, 20, 2)):
        volume = Volume(np.zeros((shape[1], shape[0], shape[2]), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
        canvas = (shape[0] * 2 // 3 if shape[0] == 40 else 36, 0)[0]
        size = (canvas, round(canvas * shape[1] / shape[0]))
        place = Recipe.for_kind("other", size=size).place(volume)
        assert place.stacks[0].framing.inner == size
        scores = rng.random((2, 3, *size), dtype=np.float32)
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(scores), size=shape[:2], mode="bilinear", antialias=True
        )
        expected = resized.numpy().argmax(axis=1)
        assert (Volume(restored(place, scores).array, volume.affine).planes() == expected).mean() > 0.999


def test_scores_may_be_coarser_than_the_canvas():
    labels = blobs((60, 48, 6), seed=1, labels=1)
    volume = Volume(labels, oblique((1.0, 1.0, 3.0), flips=(-1, 1, 1)))
    place = Recipe.for_kind("other", size=112).place(volume)
    fine = one_hot(place.masks(volume), 2)
    coarse = fine.reshape(*fine.shape[:2], 28, 4, 28, 4).mean(axis=(3, 5))
    assert dice(labels, restored(place, coarse).array) > 0.95
    ramp = np.zeros((6, 2, 4, 4), np.float32)
    ramp[:, 1] = (np.arange(4) + 0.5) / 4 - 0.5  # crosses zero in the middle of the canvas
    flat = Volume(np.zeros((40, 40, 6), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    drawn = restored(Recipe.for_kind("other", size=112).place(flat), ramp)
    np.testing.assert_array_equal(drawn.array[20:], 1)
    assert not drawn.array[:20].any()


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("options", "enough"), [({"every": 2}, 0.94), ({"every": 3}, 0.9), ({"count": 9}, 0.85)])
def test_planes_left_out_are_filled_from_their_neighbours(axis, options, enough):
    labels = blobs((40, 44, 36), seed=3, labels=2)
    volume = Volume(labels, oblique((1.0, 1.2, 0.9), flips=(1, -1, 1)))
    place = Recipe.for_kind("other", size=64, axis=axis, **options).place(volume)
    masks = place.masks(volume)
    assert len(masks) == len(place) < 36
    assert dice(labels, restored(place, one_hot(masks, 3)).array) >= enough


def test_planes_between_are_blended_and_ends_repeated():
    volume = Volume(np.zeros((8, 8, 9), np.uint8), np.eye(4))
    place = Recipe.for_kind("other", size=8, every=4).place(volume)
    assert place.stacks[0].kept.tolist() == [0, 4, 8]
    scores = np.zeros((3, 2, 8, 8), np.float32)
    scores[:, 0] = 0.4
    scores[1, 1] = 1.0
    drawn = restored(place, scores).array[0, 0]
    np.testing.assert_array_equal(drawn, [0, 0, 1, 1, 1, 1, 1, 0, 0])
    place = Recipe.for_kind("other", size=8, every=5).place(volume)
    assert place.stacks[0].kept.tolist() == [1, 6]
    scores = np.zeros((2, 2, 8, 8), np.float32)
    scores[1, 1] = scores[0, 0] = 1.0
    np.testing.assert_array_equal(restored(place, scores).array[0, 0], [0, 0, 0, 0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("axis", AXES)
def test_an_image_with_one_plane(axis):
    pixels = blobs((45, 31, 1), labels=1)[..., 0]
    film = Volume.from_planes(pixels[None])
    place = Recipe.for_kind("xray", size=45, axis=axis).place(film)
    masks = place.masks(Volume.from_planes(pixels[None]))
    np.testing.assert_array_equal(masks[0, :, 7:38], pixels)
    np.testing.assert_array_equal(restored(place, one_hot(masks, 2)).planes()[0], pixels)
    flat = Volume(blobs((1, 30, 40)), oblique((3.0, 1.0, 1.0)))
    place = Recipe.for_kind("mri", size=64, axis=axis).place(flat)
    assert len(place) == 1
    assert dice(flat.array, restored(place, one_hot(place.masks(flat), 4)).array) > 0.97


def test_colour_images_have_a_place_too():
    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 3), dtype=np.uint8)
    place = Recipe.for_kind("other", size=30).place(Volume.from_planes(pixels))
    mask = Volume.from_planes((pixels[..., 0] > 100).astype(np.uint8))
    back = restored(place, one_hot(place.masks(mask), 2))
    np.testing.assert_array_equal(back.array, mask.array)


@pytest.mark.parametrize("affine", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_mask_stored_with_other_axes_is_turned(affine):
    labels = blobs((17, 22, 13))
    image, mask = Volume(labels, affine), Volume(labels, affine)
    turned = Volume(np.flip(labels.transpose(2, 0, 1), 1), affine[:, [2, 0, 1, 3]].astype(np.float32).astype(float))
    turned.affine[:, 3] += turned.affine[:, 1] * 16
    turned.affine[:, 1] *= -1
    place = Recipe.for_kind("other", size=40).place(image)
    np.testing.assert_array_equal(place.masks(turned), place.masks(mask))


def test_a_mask_that_lies_elsewhere_is_refused():
    image = Volume(np.zeros((8, 8, 8), np.uint8), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    with pytest.raises(DataError, match=r"0\.5 mm away from the image's, up to 0\.5 of a voxel"):
        Recipe.for_kind("other", size=8).place(image).masks(Volume(np.zeros((8, 8, 8), np.uint8), shifted))


@pytest.mark.parametrize("axis", AXES)
def test_slabs_do_not_change_labels(monkeypatch, axis):
    scores = np.random.default_rng(0).random((7, 3, 20, 20), dtype=np.float32)
    volume = Volume(np.zeros((21, 21, 21), np.uint8), oblique((1.0, 1.0, 1.0), flips=(1, 1, -1)))
    place = Recipe.for_kind("other", size=20, every=3, axis=axis).place(volume)
    whole = restored(place, scores).array
    monkeypatch.setattr(placement, "SLAB_BYTES", 1)
    np.testing.assert_array_equal(restored(place, scores).array, whole)
    assert (restored(place, scores.astype(np.float16)).array == whole).mean() > 0.99


def test_three_axes_are_averaged():
    labels = np.random.default_rng(0).integers(0, 4, (16, 16, 16)).astype(np.uint8)
    volume = Volume(labels, oblique((1, 1, 1), degrees=(5, 0, 10), flips=(-1, 1, 1)))
    place = Recipe.for_kind("other", size=16, axis="triplanar").place(volume)
    masks = place.masks(volume)
    assert masks.shape == (48, 16, 16)
    np.testing.assert_array_equal(restored(place, one_hot(masks, 4)).array, labels)
    # Where one axis is unsure the others decide, voxel by voxel.
    for unsure in range(3):
        scores = one_hot(masks, 4)
        scores[16 * unsure : 16 * unsure + 16] = 0.25
        np.testing.assert_array_equal(restored(place, scores).array, labels)
    two_to_one = one_hot(masks, 4)
    two_to_one[:16] = np.roll(two_to_one[:16], 1, axis=1)
    np.testing.assert_array_equal(restored(place, two_to_one).array, labels)


def test_three_axes_of_an_uneven_volume_come_back():
    labels = blobs((37, 30, 25))
    volume = Volume(labels, GEOMETRIES["oblique"])
    place = Recipe.for_kind("other", size=(150, 160), axis="triplanar", every=2).place(volume)
    assert len(place) == 13 + 15 + 19
    assert dice(labels, restored(place, one_hot(place.masks(volume), 4)).array) > 0.97


def test_the_first_of_equal_scores_wins():
    volume = Volume(np.zeros((8, 8, 2), np.uint8), np.eye(4))
    assert not restored(Recipe.for_kind("other", size=8).place(volume), np.ones((2, 3, 8, 8), np.float32)).array.any()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((3, 2, 8, 8)), r"shape \(3, 2, 8, 8\)"),
        (np.zeros((2, 8, 8)), "Scores have shape"),
        (np.zeros((2, 300, 8, 8)), "classes up to 256"),
        (np.zeros((2, 0, 8, 8)), "Scores have shape"),
        (np.full((2, 2, 8, 8), np.nan), "not finite"),
        (np.full((2, 2, 8, 8), np.inf), "not finite"),
    ],
)
def test_scores_that_cannot_be(scores, message):
    place = Recipe.for_kind("other", size=8).place(Volume(np.zeros((8, 8, 2), np.uint8), np.eye(4)))
    with pytest.raises(DataError, match=message):
        restored(place, scores)
