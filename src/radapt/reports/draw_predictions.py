"""The predictions of all draws of one training size on one test set, aligned case by case."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.metrics.constant import DECISION
from radapt.reports.methods import Method
from radapt.reports.run_folder import Facts

TASKS = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True, eq=False)
class DrawPredictions:
    """Truth (N,) or (N, F), `probabilities` (draws, N, outputs) and `patients` (N,) of the same cases.

    `decisions` (draws, N) or (draws, N, F) are None in runs of versions without them.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray
    task: str
    outputs: tuple[str, ...]
    ordered: bool
    decisions: np.ndarray | None = None


def draw_predictions(method: Method, split: str, facts: Facts) -> DrawPredictions | None:
    """None if a draw has no predictions, if draws cover different cases, or if the task is not a classification."""
    task, outputs = str(facts.get("task")), tuple(str(name) for name in facts.get("outputs") or ())
    done = [cell for cell in method.cells if cell.state == "done"]
    tables = [table for cell in done if (table := _on_split(cell.predictions, split, outputs)) is not None]
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
    decisions = _decisions(tables, task, outputs)
    return DrawPredictions(truth, probabilities, patients, task, outputs, bool(facts.get("ordered")), decisions)


def _decisions(tables: list[pd.DataFrame], task: str, outputs: tuple[str, ...]) -> np.ndarray | None:
    names = [f"{DECISION}_{name}" for name in outputs] if task == "multilabel" else [DECISION]
    if any(not set(names) <= set(table) for table in tables):
        return None
    if task == "multilabel":
        return np.stack([table[names].to_numpy(dtype=np.int64) for table in tables])
    return np.stack([pd.Index(outputs).get_indexer(pd.Index(table[DECISION])) for table in tables])


def _on_split(table: pd.DataFrame | None, split: str, outputs: tuple[str, ...]) -> pd.DataFrame | None:
    if table is None or not {"case", "patient", "split", *(f"p_{name}" for name in outputs)} <= set(table):
        return None
    truths = {f"truth_{name}" for name in outputs}
    if "truth" not in table and not truths <= set(table):
        return None
    return table[table["split"] == split].sort_values("case", ignore_index=True)
