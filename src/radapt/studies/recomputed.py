"""The tables of a run folder again, from the predictions and answers stored in it, for `radapt verify`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts.case_counts import case_counts
from radapt.probes.shortcuts import shortcuts_again
from radapt.protocols.scoring import score_predictions
from radapt.protocols.subset_cases import scores_of_subset_cases
from radapt.protocols.subsets import (
    PREDICTIONS_FILE,
    SHAPLEY_FILE,
    SUBSETS_FILE,
    ScoredTask,
    scores_of_subsets,
)
from radapt.studies.groups import GROUPS
from radapt.studies.shortcuts import ANSWERS, FOLDER, shortcut_row

Facts = Mapping[str, Any]
"""Those of `cohort.json`."""


def scores_again(rows: pd.DataFrame, facts: Facts, rng: np.random.Generator, resamples: int) -> pd.DataFrame:
    """The scores of a split of `predictions.parquet`, with intervals from `resamples` draws of patients."""
    return score_predictions(rows, _task(facts), rng, resamples)


def subset_tables_again(
    cell: Path, facts: Facts, rng: np.random.Generator, resamples: int
) -> Mapping[str, pd.DataFrame]:
    """The tables of the subsets of sequences of a cell, by the names of their files; empty if it has none.

    Raises an error of pandas or pyarrow without, or of damaged, predictions from subsets.
    """
    if not any((cell / name).is_file() for name in (SUBSETS_FILE, SHAPLEY_FILE)):
        return {}
    rows = pd.read_parquet(cell / PREDICTIONS_FILE)
    if "label" in rows and "outcome" in rows:
        found = scores_of_subset_cases(rows, rng, resamples)
    else:
        found = scores_of_subsets(rows, _task(facts), rng, resamples)
    return {SUBSETS_FILE: found.scores, SHAPLEY_FILE: found.contributions}


def shortcut_files(cohort: Path) -> list[Path]:
    """The shortcuts found on the cohort in a folder, a file for each encoder."""
    return sorted((cohort / FOLDER).glob("*.parquet"))


def shortcuts_of_file_again(file: Path, facts: Facts, resamples: int) -> pd.DataFrame:
    """One of `shortcut_files` from what its probes said of each case; which encoder it is of is taken from it.

    Raises an error of pandas, pyarrow or NumPy without, or of damaged, answers.
    """
    cohort, answers = file.parents[1], pd.read_parquet(file.parent / ANSWERS / file.name)
    cases, groups = (pd.read_parquet(cohort / name) for name in ("cases.parquet", GROUPS))
    found = shortcuts_again(cases, groups, _task(facts).outputs, answers, resamples=resamples)
    given = pd.read_parquet(file, columns=["backbone", "made_from"])
    return pd.concat([given, pd.DataFrame(map(shortcut_row, found))], axis=1)


def counts_again(cohort: Path, facts: Facts) -> dict[str, Any]:
    """The counts in `cohort.json` from `cases.parquet`. Raises an error of pandas or pyarrow for a damaged table."""
    table = pd.read_parquet(cohort / "cases.parquet")
    counts = case_counts(table, list(facts["outputs"]), list(facts["modalities"]))
    of_folds = counts.pop("fold_cases", None)
    return counts if of_folds is None else counts | {"folds": {**facts["folds"], "cases": of_folds}}


def _task(facts: Facts) -> ScoredTask:
    return ScoredTask(str(facts["task"]), [str(name) for name in facts["outputs"]], bool(facts.get("ordered")))
