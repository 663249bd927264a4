"""Share of each class's non-members that were recognised as such."""

from radapt.metrics.confusion import specificities
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="specificity",
    title="Specificity",
    meaning="The share of a class's non-members that were not predicted as members.",
    compute=lambda given: specificities(given.confusion),
    kind="per-output",
    overall=False,
    listed=True,
    needs_both=False,
    of_decisions=True,
    place=34,
)
