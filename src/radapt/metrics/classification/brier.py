"""Mean Brier score, see `radapt.metrics.brier`."""

from radapt.metrics.metric import Metric

METRIC = Metric(
    name="brier",
    title="Brier",
    meaning="Mean squared difference between probabilities and truth. Smaller is better.",
    high=2.0,
    smaller_is_better=True,
    compute=lambda given: given.brier,
    needs_both=False,
    place=80,
)
