"""Inner cross-validation of probes: every candidate on every fold, scored out of fold.

The predictions of a repeat are pooled over its folds and then scored: in a fold of few patients most metrics are
undefined, or take a handful of values. The score of a candidate is the mean over repeats, which differ in how patients
were grouped. With few patients it is still noisy, and the largest of many noisy scores is often that of an odd
candidate out; a strength is therefore scored with its two neighbours on the grid (a running mean of three), since
neighbours are nearly the same model with other noise, and a good one between two bad ones is luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radapt.protocols.candidates import Family
from radapt.protocols.choice import InnerFolds
from radapt.protocols.decisions import smoothed
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.ratings import Rater, Ratings


def cross_validate(
    problem: FeatureProblem,
    families: Sequence[Family],
    folds: InnerFolds,
    rater: Rater,
    rng: np.random.Generator,
) -> "FoldScores":
    """Fit every candidate of `families` on every fold, all of a family in one pass, and score them out of fold."""
    generators = iter(rng.spawn(len(folds.repeats) * folds.folds))
    answered, repeats = folds.answered, []
    scored = np.isin(answered, folds.rows)
    for repeat in folds.repeats:
        parts, places = [], []
        for fold in repeat:
            own = next(generators)
            trained = [family.fit(problem, fold.train, own) for family in families]
            parts.append(np.concatenate([models.predict_all(fold.held_out) for models in trained]))
            places.append(np.searchsorted(answered, fold.held_out))
        repeats.append(pooled(rater, problem.labels, [fold.train for fold in repeat], parts, places, len(answered)))
    paths: list[list[int]] = []
    for family in families:
        first = sum(map(len, paths))
        paths += [[first + number for number in path] for path in family.paths]
    return FoldScores(rater, folds, problem.labels[answered[scored]], scored, tuple(repeats), paths)


@dataclass(frozen=True)
class Pooled:
    """What all folds of one repeat answer: `probabilities` (candidates, n, outputs) and, under the decision rule as
    each fold's training fixes it, `decisions` (candidates, n) or (candidates, n, F)."""

    probabilities: np.ndarray
    decisions: np.ndarray


def pooled(
    rater: Rater,
    labels: np.ndarray,
    learned: Sequence[np.ndarray],
    parts: Sequence[np.ndarray],
    places: Sequence[np.ndarray],
    cases: int,
) -> Pooled:
    """Put together what each fold answers: `parts` (candidates, n_f, outputs) at `places` (n_f,) of `cases`; `learned`
    are the indices that each fold learned from."""
    several, outputs = labels.ndim == 2, parts[0].shape[2]
    probabilities = np.empty((len(parts[0]), cases, outputs))
    decisions = np.empty((len(parts[0]), cases, *([outputs] if several else [])), dtype=np.int64)
    for rows, part, place in zip(learned, parts, places, strict=True):
        probabilities[:, place] = part
        decisions[:, place] = rater.decisions(labels[rows], part)
    return Pooled(probabilities, decisions)


class FoldScores:
    """The out-of-fold scores of every candidate.

    `truth` are the labels of the answered cases that are `scored` (n,) bool. `paths` are candidates in order of
    strength, the most strongly regularised first.
    """

    def __init__(
        self,
        rater: Rater,
        folds: InnerFolds,
        truth: np.ndarray,
        scored: np.ndarray,
        repeats: tuple[Pooled, ...],
        paths: Sequence[Sequence[int]],
    ) -> None:
        self.rater, self.folds, self.truth, self.scored = rater, folds, truth, scored
        self.repeats, self.paths = repeats, paths
        self.ratings = Ratings.mean([self._rate(one, scored, slice(None)) for one in repeats])
        self.smooth = self._smoothed()

    def choose(self, one_standard_error: bool = False) -> int:
        """The best of the smoothed scores, ties by log-loss; or the first of its path within a standard error of it."""
        best = self.smooth.best
        if not one_standard_error:
            return best
        loss = self.rater.metric.loss
        bar = loss(float(self.smooth.value[best])) + self.standard_error(best)
        path = next(path for path in self.paths if best in path)
        return next((one for one in path if loss(float(self.smooth.value[one])) <= bar), best)

    def standard_error(self, candidate: int) -> float:
        """Of a candidate's score: the jackknife over folds (each left out once), averaged over repeats; 0 if
        undefined."""
        errors = []
        for repeat, folds in zip(self.repeats, self.folds.repeats, strict=True):
            without = []
            for fold in folds:
                kept = self.scored & ~np.isin(self.folds.answered, fold.held_out)
                without.append(self._rate(repeat, kept, slice(candidate, candidate + 1)).value[0])
            spread = np.asarray(without) - np.mean(without)
            errors.append(np.sqrt((len(folds) - 1) / len(folds) * (spread**2).sum()))
        return float(np.nan_to_num(np.mean(errors)))

    def predictions(self, candidate: int) -> np.ndarray:
        """(n, outputs) of every answered case: the mean over repeats."""
        return np.asarray(np.mean([repeat.probabilities[candidate] for repeat in self.repeats], axis=0))

    @property
    def extra(self) -> list[dict[str, float]]:
        """The smoothed score of each candidate, by name."""
        return [{f"{self.rater.metric.name}_smoothed": float(value)} for value in self.smooth.value]

    def criterion(self, one_standard_error: bool = False) -> str:
        """What decided."""
        rule = (
            "the most strongly regularised within one standard error of the best" if one_standard_error else "the best"
        )
        return (
            f"{self.rater.metric.title} out of fold ({self.folds.words}), averaged with the neighbours on the grid: "
            f"{rule}, ties by log-loss"
        )

    def notes(self, chosen: int) -> list[str]:
        """What a reader should know about the choice."""
        metric = self.rater.metric
        mixed = [self.folds.mixed] if self.folds.mixed else []
        if undefined := self.rater.undefined_note(self.ratings.value, "out of fold"):
            return [undefined, *mixed]
        value, error = self.ratings.value[chosen], self.standard_error(chosen)
        return [
            f"Chosen by {self.folds.words} inside train and val: {metric.title} {value:.3f} out of fold, standard "
            f"error {error:.3f}. What is shown for val is out of fold too.",
            *mixed,
        ]

    def _rate(self, repeat: Pooled, which: np.ndarray, candidates: slice) -> Ratings:
        truth = self.truth[which[self.scored]]
        probabilities, decisions = repeat.probabilities[candidates, which], repeat.decisions[candidates, which]
        return self.rater.rate(truth, probabilities, truth, decisions if self.rater.metric.of_decisions else None)

    def _smoothed(self) -> Ratings:
        value = self.ratings.value.copy()
        for path in self.paths:
            value[list(path)] = smoothed(self.ratings.value[list(path)])
        return Ratings(self.rater.metric, value, self.ratings.auroc, self.ratings.log_loss)
