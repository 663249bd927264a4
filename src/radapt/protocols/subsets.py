"""One deployed classifier, evaluated on every subset of the sequences it knows: what it scores, what each sequence
brings and what its absence costs.

A subset is evaluated on every labelled case, as if its other sequences had not been made; a case that has none of it is
answered with the prior and counted, for the next hospital has such patients too. All subsets are scored on the same
draws of patients, so that differences between them have intervals of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.durable import write_parquet
from radapt.errors import DataError, UsageError
from radapt.metrics.paired_scores import PairedScores, score_paired
from radapt.metrics.score import COLUMNS
from radapt.metrics.shapley import members, shapley_values
from radapt.progress import ProgressMaker, silent
from radapt.protocols.decisions import decision_columns
from radapt.protocols.holdout import TASKS, labelled
from radapt.protocols.prediction_columns import case_columns, decisions_in, probability_columns, truth_columns, truth_in
from radapt.protocols.subset_inference import Answers, Predict, check_modalities, distinct_subsets
from radapt.protocols.subset_table import HAS, SubsetTable

SUBSETS_FILE, SHAPLEY_FILE, PREDICTIONS_FILE = "subsets.parquet", "shapley.parquet", "subset_predictions.parquet"
SHARED = ("mcc", "balanced_accuracy", "auroc", "f1")
"""The numbers that are shared out among the sequences: those whose value without any image is that of guessing."""


@dataclass(frozen=True)
class ScoredTask:
    """What the probabilities of a cohort are of."""

    task: str
    outputs: Sequence[str]
    ordered: bool = False


@dataclass(frozen=True, eq=False)
class SubsetResult:
    """What was found; the columns stand in docs/contract.md.

    `scores`: a row per split, site, subset and number. `shapley`: a row per split, site, sequence and number of
    `SHARED`, then one without a sequence for their sum, value of all sequences minus value of none. `absence`: the
    same rows with what is lost where a sequence is missing everywhere, value of all minus value of all but it, then
    without a sequence the mean over sequences, what one missing sequence costs. `predictions`: a row per case and
    subset of its sequences, from which the others follow.
    """

    scores: pd.DataFrame
    shapley: pd.DataFrame
    absence: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def contributions(self) -> pd.DataFrame:
        """`shapley` and `absence` in one table, as `shapley.parquet` holds them."""
        return pd.concat([self.shapley, self.absence], ignore_index=True)

    def write(self, folder: Path) -> None:
        """Write `subsets.parquet`, `shapley.parquet` (both quantities, in the column `quantity`) and
        `subset_predictions.parquet` into `folder`."""
        write_parquet(folder / PREDICTIONS_FILE, self.predictions)
        write_parquet(folder / SUBSETS_FILE, self.scores)
        write_parquet(folder / SHAPLEY_FILE, self.contributions)


def score_subsets(
    predict: Predict,
    cohort: Cohort,
    modalities: Sequence[str],
    rng: np.random.Generator,
    resamples: int,
    prior: np.ndarray,
    *,
    splits: Sequence[str] | None = None,
    decide: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    progress: ProgressMaker = silent,
) -> SubsetResult:
    """Score `predict` on every subset of `modalities`, at most 12 of the cohort's.

    `predict(rows, names)` gives probabilities (n, outputs) of the cases at `rows` from the sequences `names` alone; it
    is asked once for each subset, about the cases that have all of it. `prior` (outputs,), or (N, outputs) by case,
    answers for cases that have nothing of a subset, such as the shares of the classes in training. `splits` are by
    default the test sets, or val where there is none; they must still have their labels, and cases without one are not
    asked about. `decide(rows, probabilities)` makes decisions, as `metrics.score` takes them; None: the most probable
    class, a finding above 0.5.

    A number that a group of cases does not determine is NaN in each of its rows; so is an interval of fewer than two
    patients. The same state of `rng` gives the same result.

    Raises UsageError for a cohort whose task is no classification, a sequence it does not know, or more than 12;
    DataError if no case to evaluate has a label.
    """
    names = check_modalities(cohort, modalities)
    answers = Answers.ask(predict, cohort, names, _rows(cohort, splits), prior, progress)
    scored = ScoredTask(cohort.task, cohort.outputs, cohort.ordered)
    return scores_of_subsets(_predictions(cohort, answers, decide), scored, rng, resamples)


def scores_of_subsets(
    predictions: pd.DataFrame, task: ScoredTask, rng: np.random.Generator, resamples: int
) -> SubsetResult:
    """The same from the stored `predictions`, a row per case and subset of its sequences."""
    stored, outputs = SubsetTable.of(predictions), list(task.outputs)
    names, truth = stored.modalities, truth_in(stored.cases, outputs)
    likely = stored.spread(predictions[[f"p_{name}" for name in outputs]].to_numpy(dtype=np.float64))
    decided = decisions_in(predictions, outputs)
    decisions = None if decided is None else stored.spread(decided)
    found, groups = [], list(stored.groups())
    for (split, site, which), own in zip(groups, rng.spawn(len(groups)), strict=True):
        distinct, place = distinct_subsets(stored.has[which], len(likely))
        own_decisions = None if decisions is None else list(decisions[distinct, which])
        paired = score_paired(
            truth[which], likely[distinct, which], stored.cases["patient"].to_numpy()[which], task=task.task,
            outputs=outputs, ordered=task.ordered, decisions=own_decisions, rng=own, resamples=resamples, keep=SHARED,
        )  # fmt: skip
        given = (paired, place, stored.has[which], names, {"split": split, "site": site})
        found.append((subset_rows(*given), *contribution_rows(*given)))
    scores, shapley, absence = (pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True))
    return SubsetResult(scores, shapley, absence, predictions)


def subset_name(names: Sequence[str]) -> str:
    """How a subset is written in a table; empty for none."""
    return " + ".join(names)


def _rows(cohort: Cohort, splits: Sequence[str] | None) -> np.ndarray:
    if cohort.task not in TASKS:
        raise UsageError(f"Cohort {cohort.name!r} has no classes or findings, so there is nothing to score subsets by.")
    known = labelled(cohort.labels)
    if splits is None:
        tested = ~np.isin(cohort.splits, ("train", "val"))
        splits = cohort.test_sets if (known & tested).any() else ("val",)
    rows = np.flatnonzero(known & np.isin(cohort.splits, list(splits)))
    if not len(rows):
        raise DataError(
            f"Cohort {cohort.name!r} has no labelled case in {', '.join(splits) or 'any split'}, so there is nothing "
            "to score subsets of sequences by. Label some of these cases, or give labelled patients the split 'test'."
        )
    return rows


def _predictions(
    cohort: Cohort, answers: Answers, decide: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
) -> pd.DataFrame:
    """The columns of `predictions.parquet`, with `has_<sequence>` before the truth."""
    has = answers.has
    complete = [(subset, np.flatnonzero((has & subset) == subset)) for subset in range(len(answers.table))]
    subsets = np.concatenate([np.full(len(places), subset) for subset, places in complete])
    places = np.concatenate([places for _, places in complete])
    rows, likely = answers.rows[places], answers.table[subsets, places]
    facts = case_columns(cohort, rows)
    inside = {
        f"{HAS}{name}": members(len(answers.modalities))[subsets, at] for at, name in enumerate(answers.modalities)
    }
    table = facts | inside | truth_columns(cohort, rows) | probability_columns(cohort, likely)
    if decide is not None:
        table |= decision_columns(decide(rows, likely), cohort.classes, cohort.findings)
    return pd.DataFrame(table)


def subset_rows(
    paired: PairedScores, place: np.ndarray, has: np.ndarray, names: tuple[str, ...], where: dict[str, Any]
) -> pd.DataFrame:
    """A row per subset and number, the subsets of more sequences first."""
    inside = members(len(names))  # (2^M, M)
    order = np.lexsort((np.arange(len(place)), -inside.sum(axis=1)))
    parts = []
    for subset in order:
        chosen = [name for name, there in zip(names, inside[subset], strict=True) if there]
        facts = {**where, "subset": subset_name(chosen), "n_sequences": len(chosen)}
        facts |= {f"has_{name}": bool(there) for name, there in zip(names, inside[subset], strict=True)}
        without = int(((has & subset) == 0).sum())
        parts.append(paired.tables[place[subset]].assign(**facts, n_without=without))
    table = pd.concat(parts, ignore_index=True)
    table["site"] = table["site"].astype(object)
    own = ["split", "site", "subset", "n_sequences", *(f"has_{name}" for name in names)]
    return table[[*own, *COLUMNS, "n_without"]]


def contribution_rows(
    paired: PairedScores, place: np.ndarray, has: np.ndarray, names: tuple[str, ...], where: dict[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The Shapley values, and the costs of absence."""
    everything = len(place) - 1
    lacking = everything & ~(1 << np.arange(len(names)))  # (M,): all sequences but one

    def shapley(distinct: np.ndarray) -> np.ndarray:  # (K, R) -> (M + 1, R)
        values = shapley_values(distinct[place])
        return np.concatenate([values, values.sum(axis=0, keepdims=True)])

    def absence(distinct: np.ndarray) -> np.ndarray:  # (K, R) -> (M + 1, R)
        costs = distinct[place[everything]] - distinct[place[lacking]]
        return np.concatenate([costs, costs.mean(axis=0, keepdims=True)])

    counts = [*((has[:, None] >> np.arange(len(names))) & 1).sum(axis=0).tolist(), int((has > 0).sum())]
    tables = []
    for quantity, sum_of in (("shapley", shapley), ("absence", absence)):
        rows = []
        for metric in paired.values:
            values, ends = paired.combined(metric, sum_of)
            for name, value, (low, high), count in zip((*names, None), values, ends, counts, strict=True):
                rows.append(
                    {"quantity": quantity, **where, "modality": name, "metric": metric, "value": float(value)}
                    | {"ci_low": low, "ci_high": high, "n_patients": paired.patients[metric], "n_with": count}
                )
        tables.append(pd.DataFrame(rows).astype({"site": object, "modality": object}))
    return tables[0], tables[1]
