"""The predictions of all draws of one size on one test set, if they can be compared case by case."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.reports.methods import Method
from radapt.reports.run_folder import Facts

TASKS = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True, eq=False)
class Draws:
    """Truth (N,) or (N, F) and `probabilities` (draws, N, outputs) of the same cases and `patients` (N,)."""

    truth: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray
    task: str
    outputs: tuple[str, ...]
    ordered: bool


def draws_of(one: Method, split: str, facts: Facts) -> Draws | None:
    """None where a draw's predictions are missing, are of other cases, or are no classification."""
    task, outputs = str(facts.get("task")), tuple(str(name) for name in facts.get("outputs") or ())
    done = [cell for cell in one.cells if cell.state == "done"]
    tables = [table for cell in done if (table := _on(cell.predictions, split, outputs)) is not None]
    if task not in TASKS or not done or len(tables) < len(done):
        return None
    first, *others = tables
    if not len(first) or any(not table["case"].equals(first["case"]) for table in others):
        return None
    truth: np.ndarray
    if task == "multilabel":
        truth = first[[f"truth_{name}" for name in outputs]].to_numpy(dtype=np.float64)
    else:
        truth = pd.Index(outputs).get_indexer(pd.Index(first["truth"].fillna("")))
    names = [f"p_{name}" for name in outputs]
    probabilities = np.stack([table[names].to_numpy(dtype=np.float64) for table in tables])
    patients = first["patient"].to_numpy(dtype=object)
    return Draws(truth, probabilities, patients, task, outputs, bool(facts.get("ordered")))


def _on(table: pd.DataFrame | None, split: str, outputs: tuple[str, ...]) -> pd.DataFrame | None:
    if table is None or not {"case", "patient", "split", *(f"p_{name}" for name in outputs)} <= set(table):
        return None
    truths = {f"truth_{name}" for name in outputs}
    if "truth" not in table and not truths <= set(table):
        return None
    return table[table["split"] == split].sort_values("case", ignore_index=True)
