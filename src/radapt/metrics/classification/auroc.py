"""Area under the ROC curve, see `radapt.metrics.auroc`."""

from radapt.metrics.metric import Metric

METRIC = Metric(
    name="auroc",
    title="AUROC",
    meaning="The probability that a random case with the finding scores higher than a random case without it. 0.5 "
    "is guessing, 1 is perfect. With several classes or findings: their unweighted mean.",
    chance=0.5,
    compute=lambda given: given.auroc,
    kind="ranking",
    listed=True,
    place=10,
)
