"""Every classification metric by name."""

from radapt.metrics.metric import Metric
from radapt.plugins import Registry, declared

METRICS: Registry[Metric] = Registry(
    "radapt.metrics",
    "metric",
    lambda: {metric.name: metric for metric in declared("radapt.metrics.classification", "METRIC", Metric)},
    lambda thing: isinstance(thing, Metric),
)
"""The files of `radapt/metrics/classification/`, and those of other packages (see `radapt.plugins`)."""


def in_order() -> list[Metric]:
    """All metrics, in the order of their rows in a table."""
    return sorted(METRICS.values(), key=lambda metric: (metric.place, metric.name))
