"""What must happen to segmentation numbers when the images are changed in ways whose effect is known."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from radapt.metrics import case_numbers
from radapt.metrics.segmentation import NUMBERS

LABELS = {1: "a", 2: "b", 3: "c"}
SPACING = (0.6, 1.0, 3.0)
SWAPPED = {
    "volume_truth_ml": "volume_predicted_ml",
    "volume_predicted_ml": "volume_truth_ml",
    "missed": "false_alarm",
    "false_alarm": "missed",
}


def _maps() -> tuple[np.ndarray, np.ndarray]:
    """Blobs of label 1 in both, 2 in the truth only, 3 in the prediction only."""
    rng = np.random.default_rng(5)
    blobs = [ndimage.gaussian_filter(rng.normal(size=(18, 15, 8)), 1.5) > 0.05 for _ in range(2)]
    truth, predicted = (blob.astype(np.uint8) for blob in blobs)
    truth[0:2, 0:3, 0] = 2
    predicted[-3:, -2:, 1] = 3
    return truth, predicted


def _numbers(truth: np.ndarray, predicted: np.ndarray, spacing: tuple[float, ...] = SPACING) -> pd.DataFrame:
    return case_numbers(truth, predicted, LABELS, spacing).set_index("label")


def _same(found: pd.DataFrame, expected: pd.DataFrame, *, but: tuple[str, ...] = ()) -> None:
    pd.testing.assert_frame_equal(found.drop(columns=list(but)), expected.drop(columns=list(but)), rtol=1e-12)


def test_truth_and_prediction_change_places() -> None:
    truth, predicted = _maps()
    there, back = _numbers(truth, predicted), _numbers(predicted, truth)
    directed = ("lesions_truth", "lesions_found", "lesions_predicted", "lesions_false", "volume_error_ml")
    _same(back.rename(columns=SWAPPED).replace({"outcome": SWAPPED})[there.columns], there, but=directed)
    pd.testing.assert_series_equal(back["volume_error_ml"], -there["volume_error_ml"])
    # A prediction that is not false overlaps the truth, so as truth it would be found.
    pd.testing.assert_series_equal(
        back["lesions_found"], there["lesions_predicted"] - there["lesions_false"], check_names=False
    )


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2)])
def test_mirroring_changes_nothing(axes: tuple[int, ...]) -> None:
    truth, predicted = _maps()
    _same(_numbers(np.flip(truth, axes), np.flip(predicted, axes)), _numbers(truth, predicted))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_axes_change_places_with_their_spacing(order: tuple[int, ...]) -> None:
    truth, predicted = _maps()
    spacing = tuple(SPACING[axis] for axis in order)
    _same(_numbers(truth.transpose(order), predicted.transpose(order), spacing), _numbers(truth, predicted))


@pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray, lambda a: np.repeat(a, 2, 1)[:, ::2]])
def test_the_layout_in_memory_changes_nothing(layout: Callable[[np.ndarray], np.ndarray]) -> None:
    truth, predicted = _maps()
    _same(_numbers(layout(truth), predicted), _numbers(truth, predicted))
    _same(_numbers(truth, layout(predicted)), _numbers(truth, predicted))


def test_labels_change_their_values_and_order() -> None:
    truth, predicted = _maps()
    moved = np.array([0, 300, 7, 2], dtype=np.uint16)
    labels = {2: "c", 7: "b", 300: "a"}
    found = case_numbers(moved[truth], moved[predicted], labels, SPACING).set_index("label")
    _same(found.loc[["a", "b", "c"]], _numbers(truth, predicted))


def test_background_around_the_image_changes_only_the_diagonal() -> None:
    truth, predicted = _maps()
    padded = _numbers(np.pad(truth, ((1, 0), (2, 9), (0, 4))), np.pad(predicted, ((1, 0), (2, 9), (0, 4))))
    plain = _numbers(truth, predicted)
    # At the edge of the image a border stays a border: beyond it is outside, as background is.
    _same(padded.loc[["a"]], plain.loc[["a"]])
    _same(padded, plain, but=("hd95_mm", "assd_mm"))
    assert (padded.loc[["b", "c"], "hd95_mm"] > plain.loc[["b", "c"], "hd95_mm"]).all()


def test_larger_voxels_scale_distances_and_volumes() -> None:
    truth, predicted = _maps()
    small = _numbers(truth, predicted)
    large = case_numbers(truth, predicted, LABELS, tuple(2 * mm for mm in SPACING), tolerance_mm=4.0).set_index("label")
    for name in NUMBERS:
        factor = 2 if name.endswith("_mm") else 8 if name.endswith("_ml") else 1
        np.testing.assert_allclose(large[name], factor * small[name], rtol=1e-12, err_msg=name)


def test_a_perfect_prediction_is_perfect() -> None:
    truth, _ = _maps()
    rows = _numbers(truth, truth).loc[["a", "b"]]
    assert (rows[["dice", "iou", "nsd"]] == 1).all(axis=None)
    assert (rows[["hd95_mm", "assd_mm", "volume_error_ml", "lesions_false"]] == 0).all(axis=None)
    assert (rows["lesions_found"] == rows["lesions_truth"]).all()


def test_more_tolerance_never_lowers_the_surface_dice() -> None:
    truth, predicted = _maps()
    found = [
        case_numbers(truth, predicted, LABELS, SPACING, tolerance_mm=mm)["nsd"].iloc[0] for mm in (0, 0.6, 1, 2, 3, 50)
    ]
    assert found == sorted(found)
    assert found[-1] == 1
