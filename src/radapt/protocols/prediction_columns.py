"""The columns of `predictions.parquet` of a classifier, written and read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.metrics.constant import DECISION


def case_columns(cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
    """case, patient, site and split of the cases at `rows`."""
    cases = [cohort.cases[row] for row in rows]
    return {
        "case": [case.case for case in cases],
        "patient": [case.patient for case in cases],
        "site": pd.Series([case.site for case in cases], dtype=object),
        "split": [case.split for case in cases],
    }


def truth_columns(cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
    """`truth` (class name, None unknown), or `truth_<finding>` (1, 0, NaN unknown)."""
    if cohort.findings:
        labels = cohort.labels[rows].astype(np.float64)
        return {f"truth_{finding}": labels[:, number] for number, finding in enumerate(cohort.findings)}
    found = [cohort.cases[row].label for row in rows]
    return {"truth": pd.Series([None if one is None else cohort.classes[one] for one in found], dtype=object)}


def probability_columns(cohort: Cohort, probabilities: np.ndarray) -> dict[str, Any]:
    """`p_<class>` or `p_<finding>` of probabilities (n, outputs)."""
    return {f"p_{output}": probabilities[:, number] for number, output in enumerate(cohort.outputs)}


def truth_in(rows: pd.DataFrame, outputs: Sequence[str]) -> np.ndarray:
    """(n,) class indices, -1 unknown, or (n, F) of 1, 0 and NaN unknown."""
    if "truth" in rows:
        return rows["truth"].map(_numbers(outputs)).fillna(-1).to_numpy(dtype=np.int64)
    return rows[[f"truth_{name}" for name in outputs]].astype(float).to_numpy()


def decisions_in(rows: pd.DataFrame, outputs: Sequence[str]) -> np.ndarray | None:
    """(n,) class indices, or (n, F) of 1 and 0; None in tables of older versions, which have no decisions."""
    if DECISION in rows:
        return rows[DECISION].map(_numbers(outputs)).to_numpy(dtype=np.int64)
    named = [f"{DECISION}_{name}" for name in outputs]
    return rows[named].to_numpy(dtype=np.int64) if set(named) <= set(rows) else None


def _numbers(outputs: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(outputs)}
