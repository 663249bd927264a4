"""Noise, bias field, and the order voxels are stored in."""

import nibabel as nib
import numpy as np
import pytest

from radapt.phantom.scanners import HOSPITAL_A, HOSPITAL_B, Setting, add_rician, bias_field, grid, store


def test_background_noise_has_rayleigh_moments() -> None:
    sigma = 3.0
    noise = add_rician(np.zeros(400_000, np.float32), sigma, np.random.default_rng(1))
    assert noise.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.005)
    assert np.square(noise).mean() == pytest.approx(2 * sigma**2, rel=0.01)
    assert noise.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.01)


def test_noise_on_strong_signal_is_gaussian_with_a_small_lift() -> None:
    signal = np.full(400_000, 60.0, np.float32)
    noisy = add_rician(signal, 3.0, np.random.default_rng(2))
    assert noisy.std() == pytest.approx(3.0, rel=0.01)
    assert noisy.mean() == pytest.approx(60.0 + 3.0**2 / (2 * 60.0), abs=0.02)
    assert np.array_equal(add_rician(signal, 0.0, np.random.default_rng(2)), signal)


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "PSL", "LPS", "IPR", "SRA"])
def test_storing_turns_the_array_and_keeps_every_voxel_in_place(orientation: str) -> None:
    rng = np.random.default_rng(3)
    array = rng.integers(0, 99, (3, 4, 5))
    setting = Setting.draw(rng, HOSPITAL_A)
    affine = np.eye(4)
    affine[:3, :3] = setting.pose @ np.diag((2.0, 3.0, 7.0))
    affine[:3, 3] = setting.place_mm
    stored, new = store(array, affine, orientation)
    assert "".join(nib.aff2axcodes(new)) == orientation
    for _ in range(10):  # a voxel found through the world is the same voxel
        old = rng.integers(0, array.shape)
        voxel = np.rint(np.linalg.inv(new) @ affine @ (*old, 1))[:3].astype(int)
        assert stored[tuple(voxel)] == array[tuple(old)]


def test_bias_field_is_smooth_positive_and_around_one() -> None:
    setting = Setting.draw(np.random.default_rng(4), HOSPITAL_B)
    field = bias_field(setting, (40, 44, 20))
    assert field.dtype == np.float32
    assert field.min() > 0.3
    assert field.max() < 3.0
    assert max(np.abs(np.diff(np.log(field), axis=axis)).max() for axis in range(3)) < 0.2


def test_a_coarser_grid_covers_the_same_space() -> None:
    for scanner in (HOSPITAL_A, HOSPITAL_B):
        fine, coarse = grid(scanner), grid(scanner, 3.0)
        assert coarse[0][0] < fine[0][0] / 2
        assert np.multiply(*coarse) == pytest.approx(np.multiply(*fine))
