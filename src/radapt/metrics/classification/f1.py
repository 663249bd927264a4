"""F1 of each class, and their mean."""

from radapt.metrics.confusion import f1s
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="f1",
    title="F1",
    meaning="Harmonic mean of precision and recall, averaged over classes (macro).",
    compute=lambda given: f1s(given.confusion),
    kind="per-output",
    listed=True,
    of_decisions=True,
    place=50,
)
