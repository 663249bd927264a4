"""The scores of a cell again, from its stored predictions: values, counts and intervals."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.reports.leaderboard import SELECTION_SPLITS
from radapt.reports.verification.difference import difference
from radapt.reports.verification.fault import CLOSE, Fault
from radapt.reports.verification.tables import count_of, table_faults
from radapt.studies.ledger import OVERLAYS
from radapt.studies.recomputed import scores_again, subset_tables_again
from radapt.studies.segmentation_overlays import outlined_cases
from radapt.versions import __version__

_COUNTS = ("n_patients", "n_scored", "n_unscored")
_ENDS = ("ci_low", "ci_high")


def cell_numbers(place: Path, folder: Path, cohort: str) -> tuple[int, list[Fault]]:
    """How many values of `scores.parquet`, and of the tables of subsets of sequences, were computed again from the
    predictions, and those that differ.

    Intervals too, from the same draws, unless another version of radapt made them.
    """
    here = (place / "scores.parquet").relative_to(folder).as_posix()
    scores, predictions = (pd.read_parquet(place / f"{name}.parquet") for name in ("scores", "predictions"))
    facts, cell = cohort_facts(folder, cohort), json.loads((place / "cell.json").read_text(encoding="utf-8"))
    if facts is None:
        return 0, [Fault(here, f"cannot be computed again: there are no facts of cohort {cohort}")]
    draws, count, faults = _Draws(cell), 0, []
    for split, rows in scores.groupby("split", sort=False):
        again = scores_again(
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
    more, wrong = _subset_numbers(place, folder, facts, draws.of_next_split(), draws.resamples)
    faults += _case_faults(place, folder, facts, predictions) + _overlay_faults(place, folder, facts, predictions)
    return count + more, [*faults, *wrong]


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


def _subset_numbers(
    place: Path, folder: Path, facts: Mapping[str, Any], rng: np.random.Generator, resamples: int
) -> tuple[int, list[Fault]]:
    """The same of the tables of subsets of sequences; without `resamples` intervals are not compared."""
    here, count, faults = place.relative_to(folder).as_posix(), 0, []
    try:
        again = subset_tables_again(place, facts, rng, resamples)
    except Exception as error:  # a missing, foreign or damaged table raises a dozen kinds
        what = f"cannot be computed again from subset_predictions.parquet ({type(error).__name__})"
        return 0, [Fault(f"{here}/subsets.parquet", what)]
    for name, table in again.items():
        count += count_of(table)
        faults += table_faults(f"{here}/{name}", place / name, table, () if resamples else _ENDS)
    return count, faults


def _case_faults(place: Path, folder: Path, facts: Mapping[str, Any], predictions: pd.DataFrame) -> list[Fault]:
    """Whether the predictions are of the cases of the cohort, each with its patient, site, split and truth."""
    name = (place / "predictions.parquet").relative_to(folder).as_posix()
    try:
        cases = pd.read_parquet(folder / "cohorts" / facts["folder"] / "cases.parquet").set_index("case")
        own = cases.reindex(predictions["case"])
        pairs = [("patient", "patient"), ("site", "site"), ("split", "split"), ("truth", "label")]
        pairs += [(f"truth_{output}", f"label:{output}") for output in facts["outputs"]]
        differ = [
            one
            for one, other in pairs
            if one in predictions and other in own and not _equal(predictions[one], own[other])
        ]
    except Exception as error:  # a missing, foreign or damaged table raises a dozen kinds
        return [Fault(name, f"cannot be compared with the cases of the cohort ({type(error).__name__})")]
    return [Fault(name, f"{one} is not that of cases.parquet") for one in differ]


def _overlay_faults(place: Path, folder: Path, facts: Mapping[str, Any], predictions: pd.DataFrame) -> list[Fault]:
    """Whether the outlined cases have the ranks and Dice of the predictions."""
    file = place / OVERLAYS
    if not file.is_file():
        return []
    stored = json.loads(file.read_text(encoding="utf-8"))
    tests = [split for split in facts["splits"] if split not in SELECTION_SPLITS]
    known = {(rank, case): dice for rank, case, dice in outlined_cases(predictions, tests)}
    differ = [
        one["case"] for one in stored if difference(one["dice"], known.get((one["rank"], one["case"]))) is not None
    ]
    name = file.relative_to(folder).as_posix()
    return [Fault(name, f"the Dice or rank of {case} is not that of the predictions") for case in differ]


def _equal(first: pd.Series, second: pd.Series) -> bool:
    missing = first.isna().to_numpy(), second.isna().to_numpy()
    same = first.to_numpy(dtype=object)[~missing[0]] == second.to_numpy(dtype=object)[~missing[0]]
    return bool((missing[0] == missing[1]).all() and np.all(same))


def cohort_facts(folder: Path, cohort: str) -> Mapping[str, Any] | None:
    for file in sorted((folder / "cohorts").glob("*/cohort.json")):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            if facts["name"] == cohort:
                return {**facts, "folder": file.parent.name}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
