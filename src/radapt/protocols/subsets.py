"""One deployed classifier, evaluated on every subset of the sequences it knows: what it scores, what each sequence
brings and what its absence costs.

A subset is evaluated on every labelled case, as if its other sequences had not been made; a case that has none of it is
answered with the prior and counted, for the next hospital has such patients too. All subsets are scored on the same
draws of patients, so that differences between them have intervals of their own.
"""

from collections.abc import Callable, Iterator, Sequence
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
from radapt.protocols.holdout import TASKS, labelled
from radapt.protocols.subset_inference import Answers, Predict, check_modalities

SUBSETS_FILE, SHAPLEY_FILE = "subsets.parquet", "shapley.parquet"
SHARED = ("mcc", "balanced_accuracy", "auroc", "f1")
"""The numbers that are shared out among the sequences: those whose value without any image is that of guessing."""


@dataclass(frozen=True, eq=False)
class SubsetResult:
    """What was found; the columns stand in docs/contract.md.

    `scores`: a row per split, site, subset and number. `shapley`: a row per split, site, sequence and number of
    `SHARED`, then one without a sequence for their sum, value of all sequences minus value of none. `absence`: the
    same rows with what is lost where a sequence is missing everywhere, value of all minus value of all but it, then
    without a sequence the mean over sequences, what one missing sequence costs.
    """

    scores: pd.DataFrame
    shapley: pd.DataFrame
    absence: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write `subsets.parquet` and `shapley.parquet` (both quantities, in the column `quantity`) into `folder`."""
        write_parquet(folder / SUBSETS_FILE, self.scores)
        write_parquet(folder / SHAPLEY_FILE, pd.concat([self.shapley, self.absence], ignore_index=True))


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
    rows = _rows(cohort, splits)
    answers = Answers.ask(predict, cohort, names, rows, prior, progress)
    found = []
    for (split, site, which), own in zip(groups := list(groups_of(cohort, rows)), rng.spawn(len(groups)), strict=True):
        distinct, place = answers.of(which)
        decided = None if decide is None else [decide(rows[which], one) for one in distinct]
        paired = score_paired(
            cohort.labels[rows[which]], distinct, cohort.patients[rows[which]], task=cohort.task,
            outputs=cohort.outputs, ordered=cohort.ordered,
            decisions=decided, rng=own, resamples=resamples, keep=SHARED,
        )  # fmt: skip
        has = answers.has[which]
        given = (paired, place, has, names, {"split": split, "site": site})
        found.append((subset_rows(*given), *contribution_rows(*given)))
    tables = (pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True))
    return SubsetResult(*tables)


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


def groups_of(cohort: Cohort, rows: np.ndarray) -> Iterator[tuple[str, str | None, np.ndarray]]:
    """(split, site, places among `rows`): every split, then each of its sites where there are several."""
    words = cohort.splits[rows]
    places = np.asarray([cohort.cases[row].site for row in rows], dtype=object)
    order = [word for word in ("val", *cohort.test_sets, "train") if word in words]
    for split in order:
        inside = np.flatnonzero(words == split)
        yield split, None, inside
        sites = sorted({site for site in places[inside] if site is not None})
        for site in sites if len(sites) > 1 else ():
            yield split, site, inside[places[inside] == site]


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
