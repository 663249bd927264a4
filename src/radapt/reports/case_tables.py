"""The stored predictions of a method on one test set, case by case."""

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.reports.classification_curves import class_arrays, finding_arrays
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow


def case_tables(board: Leaderboard, row: LeaderboardRow) -> list[pd.DataFrame]:
    """The predictions of each finished cell on the test set, those whose truth is known; [] if one has none stored."""
    done, outputs = {score.cell for score in row.scores}, list(board.facts.get("outputs") or ())
    found = []
    for cell in row.method.cells:
        if cell.id not in done and not cell.foreign:  # another tool may have numbers of some structures only
            continue
        table = cell.predictions
        if table is None or "split" not in table:
            return []
        rows = table[table["split"] == board.split]
        found.append((rows[rows["truth"].isin(outputs)] if "truth" in rows else rows).set_index("case", drop=False))
    return found


def in_common(tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The rows of each table whose cases are in all of them: other tools may lack some."""
    cases = set.intersection(*(set(table.index) for table in tables))
    return [table[table.index.isin(cases)] for table in tables]


def are_of_same_cases(tables: list[pd.DataFrame]) -> bool:
    """Whether all tables are of the cases of the first."""
    cases = tables[0].index
    return all(
        table.index.equals(cases) or (len(table) == len(cases) and set(table.index) == set(cases)) for table in tables
    )


def class_or_finding_arrays(
    table: pd.DataFrame, outputs: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Truth, probabilities and decisions as `radapt.metrics.score` takes them. Raises DataError without a truth."""
    found = class_arrays(table, outputs) if "truth" in table else finding_arrays(table, outputs)
    if found is None:
        raise DataError("The stored predictions have no truth.")
    return found
