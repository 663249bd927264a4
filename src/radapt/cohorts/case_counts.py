"""How many cases, patients, labels and missing images a case table holds, by split, fold and site."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import CHOOSING_SPLITS
from radapt.cohorts.folds import OUT_OF_FOLD

MASK = "mask"
"""The column that says whether a case has a mask."""


def case_counts(table: pd.DataFrame, outputs: Sequence[str], modalities: Sequence[str]) -> dict[str, Any]:
    """The counts of `cohort.json` of a case table (see `case_table`), with a column `mask` where cases have masks.

    `splits` are those of train, val and each test set; with folds, `parts` are those of each fold and site, named as in
    `results.parquet`, and `fold_cases` the numbers of cases by fold.
    """
    words = table["split"]
    tests = sorted(set(words) - set(CHOOSING_SPLITS), key=lambda name: (name != "test", name))
    counts: dict[str, Any] = {
        "n_cases": len(table),
        "n_patients": int(table["patient"].nunique()),
        "splits": {split: _counts(table[words == split], outputs, modalities) for split in (*CHOOSING_SPLITS, *tests)},
        "sites": _by_value(table["site"]),
    }
    if "fold" in table:
        tested = table[words == OUT_OF_FOLD]
        counts["fold_cases"] = _by_value(tested["fold"])
        counts["parts"] = {
            f"{OUT_OF_FOLD}:{kind}={name}": _counts(tested[tested[kind] == name], outputs, modalities)
            for kind in ("fold", "site")
            for name in sorted(set(table[kind].dropna()))
        }
    return counts


def _counts(rows: pd.DataFrame, outputs: Sequence[str], modalities: Sequence[str]) -> dict[str, Any]:
    truth = [_truth(rows, name) for name in outputs]
    known = np.array([~np.isnan(one) for one in truth]).any(axis=0) if truth else np.zeros(len(rows), dtype=bool)
    return {
        "cases": len(rows),
        "patients": int(rows["patient"].nunique()),
        "labelled": int(known.sum()),
        "outputs": {name: _answers(one) for name, one in zip(outputs, truth, strict=True)},
        "sites": _by_value(rows["site"]),
        "masked": int(rows[MASK].sum()) if MASK in rows else 0,
        "missing": {name: int((~rows[f"has:{name}"].astype(bool)).sum()) for name in modalities},
    }


def _truth(rows: pd.DataFrame, output: str) -> np.ndarray:
    """(n,) 1, 0 or NaN: whether a case has a class or finding."""
    if "label" not in rows:
        return rows[f"label:{output}"].to_numpy(dtype=np.float64)
    labels = rows["label"]
    return np.where(labels.isna(), np.nan, (labels == output).astype(float))


def _answers(truth: np.ndarray) -> dict[str, int]:
    positive, negative = int((truth == 1).sum()), int((truth == 0).sum())
    return {"positive": positive, "negative": negative, "unknown": len(truth) - positive - negative}


def _by_value(values: pd.Series) -> Mapping[str, int]:
    names, counts = np.unique(values.fillna("").astype(str).to_numpy(dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
