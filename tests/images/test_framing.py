"""Planes on a canvas, and scores of the canvas back on planes, computed by hand."""

import numpy as np

from radapt.images.framing import Framing


def test_the_aspect_ratio_is_that_of_millimetres() -> None:
    framing = Framing.fit((10, 20), (2.0, 0.5), (40, 40))  # 20 × 10 mm
    assert (framing.inner, framing.top, framing.left) == ((40, 20), 0, 10)
    assert Framing.fit((1, 100), (1.0, 1.0), (20, 20)).inner == (1, 20)  # and not 0 rows
    assert Framing.pad((10, 21), (2.0, 0.5), (12, 24)).inner == (10, 21)
    assert (Framing.pad((10, 21), (2.0, 0.5), (12, 24)).top, Framing.pad((10, 21), (1, 1), (12, 24)).left) == (1, 1)
    assert Framing.pad((10, 25), (1.0, 1.0), (12, 24)).inner == (10, 24)  # too wide: it is fitted


def test_a_plane_keeps_its_values_inside_a_border() -> None:
    levels = np.array([[[[1.4, 254.6]]]], np.float32)
    found = Framing((3, 4), (1, 2)).apply(levels, border=7)
    np.testing.assert_array_equal(found[0, 0], [[7] * 4, [7, 1, 255, 7], [7] * 4])


def test_labels_take_the_nearest_pixel() -> None:
    labels = np.array([[[1, 2, 3, 4, 5]]], np.uint8)
    np.testing.assert_array_equal(Framing((1, 3), (1, 3)).pick(labels)[0, 0], [1, 3, 5])
    np.testing.assert_array_equal(Framing((1, 4), (1, 2)).pick(labels)[0, 0], [0, 2, 4, 0])


def test_scores_are_interpolated_with_weights_that_sum_to_one() -> None:
    rows, columns = Framing((4, 6), (4, 4)).back((4, 8), (4, 6))
    np.testing.assert_array_equal(rows, np.eye(4))
    # The plane covers columns 1 to 4 of the canvas, at half the size of its pixels; scores at 0 and 5 are padding.
    expected = np.zeros((8, 6))
    expected[[0, 7], [1, 4]] = 1
    for pixel in range(1, 7):
        near = 1 + pixel // 2 - (pixel % 2 == 0)
        expected[pixel, near : near + 2] = (0.25, 0.75) if pixel % 2 == 0 else (0.75, 0.25)
    np.testing.assert_allclose(columns, expected, atol=1e-6)


def test_a_coarser_plane_averages_scores() -> None:
    _, columns = Framing((1, 8), (1, 8)).back((1, 2), (1, 8))
    # A triangle of 4 scores on each side of the centres 1.5 and 5.5; beyond the border there is nothing to average.
    shares = np.maximum(0, 1 - np.abs(np.arange(8) - np.array([[1.5], [5.5]])) / 4)
    np.testing.assert_allclose(columns, shares / shares.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(columns[0, :4], columns[1, :3:-1], atol=1e-6)
