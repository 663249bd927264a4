"""The scores of a cell again, from its stored predictions: values, counts and intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.metrics import score, summarise
from radapt.metrics.constant import DECISION
from radapt.reports.verification.fault import CLOSE, Fault
from radapt.versions import __version__

_COUNTS = ("n_patients", "n_scored", "n_unscored")
_ENDS = ("ci_low", "ci_high")


def cell_numbers(place: Path, folder: Path, cohort: str) -> tuple[int, list[Fault]]:
    """How many values of `scores.parquet` were computed again from the predictions, and those that differ.

    Intervals too, from the same draws, unless another version of radapt made them.
    """
    here = (place / "scores.parquet").relative_to(folder).as_posix()
    scores, predictions = (pd.read_parquet(place / f"{name}.parquet") for name in ("scores", "predictions"))
    facts, cell = _cohort_facts(folder, cohort), json.loads((place / "cell.json").read_text(encoding="utf-8"))
    if facts is None:
        return 0, [Fault(here, f"cannot be computed again: there are no facts of cohort {cohort}")]
    draws, count, faults = _Draws(cell), 0, []
    for split, rows in scores.groupby("split", sort=False):
        again = scored_again(
            _of_split(predictions, str(split)), facts, draws.of_next_split(), draws.resamples
        ).set_index("metric")
        for _, row in rows.iterrows():
            count += 1
            if row["metric"] not in again.index:
                faults.append(Fault(here, f"{row['metric']} of {split} is no metric of the predictions"))
                continue
            new = again.loc[row["metric"]]
            same = np.isclose(new["value"], row["value"], rtol=0, atol=CLOSE, equal_nan=True)
            if not same or any(int(new[name]) != int(row[name]) for name in _COUNTS):
                what = f"{row['metric']} of {split} is {row['value']:.6g}; the predictions give {new['value']:.6g}"
                faults.append(Fault(here, what))
            elif draws.resamples and not _same_ends(new, row):
                faults.append(Fault(here, f"the interval of {row['metric']} of {split} is not that of the predictions"))
    return count, faults


class _Draws:
    """The generator of each split of a cell, in the order of its scores, as the run had it; `resamples` 0: none."""

    def __init__(self, cell: Mapping[str, Any]) -> None:
        same = cell.get("radapt") == __version__
        self.resamples = int(cell.get("resamples") or 0) if same else 0
        self._foreign = bool(cell.get("foreign"))
        self._scoring = np.random.default_rng(int(cell.get("seed") or 0)).spawn(2)[1]

    def of_next_split(self) -> np.random.Generator:
        return np.random.default_rng(0) if self._foreign else self._scoring.spawn(1)[0]


def _same_ends(new: pd.Series, row: pd.Series) -> bool:
    return all(np.isclose(new[end], row[end], rtol=0, atol=CLOSE, equal_nan=True) for end in _ENDS)


def _of_split(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """The predictions of a split, or of a fold or site of one, such as `oof:site=CS`."""
    whole, _, part = split.partition(":")
    rows = predictions[predictions["split"] == whole]
    name, _, value = part.partition("=")
    return rows[rows[name].fillna("").astype(str) == value] if part else rows


def scored_again(
    rows: pd.DataFrame, facts: Mapping[str, Any], rng: np.random.Generator, resamples: int
) -> pd.DataFrame:
    """The scores of a split of `predictions.parquet`, with intervals from `resamples` draws of patients. `facts` are
    those of the cohort: `task`, `outputs`, `ordered`."""
    if "label" in rows and "outcome" in rows:
        return summarise(rows, labels=list(dict.fromkeys(rows["label"])), rng=rng, resamples=resamples)
    outputs = [str(name) for name in facts["outputs"]]
    truth, decisions = _truth(rows, outputs)
    probabilities = rows[[f"p_{name}" for name in outputs]].to_numpy(dtype=np.float64)
    return score(
        truth, probabilities, list(rows["patient"]), task=str(facts["task"]), outputs=outputs,
        ordered=bool(facts.get("ordered")), decisions=decisions, rng=rng, resamples=resamples,
    )  # fmt: skip


def _truth(rows: pd.DataFrame, outputs: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Truth and decisions as `score` takes them."""
    if "truth" in rows:
        number = {name: index for index, name in enumerate(outputs)}
        truth = rows["truth"].map(number).fillna(-1).to_numpy(dtype=np.int64)
        return truth, rows[DECISION].map(number).to_numpy(dtype=np.int64) if DECISION in rows else None
    found = rows[[f"truth_{name}" for name in outputs]].astype(float).to_numpy()
    named = [f"{DECISION}_{name}" for name in outputs]
    return found, rows[named].to_numpy(dtype=np.int64) if set(named) <= set(rows) else None


def _cohort_facts(folder: Path, cohort: str) -> Mapping[str, Any] | None:
    for file in sorted((folder / "cohorts").glob("*/cohort.json")):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            if facts["name"] == cohort:
                return dict(facts)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
