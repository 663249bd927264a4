"""Bringing a volume into another grid: through millimetres, checked against what is known of the world."""

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.images import Volume, grids_problem, resampled
from radapt.images.window import Window


def turned(degrees: float, spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = affine @ np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def world(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """(X, Y, Z, 3) mm of every voxel."""
    voxels = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1)
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def ramp(shape: tuple[int, ...], affine: np.ndarray) -> Volume:
    """Values linear in the patient's mm, which linear interpolation keeps."""
    return Volume((world(shape, affine) @ [1.0, 2.0, -0.5] + 300).astype(np.float32), affine)


FINE = turned(0, (1.0, 1.0, 1.0), (-30, -30, -15))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((20, 20, 10), turned(20, (1.3, 0.9, 1.6), (-8, -12, -6))),
        ((15, 18, 8), turned(-35, (0.5, -0.7, 2.0), (2, 7, -8))),
        ((30, 1, 12), turned(10, (1.0, 5.0, 1.0), (-14, 2, -7))),
    ],
)
def test_a_ramp_stays_a_ramp_in_any_grid(shape, affine):
    found = resampled(ramp((60, 60, 30), FINE), Volume(np.zeros(shape, np.uint8), affine))
    np.testing.assert_allclose(found.array, ramp(shape, affine).array, atol=1e-2)
    np.testing.assert_array_equal(found.affine, affine)
    assert found.array.dtype == np.float32


def test_it_is_what_simpleitk_gives():
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(0)
    source = Volume(rng.random((30, 28, 26)).astype(np.float32), turned(15, (1.2, 1.1, 1.3), (-12, -20, -14)))
    like = Volume(np.zeros((25, 20, 18), np.uint8), turned(-10, (0.9, 1.0, 1.2), (-4, -6, -5)))

    def image(volume: Volume) -> "sitk.Image":
        made = sitk.GetImageFromArray(volume.array.transpose(2, 1, 0).astype(np.float32))
        lps = np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3]
        made.SetSpacing(volume.spacing_mm)
        made.SetOrigin(lps[:, 3].tolist())
        made.SetDirection((lps[:, :3] / volume.spacing_mm).ravel().tolist())
        return made

    for nearest in (False, True):
        kind = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
        expected = sitk.GetArrayFromImage(sitk.Resample(image(source), image(like), sitk.Transform(), kind, -1.0))
        expected = expected.transpose(2, 1, 0)
        found = resampled(source, like, nearest=nearest).array
        # Larger voxels are filtered first here, which SimpleITK does not; along these axes they hardly are.
        np.testing.assert_allclose(found[expected >= 0], expected[expected >= 0], atol=0.02 if not nearest else 1e-6)
        assert (expected >= 0).mean() > 0.5


