"""Average precision, see `radapt.metrics.average_precision`."""

from radapt.metrics.metric import Metric

METRIC = Metric(
    name="average_precision",
    title="Average precision",
    meaning="Precision averaged over recall, without interpolation. Guessing gives the prevalence, so compare "
    "within one test set only.",
    compute=lambda given: given.average_precision,
    kind="ranking",
    listed=True,
    place=20,
)
