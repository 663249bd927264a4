"""Mean negative log-likelihood, see `radapt.metrics.log_loss`."""

from radapt.metrics.metric import Metric

METRIC = Metric(
    name="log_loss",
    title="Log-loss",
    meaning="Mean negative log probability of the true class, in nats. Penalises confident errors. Smaller is better.",
    high=None,
    smaller_is_better=True,
    compute=lambda given: given.log_loss,
    needs_both=False,
    place=70,
)
