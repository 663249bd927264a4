"""Fitting a lesion locator on training cases with masks, and the places of all cases: out of fold for these."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.features.lesions.locator import THRESHOLDS, LesionLocator, PatchSums, best_threshold
from radapt.features.lesions.places import (
    LOCATED,
    OWN,
    LesionPlace,
    LesionPlaces,
    foreground_place,
    largest,
    place_of,
)
from radapt.features.lesions.tokens import LesionTokens

GROUPS = 5
"""Groups of training patients; the cases of one are located by what was fitted on the others."""

Sums = dict[str, PatchSums]


@dataclass(frozen=True, eq=False)
class FittedLocator:
    """A locator, and the scores (n, h, w) of the `masked` training cases that it was fitted on, by regressions on other
    patients: None for a case without any modality that these know."""

    locator: LesionLocator
    out_of_fold: Mapping[int, np.ndarray | None]

    @property
    def masked(self) -> int:
        return len(self.out_of_fold)

    def scores(self, tokens: LesionTokens, row: int) -> np.ndarray | None:
        """(n, h, w) of a case; None if nothing can be predicted."""
        return self.out_of_fold[row] if row in self.out_of_fold else self.locator.scores(tokens.tokens(row))


def locate(tokens: LesionTokens, cohort: Cohort, *, own_masks: bool) -> LesionPlaces:
    """Places of all cases of a cohort, by the masks of its training cases alone, unless `own_masks` are allowed.

    Training cases with a mask are located by a regression on other patients, so that their places err as those of new
    cases do; the threshold is the one that suits them. Without any such case all look at the foreground.
    """
    fitted = fit_locator(tokens, cohort, own_masks=own_masks)
    places = [_place(tokens, row, fitted.scores(tokens, row), fitted.locator) for row in range(len(cohort))]
    return LesionPlaces(tuple(places), fitted.locator, fitted.masked)


def fit_locator(tokens: LesionTokens, cohort: Cohort, *, own_masks: bool) -> FittedLocator:
    """A locator fitted on the masks of the training cases of a cohort."""
    masked = [row for row, case in enumerate(cohort) if case.split == "train" and case.mask is not None]
    group = _groups(cohort, masked)
    sums: dict[int, Sums] = {}
    for row in masked:
        sums[group[row]] = _joined(sums.get(group[row], {}), _sums(tokens, row))
    total: Sums = reduce(_joined, sums.values(), {})
    weights = {own: _solved(total, left_out) for own, left_out in sums.items()}
    scores: dict[int, np.ndarray] = {}
    for row in masked:
        found = LesionLocator(weights[group[row]], 0.5).scores(tokens.tokens(row))
        if found is not None:
            scores[row] = found.astype(np.float32)
    threshold = _threshold(tokens, scores)
    return FittedLocator(
        LesionLocator(_solved(total, {}), threshold, own_masks), {row: scores.get(row) for row in masked}
    )


def located(tokens: LesionTokens, cohort: Cohort, locator: LesionLocator) -> LesionPlaces:
    """Places of all cases of a cohort by a locator that was fitted before."""
    places = [_place(tokens, row, locator.scores(tokens.tokens(row)), locator) for row in range(len(cohort))]
    return LesionPlaces(tuple(places), locator, 0)


def _groups(cohort: Cohort, rows: list[int]) -> dict[int, int]:
    """The group of each of the cases at `rows`, the same for all cases of a patient."""
    patients = sorted({cohort.cases[row].patient for row in rows})
    order = np.random.default_rng(0).permutation(len(patients))
    number = {patients[int(place)]: at % GROUPS for at, place in enumerate(order)}
    return {row: number[cohort.cases[row].patient] for row in rows}


def _sums(tokens: LesionTokens, row: int) -> Sums:
    shares = tokens.shares(row).ravel()
    return {name: PatchSums.of(own.reshape(-1, own.shape[-1]), shares) for name, own in tokens.tokens(row).items()}


def _joined(first: Sums, second: Sums) -> Sums:
    both = {name: first[name] + second[name] for name in first if name in second}
    return {**first, **second, **both}


def _solved(total: Sums, left_out: Sums) -> dict[str, np.ndarray]:
    """The weights of each modality, without what is left out."""
    rest = {name: own - left_out[name] if name in left_out else own for name, own in total.items()}
    return {name: weights for name, own in rest.items() if (weights := own.solved()) is not None}


def _threshold(tokens: LesionTokens, scores: dict[int, np.ndarray]) -> float:
    hits, chosen, total = np.zeros(len(THRESHOLDS)), np.zeros(len(THRESHOLDS)), 0.0
    for row, found in scores.items():
        shares = tokens.shares(row)
        for at, threshold in enumerate(THRESHOLDS):
            above = found > threshold
            hits[at] += shares[above].sum(dtype=np.float64)
            chosen[at] += above.sum()
        total += shares.sum(dtype=np.float64)
    return best_threshold(hits, chosen, total)


def _place(tokens: LesionTokens, row: int, scores: np.ndarray | None, locator: LesionLocator) -> LesionPlace:
    axes, size = tokens.axes(row), tokens.recipe.size
    place = None
    if locator.own_masks and tokens.reader.case(row).mask is not None:
        place = place_of(tokens.marked(row), axes, size, OWN)
    if place is None and scores is not None:
        scores = scores.astype(np.float32)
        place = place_of(largest(scores, locator.threshold, axes), axes, size, LOCATED)
    if place is not None:
        return place
    extents = tokens.extents.extents(row)
    return foreground_place(extents.boxes, extents.shown)
