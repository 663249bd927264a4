"""What a model folder says about the metadata of its training patients: quantiles and counts, no patient."""

import numpy as np

from radapt.cohorts import Cohort
from radapt.cohorts.metadata import MISSING_WORDS
from radapt.deploy.deployment import MetadataSummary
from radapt.metrics.drift import levels

QUANTILES = 20
LEAST_PATIENTS = 5
"""A category of fewer patients, and a column that fewer have, is not told."""
MOST_CATEGORIES = 20


def summarise_metadata(cohort: Cohort) -> tuple[MetadataSummary, ...]:
    """Of each column that tells something: numbers, or at most 20 categories; each patient counts once."""
    patients = {case.patient: case for case in reversed(cohort.cases)}
    names = dict.fromkeys(name for case in cohort for name in case.metadata)
    found = (_summary(name, [case.metadata.get(name, "").strip() for case in patients.values()]) for name in names)
    return tuple(each for each in found if each is not None)


def _summary(name: str, column: list[str]) -> MetadataSummary | None:
    texts = [text for text in column if text.casefold() not in MISSING_WORDS]
    if len(texts) < LEAST_PATIENTS:
        return None
    different = set(texts)
    numbers = _numbers(texts)
    if numbers is not None and len(different) > LEAST_PATIENTS:
        quantiles = np.quantile(numbers, levels(QUANTILES))
        return MetadataSummary(name, len(texts), tuple(float(value) for value in quantiles))
    if not 2 <= len(different) <= MOST_CATEGORIES:
        return None
    counts = {text: texts.count(text) for text in sorted(different)}
    return MetadataSummary(name, len(texts), (), {text: n for text, n in counts.items() if n >= LEAST_PATIENTS})


def _numbers(texts: list[str]) -> np.ndarray | None:
    try:
        numbers = np.asarray([float(text) for text in texts])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
