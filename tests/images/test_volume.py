"""The same anatomy gives the same planes however it is stored."""

from itertools import permutations, product

import numpy as np
import pytest

from radapt.errors import DataError, UsageError
from radapt.images import Volume

SIZES = (3, 4, 5)
SPACING_MM = (0.7, 1.3, 4.0)
RAS = np.diag([*SPACING_MM, 1.0])
ORIENTATIONS = list(product(permutations(range(3)), product((False, True), repeat=3)))


def head(shape: tuple[int, ...] = SIZES) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def stored(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same voxels at the same places, with the array's axes permuted and flipped."""
    array = volume.array.transpose(*order, *range(3, volume.array.ndim))
    affine = volume.affine[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
            array = np.flip(array, axis)
    return Volume(array, affine)


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    whole = np.eye(4)
    whole[:3, :3] = matrix
    return whole


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
@pytest.mark.parametrize(
    "turn", [np.eye(4), turned((11, -7, 24)), turned((45, 0, 0))], ids=["straight", "oblique", "45"]
)
def test_all_48_orientations_give_the_same_planes(order, flips, turn):
    straight = Volume(head(), turn @ RAS)
    other = stored(straight, order, flips)
    for axis in ("axial", "coronal", "sagittal"):
        np.testing.assert_array_equal(other.planes(axis), straight.planes(axis))
        assert other.plane_spacing_mm(axis) == pytest.approx(straight.plane_spacing_mm(axis))
    np.testing.assert_allclose(other.to_ras().affine, straight.to_ras().affine, atol=1e-9)


def test_planes_are_shown_as_radiologists_look_at_them():
    right, front, top = (Volume(np.zeros(SIZES), RAS) for _ in range(3))
    right.array[-1] = front.array[:, -1] = top.array[:, :, -1] = 1
    assert right.planes("axial")[0][:, 0].all()  # the patient's right is on the viewer's left
    assert right.planes("coronal")[0][:, 0].all()
    assert right.planes("sagittal")[-1].all()
    assert front.planes("axial")[0][0].all()
    assert front.planes("sagittal")[0][:, 0].all()
    assert front.planes("coronal")[-1].all()
    assert top.planes("coronal")[0][0].all()
    assert top.planes("sagittal")[0][0].all()
    assert top.planes("axial")[-1].all()


def test_plane_sizes_and_spacings_belong_together():
    volume = Volume(head(), RAS)
    assert volume.planes("axial").shape == (5, 4, 3)
    assert volume.plane_spacing_mm("axial") == (1.3, 0.7)
    assert volume.planes("coronal").shape == (4, 5, 3)
    assert volume.plane_spacing_mm("coronal") == (4.0, 0.7)
    assert volume.planes("sagittal").shape == (3, 5, 4)
    assert volume.plane_spacing_mm("sagittal") == (4.0, 1.3)


def test_planes_without_geometry_come_back_as_they_were():
    planes = np.arange(24).reshape(2, 3, 4)
    colour = np.arange(72).reshape(2, 3, 4, 3)
    np.testing.assert_array_equal(Volume.from_planes(planes).planes(), planes)
    np.testing.assert_array_equal(Volume.from_planes(colour).planes(), colour)
    assert Volume.from_planes(planes, (5, 2, 1)).plane_spacing_mm() == (2, 1)
    assert Volume.from_planes(planes).spacing_mm == (1, 1, 1)


def test_an_image_with_one_plane_knows_which():
    assert Volume(np.zeros((1, 4, 5)), RAS).flat_axis == "sagittal"
    assert Volume(np.zeros((4, 5, 1)), RAS).flat_axis == "axial"
    assert Volume(np.zeros((4, 5, 1)), RAS[:, [0, 2, 1, 3]]).flat_axis == "coronal"
    assert Volume(np.zeros((4, 5, 2)), RAS).flat_axis is None
    assert Volume(np.zeros((1, 1, 2)), RAS).flat_axis is None


def test_to_ras_copies_nothing_and_keeps_every_voxel_in_place():
    volume = stored(Volume(head(), turned((5, 5, 5)) @ RAS), (2, 0, 1), (True, False, True))
    straight = volume.to_ras()
    assert np.shares_memory(straight.array, volume.array)
    index = np.argwhere(straight.array == 37)[0]
    other = np.argwhere(volume.array == 37)[0]
    np.testing.assert_allclose(straight.affine @ [*index, 1], volume.affine @ [*other, 1])


@pytest.mark.parametrize(
    "affine",
    [np.zeros((4, 4)), np.diag([1.0, 0, 1, 1]), np.full((4, 4), np.nan), np.eye(3), np.ones((4, 4))],
)
def test_unusable_geometry_is_refused(affine):
    with pytest.raises(DataError, match="geometry is unusable"):
        Volume(head(), affine)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 2), (3,), (2, 2, 2, 2, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match="X, Y, Z"):
        Volume(np.zeros(shape), RAS)


def test_microscopic_voxels_are_as_good_as_large_ones():
    assert Volume(head(), np.diag([1e-4, 1e-4, 1e-4, 1])).spacing_mm == pytest.approx((1e-4,) * 3)


def test_an_unknown_plane_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="Did you mean 'axial'"):
        Volume(head(), RAS).planes("axail")


def test_volumes_of_one_grid_do_not_share_their_geometry():
    first, second = (Volume.from_planes(np.zeros((1, 4, 5))).to_ras() for _ in range(2))
    before = second.affine.copy()
    first.affine[:3, 3] += 7
    np.testing.assert_array_equal(second.affine, before)