def test_equal_grids_are_only_reordered():
    array = np.random.default_rng(0).integers(-5, 900, (6, 7, 8)).astype(np.int16)
    volume = Volume(array, turned(30, (1, 2, 3), (4, 5, 6)), "t1", Window(0, 100))
    affine = volume.affine[:, [2, 1, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * 7
    affine[:3, 0] *= -1
    found = resampled(volume, Volume(np.zeros((8, 7, 6), np.uint8), affine))
    np.testing.assert_array_equal(found.array, np.flip(array.transpose(2, 1, 0), 0))
    assert np.shares_memory(found.array, array)
    assert (found.modality, found.window) == ("t1", volume.window)


def test_there_and_back_keeps_labels():
    labels = np.zeros((20, 22, 12), np.uint8)
    labels[5:14, 6:15, 3:9] = 2
    labels[8:11, 9:12, 5:7] = 9
    volume = Volume(labels, turned(0, (1, 1, 2), (0, 0, 0)))
    fine = Volume(np.zeros((60, 66, 48), np.uint8), turned(0, (1 / 3, 1 / 3, 0.5), (-1 / 3, -1 / 3, -0.75)))
    there = resampled(volume, fine, nearest=True)
    assert set(np.unique(there.array)) == {0, 2, 9}
    assert there.array.dtype == np.uint8
    np.testing.assert_array_equal(resampled(there, volume, nearest=True).array, labels)


def test_outside_is_the_smallest_value_and_the_edge_reaches_half_a_voxel():
    air = Volume(np.full((4, 4, 4), 40, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    air.array[0, 0, 0] = -1000
    like = Volume(np.zeros((16, 1, 1), np.uint8), turned(0, (1, 1, 1), (-4.0, 6.0, 6.0)))
    found = resampled(air, like).array[:, 0, 0]
    np.testing.assert_array_equal(found, [-1000] * 3 + [40] * 9 + [-1000] * 4)
    assert found.dtype == np.int16
    labels = Volume(np.full((4, 4, 4), 3, np.uint8), air.affine)
    np.testing.assert_array_equal(resampled(labels, like, nearest=True).array[:, 0, 0], [0] * 3 + [3] * 9 + [0] * 4)


def test_large_voxels_average_small_ones():
    rng = np.random.default_rng(0)
    noise = Volume(rng.normal(100, 10, (64, 64, 64)).astype(np.float32), np.eye(4))
    like = Volume(np.zeros((12, 12, 12), np.uint8), turned(0, (5, 5, 5), (2, 2, 2)))
    found = resampled(noise, like).array
    assert found.std() < 2  # single voxels would keep 10
    assert found.mean() == pytest.approx(100, abs=0.3)


def test_the_filter_has_a_deviation_of_half_the_ratio_minus_one():
    """Voxels three times as long: σ = 1 old voxel, sampled 0, 3 and 6 voxels away from a single bright one."""
    impulse = Volume(np.eye(15, dtype=np.float32)[7].reshape(15, 1, 1), np.eye(4))
    like = Volume(np.zeros((5, 1, 1), np.uint8), turned(0, (3, 1, 1), (1, 0, 0)))
    bell = np.exp(-(np.arange(-4, 5) ** 2) / 2)  # cut off at 4 σ
    expected = np.array([0, bell[1], bell[4], bell[7], 0]) / bell.sum()
    np.testing.assert_allclose(resampled(impulse, like).array[:, 0, 0], expected, atol=1e-6)
    twice = Volume(np.zeros((7, 1, 1), np.uint8), turned(0, (2, 1, 1), (1, 0, 0)))
    bell = np.exp(-2 * np.arange(-2, 3) ** 2)  # σ = 0.5
    expected = np.array([0, 0, bell[0], bell[2], bell[4], 0, 0]) / bell.sum()
    np.testing.assert_allclose(resampled(impulse, twice).array[:, 0, 0], expected, atol=1e-6)


def test_the_filter_follows_the_axes_of_the_volume_not_those_of_the_new_grid():
    """The new voxels are long along the patient's x, which is the second axis of the new grid."""
    impulse = Volume(np.eye(15, dtype=np.float32)[7].reshape(15, 1, 1), np.eye(4))
    swapped = np.array([[0, 3.0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = resampled(impulse, Volume(np.zeros((1, 5, 1), np.uint8), swapped)).array
    straight = resampled(impulse, Volume(np.zeros((5, 1, 1), np.uint8), turned(0, (3, 1, 1), (1, 0, 0)))).array
    np.testing.assert_allclose(found[0, :, 0], straight[:, 0, 0], atol=1e-6)
    assert found[0, 1, 0] > 0.004  # without the filter nothing would reach 3 voxels


def test_whole_numbers_are_rounded():
    volume = Volume(np.array([0, 1, 3, 3], np.int16).reshape(4, 1, 1), np.eye(4))
    like = Volume(np.zeros((3, 1, 1), np.uint8), turned(0, (1, 1, 1), (0.75, 0, 0)))
    np.testing.assert_array_equal(resampled(volume, like).array[:, 0, 0], [1, 2, 3])  # of 0.75, 2.5 (to even) and 3


def test_colour_and_single_slices():
    colours = np.random.default_rng(0).integers(0, 255, (12, 10, 1, 3)).astype(np.uint8)
    volume = Volume(colours, np.diag([1.0, 1.0, 5.0, 1.0]))
    like = Volume(np.zeros((12, 10, 3), np.uint8), turned(0, (1, 1, 2), (0, 0, -2)))
    found = resampled(volume, like)
    assert found.array.shape == (12, 10, 3, 3)
    np.testing.assert_array_equal(found.array[:, :, 1], colours[:, :, 0])
    np.testing.assert_array_equal(found.array[:, :, 0], colours[:, :, 0])  # within half of its 5 mm
    coloured = Volume(np.zeros((12, 10, 3, 3), np.uint8), like.affine)
    np.testing.assert_array_equal(resampled(volume, coloured).array, found.array)


def test_what_cannot_be_brought_together():
    volume = Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    with pytest.raises(DataError, match="do not overlap in space"):
        resampled(volume, Volume(volume.array, turned(0, (1, 1, 1), (50, 0, 0))))
    small, large = (Volume.from_planes(np.zeros((1, side, side), np.uint8)) for side in (20, 30))
    with pytest.raises(DataError, match=r"without geometry differ.*size 20 × 20 × 1.*Resize them"):
        resampled(small, large)


def test_grids_of_the_images_of_one_case_are_compared_with_the_first():
    def image(name: str, shape: tuple[int, ...], affine: np.ndarray) -> Volume:
        return Volume(np.zeros(shape, np.uint8), affine, name)

    first = image("t1", (4, 4, 4), np.eye(4))
    same, longer = image("t1c", (4, 4, 4), np.eye(4)), image("t2", (4, 4, 6), np.eye(4))
    finer = image("flair", (8, 4, 4), np.diag([0.5, 1, 1, 1]))
    away = image("adc", (4, 4, 4), turned(0, (1, 1, 1), (50, 0, 0)))
    assert grids_problem([first]) is None
    assert grids_problem([first, same]) is None
    one, two = grids_problem([first, same, longer]), grids_problem([first, longer, same, finer])
    assert (one.code, two.code) == ("grids_differ", "grids_differ")
    assert one.message == "t2 has another grid than t1: size 4 × 4 × 6, t1 has 4 × 4 × 4 (right × front × head)."
    assert two.message == f"{one.message} Others that differ from t1: flair."
    apart = grids_problem([first, longer, away])
    assert apart.code == "grids_apart"
    assert apart.message.startswith("adc and t1 cannot be used together. Images of one case do not overlap in space.")
