"""Matthews correlation, see `radapt.metrics.confusion.mcc_of`."""

from radapt.metrics.confusion import mcc_of
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="mcc",
    title="MCC",
    meaning="Matthews correlation coefficient of predicted and true class: 1 is perfect, 0 is guessing, below 0 is "
    "worse.",
    low=-1.0,
    chance=0.0,
    compute=lambda given: mcc_of(given.confusion),
    of_decisions=True,
    place=40,
)
