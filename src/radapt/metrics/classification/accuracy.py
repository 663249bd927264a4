"""Share of right decisions."""

from radapt.metrics.confusion import accuracy_of
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="accuracy",
    title="Accuracy",
    meaning="The share of correct decisions. With imbalanced classes, always predicting the frequent class scores "
    "high.",
    compute=lambda given: accuracy_of(given.confusion),
    needs_both=False,
    of_decisions=True,
    place=60,
)
