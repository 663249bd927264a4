"""Display windows of DICOM PS3.3 C.11.2, computed by hand."""

import numpy as np

from radapt.images.window import Window

VALUES = np.array([-10, 0, 5, 10, 20, 25], np.int16)


def test_a_linear_window_is_cut_off_at_both_ends() -> None:
    np.testing.assert_allclose(Window(0, 20).apply(VALUES), [0, 0, 0.25, 0.5, 1, 1])
    assert Window(0, 20).apply(VALUES).dtype == np.float32


def test_a_sigmoid_has_its_middle_at_the_centre() -> None:
    expected = 1 / (1 + np.exp(-4 * (VALUES - 10.0) / 20))
    np.testing.assert_allclose(Window(0, 20, "sigmoid").apply(VALUES), expected, rtol=1e-6)


def test_a_table_is_read_between_its_steps() -> None:
    table = np.array([0.0, 0.8, 1.0], np.float32)  # at 0, 10 and 20
    np.testing.assert_allclose(Window(0, 20, "table", table).apply(VALUES), [0, 0, 0.4, 0.8, 1, 1])


def test_a_window_without_width_is_a_threshold() -> None:
    assert Window(5, 5).apply(VALUES).tolist() == [0, 0, 0, 1, 1, 1]


def test_an_inverted_window_shows_inverted_voxels_inverted() -> None:
    table = np.array([0.0, 0.1, 0.7, 1.0], np.float32)
    for window in (Window(0, 20), Window(-5, 15, "sigmoid"), Window(2, 22, "table", table)):
        turned = window.inverted(30).apply(30 - VALUES)
        np.testing.assert_allclose(turned, 1 - window.apply(VALUES), atol=1e-6)
