"""Shape and texture against the reference values of the Image Biomarker Standardisation Initiative.

The values are those of its digital phantom (arXiv 1612.07003, 5 × 4 × 4 voxels of 2 mm), of three digits, for 3D
matrices: co-occurrence averaged over directions, runs merged. Surface and volume of the mesh are within its tolerance.
"""

import numpy as np
import pytest

from radapt.probes.controls.radiomics import cooccurrence, emphases, shape, tone_differences
from radapt.probes.controls.radiomics.neighbours import IN_PLANE, IN_VOLUME
from radapt.probes.controls.radiomics.region_numbers import (
    FIRST_ORDER,
    TEXTURE,
    first_order_numbers,
    texture_numbers,
)

PHANTOM = np.asarray([
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
])  # fmt: skip
VOXELS, LEVELS = 74, 6


def close(names: tuple[str, ...], found: np.ndarray, expected: dict[str, float], rel: float = 5e-3) -> None:
    assert len(names) == len(found)
    for name, value in expected.items():
        assert found[names.index(name)] == pytest.approx(value, rel=rel), name


def test_cooccurrence() -> None:
    each = [cooccurrence.cooccurrence(PHANTOM, LEVELS, [step]) for step in IN_VOLUME]
    close(cooccurrence.NAMES, np.mean([cooccurrence.cooccurrence_numbers(own) for own in each], axis=0), {
        "joint maximum": 0.503, "joint average": 2.14, "joint variance": 3.1, "joint entropy": 2.4,
        "difference average": 1.43, "difference variance": 3.06, "difference entropy": 1.56, "sum average": 4.29,
        "sum variance": 7.07, "sum entropy": 1.92, "angular second moment": 0.303, "contrast": 5.32,
        "dissimilarity": 1.43, "inverse difference": 0.677, "normalised inverse difference": 0.851,
        "inverse difference moment": 0.618, "normalised inverse difference moment": 0.898, "inverse variance": 0.0604,
        "correlation": 0.157, "autocorrelation": 5.06, "cluster tendency": 7.07, "cluster shade": 16.6,
        "cluster prominence": 145, "information correlation 1": -0.157, "information correlation 2": 0.52,
    })  # fmt: skip


def test_runs() -> None:
    found = emphases.emphases(emphases.run_lengths(PHANTOM, LEVELS, IN_VOLUME), VOXELS * 13)
    close(emphases.NAMES, found, {
        "small emphasis": 0.729, "large emphasis": 2.76, "low level emphasis": 0.607, "high level emphasis": 9.64,
        "small low emphasis": 0.372, "small high emphasis": 8.67, "large low emphasis": 2.16,
        "large high emphasis": 15.6, "level non-uniformity": 281, "normalised level non-uniformity": 0.43,
        "size non-uniformity": 328, "normalised size non-uniformity": 0.501, "share": 0.68, "level variance": 3.48,
        "size variance": 0.598, "entropy": 2.62,
    })  # fmt: skip


def test_zones() -> None:
    close(emphases.NAMES, emphases.emphases(emphases.zone_sizes(PHANTOM, LEVELS, in_plane=False), VOXELS), {
        "small emphasis": 0.255, "large emphasis": 550, "low level emphasis": 0.253, "high level emphasis": 15.6,
        "small low emphasis": 0.0256, "small high emphasis": 2.76, "large low emphasis": 503,
        "large high emphasis": 1490, "level non-uniformity": 1.4, "normalised level non-uniformity": 0.28,
        "size non-uniformity": 1, "normalised size non-uniformity": 0.2, "share": 0.0676,
        "level variance": 2.64, "size variance": 331, "entropy": 2.32,
    })  # fmt: skip


def test_dependence() -> None:
    close(emphases.NAMES, emphases.emphases(emphases.dependence(PHANTOM, LEVELS, IN_VOLUME), VOXELS), {
        "small emphasis": 0.045, "large emphasis": 109, "low level emphasis": 0.693, "high level emphasis": 7.66,
        "small low emphasis": 0.00963, "small high emphasis": 0.736, "large low emphasis": 102,
        "large high emphasis": 235, "level non-uniformity": 37.9, "normalised level non-uniformity": 0.512,
        "size non-uniformity": 4.86, "normalised size non-uniformity": 0.0657, "share": 1, "level variance": 3.05,
        "size variance": 22.1, "entropy": 4.4,
    })  # fmt: skip


