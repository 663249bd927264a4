"""Predictions of a model for the labelled cases of another cohort, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from radapt.cohorts import Cohort
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.inputs.resolve import resolve_inputs
from radapt.deploy.predict_cases import predict_cases
from radapt.errors import UsageError, counted, suggest
from radapt.features.case_vectors import CaseVectors
from radapt.progress import ProgressMaker, silent


@dataclass(frozen=True, eq=False)
class LabelledCases:
    """n labelled cases with the model's predictions."""

    cases: tuple[str, ...]
    patients: np.ndarray
    truths: np.ndarray
    """(n,) index among the model's classes, or (n, F) of 1, 0 and NaN."""
    probabilities: np.ndarray
    """(n, outputs)"""
    sequences: tuple[tuple[str, ...], ...]
    vectors: CaseVectors | None
    metadata: Mapping[str, tuple[str, ...]]
    """{column: text of each case}, '' where missing."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    def __len__(self) -> int:
        return len(self.cases)

    def at(self, rows: np.ndarray) -> "LabelledCases":
        """The cases at the indices `rows`."""
        return replace(
            self,
            cases=tuple(self.cases[row] for row in rows),
            patients=self.patients[rows],
            truths=self.truths[rows],
            probabilities=self.probabilities[rows],
            sequences=tuple(self.sequences[row] for row in rows),
            vectors=None if self.vectors is None else self.vectors.at(rows),
            metadata={name: tuple(column[row] for row in rows) for name, column in self.metadata.items()},
        )


def labelled_cases(
    model: DeployedModel,
    cohort: Cohort,
    cache: Path,
    mapping: Mapping[str, str] | None = None,
    progress: ProgressMaker = silent,
) -> LabelledCases:
    """The predictions for every case with a label that the model knows; cases that cannot be read are left out.

    Raises UsageError for a cohort without a label that the model knows.
    """
    truths, notes = _truths(model, cohort)
    known = np.isfinite(truths).any(axis=1) if truths.ndim == 2 else truths >= 0
    some = cohort.select(np.flatnonzero(known))
    resolved = resolve_inputs([some], model.deployment.sequences, model.card.kind, mapping, progress)
    place = {case.case: row for row, case in zip(np.flatnonzero(known), some, strict=True)}
    with progress(len(resolved.cohort), f"Predicting {cohort.name}", "cases") as advance:
        found = []
        for case in predict_cases(model, resolved.cohort, cache):
            found.append(case)
            advance(1)
    done = np.asarray([row for row, case in enumerate(found) if not case.failed], dtype=np.int64)
    failed = [case.case for case in found if case.failed] + list(resolved.failures)
    if failed:
        notes.append(f"{counted(len(failed), 'case')} could not be predicted: {_some(failed)}.")
    if not len(done):
        raise UsageError(f"No case of {cohort.name} could be predicted. {' '.join(notes)}")
    predicted = [found[row] for row in done]
    rows = np.asarray([place[case.case] for case in predicted])
    names = sorted({name for case in cohort for name in case.metadata})
    return LabelledCases(
        tuple(case.case for case in predicted),
        cohort.patients[rows],
        truths[rows],
        np.asarray([[case.probabilities[name] for name in model.outputs] for case in predicted]),
        tuple(case.sequences for case in predicted),
        model.with_cache(cache).vectors(resolved.cohort.select(done), cache),
        {name: tuple(cohort.cases[row].metadata.get(name, "").strip() for row in rows) for name in names},
        tuple(notes),
    )


def _truths(model: DeployedModel, cohort: Cohort) -> tuple[np.ndarray, list[str]]:
    """The labels of the cohort as the model names them, and what was left out."""
    several = bool(model.card.findings)
    place = {name.casefold(): index for index, name in enumerate(model.outputs)}
    known = [place.get(name.casefold(), -1) for name in cohort.outputs]
    if bool(cohort.findings) != several or all(index < 0 for index in known):
        kind = "findings" if several else "classes"
        nearest = suggest(cohort.outputs[0], model.outputs) if cohort.outputs else f"Known: {', '.join(model.outputs)}."
        raise UsageError(f"Cohort {cohort.name} has no label that the model knows as one of its {kind}. {nearest}")
    strange = [name for name, index in zip(cohort.outputs, known, strict=True) if index < 0]
    if several:
        truths = np.full((len(cohort), len(model.outputs)), np.nan)
        for column, index in enumerate(known):
            if index >= 0:
                truths[:, index] = cohort.labels[:, column]
        left = 0
    else:
        own = cohort.labels
        truths = np.where(own >= 0, np.asarray(known)[np.maximum(own, 0)], -1)
        left = int(((own >= 0) & (truths < 0)).sum())
    notes = []
    if strange and (several or left):
        what = "Findings" if several else f"{counted(left, 'case')} of classes"
        notes.append(f"{what} that the model does not know are left out: {', '.join(strange)}.")
    return truths, notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
