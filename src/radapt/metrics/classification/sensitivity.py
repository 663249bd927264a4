"""Share of each class's members that were recognised."""

from radapt.metrics.confusion import sensitivities
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="sensitivity",
    title="Sensitivity",
    meaning="The share of a class's members that were predicted as such.",
    compute=lambda given: sensitivities(given.confusion),
    kind="per-output",
    overall=False,
    listed=True,
    needs_both=False,
    of_decisions=True,
    place=32,
)
