"""The scores of the page of results: values of run folders, with intervals computed again from their predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.studies.recomputed import scores_again

RESAMPLES = 2000
_CLOSE = 1e-9  # as `radapt verify` compares


@dataclass(frozen=True)
class Score:
    """A metric with its interval, means over seeds and repeats."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "undefined"
        return f"{self.value:.3f}" + (f" [{self.low:.3f}, {self.high:.3f}]" if np.isfinite(self.low) else "")


def scores_of(
    stored: pd.DataFrame, predictions: Mapping[str, pd.DataFrame | None], split: str, facts: Mapping[str, Any]
) -> dict[str, Score]:
    """Each metric of a method: means over its cells, undefined where it is undefined in one.

    `stored` are the rows of `results.parquet` of one split, `predictions` those of each cell. Raises DataError where a
    value is not that of the predictions.
    """
    tables = [_again(own, predictions[str(cell)], split, facts) for cell, own in stored.groupby("cell")]
    return {str(name): _mean(own) for name, own in pd.concat(tables).groupby("metric")}


def adapted_scores(predictions: pd.DataFrame, stored: pd.DataFrame, split: str) -> dict[str, Score]:
    """The scores of a folder of `radapt adapt`, whose `stored` are those with all sequences."""
    outputs = [str(name).removeprefix("p_") for name in predictions if str(name).startswith("p_")]
    task = "multilabel" if "truth" not in predictions else "binary" if len(outputs) == 2 else "multiclass"
    again = _again(stored, predictions, split, {"outputs": outputs, "task": task})
    return {str(name): _mean(own) for name, own in again.groupby("metric")}


def _again(
    stored: pd.DataFrame, predictions: pd.DataFrame | None, split: str, facts: Mapping[str, Any]
) -> pd.DataFrame:
    if predictions is None:
        raise DataError("A finished cell has no predictions, so no interval can be computed. Run it again.")
    again = scores_again(predictions[predictions["split"] == split], facts, np.random.default_rng(0), RESAMPLES)
    both = again.merge(stored[["metric", "value"]], on="metric", suffixes=("", "_stored"))
    same = np.isclose(both["value"], both["value_stored"], rtol=0, atol=_CLOSE, equal_nan=True)
    if not same.all():
        row = both[~same].iloc[0]
        raise DataError(
            f"{row['metric']} is {row['value_stored']:.6g} in the table and {row['value']:.6g} by the predictions. Run "
            "the cell again."
        )
    return both


def _mean(table: pd.DataFrame) -> Score:
    value, low, high = (float(table[name].mean(skipna=False)) for name in ("value", "ci_low", "ci_high"))
    return Score(value, low, high)
