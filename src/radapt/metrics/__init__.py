"""Metrics with confidence intervals. Arrays in, numbers out; this package knows neither images nor models.

`score` gives every classification metric with 95 % bootstrap intervals by patient. `case_numbers` measures one
segmented case, and `summarise` makes a table from many cases. The point metrics are functions of the ground truth and
the predictions with optional case weights, one set of weights or many at once. An undefined metric is NaN and counted;
whether it is undefined depends on the ground truth alone. `docs/statistics.md` gives the definitions.
"""

from radapt.metrics.bootstrap import multiplicities, percentile_interval, units_of
from radapt.metrics.calibration import brier, ece, log_loss, reliability_bins
from radapt.metrics.confusion import accuracy, balanced_accuracy, confusion_matrix, f1, mcc, quadratic_kappa
from radapt.metrics.paired_scores import score_paired
from radapt.metrics.ranking import auroc, average_precision
from radapt.metrics.repeats import compare_repeats, score_repeats
from radapt.metrics.roc import roc_curve
from radapt.metrics.score import score
from radapt.metrics.segmentation import case_numbers
from radapt.metrics.segmentation_summary import summarise
from radapt.metrics.shapley import shapley_values

__all__ = [
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "case_numbers",
    "compare_repeats",
    "confusion_matrix",
    "ece",
    "f1",
    "log_loss",
    "mcc",
    "multiplicities",
    "percentile_interval",
    "quadratic_kappa",
    "reliability_bins",
    "roc_curve",
    "score",
    "score_paired",
    "score_repeats",
    "shapley_values",
    "summarise",
    "units_of",
]
