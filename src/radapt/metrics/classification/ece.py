"""Expected calibration error, see `radapt.metrics.ece`."""

from radapt.metrics.metric import Metric

METRIC = Metric(
    name="ece",
    title="ECE",
    meaning="Expected calibration error: the mean gap between predicted probability and observed frequency. "
    "Smaller is better.",
    smaller_is_better=True,
    compute=lambda given: given.calibration_error,
    needs_both=False,
    place=90,
)
