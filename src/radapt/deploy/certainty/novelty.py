"""Novelty: whether a case is like the training cases, as a conformal p-value.

The distance of each training case is measured to training cases of other sites, or of other patients where sites are
not known. The p-value of a new case is the share of training patients that are at least as far; refusing cases below
5 % refuses about 5 % of true patients. Only the sequences that a case has are compared, with training patients who have
them too; the distance of a case is the mean over them, each in units of its median.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radapt.deploy.certainty.distances import TrainingCloud
from radapt.errors import DataError, counted
from radapt.metrics import units_of

FOLDS = 10
LEAST_SITES = 3
LEAST_PATIENTS = 20
"""A p-value of 5 % needs 19 patients; a sequence with fewer than 20 is not compared."""
_LEAST_MEDIAN = 1e-30
MOST_CASES = 5000
"""More training cases are represented by as many of them, drawn at random."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """Training cases to compare with: N cases, M sequences, D columns of features."""

    sequences: tuple[str, ...]
    clouds: tuple[TrainingCloud | None, ...]
    """(M,); None for a sequence that is not compared."""
    distances: np.ndarray
    """(N, M) of each training case to cases of other folds, in units of the median; NaN where there is none."""
    medians: np.ndarray
    """(M,)"""
    weights: np.ndarray
    """(N,): the cases of one patient share the weight of 1."""
    rows: np.ndarray
    """(N,) index of each among the training cases that `fit_novelty` was given."""
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], features: np.ndarray) -> "Novelty":
        """The inverse of `to_json`; `features` are those that `fit_novelty` was given.

        Raises KeyError, TypeError, ValueError or IndexError for anything else.
        """
        sequences = tuple(stored["sequences"])
        distances = np.asarray(stored["distances"], dtype=np.float64).reshape(-1, len(sequences))  # null becomes NaN
        medians = np.asarray(stored["medians"], dtype=np.float64).reshape(len(sequences))
        weights, rows = np.asarray(stored["weights"], dtype=np.float64), np.asarray(stored["rows"], dtype=np.int64)
        if not len(distances) == len(weights) == len(rows) or features.shape[1] != len(sequences):
            raise ValueError("novelty of other training cases")
        used = np.asarray(stored["compared"], dtype=bool)
        clouds = _clouds(np.asarray(features)[rows], used)
        return cls(sequences, clouds, distances, medians, weights, rows, tuple(stored["notes"]))

    def to_json(self) -> dict[str, Any]:
        """All but the features, which belong to the training cases."""
        return {
            "sequences": self.sequences,
            "compared": [cloud is not None for cloud in self.clouds],
            "distances": self.distances.tolist(),
            "medians": self.medians.tolist(),
            "weights": self.weights.tolist(),
            "rows": self.rows.tolist(),
            "notes": self.notes,
        }

    def p_values(self, features: np.ndarray) -> np.ndarray:
        """(n,) p-value of features (n, M, D), NaN where a sequence is missing; NaN if none of a case can be compared.

        Raises DataError for features of another shape.
        """
        given = np.asarray(features)
        width = next((len(cloud.mean) for cloud in self.clouds if cloud is not None), None)
        if given.ndim != 3 or given.shape[1] != len(self.clouds) or (width is not None and given.shape[2] != width):
            raise DataError(
                f"Features have shape {given.shape}; expected (cases, {len(self.clouds)}, {width}), as in training."
            )
        own = np.full((len(given), len(self.clouds)), np.nan)
        for place, cloud in enumerate(self.clouds):
            there = np.flatnonzero(np.isfinite(given[:, place]).all(axis=1))
            if cloud is not None and len(there):
                own[there, place] = cloud.distances(given[there, place]) / self.medians[place]
        found = np.full(len(given), np.nan)
        patterns, position = np.unique(np.isfinite(own), axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if pattern.any():
                rows = np.flatnonzero(position.ravel() == number)
                found[rows] = self._p_values(own[rows][:, pattern], pattern)
        return found

    def _p_values(self, own: np.ndarray, pattern: np.ndarray) -> np.ndarray:
        reference = self.distances[:, pattern]
        complete = np.isfinite(reference)
        rows = complete.all(axis=1)
        if self.weights[rows].sum() < LEAST_PATIENTS - 1:  # compare with those who have some of the sequences
            rows = complete.any(axis=1)
        scores, weights = np.nanmean(reference[rows], axis=1), self.weights[rows]
        beyond = (scores >= own.mean(axis=1)[:, None]) @ weights
        return np.asarray((1 + beyond) / (1 + weights.sum()))


def fit_novelty(
    features: np.ndarray,
    patients: np.ndarray,
    sequences: Sequence[str],
    *,
    sites: np.ndarray | None = None,
    rng: np.random.Generator,
) -> Novelty:
    """From features (N, M, D) of the training cases, NaN where a sequence is missing.

    With `sites` (N,) of three or more places, distances are measured to cases of other sites, so that a new hospital is
    not novel only because it is new; otherwise in ten folds by patient. A sequence of fewer than 20 patients is not
    compared, and `notes` say so. The same `rng` state gives the same result. Raises DataError for arrays that do not
    fit.
    """
    given = np.asarray(features)
    units, _ = units_of(patients)
    if given.ndim != 3 or given.shape[:2] != (len(units), len(sequences)):
        raise DataError(
            f"Features have shape {given.shape}; expected ({len(units)}, {len(sequences)}, columns): every case, every "
            "sequence."
        )
    rows = np.arange(len(given))
    if len(given) > MOST_CASES:
        rows = np.sort(rng.choice(len(given), MOST_CASES, replace=False))
    given, units = given[rows], units[rows]
    folds, how = _folds(units, None if sites is None else np.asarray(sites)[rows], rng)
    compared = np.zeros(len(sequences), dtype=bool)
    distances = np.full((len(given), len(sequences)), np.nan)
    medians = np.ones(len(sequences))
    notes = [f"Novelty: training cases are compared with those of {how}."]
    for place, name in enumerate(sequences):
        there = np.flatnonzero(np.isfinite(given[:, place]).all(axis=1))
        held = len(np.unique(units[there]))
        if held < LEAST_PATIENTS or len(np.unique(folds[there])) < 2:
            notes.append(f"{name} is not compared: {counted(held, 'patient')}, {LEAST_PATIENTS} are needed.")
            continue
        found = _out_of_fold(given[there, place], folds[there])
        medians[place] = max(float(np.median(found)), _LEAST_MEDIAN)
        distances[there, place], compared[place] = found / medians[place], True
    _, position, times = np.unique(units, return_inverse=True, return_counts=True)
    names, clouds = tuple(map(str, sequences)), _clouds(given, compared)
    return Novelty(names, clouds, distances, medians, 1 / times[position], rows, tuple(notes))


def _out_of_fold(features: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(n,) distance of each image (n, D) to those of the other folds."""
    found = np.empty(len(features))
    for fold in np.unique(folds):
        inside = folds == fold
        found[inside] = TrainingCloud.fit(features[~inside]).distances(features[inside])
    return found


def _clouds(features: np.ndarray, compared: np.ndarray) -> tuple[TrainingCloud | None, ...]:
    """(M,) the training images of each sequence that is compared."""
    finite = np.isfinite(features).all(axis=2)
    return tuple(
        TrainingCloud.fit(features[finite[:, place], place]) if used else None for place, used in enumerate(compared)
    )


def _folds(units: np.ndarray, sites: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """(N,) fold of each case, and what the folds are."""
    if sites is not None:
        _, place = np.unique(sites.astype(str), return_inverse=True)
        if place.max(initial=0) + 1 >= LEAST_SITES:
            return place, "other sites"
    return rng.permutation(units.max(initial=-1) + 1)[units] % FOLDS, "other patients"
