"""How much of the best test score among several candidates is luck of the choice.

The largest of several noisy scores is optimistic, because chance helps to choose it. `optimism_of_predictions` measures
this on predictions, `optimism_of_scores` bounds it where only scores are known.
"""

from radapt.metrics.selection.predictions import PredictionOptimism, optimism_of_predictions
from radapt.metrics.selection.scores import ScoreOptimism, auroc_error, optimism_of_scores, proportion_error

__all__ = [
    "PredictionOptimism",
    "ScoreOptimism",
    "auroc_error",
    "optimism_of_predictions",
    "optimism_of_scores",
    "proportion_error",
]
