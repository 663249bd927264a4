"""Segmentation numbers against MONAI, whose definitions of border, HD95 and surface Dice we share, and SciPy.

Where we differ on purpose: MONAI gives HD95 NaN or infinity for a missed structure, which its mean then drops (MONAI
issue 9095); here it is the diagonal of the image. MONAI measures an image of one slice as all border; see
`test_one_slice_of_a_volume_is_measured_as_a_picture`.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from radapt.metrics import case_numbers

torch = pytest.importorskip("torch")


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], labels: int) -> np.ndarray:
    """A label map of blobs."""
    fields = [ndimage.gaussian_filter(rng.normal(size=shape), 2.0) for _ in range(labels)]
    fields.insert(0, np.full(shape, 0.6 * float(np.std(fields[0]))))
    return np.argmax(fields, axis=0).astype(np.uint8)


def _monai(
    truth: np.ndarray, predicted: np.ndarray, labels: int, spacing: tuple[float, ...], tolerances: list[float]
) -> pd.DataFrame:
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, MeanIoU, SurfaceDiceMetric, SurfaceDistanceMetric

    values = np.arange(1, labels + 1).reshape(-1, *[1] * truth.ndim)
    y, y_pred = (torch.from_numpy((each == values)[None]) for each in (truth, predicted))
    metrics = {
        "dice": (DiceMetric(), {}),
        "iou": (MeanIoU(), {}),
        "hd95_mm": (HausdorffDistanceMetric(include_background=True, percentile=95), {"spacing": spacing}),
        "assd_mm": (SurfaceDistanceMetric(include_background=True, symmetric=True), {"spacing": spacing}),
        "nsd": (SurfaceDiceMetric(tolerances, include_background=True), {"spacing": spacing}),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pd.DataFrame(
            {
                name: metric(y_pred.float(), y.float(), **options)[0].numpy()
                for name, (metric, options) in metrics.items()
            }
        )


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 30), (1.0, 1.0)),
        ((33, 41), (0.4, 2.5)),
        ((24, 20, 18), (1.0, 1.0, 1.0)),
        ((30, 22, 9), (0.7, 0.9, 5.0)),
        ((3, 25, 21), (8.0, 0.5, 1.1)),
    ],
)
@pytest.mark.parametrize("alike", [True, False])
def test_equal_to_monai(shape: tuple[int, ...], spacing: tuple[float, ...], alike: bool) -> None:
    rng = np.random.default_rng(len(shape) + shape[0])
    truth = _smooth(rng, shape, 3)
    predicted = np.roll(truth, 1, axis=1) if alike else _smooth(rng, shape, 3)
    tolerances = [1.0, 2.0, 0.5]
    ours = case_numbers(
        truth, predicted, {1: "a", 2: "b", 3: "c"}, spacing, tolerance_mm=dict(zip((1, 2, 3), tolerances, strict=True))
    )
    assert (ours["outcome"] == "both").all()
    theirs = _monai(truth, predicted, 3, spacing, tolerances)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_equal_to_monai_at_the_edge_of_the_image_and_for_thin_structures() -> None:
    truth, predicted = np.zeros((12, 14, 10), np.uint8), np.zeros((12, 14, 10), np.uint8)
    truth[0:5, 9:14, :] = 1  # touches four faces of the image
    predicted[0:4, 10:14, 2:] = 1
    truth[7:11, 3, 3] = 2  # a line, all of it border
    predicted[8, 3:6, 3] = 2
    ours = case_numbers(truth, predicted, {1: "a", 2: "b"}, (2.0, 1.0, 0.5), tolerance_mm=1.0)
    theirs = _monai(truth, predicted, 2, (2.0, 1.0, 0.5), [1.0, 1.0])
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_where_monai_has_no_number_for_a_missed_structure_there_is_one_here() -> None:
    truth, predicted = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    truth[2:4, 2:4] = 1
    theirs = _monai(truth, predicted, 1, (1.0, 1.0), [1.0]).iloc[0]
    ours = case_numbers(truth, predicted, {1: "a"}, (1.0, 1.0)).iloc[0]
    assert not np.isfinite(theirs["hd95_mm"])
    assert ours["hd95_mm"] == pytest.approx(10)
    assert ours["nsd"] == theirs["nsd"] == 0
    assert ours["dice"] == theirs["dice"] == 0


@pytest.mark.parametrize("shape", [(30, 30), (14, 15, 16)])
def test_lesions_equal_a_count_by_hand(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    truth, predicted = ((rng.random(shape) < 0.06).astype(np.uint8) for _ in range(2))
    row = case_numbers(truth, predicted, {1: "a"}, (1.0,) * len(shape)).iloc[0]
    masks = [ndimage.label(each, np.ones((3,) * len(shape))) for each in (truth, predicted)]
    found = sum(bool(predicted[masks[0][0] == k].any()) for k in range(1, masks[0][1] + 1))
    false = sum(not truth[masks[1][0] == k].any() for k in range(1, masks[1][1] + 1))
    expected = [masks[0][1], found, masks[1][1], false]
    assert row[["lesions_truth", "lesions_found", "lesions_predicted", "lesions_false"]].tolist() == expected
