"""The training cases nearest to some cases of a study, by the features of a cell's encoder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from radapt.cohorts import Case, Cohort
from radapt.features import Features, extract
from radapt.features.case_vectors import CaseVectors, Neighbour
from radapt.studies.cells import Cell

NEAREST = 3


def nearest_cases(cell: Cell, cases: Sequence[str], cache: Path) -> dict[str, tuple[Neighbour, ...]]:
    """For each of the cases its `NEAREST` training cases; {} if the cell's predictions are not made from features.

    In a cohort with folds, those of a case are the cases of the other folds.
    """
    cohort = cell.prepared.cohort
    protocol, encoder = cell.job.protocol, cell.encoder
    if encoder is None or protocol.reads != "features" or cell.prepared.recipe.look == "lesion":
        return {}
    features = extract(cohort, encoder.located.lazy, recipe=cell.prepared.recipe, cache=cache)
    row_of = {case.case: row for row, case in enumerate(cohort)}
    found: dict[str, tuple[Neighbour, ...]] = {}
    for fold in dict.fromkeys(cohort.cases[row_of[name]].fold for name in cases):
        names = [name for name in cases if cohort.cases[row_of[name]].fold == fold]
        rows = np.asarray([row_of[name] for name in names])
        trained = np.asarray([row for row, case in enumerate(cohort) if _is_trained(case, fold, cohort)], dtype=int)
        if len(trained):
            known = _vectors(features, trained, cohort)
            found |= dict(zip(names, known.nearest(_vectors(features, rows, cohort), NEAREST), strict=True))
    return found


def _is_trained(case: Case, fold: str | None, cohort: Cohort) -> bool:
    return case.fold != fold if cohort.folds else case.split == "train"


def _vectors(features: Features, rows: np.ndarray, cohort: Cohort) -> CaseVectors:
    return CaseVectors.of(features, rows, tuple(_label(cohort.cases[int(row)], cohort) for row in rows))


def _label(case: Case, cohort: Cohort) -> str:
    if case.label is not None:
        return cohort.classes[case.label]
    return ", ".join(name for name, value in zip(cohort.findings, case.findings, strict=False) if value)
