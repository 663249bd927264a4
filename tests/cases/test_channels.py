"""Grey beside colour: how many channels images have together."""

import numpy as np

from radapt.cases.channels import most_channels, stacked, with_channels

GREY = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)
COLOUR = np.stack([[[1, 2], [3, 4]], [[2, 2], [3, 4]], [[2, 3], [9, 5]]]).astype(np.uint8)[None]


def test_grey_is_repeated_and_colour_averaged_to_the_nearest() -> None:
    assert with_channels(GREY, 1) is GREY
    np.testing.assert_array_equal(with_channels(GREY, 3), np.repeat(GREY, 3, axis=1))
    mean = with_channels(COLOUR, 1)
    assert mean.dtype == np.uint8
    np.testing.assert_array_equal(mean[0, 0], [[2, 2], [5, 4]])  # of 5/3, 7/3, 5 and 13/3


def test_images_of_a_case_are_stacked_by_column() -> None:
    assert (most_channels([GREY]), most_channels([GREY, COLOUR])) == (1, 3)
    found = stacked({2: COLOUR, 0: GREY}, 3, 3)
    assert (found.shape, found.dtype) == ((1, 3, 3, 2, 2), np.uint8)
    np.testing.assert_array_equal(found[:, 2], COLOUR)
    np.testing.assert_array_equal(found[:, 0], np.repeat(GREY, 3, axis=1))
    assert not found[:, 1].any()
    np.testing.assert_array_equal(stacked({0: GREY}, 1, 1), GREY[:, None])
