"""Every patient tested once: a protocol is fitted for each fold on the others alone, and the answers are pooled.

A fold is what an evaluation of the plain cohort is in which the fold is the only test set (see
`radapt.cohorts.folds.hold_out`): its labels and masks are blank while anything is fitted or chosen, and without a
`val` of the cohort's own, protocols choose inside the other folds.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import OUT_OF_FOLD, hold_out
from radapt.errors import DataError
from radapt.metrics.segmentation_summary import UNLABELLED
from radapt.protocols.decisions import decide
from radapt.protocols.fitted import Fitted
from radapt.protocols.fold_store import FoldStore, HeldOut
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.scoring import Result, argmax_of, constant_notes
from radapt.protocols.subset_cases import SubsetCases, score_subset_cases
from radapt.protocols.subset_inference import Answers
from radapt.protocols.subsets import SubsetResult, score_subsets

FitFold = Callable[[str, Cohort], tuple[Fitted[Any], ImageProblem | None]]
"""(fold, the cohort that holds it out) → the protocol fitted on the other folds, and the problem if it reads images.

The problem's folder is where label maps of the fold are written to."""


def run_folds(
    cohort: Cohort,
    protocol: Protocol,
    fit: FitFold,
    store: FoldStore,
    rng: np.random.Generator,
    resamples: int,
) -> Result:
    """Fit and answer for every fold of `cohort` that `store` does not have, then score all of them together.

    Raises DataError, with the fold, if there is too little to learn from without it.
    """
    held = []
    for fold in cohort.folds:
        done = store.read(fold)
        if done is None:
            plain = hold_out(cohort, fold)
            with naming(cohort, fold):
                fitted, problem = fit(fold, plain)
                done = _held_out(plain, fold, protocol, fitted, problem)
            store.write(done)
            done = store.read(fold) or done  # the same values, whether or not a run was interrupted
        held.append(done)
    return pooled(cohort, protocol, held, rng, resamples)


@contextmanager
def naming(cohort: Cohort, fold: str) -> Iterator[None]:
    """Errors of the data say which fold they are about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"Fold {fold!r} of cohort {cohort.name!r}, trained on the other folds: {error}") from error


def _held_out(
    plain: Cohort, fold: str, protocol: Protocol, fitted: Fitted[Any], problem: ImageProblem | None
) -> HeldOut:
    rows = np.flatnonzero(plain.splits == OUT_OF_FOLD)
    predicted = protocol.scorer.predictions(plain, rows, fitted.final, fitted.record.decision, problem)
    return HeldOut(fold, predicted.table, fitted.record, predicted.subsets)


def pooled(
    cohort: Cohort, protocol: Protocol, held: Sequence[HeldOut], rng: np.random.Generator, resamples: int
) -> Result:
    """The answers of all folds as one result, in the order of the cohort.

    `predictions` has `fold` after `split`, which is `oof`. `scores` has the rows `oof`, over all patients; then
    `oof:fold=<f>` and, in a cohort with several sites, `oof:site=<s>`.
    """
    table = pd.concat([_with_fold(each) for each in held], ignore_index=True)
    place = {case.case: row for row, case in enumerate(cohort)}
    table = table.sort_values("case", key=lambda names: names.map(place), kind="stable", ignore_index=True)
    scores = []
    for split, rows in _groups(table):
        own = protocol.scorer.scores(cohort, rows, rng.spawn(1)[0], resamples)
        own.insert(0, "split", split)
        scores.append(own)
    subsets = _subsets(cohort, held, rng.spawn(1)[0], resamples)
    said = constant_notes(table) if protocol.aim == "classification" else []
    fits = tuple(replace(each.record, notes=(*each.record.notes, *said)) for each in held)
    return Result(table, pd.concat(scores, ignore_index=True), protocol.name, fits, subsets, cohort.folds)


def _with_fold(held: HeldOut) -> pd.DataFrame:
    table = held.predictions.copy()
    table.insert(list(table.columns).index("split") + 1, "fold", pd.Series([held.fold] * len(table), dtype=object))
    return table


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield OUT_OF_FOLD, table
    for fold in dict.fromkeys(sorted(table["fold"])):
        yield f"{OUT_OF_FOLD}:fold={fold}", table[table["fold"] == fold].reset_index(drop=True)
    sites = sorted(set(table["site"].dropna()))
    for site in sites if len(sites) > 1 else ():
        yield f"{OUT_OF_FOLD}:site={site}", table[table["site"] == site].reset_index(drop=True)


def _subsets(cohort: Cohort, held: Sequence[HeldOut], rng: np.random.Generator, resamples: int) -> SubsetResult | None:
    """Every subset of the sequences of any fold; a case is answered by the model of its fold, from those it knows."""
    if any(isinstance(each.subsets, SubsetCases) for each in held):
        return _subsets_of_masks(cohort, held, rng, resamples)
    answers = [each.subsets for each in held if isinstance(each.subsets, Answers)]
    if len(answers) < len(held):
        return None
    modalities = [name for name in cohort.modalities if any(name in each.modalities for each in answers)]
    prior = np.full((len(cohort), len(cohort.outputs)), np.nan)
    owner: dict[int, tuple[Answers, int]] = {}
    for each in answers:
        prior[each.rows] = each.table[0]
        owner |= {int(row): (each, place) for place, row in enumerate(each.rows)}

    def predict(rows: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        return np.stack([_answer(*owner[int(row)], names) for row in rows])

    decisions = zip(answers, (each.record.decision for each in held), strict=True)
    rules = {int(row): decision for each, decision in decisions for row in each.rows}

    def decided(rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        default = argmax_of(cohort)
        return np.stack([decide(rules[int(row)] or default, one) for row, one in zip(rows, probabilities, strict=True)])

    return score_subsets(predict, cohort, modalities, rng, resamples, prior, decide=decided)


def _subsets_of_masks(
    cohort: Cohort, held: Sequence[HeldOut], rng: np.random.Generator, resamples: int
) -> SubsetResult | None:
    """None if the model of a fold with masks reads a single sequence: its cases would be missing in the tables."""
    scored = [each for each in held if (each.predictions["outcome"] != UNLABELLED).any()]
    parts = [each.subsets for each in scored if isinstance(each.subsets, SubsetCases)]
    return score_subset_cases(parts, cohort, rng, resamples) if len(parts) == len(scored) else None


def _answer(answers: Answers, place: int, names: tuple[str, ...]) -> np.ndarray:
    """(outputs,) the answer to one case from those of the sequences `names` that its fold's model knows."""
    subset = sum(1 << at for at, name in enumerate(answers.modalities) if name in names)
    found: np.ndarray = answers.table[subset & int(answers.has[place]), place]
    return found


def as_one_test_set(cohort: Cohort) -> Cohort:
    """The cohort as a plain one whose test set is all that the folds test, to check that there is something to test."""
    return replace(cohort, folds=(), fold_rule=None)
