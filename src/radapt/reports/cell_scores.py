"""The rows of `results.parquet`: one metric of one cell on one split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.reports.formatting import defined

COUNTS = ("n_patients", "n_scored", "n_unscored", "n_undefined")


@dataclass(frozen=True, slots=True)
class CellScore:
    """One metric of one cell: a row of `results.parquet`. NaN if undefined; a missing count is 0."""

    cell: str
    seed: int | None
    repeat: int | None
    value: float
    ci_low: float
    ci_high: float
    n_patients: int
    n_scored: int
    n_unscored: int
    n_undefined: int


def spread_of(scores: Iterable[CellScore]) -> tuple[float, float, float] | None:
    """Minimum, maximum and standard deviation (n - 1) of the defined values; None for fewer than two."""
    values = [score.value for score in scores if defined(score.value)]
    return None if len(values) < 2 else (min(values), max(values), float(np.std(values, ddof=1)))


Scores = Mapping[tuple[str, str, str], CellScore]
"""By split, metric and cell."""


def scores_of(results: pd.DataFrame) -> Scores:
    """Every row of the results, read in one pass, because filtering the table for each number takes seconds."""
    names = ("split", "metric", "cell", "seed", "repeat", "value", "ci_low", "ci_high", *COUNTS)
    columns = [results[name].astype(object).where(results[name].notna(), None).tolist() for name in names]
    scores = {}
    for split, metric, cell, seed, repeat, value, low, high, *counts in zip(*columns, strict=True):
        numbers = [float("nan") if number is None else float(number) for number in (value, low, high)]
        which = [None if number is None else int(number) for number in (seed, repeat)]
        score = CellScore(str(cell), *which, *numbers, *(int(count or 0) for count in counts))  # type: ignore[arg-type]
        scores[str(split), str(metric), str(cell)] = score
    return scores
