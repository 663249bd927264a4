"""What the report says about each metric: title, meaning, range, direction and digits."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric as the report shows it. `chance` is its value for guessing, None if guessing has no fixed value.

    Larger is better, unless `smaller_is_better` or `zero_is_best`.
    """

    name: str
    title: str
    meaning: str
    low: float = 0.0
    high: float | None = 1.0
    chance: float | None = None
    smaller_is_better: bool = False
    zero_is_best: bool = False
    digits: int = 3

    @property
    def first(self) -> str:
        """Which values rank first."""
        return "nearest 0" if self.zero_is_best else "smallest" if self.smaller_is_better else "largest"

    def loss(self, value: float) -> float:
        """A sort key: smaller is better."""
        return abs(value) if self.zero_is_best else value if self.smaller_is_better else -value


_METRICS = (
    MetricInfo(
        "auroc",
        "AUROC",
        "The probability that a random case with the finding scores higher than a random case without it. "
        "0.5 is guessing, 1 is perfect. With several classes or findings: their unweighted mean.",
        chance=0.5,
    ),
    MetricInfo(
        "average_precision",
        "Average precision",
        "Precision averaged over recall, without interpolation. Guessing gives the prevalence, so compare within one "
        "test set only.",
    ),
    MetricInfo(
        "balanced_accuracy",
        "Balanced accuracy",
        "Sensitivity averaged over classes, so that a rare class counts as much as a frequent one.",
    ),
    MetricInfo(
        "mcc",
        "MCC",
        "Matthews correlation coefficient of predicted and true class: 1 is perfect, 0 is guessing, below 0 is worse.",
        low=-1.0,
        chance=0.0,
    ),
    MetricInfo(
        "quadratic_kappa",
        "Quadratic κ",
        "Agreement beyond chance for ordered classes; larger errors cost more.",
        low=-1.0,
        chance=0.0,
    ),
    MetricInfo("f1", "F1", "Harmonic mean of precision and recall, averaged over classes (macro)."),
    MetricInfo(
        "accuracy",
        "Accuracy",
        "The share of correct decisions. With imbalanced classes, always predicting the frequent class scores high.",
    ),
    MetricInfo(
        "log_loss",
        "Log-loss",
        "Mean negative log probability of the true class, in nats. Penalises confident errors. Smaller is better.",
        high=None,
        smaller_is_better=True,
    ),
    MetricInfo(
        "brier",
        "Brier",
        "Mean squared difference between probabilities and truth. Smaller is better.",
        high=None,
        smaller_is_better=True,
    ),
    MetricInfo(
        "ece",
        "ECE",
        "Expected calibration error: the mean gap between predicted probability and observed frequency. Smaller is "
        "better.",
        smaller_is_better=True,
    ),
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
METRICS = {metric.name: metric for metric in _METRICS}
PREFERENCE = tuple(METRICS)
"""The order of metrics; the first one that a cohort has leads its leaderboard."""


def metric_of(name: str) -> MetricInfo:
    """The metric `name`; an unknown one is shown under its own name, with larger taken as better."""
    family = name.partition(":")[0]
    if name in METRICS:
        return METRICS[name]
    distance = any(word in family for word in ("hd95", "hausdorff", "assd", "distance"))
    return MetricInfo(
        name,
        name.replace("_", " "),
        "",
        high=None if distance else 1.0,
        smaller_is_better=distance,
        digits=METRICS[family].digits if family in METRICS else 3,
    )


def ordered(names: set[str]) -> list[str]:
    """The metrics over all classes (no per-class ones) in the report's order."""
    whole = {name for name in names if ":" not in name}
    return [name for name in PREFERENCE if name in whole] + sorted(whole - set(PREFERENCE))
