"""Whether the patients of another cohort differ from those a model learned from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radapt.deploy.deployment import MetadataSummary
from radapt.deploy.evaluation.labelled_cases import LabelledCases
from radapt.features.case_vectors import CaseVectors
from radapt.metrics.drift import category_test, energy_test, number_test

LEVEL = 0.05


@dataclass(frozen=True)
class Drift:
    """Of one thing that is compared."""

    what: str
    """`features: <sequence>`, `available: <sequence>`, or the name of a metadata column."""
    amount: float
    """From 0, no difference, to 1: the energy coefficient of features, the total variation of categories, the largest
    difference of distribution functions of numbers."""
    p: float
    """p-value; NaN where there is too little to compare."""
    adjusted: float
    """The p-value after Holm's correction for all that is compared."""

    @property
    def differs(self) -> bool:
        return bool(self.adjusted <= LEVEL)


def drift_of(
    cases: LabelledCases,
    training: CaseVectors | None,
    metadata: tuple[MetadataSummary, ...],
    rng: np.random.Generator,
) -> tuple[Drift, ...]:
    """Features, availability of sequences, and metadata; each patient of the new cohort counts once."""
    found: list[tuple[str, float, float]] = []
    first = np.unique(cases.patients.astype(str), return_index=True)[1]
    if training is not None and cases.vectors is not None:
        for place, name in enumerate(training.modalities):
            known = training.vectors[training.presence[:, place], place]
            new = _by_patient(cases.vectors.vectors[:, place], cases.patients)
            found.append((f"features: {name}", *energy_test(known, new, rng)))
            if len(training.modalities) > 1:
                has = [
                    _counts(each.presence[:, place]) for each in (training, cases.at(first).vectors) if each is not None
                ]
                found.append((f"available: {name}", *category_test(*has)))
    for summary in metadata:
        if summary.column in cases.metadata:
            column = [cases.metadata[summary.column][row] for row in first]
            found.append((summary.column, *_metadata(summary, column)))
    adjusted = holm(np.asarray([p for _, _, p in found]))
    return tuple(Drift(*each, float(p)) for each, p in zip(found, adjusted, strict=True))


def holm(p: np.ndarray) -> np.ndarray:
    """(n,) p-values after Holm's correction; NaN stays NaN and is not counted."""
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)) if len(order) else p[order]
    found = np.full(len(p), np.nan)
    found[order] = np.minimum(steps, 1)
    return found


def _metadata(summary: MetadataSummary, column: list[str]) -> tuple[float, float]:
    if summary.quantiles:
        return number_test(summary.quantiles, summary.patients, np.asarray([_number(text) for text in column]))
    counts: Mapping[str, int] = summary.counts
    new = dict.fromkeys(counts, 0) | {"": 0}
    for text in column:
        if text:
            new[text if text in counts else ""] += 1
    return category_test([*counts.values(), 0], [*(new[name] for name in counts), new[""]])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _by_patient(vectors: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(patients, D) mean of the vectors (n, D) of each patient who has one."""
    there = np.isfinite(vectors).all(axis=1)
    names, unit, counts = np.unique(patients[there].astype(str), return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), vectors.shape[1]))
    np.add.at(sums, unit, vectors[there])
    return sums / np.maximum(counts, 1)[:, None]


def _counts(has: np.ndarray) -> list[float]:
    return [float(has.sum()), float((~has).sum())]
