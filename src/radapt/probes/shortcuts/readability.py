"""How well groups can be read from the features among cases with the same label: logistic, out of fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from radapt.metrics.ranking import Ranking
from radapt.probes.logistic_grid import fit_logistic
from radapt.probes.shortcuts.strata import overlap_weights, strata
from radapt.protocols.feature_matrix import FeatureMatrix, blocks
from radapt.protocols.targets import Targets

C = 0.01
"""For standardised features. Nothing is chosen, so that nothing has to be chosen inside the folds."""

_LEAST_CASES = 3  # of each kind in a stratum

Source = Callable[[np.ndarray], FeatureMatrix]
"""From the training rows to the matrix whose imputation they decide."""


@dataclass(frozen=True, eq=False)
class GroupTarget:
    """One group of one column against its others, for n cases: `member` 1, 0 or NaN, and the stratum of each case."""

    column: str
    member: np.ndarray
    strata: np.ndarray

    @classmethod
    def of(cls, column: str, groups: np.ndarray, name: str, labels: np.ndarray) -> "GroupTarget":
        member = np.where(groups == "", np.nan, (groups == name).astype(float))
        return cls(column, member, strata(labels, member))


def out_of_fold(
    source: Source, rows: np.ndarray, targets: Sequence[GroupTarget], folds: Sequence[np.ndarray]
) -> np.ndarray:
    """(n, targets) logits of each target, each fold (bool, n) answered by a probe of the others.

    `rows` (n,) are the cases among those of the features. Weights make the strata of the training cases alike in the
    group and outside it, so that a probe cannot tell a group by the label.
    """
    answers = np.zeros((len(rows), len(targets)))
    for held_out in folds:
        training = np.flatnonzero(~held_out)
        values = np.stack([np.nan_to_num(target.member[training]) for target in targets], axis=1)
        weights = np.stack([overlap_weights(one.member[training], one.strata[training]) for one in targets], axis=1)
        learned = np.flatnonzero((weights * values).sum(axis=0) > 0)
        if not len(learned):
            continue
        wanted = Targets(
            "sigmoid", values[:, learned], weights[:, learned], np.arange(len(learned)), np.zeros(len(learned))
        )
        matrix = source(rows[training])
        models = fit_logistic(matrix, rows[training], wanted, (C,), tolerance=1e-6)
        held = np.flatnonzero(held_out)
        for place, block in blocks(matrix, rows[held]):
            logits = block.double() @ models.weights[:, 0] + models.bias[0]
            answers[np.ix_(held[place], learned)] = logits.numpy()
    return answers


def readability(
    targets: Sequence[GroupTarget], answers: np.ndarray, unit: np.ndarray, units: int
) -> Callable[[np.ndarray], np.ndarray]:
    """From weights (U, R) of the patients to the mean over targets of the AUROC within strata (R,).

    Strata count by their pairs. Strata with fewer than three cases of a kind are left out; NaN without any.
    """
    each = [_within(target, answers[:, at], unit, units) for at, target in enumerate(targets)]

    def values(weights: np.ndarray) -> np.ndarray:
        found = np.array([ask(weights) for ask in each])
        known = ~np.isnan(found)
        return np.divide(
            np.nansum(found, axis=0), known.sum(axis=0), out=np.full(found.shape[1], np.nan), where=known.any(axis=0)
        )

    return values


def _within(
    target: GroupTarget, answers: np.ndarray, unit: np.ndarray, units: int
) -> Callable[[np.ndarray], np.ndarray]:
    rankings, pairs = [], []
    for stratum in np.unique(target.strata):
        own = (target.strata == stratum) & ~np.isnan(target.member)
        members = int((target.member[own] == 1).sum())
        others = int(own.sum()) - members
        if min(members, others) >= _LEAST_CASES:
            rankings.append(Ranking(target.member[own] == 1, answers[own], unit[own], units))
            pairs.append(members * others)

    def values(weights: np.ndarray) -> np.ndarray:
        if not rankings:
            return np.full(weights.shape[1], np.nan)
        areas = np.array([ranking.numbers(weights)[0] for ranking in rankings])
        shares = np.where(np.isnan(areas), 0.0, np.asarray(pairs, dtype=float)[:, None])
        total = shares.sum(axis=0)
        return np.divide(
            (np.nan_to_num(areas) * shares).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0
        )

    return values
