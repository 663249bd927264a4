"""A metric: the net benefit of acting above a threshold (Vickers and Elkin 2006)."""

import numpy as np

from radapt.metrics.metric import Metric, by_case

THRESHOLD = 0.2
"""Acting at a probability of 20 %: one missed case is as bad as four needless treatments."""


def net_benefit(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    """Treated cases that have the finding, less those that do not at the odds of the threshold, per case.

    `truth` (n,) of 0 and 1, `probabilities` (n,), `weights` (n,) how often the bootstrap drew each case.
    """
    treated = weights * (probabilities > THRESHOLD)
    benefit, harm = treated @ truth, treated @ (1 - truth)
    return float((benefit - harm * THRESHOLD / (1 - THRESHOLD)) / weights.sum())


METRIC = Metric(
    "net_benefit",
    "Net benefit at 20 %",
    "True positives per case, less false positives at the odds of the threshold. Treating nobody has 0.",
    low=-THRESHOLD / (1 - THRESHOLD),
    chance=0.0,
    compute=by_case(net_benefit, kind="ranking", needs_both=False),
    kind="ranking",  # of two classes it is that of the second; of more, and of findings, the mean
    listed=True,  # a row for each class or finding as well
    needs_both=False,
)
