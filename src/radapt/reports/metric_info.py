"""What the report says about each metric: title, meaning, range, direction and digits."""

import math

from radapt.metrics.metric import ARGMAX, MetricInfo, metric_name
from radapt.metrics.registry import METRICS, in_order

_SEGMENTATION = (
    MetricInfo(
        "dice",
        "Dice",
        "Overlap of prediction and truth, computed per case and averaged over cases, then over structures. 1 is "
        "perfect. A missed structure and a false alarm count as 0; a case with the structure in neither mask is not "
        "scored.",
    ),
    MetricInfo(
        "nsd",
        "Surface Dice",
        "Normalised surface Dice: the share of both surfaces that lies within a tolerance of the other (2 mm unless "
        "the study sets another). 1 is perfect; missed structures and false alarms count as 0.",
    ),
    MetricInfo("iou", "IoU", "Intersection over union. Lower than Dice, with the same ranking within a case."),
    MetricInfo(
        "hd95_mm",
        "HD95 (mm)",
        "95th percentile of the distances between the surfaces, the larger of the two directions, in mm. A missed "
        "structure or a false alarm counts as the diagonal of the image, so a single one can raise the mean "
        "considerably. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
    MetricInfo(
        "assd_mm",
        "ASSD (mm)",
        "Average symmetric surface distance, in mm; misses and false alarms count as for HD95. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
    MetricInfo(
        "volume_error_ml",
        "Volume error (ml)",
        "Mean of predicted minus true volume: the bias. 0 is best; over- and underestimation cancel out.",
        low=-math.inf,
        high=None,
        zero_is_best=True,
        digits=2,
    ),
    MetricInfo(
        "volume_error_abs_ml",
        "|Volume error| (ml)",
        "Mean absolute difference between predicted and true volume. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
    MetricInfo(
        "missed",
        "Missed",
        "The share of cases with the structure in which the prediction misses it entirely. Smaller is better.",
        smaller_is_better=True,
    ),
    MetricInfo(
        "false_alarm",
        "False alarm",
        "The share of cases without the structure in which the prediction contains it. Smaller is better.",
        smaller_is_better=True,
    ),
    MetricInfo(
        "lesion_sensitivity",
        "Lesion sensitivity",
        "Lesion-wise sensitivity: the share of true lesions that the prediction overlaps.",
    ),
    MetricInfo(
        "lesions_false",
        "False lesions",
        "Predicted lesions per case that overlap no true lesion. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
)


def metric_of(name: str) -> MetricInfo:
    """The metric `name`; an unknown one is shown under its own name, with larger taken as better."""
    family, _, output = name.partition(":")
    info = _info(family)
    if info is not None and not output:
        return info
    distance = any(word in family for word in ("hd95", "hausdorff", "assd", "distance"))
    return MetricInfo(
        name,
        name.replace("_", " "),
        "",
        high=None if distance else 1.0,
        smaller_is_better=distance,
        digits=3 if info is None else info.digits,
    )


def _info(name: str) -> MetricInfo | None:
    if name in METRICS:
        return METRICS[name]
    if name.endswith(ARGMAX) and (metric := METRICS.get(metric_name(name))) is not None:
        meaning = f"{metric.meaning} Of the most probable class, in place of the one the model decides for."
        return MetricInfo(
            name, metric.title + ARGMAX, meaning, metric.low, metric.high, metric.chance, metric.smaller_is_better,
            metric.zero_is_best, metric.digits,
        )  # fmt: skip
    return next((metric for metric in _SEGMENTATION if metric.name == name), None)


def ordered(names: set[str]) -> list[str]:
    """The metrics over all classes (no per-class ones) in the report's order; the first leads the leaderboard."""
    whole = {name for name in names if ":" not in name}
    known = [metric.name for metric in (*in_order(), *_SEGMENTATION) if metric.name in whole]
    return known + sorted(whole - set(known))
