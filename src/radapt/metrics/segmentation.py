"""Segmentation metrics of one case, label by label: overlap, surface distances, volumes, lesions.

Everything is measured once per case; `summarise` makes tables and intervals from these rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.label_maps import LabelPair, label_pairs, prepared
from radapt.metrics.lesions import count_lesions
from radapt.metrics.surfaces import Border, assd, hd95, surface_dice, surface_distances

Row = dict[str, float]

NUMBERS = (
    "dice", "iou", "hd95_mm", "assd_mm", "nsd",
    "volume_truth_ml", "volume_predicted_ml", "volume_error_ml",
    "lesions_truth", "lesions_found", "lesions_predicted", "lesions_false",
)  # fmt: skip
OUTCOMES = ("both", "missed", "false_alarm", "empty")
"""Whether a label is in truth and prediction, in the truth alone, in the prediction alone, or in neither."""

TOLERANCE_MM = 2.0
"""Tolerance of normalised surface Dice. The right one is how far two readers differ on the structure (Nikolov et al.
2018), so give your own per label."""

HIGHEST_LABEL = 2**16 - 1
"""Label maps are stored as 8 or 16 bits."""


def case_numbers(
    truth: np.ndarray,
    predicted: np.ndarray,
    labels: Mapping[int, str],
    spacing_mm: Sequence[float],
    *,
    tolerance_mm: float | Mapping[int, float] = TOLERANCE_MM,
) -> pd.DataFrame:
    """Metrics of one case, a row per label in the order of `labels`: `label` (its name), NUMBERS and `outcome`.

    `truth` and `predicted` are label maps of one shape, 2D or 3D, of whole numbers: 0 for background or one of
    `labels` (value to name). `spacing_mm` is the voxel spacing along each axis. `tolerance_mm` is that of `nsd`, one
    for all labels or one per label value.

    `dice`, `iou`, `nsd`: 0–1. `hd95_mm`, `assd_mm`: see `surfaces`. `volume_error_ml` is predicted − truth; a 2D image
    counts as 1 mm thick. `lesions_*`: see `lesions`. Axes of one voxel are dropped: a volume of one slice is measured
    in 2D.

    `outcome` decides:
    - `both`: everything is measured.
    - `missed` (in the truth only) and `false_alarm` (in the prediction only): dice, iou and nsd are 0, hd95_mm and
      assd_mm the diagonal of the image, which exceeds any distance within it; volumes and lesions are counted.
    - `empty` (in neither): every metric is NaN.

    Raises DataError for arrays, spacing or tolerances that do not fit, and for values that are not in `labels`.
    """
    names = _checked_labels(labels)
    tolerances = _checked_tolerances(tolerance_mm, names)
    voxel_ml = float(np.prod(np.asarray(spacing_mm, dtype=np.float64))) / 1000
    truth, predicted, spacing = prepared(truth, predicted, spacing_mm)
    diagonal_mm = float(np.linalg.norm(truth.shape * spacing))
    rows = []
    for pair, (value, name) in zip(label_pairs(truth, predicted, list(names)), names.items(), strict=True):
        row: dict[str, Any] = {"label": name, "outcome": pair.outcome}
        if pair.outcome != "empty":
            row |= _overlap(pair) | _volumes(pair, voxel_ml) | _lesions(pair)
            row |= _surfaces(pair, spacing, tolerances[value], diagonal_mm)
        rows.append(row)
    return pd.DataFrame(rows, columns=["label", *NUMBERS, "outcome"]).astype(dict.fromkeys(NUMBERS, np.float64))


def _overlap(pair: LabelPair) -> Row:
    truth, predicted, both = pair.voxels
    return {"dice": 2 * both / (truth + predicted), "iou": both / (truth + predicted - both)}


def _volumes(pair: LabelPair, voxel_ml: float) -> Row:
    truth, predicted, _ = (voxels * voxel_ml for voxels in pair.voxels)
    return {"volume_truth_ml": truth, "volume_predicted_ml": predicted, "volume_error_ml": predicted - truth}


def _surfaces(pair: LabelPair, spacing: np.ndarray, tolerance_mm: float, diagonal_mm: float) -> Row:
    truth, predicted = (
        None if box is None else Border.of(pair.masks(box)[side], box) for side, box in enumerate(pair.boxes)
    )
    if truth is None or predicted is None:
        return {"hd95_mm": diagonal_mm, "assd_mm": diagonal_mm, "nsd": 0.0}
    pred_to_truth_mm, truth_to_pred_mm = surface_distances(truth, predicted, spacing)
    return {
        "hd95_mm": hd95(pred_to_truth_mm, truth_to_pred_mm),
        "assd_mm": assd(pred_to_truth_mm, truth_to_pred_mm),
        "nsd": surface_dice(pred_to_truth_mm, truth_to_pred_mm, tolerance_mm),
    }


def _lesions(pair: LabelPair) -> Row:
    lesions = count_lesions(*pair.masks(pair.joint_box))
    return {f"lesions_{field}": float(count) for field, count in asdict(lesions).items()}


def _checked_labels(labels: Mapping[int, str]) -> dict[int, str]:
    names = {int(value): str(name) for value, name in labels.items()}
    wrong = [value for value in labels if int(value) != value or not 0 < value <= HIGHEST_LABEL]
    if wrong or not names or len(set(names.values())) < len(names):
        raise DataError(
            f"Labels {dict(labels)} are not usable; expected at least one whole number from 1 to {HIGHEST_LABEL}, "
            "each with a name of its own. 0 is the background."
        )
    return names


def _checked_tolerances(given: float | Mapping[int, float], names: Mapping[int, str]) -> dict[int, float]:
    by_label = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names, given)
    if missing := [value for value in names if value not in by_label]:
        raise DataError(f"No surface tolerance for label(s) {missing}; expected one number of mm per label value.")
    tolerances = {value: float(by_label[value]) for value in names}
    if not all(np.isfinite(mm) and mm >= 0 for mm in tolerances.values()):
        raise DataError(f"Surface tolerances {tolerances} must be finite and 0 mm or more.")
    return tolerances
