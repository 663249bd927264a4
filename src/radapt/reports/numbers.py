"""How numbers are named, ordered, compared and printed."""

import math
from dataclasses import dataclass

MINUS, DASH = "−", "—"


@dataclass(frozen=True, slots=True)
class Metric:
    """What the report says of one metric. `chance` is its value for guessing, None where there is no one value.

    Better is larger, unless `smaller_is_better` or `zero_is_best`.
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
        """Which values come first in a ranking."""
        return "nearest 0" if self.zero_is_best else "smallest" if self.smaller_is_better else "largest"

    def loss(self, value: float) -> float:
        """The smaller, the better."""
        return abs(value) if self.zero_is_best else value if self.smaller_is_better else -value


_KNOWN = (
    Metric(
        "auroc",
        "AUROC",
        "The chance that a random case with the finding gets a higher score than a random case without it. "
        "0.5 is guessing, 1 is perfect. With several classes or findings: the plain mean over them.",
        chance=0.5,
    ),
    Metric(
        "average_precision",
        "Average precision",
        "Mean precision over all recalls. Guessing gives the share of positive cases: compare it on one test set only.",
    ),
    Metric(
        "balanced_accuracy",
        "Balanced accuracy",
        "The share of a class's cases that were recognised, averaged over classes: rare ones count as much as others.",
    ),
    Metric(
        "mcc",
        "MCC",
        "Matthews correlation between predicted and true class: 1 is perfect, 0 is guessing, less is worse.",
        low=-1.0,
        chance=0.0,
    ),
    Metric(
        "quadratic_kappa",
        "Quadratic κ",
        "Agreement beyond chance for ordered classes; far misses cost more.",
        low=-1.0,
        chance=0.0,
    ),
    Metric("f1", "F1", "Harmonic mean of precision and recall, averaged over classes (macro)."),
    Metric(
        "accuracy",
        "Accuracy",
        "The share of cases that were right. With unequal classes, always saying the common one scores high.",
    ),
    Metric(
        "log_loss",
        "Log-loss",
        "Surprise at the truth, in nats. Punishes confident errors. Smaller is better.",
        high=None,
        smaller_is_better=True,
    ),
    Metric(
        "brier",
        "Brier",
        "Squared distance between probabilities and truth. Smaller is better.",
        high=None,
        smaller_is_better=True,
    ),
    Metric(
        "ece",
        "ECE",
        "Expected calibration error: how far stated confidence and observed frequency lie apart. Smaller is better.",
        smaller_is_better=True,
    ),
    Metric(
        "dice",
        "Dice",
        "Overlap of predicted and true structure, measured per case and averaged over cases, then over structures. 1 "
        "is perfect. A structure that was missed, or drawn where there is none, counts as 0; where it is neither "
        "there nor drawn, the case has no number.",
    ),
    Metric(
        "nsd",
        "Surface Dice",
        "Normalised surface Dice: the share of both borders that lie within a tolerance of each other (2 mm unless the "
        "study says otherwise). 1 is perfect; missed or falsely drawn structures count as 0.",
    ),
    Metric("iou", "IoU", "Voxels in both over voxels in either: stricter than Dice, and ranked alike case by case."),
    Metric(
        "hd95_mm",
        "HD95 (mm)",
        "How far the borders lie apart, in mm, but for the worst 5 %. A structure that was missed, or drawn where "
        "there is none, counts with the diagonal of the image, so one miss can move the mean by a lot. Smaller is "
        "better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
    Metric(
        "assd_mm",
        "ASSD (mm)",
        "Average distance between the two borders, in mm; misses as for HD95. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
    Metric(
        "volume_error_ml",
        "Volume error (ml)",
        "Predicted minus true volume, averaged with its sign: the bias. 0 is best; errors up and down cancel.",
        low=-math.inf,
        high=None,
        zero_is_best=True,
        digits=2,
    ),
    Metric(
        "volume_error_abs_ml",
        "|Volume error| (ml)",
        "Size of the difference between predicted and true volume. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
    Metric(
        "missed",
        "Missed",
        "Of the cases with the structure, the share in which nothing of it was drawn. Smaller is better.",
        smaller_is_better=True,
    ),
    Metric(
        "false_alarm",
        "False alarm",
        "Of the cases without the structure, the share in which it was drawn. Smaller is better.",
        smaller_is_better=True,
    ),
    Metric(
        "lesion_sensitivity",
        "Lesions found",
        "Of all separate lesions, the share that the prediction touches anywhere.",
    ),
    Metric(
        "lesions_false",
        "False lesions",
        "Separate predicted lesions per case that touch nothing true. Smaller is better.",
        high=None,
        smaller_is_better=True,
        digits=2,
    ),
)
METRICS = {metric.name: metric for metric in _KNOWN}
PREFERENCE = tuple(METRICS)
"""Which metric leads when a cohort has several."""


def metric_of(name: str) -> Metric:
    """What is known of the metric `name`; an unknown one is shown by its own name, larger taken as better."""
    base = name.partition(":")[0]
    if base in METRICS and base == name:
        return METRICS[name]
    distance = any(word in base for word in ("hd95", "hausdorff", "assd", "distance"))
    known = METRICS.get(base)
    digits = known.digits if known else 3
    return Metric(
        name, name.replace("_", " "), "", high=None if distance else 1.0, smaller_is_better=distance, digits=digits
    )


def ordered(names: set[str]) -> list[str]:
    """Whole-cohort metrics (no per-class ones) in the report's order."""
    whole = {name for name in names if ":" not in name}
    return [name for name in PREFERENCE if name in whole] + sorted(whole - set(PREFERENCE))


def defined(value: float | None) -> bool:
    return value is not None and value == value


def shown(value: float | None, digits: int = 3) -> str:
    """A number with a proper minus, or a dash where it is undefined."""
    if value is None or value != value:
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    if not (defined(low) and defined(high)):
        return DASH
    # An en dash between negative numbers reads as a second minus.
    joint = " to " if (low or 0) < 0 else "–"
    return f"{shown(low, digits)}{joint}{shown(high, digits)}"


def counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def lasting(seconds: float | None) -> str:
    """A duration in the two units that matter."""
    if seconds is None or seconds != seconds:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
