"""Cases with the same label, or with several findings of about the same probability of a group."""

import numpy as np

_BINS = 10  # five remove nine tenths of what the findings explain (Rosenbaum and Rubin 1983)
_RIDGE = 1.0


def strata(labels: np.ndarray, member: np.ndarray) -> np.ndarray:
    """(n,) int64 of cases among which a group is compared with the rest.

    `labels` (n,) class indices, or (n, F) findings with NaN unknown; `member` (n,) 1 in the group, 0 in another one,
    NaN unknown. Classes are their own strata. Findings are joined into the linear prediction of membership from all of
    them, in ten bins of equal size, so that within a bin no finding says much about the group.
    """
    if labels.ndim == 1:
        return labels.astype(np.int64)
    known = ~np.isnan(member)
    found = np.where(np.isnan(labels), np.nanmean(labels, axis=0, where=True, keepdims=True), labels)
    found = np.nan_to_num(found)
    centred = found - found[known].mean(axis=0)
    own = centred[known]
    inside = own.T @ (member[known] - member[known].mean())
    weights = np.linalg.solve(own.T @ own + _RIDGE * np.eye(own.shape[1]), inside)
    predicted = np.round(centred @ weights, 9)
    edges = np.unique(np.quantile(predicted[known], np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.searchsorted(edges, predicted, side="left").astype(np.int64)


def overlap_weights(member: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """(n,) weights under which the group and the others have the same strata (Li, Morgan and Zaslavsky 2018).

    A case weighs the share of the other kind in its stratum, scaled to a mean of 1 over the known cases; 0 where the
    membership is unknown or a stratum has one kind only.
    """
    weights = np.zeros(len(member))
    for stratum in np.unique(strata):
        own = (strata == stratum) & ~np.isnan(member)
        share = member[own].mean() if own.any() else 0.0
        weights[own] = np.where(member[own] == 1, 1 - share, share)
    total = weights.sum()
    return weights * (~np.isnan(member)).sum() / total if total > 0 else weights