def test_tone_differences() -> None:
    found = tone_differences.tone_numbers(*tone_differences.tone_differences(PHANTOM, LEVELS, IN_VOLUME))
    close(tone_differences.NAMES, found, {
        "coarseness": 0.0296, "tone contrast": 0.584, "busyness": 6.54, "complexity": 13.5, "strength": 0.763,
    })  # fmt: skip


def test_shape() -> None:
    found = shape.shape_numbers(PHANTOM > 0, np.asarray([2.0, 2.0, 2.0]))
    close(shape.NAMES, found, {
        "volume ml": 0.592, "surface to volume": 0.698, "sphericity": 0.843, "major axis mm": 11.4,
        "minor axis mm": 9.31, "least axis mm": 8.54, "elongation": 0.816, "flatness": 0.749, "extent x mm": 10,
        "extent z mm": 8, "parts": 1, "planes": 4, "share of its box": 74 / 80,
    })  # fmt: skip
    surface, volume = shape.mesh(PHANTOM > 0, np.asarray([2.0, 2.0, 2.0]))
    assert (surface, volume) == (pytest.approx(388, abs=3), pytest.approx(556, abs=4))


def test_the_mesh_of_a_box_is_cut_at_its_edges_alone() -> None:
    spacing = np.asarray([3.0, 1.0, 0.5])
    area, volume = shape.mesh(np.ones((20, 30, 40), bool), spacing)
    z, y, x = np.asarray([20, 30, 40]) * spacing
    assert area == pytest.approx(2 * (z * y + z * x + y * x), rel=0.02)
    assert area < 2 * (z * y + z * x + y * x)
    assert volume == pytest.approx(z * y * x, rel=0.01)


def test_two_parts_are_counted_and_the_place_is_a_share_of_the_image() -> None:
    inside = np.zeros((4, 10, 20), bool)
    inside[1, 2, 5], inside[1, 7:9, 15] = True, True
    found = dict(zip(shape.NAMES, shape.shape_numbers(inside, np.ones(3)), strict=True))
    assert (found["parts"], found["planes"]) == (2, 1)
    assert found["share of the largest part"] == pytest.approx(2 / 3)
    assert found["centre z"] == pytest.approx(1.5 / 4)
    assert found["centre x"] == pytest.approx((5.5 + 15.5 + 15.5) / 3 / 20)


def test_nothing_and_a_single_voxel() -> None:
    empty = dict(zip(shape.NAMES, shape.shape_numbers(np.zeros((2, 3, 4), bool), np.ones(3)), strict=True))
    assert {name for name, value in empty.items() if value == 0} == {"volume ml", "surface mm2", "parts", "planes"}
    assert np.isnan([empty[name] for name in ("sphericity", "elongation", "centre z")]).all()
    grey, inside = np.full((2, 5, 5), 90, np.uint8), np.zeros((2, 5, 5), bool)
    assert np.isnan(texture_numbers(grey, inside)).all()
    assert np.isnan(first_order_numbers(grey, inside, ~inside)).all()
    inside[0, 2, 2] = True
    single = dict(zip(shape.NAMES, shape.shape_numbers(inside, np.ones(3)), strict=True))
    assert (single["volume ml"], single["major axis mm"]) == (0.001, 0)
    assert np.isnan(single["elongation"])
    texture = dict(zip(TEXTURE, texture_numbers(grey, inside), strict=True))
    assert np.isnan(texture["contrast"]), "there is no pair"
    assert texture["zone share"] == 1
    first = dict(zip(FIRST_ORDER, first_order_numbers(grey, inside, ~inside), strict=True))
    assert (first["mean"], first["contrast to the rest"]) == (90, 0)


def test_planes_are_by_themselves() -> None:
    """The order of planes, and so their distance, changes no texture; turning the image by a right angle does not
    either."""
    rng = np.random.default_rng(0)
    grey, inside = rng.integers(0, 256, (3, 12, 12)).astype(np.uint8), rng.random((3, 12, 12)) < 0.7
    found = texture_numbers(grey, inside)
    assert len(found) == 77
    np.testing.assert_allclose(texture_numbers(grey[[2, 0, 1]], inside[[2, 0, 1]]), found)
    np.testing.assert_allclose(texture_numbers(np.rot90(grey, 1, (1, 2)), np.rot90(inside, 1, (1, 2))), found)
    assert (len(IN_PLANE), len(IN_VOLUME)) == (4, 13)
