"""Split-conformal prediction sets: the classes that a patient may have, with a stated coverage.

A score says how badly a class fits the probabilities. A class is in the set if its score is at most a quantile of the
scores that the truth had in calibration patients (Vovk et al. 2005; Sadinle et al. 2019). For a case of a new patient
drawn as the calibration patients were, the set contains the truth with probability 1 - alpha or more.

The quantiles are Mondrian: one for each class and each pattern of available sequences, so that the coverage holds
within each of these groups and not only on average. A patient counts once in a group: cases of one patient in the same
group share the weight of one (Lee et al. 2023).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from radapt.errors import UsageError, counted, suggest

Score = Literal["lac", "aps"]
Source = Literal["own", "class", "all", "none"]
SCORES: tuple[Score, ...] = ("lac", "aps")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Group:
    """The calibration cases of one class, with one pattern of sequences or with any."""

    label: int
    """Class index."""
    sequences: tuple[str, ...] | None
    """The available sequences; None for the cases of the class with any."""
    patients: int
    quantile: float
    """Largest score of a class in a set; infinite where the class is in every set."""
    source: Source
    """Whose scores the quantile is from: this group's own, those of the class, of all cases, or none."""


@dataclass(frozen=True)
class ConformalSets:
    """The quantiles of one outcome's classes."""

    alpha: float
    """The sets miss the truth with at most this probability."""
    score: Score
    """lac: 1 - p of the class, which gives the smallest sets and may give empty ones. aps: the summed probability of
    all classes at least as probable, whose sets are never smaller than the most probable class."""
    sequences: tuple[str, ...]
    groups: tuple[Group, ...]
    """For each class a group of any pattern, then one for each pattern seen with it in calibration."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ConformalSets":
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        groups = tuple(_group(each) for each in stored["groups"])
        if stored["score"] not in SCORES:
            raise ValueError(f"a score is called {stored['score']!r}")
        return cls(check_alpha(stored["alpha"]), stored["score"], tuple(stored["sequences"]), groups)

    def to_json(self) -> dict[str, Any]:
        """An infinite quantile is written as null."""
        return asdict(self)

    @property
    def classes(self) -> int:
        return 1 + max(group.label for group in self.groups)

    @property
    def holds_everything(self) -> bool:
        """Whether every set holds every class, as there are too few patients."""
        return all(group.source == "none" for group in self.groups)

    def quantiles(self, presence: np.ndarray) -> np.ndarray:
        """(n, C) quantile of each class for cases with the sequences of `presence` (n, M).

        A pattern that no calibration case of the class had takes the quantile of the class.
        """
        known = {(group.label, group.sequences): group.quantile for group in self.groups}
        patterns, position = np.unique(presence, axis=0, return_inverse=True)
        table = [
            [known.get((label, self._named(row)), known[label, None]) for label in range(self.classes)]
            for row in patterns
        ]
        return np.asarray(table, dtype=np.float64).reshape(len(patterns), self.classes)[position.ravel()]

    def contain(self, probabilities: np.ndarray, presence: np.ndarray) -> np.ndarray:
        """(n, C) bool: which classes are in the set of each case, from `probabilities` (n, C)."""
        return scores_of(probabilities, self.score) <= self.quantiles(presence)

    def seen(self, presence: np.ndarray) -> np.ndarray:
        """(n,) bool: whether calibration patients had exactly these sequences."""
        known = {group.sequences for group in self.groups}
        return np.asarray([self._named(row) in known for row in presence], dtype=bool)

    def notes(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """What a reader should know about groups that are too small for a quantile of their own."""
        need = fewest_patients(self.alpha)
        patterns = {group.sequences for group in self.groups} - {None}  # one alone says what its classes say
        return tuple(
            f"{outputs[group.label]}{_with(group.sequences)}: {counted(group.patients, 'patient')}, {need} are needed; "
            + _FALLBACKS[group.source]
            for group in self.groups
            if group.source != "own" and (group.sequences is None or len(patterns) > 1)
        )

    def _named(self, present: np.ndarray) -> tuple[str, ...]:
        return tuple(name for name, there in zip(self.sequences, present, strict=True) if there)


_FALLBACKS = {
    "class": "takes the larger of its class's quantile and its own largest score.",
    "all": "takes the larger of the quantile of all classes and its own largest score.",
    "none": "the class is in every set.",
}


def fit_sets(
    probabilities: np.ndarray,
    truths: np.ndarray,
    units: np.ndarray,
    presence: np.ndarray,
    *,
    sequences: Sequence[str],
    alpha: float,
    score: Score = "lac",
) -> ConformalSets:
    """The quantiles from `probabilities` (n, C) with class indices `truths` (n,) of the patients `units` (n,), whose
    cases have the sequences of `presence` (n, M).

    The probabilities come from models, and calibrations, that did not see the patients. A group with fewer than
    ceil(1 / alpha) - 1 patients has no finite quantile of its own: a pattern then takes the larger of the quantile of
    its class and its own largest score; a class the same of all classes; and with too few patients in all, every class
    is in every set.

    Raises UsageError for an alpha outside (0, 1) and an unknown score.
    """
    if score not in SCORES:
        raise UsageError(f"There is no score {score!r}. {suggest(score, SCORES)}")
    alpha, names = check_alpha(alpha), tuple(sequences)
    every = scores_of(probabilities, score)
    own = np.take_along_axis(every, truths[:, None], axis=1)[:, 0]
    overall = quantile(own, units, alpha)
    groups: list[Group] = []
    for label in range(probabilities.shape[1]):
        of_class = truths == label
        total = _group_of(own[of_class], units[of_class], alpha, label, None, overall, "all")
        groups.append(total)
        wider: Source = "class" if total.source == "own" else total.source
        for pattern in np.unique(presence[of_class], axis=0):
            rows = of_class & (presence == pattern).all(axis=1)
            held = tuple(name for name, there in zip(names, pattern, strict=True) if there)
            groups.append(_group_of(own[rows], units[rows], alpha, label, held, total.quantile, wider))
    return ConformalSets(alpha, score, names, tuple(groups))


def scores_of(probabilities: np.ndarray, score: Score) -> np.ndarray:
    """(n, C) probabilities -> (n, C) score of each class, from 0 (fits) to 1."""
    if score == "lac":
        return 1 - probabilities
    at_least = probabilities[:, None, :] >= probabilities[:, :, None]  # (n, class, other)
    return np.minimum((probabilities[:, None, :] * at_least).sum(axis=2), 1.0)


def quantile(scores: np.ndarray, units: np.ndarray, alpha: float) -> float:
    """The least score whose weighted rank among K patients reaches (1 - alpha) (K + 1); infinite if none does."""
    if not len(scores):
        return math.inf
    _, position, counts = np.unique(units, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum((1 / counts[position])[order])
    rank = int(np.searchsorted(reached, (1 - alpha) * (len(counts) + 1) - _ROUNDING))
    return float(scores[order[rank]]) if rank < len(scores) else math.inf


def fewest_patients(alpha: float) -> int:
    """Patients that a group needs for a finite quantile: ceil(1 / alpha) - 1."""
    return math.ceil(1 / alpha - _ROUNDING) - 1


def check_alpha(alpha: float) -> float:
    """Raises UsageError unless 0 < alpha < 1."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha!r}; expected a number between 0 and 1, such as 0.1 for sets of 90 %.")
    return float(alpha)


def _group_of(
    scores: np.ndarray,
    units: np.ndarray,
    alpha: float,
    label: int,
    sequences: tuple[str, ...] | None,
    wider: float,
    wider_source: Source,
) -> Group:
    patients = len(np.unique(units))
    if patients >= fewest_patients(alpha):
        return Group(label, sequences, patients, quantile(scores, units, alpha), "own")
    source: Source = "none" if math.isinf(wider) else wider_source
    return Group(label, sequences, patients, max(wider, float(scores.max(initial=-math.inf))), source)


def _group(stored: Mapping[str, Any]) -> Group:
    quantile_ = math.inf if stored["quantile"] is None else float(stored["quantile"])
    sequences = None if stored["sequences"] is None else tuple(stored["sequences"])
    if stored["source"] not in ("own", *_FALLBACKS):
        raise ValueError(f"a source is called {stored['source']!r}")
    return Group(int(stored["label"]), sequences, int(stored["patients"]), quantile_, stored["source"])


def _with(sequences: tuple[str, ...] | None) -> str:
    return "" if sequences is None else f" with {' + '.join(sequences) or 'no sequence'}"
