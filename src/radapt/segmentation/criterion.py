"""The validation criterion of segmentation protocols: mean Dice."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from radapt.errors import DataError
from radapt.images import Volume
from radapt.segmentation.data import SegmentationData

CRITERION = "mean Dice"


def mean_dice(data: SegmentationData, rows: Sequence[int] | np.ndarray, segment: Callable[[int], Volume]) -> float:
    """The mean over labels of the mean Dice over the cases at `rows`, in the grid of each case.

    A label absent from both truth and prediction of a case is left out of that label's mean; a label without any case
    is left out of the mean over labels; NaN if nothing is left.
    """
    overlaps = np.asarray([case_dice(data.truth(row).array, segment(row).array, list(data.labels)) for row in rows])
    overlaps = overlaps.reshape(-1, len(data.labels))
    defined = np.isfinite(overlaps)
    sums, counts = np.where(defined, overlaps, 0).sum(axis=0), defined.sum(axis=0)
    means = sums[counts > 0] / counts[counts > 0]
    return float(means.mean()) if len(means) else float("nan")


def best_dice(val: Sequence[Mapping[str, float]]) -> int:
    """The index of the highest `dice` among validation scores; the first of equals, undefined ones last."""
    return int(np.argmax([np.nan_to_num(scores.get("dice", np.nan), nan=-1.0) for scores in val]))


def case_dice(truth: np.ndarray, predicted: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """(K,) Dice of each of the ascending `values` in two label maps of one shape; NaN if it is in neither.

    Raises DataError for shapes that differ.
    """
    if truth.shape != predicted.shape:
        raise DataError(f"The label map has the shape {predicted.shape}, the mask {truth.shape}.")
    highest = max(values) + 1
    overlap, predicted_voxels, truth_voxels = (
        np.bincount(voxels.ravel(), minlength=highest)[list(values)]
        for voxels in (truth[truth == predicted], predicted, truth)
    )
    total = predicted_voxels + truth_voxels
    return np.where(total > 0, 2 * overlap / np.maximum(total, 1), np.nan)
