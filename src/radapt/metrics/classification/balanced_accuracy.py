"""Mean sensitivity over the classes."""

from radapt.metrics.confusion import sensitivities
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="balanced_accuracy",
    title="Balanced accuracy",
    meaning="Sensitivity averaged over classes, so that a rare class counts as much as a frequent one.",
    compute=lambda given: sensitivities(given.confusion),
    kind="per-output",
    of_decisions=True,
    place=30,
)
