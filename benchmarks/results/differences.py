"""Differences between two rows of the page of results, paired by patient."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radapt.metrics.comparison.difference import compare_pairs
from radapt.metrics.comparison.pairs import paired_predictions
from radapt.reports.case_tables import class_or_finding_arrays
from results.data_sets import DataSet, Place
from results.scores import Score
from results.tables import Row

RESAMPLES = 10_000


def difference_lines(data_set: DataSet, rows: Sequence[Row]) -> list[str]:
    """The differences that `data_set.paired` asks for, between methods that answered for the same patients."""
    by_place = {row.place: row for row in rows}
    said = []
    for first, second in data_set.paired:
        pair = by_place.get(first), by_place.get(second)
        if pair[0] is None or pair[1] is None or not (pair[0].predictions and pair[1].predictions):
            continue
        found = _of_dice(*pair) if data_set.aim == "segmentation" else _of_classes(data_set, *pair)
        said.append(f"- {_name(first)} minus {_name(second)}: {found}")
    if not said:
        return []
    what = "mean Dice" if data_set.aim == "segmentation" else ", ".join(data_set.metrics.values())
    return [f"Paired differences in {what}, by patient:", "", *said, ""]


def _name(place: Place) -> str:
    return " with ".join(filter(None, place))


def _of_dice(first: Row, second: Row) -> str:
    score, patients = paired(*(_dice_by_patient(row.predictions) for row in (first, second)))
    return f"{score} ({patients} patients)"


def _dice_by_patient(predictions: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean Dice over structures and runs of every patient: columns patient and dice."""
    return pd.concat(predictions).groupby("patient", as_index=False)["dice"].mean()


def paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[Score, int]:
    """The mean difference in Dice over the patients of both, with its bootstrap interval by patient."""
    both = first.merge(second, on="patient", suffixes=("_1", "_2")).dropna()
    difference = (both["dice_1"] - both["dice_2"]).to_numpy()
    if len(difference) < 2:
        return Score(float(difference.mean()) if len(difference) else float("nan"), np.nan, np.nan), len(difference)
    draws = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    return Score(float(difference.mean()), float(low), float(high)), len(difference)


def _of_classes(data_set: DataSet, first: Row, second: Row) -> str:
    """Every metric of the data set, by the answers of both rows to the cases that both have, as `radapt compare`."""
    outputs = tuple(first.facts["outputs"])
    one, other = (_labelled(row.predictions[0], outputs) for row in (first, second))
    cases = one.index.intersection(other.index)
    (truth, p_one, decided), (_, p_other, decided_too) = (
        class_or_finding_arrays(table.loc[cases], outputs) for table in (one, other)
    )
    both = None if decided is None or decided_too is None else (decided, decided_too)
    patients = list(one.loc[cases, "patient"])
    scores = []
    for metric in data_set.metrics:
        pair = paired_predictions(
            metric, truth, (p_one, p_other), patients, task=str(first.facts["task"]), outputs=outputs, decisions=both
        )
        found = compare_pairs([pair])
        scores.append(f"{found.difference:+.3f} [{found.ci_low:+.3f}, {found.ci_high:+.3f}]")
    return f"{', '.join(scores)} ({len(set(patients))} patients)"


def _labelled(table: pd.DataFrame, outputs: Sequence[str]) -> pd.DataFrame:
    """The rows with a known truth, by case."""
    return (table[table["truth"].isin(outputs)] if "truth" in table else table).set_index("case", drop=False)
