"""How well the groups of a column alone predict the label, out of fold."""

from collections.abc import Callable, Sequence

import numpy as np

from radapt.metrics.ranking import Ranking

LEAST_PATIENTS = 10
"""With, and without, a finding or class that is predicted."""

_PRIOR_CASES = 5.0  # imagined cases of each group that are like all others


def answers(labels: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
    """(n,) 1, 0 or NaN of each output: of two classes the second, of more each, of findings each."""
    if labels.ndim == 2:
        return {name: labels[:, at] for at, name in enumerate(outputs)}
    asked = [1] if len(outputs) == 2 else list(range(len(outputs)))
    return {outputs[at]: (labels == at).astype(float) for at in asked}


def predictable(truth: np.ndarray, patients: np.ndarray) -> bool:
    """Whether enough patients have, and lack, an output."""
    return all(len(set(patients[truth == kind])) >= LEAST_PATIENTS for kind in (0, 1))


def rates_out_of_fold(truth: np.ndarray, groups: np.ndarray, folds: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) the log share of an output (n,) in the group of each case relative to all cases, from the other folds."""
    found = np.zeros(len(truth))
    for held_out in folds:
        known = ~held_out & ~np.isnan(truth)
        prior = (truth[known].sum() + 1) / (known.sum() + 2)
        for name in set(groups[held_out]) - {""}:
            own = known & (groups == name)
            rate = (truth[own].sum() + _PRIOR_CASES * prior) / (own.sum() + _PRIOR_CASES)
            found[held_out & (groups == name)] = np.log(rate / prior)
    return found


def association(
    truth: np.ndarray, scores: np.ndarray, groups: np.ndarray, unit: np.ndarray, units: int
) -> Callable[[np.ndarray], np.ndarray]:
    """From weights (U, R) of the patients to the AUROC (R,) of the scores, over cases of known output and group."""
    known = ~np.isnan(truth) & (groups != "")
    ranking = Ranking(truth[known] == 1, scores[known], unit[known], units)
    return lambda weights: ranking.numbers(weights)[0]
