"""Paired comparison of two methods on the same cases, by patient.

`compare_pairs` gives the difference, its interval and the p-value of a permutation test for anything that a pair of
sets can be asked: means of numbers (`paired_means`), metrics of predictions (`paired_predictions`) and of label maps
(`paired_label_maps`). `compare_many` gives the same for any pairs of several methods and for all metrics at the cost of
the methods rather than of the pairs. `compare_over_cohorts` compares methods by their values on several cohorts.
`delong` tests AUROCs without resampling, `holm` adjusts a family of p-values.
"""

from radapt.metrics.comparison.cohorts import CohortPair, OverCohorts, compare_over_cohorts, signed_rank_p
from radapt.metrics.comparison.delong import DeLong, delong
from radapt.metrics.comparison.difference import PERMUTATIONS, Difference, Draws, Verdict, compare_pairs
from radapt.metrics.comparison.family import holm
from radapt.metrics.comparison.intervals import INTERVALS, IntervalMethod, bca_interval
from radapt.metrics.comparison.many import compare_many
from radapt.metrics.comparison.pairs import Pair, paired_label_maps, paired_means, paired_predictions
from radapt.metrics.comparison.sets import LabelMapSets, PredictionSets, ResultSets
from radapt.metrics.comparison.training import OverTraining, VarianceParts, over_training, variance_parts

__all__ = [
    "INTERVALS",
    "PERMUTATIONS",
    "CohortPair",
    "DeLong",
    "Difference",
    "Draws",
    "IntervalMethod",
    "LabelMapSets",
    "OverCohorts",
    "OverTraining",
    "Pair",
    "PredictionSets",
    "ResultSets",
    "VarianceParts",
    "Verdict",
    "bca_interval",
    "compare_many",
    "compare_over_cohorts",
    "compare_pairs",
    "delong",
    "holm",
    "over_training",
    "paired_label_maps",
    "paired_means",
    "paired_predictions",
    "signed_rank_p",
    "variance_parts",
]
