"""Adds results of another tool to a run folder, and compares the run's best method with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.cli.comparisons import compare_run
from radapt.cli.foreign.given import GivenResults, read_results
from radapt.cli.foreign.matching import Matched, match_label_maps, match_predictions
from radapt.digests import digest, digest_file
from radapt.errors import DataError, UsageError
from radapt.metrics import score, summarise
from radapt.metrics.comparison import Draws
from radapt.metrics.score import RESAMPLES
from radapt.parsing.json import read_json
from radapt.reports import write_report
from radapt.reports.case_tables import class_or_finding_arrays
from radapt.reports.leaderboard import Leaderboard, leaderboards
from radapt.reports.run_folder import CellRecord, Facts, Run, read_run
from radapt.studies.cells import NO_BACKBONE
from radapt.studies.ledger import FOREIGN, PLAN, Ledger
from radapt.studies.run_digests import record_digests, recorded
from radapt.versions import __version__


def add_beside(
    folder: Path,
    file: Path,
    name: str,
    columns: Sequence[str],
    *,
    cohort: str | None = None,
    margin: float | None = None,
) -> str:
    """Add the results in `file` as a row called `name`, or replace the row of that name; rewrite the tables and report.

    Returns what was paired, and how the best method of each test set compares. Raises UsageError for a run without
    predictions of the kind, and DataError as `read_results` and the matching do.
    """
    given, run = read_results(file, columns), read_run(folder)
    own = _own_cell(run, given, cohort)
    facts, tests = run.cohorts.get(own.cohort) or {}, _test_rows(own)
    outputs = [str(one) for one in facts.get("outputs") or ()]
    if given.aim == "segmentation":
        matched = match_label_maps(given, tests, facts.get("mask_labels") or {})
    else:
        matched = match_predictions(given, tests, outputs)
    _store(folder, own, matched, facts, name, file, margin)
    lines = [f"{name}: {matched.sentence}."]
    boards = leaderboards(read_run(folder))
    for board in boards:
        if board.cohort == own.cohort and board.aim == given.aim and not (board.is_selection_split or board.is_part):
            lines += _verdicts(folder, board, name, margin)
    return "\n".join([*lines, f"Report: {write_report(folder)}"])


def _own_cell(run: Run, given: GivenResults, cohort: str | None) -> CellRecord:
    """The first finished cell of the run with predictions of the same kind."""
    cells = [cell for cell in run.cells if cell.state == "done" and cell.aim == given.aim and not cell.foreign]
    cells = [cell for cell in cells if cohort in (None, cell.cohort) and cell.predictions is not None]
    cohorts = sorted({cell.cohort for cell in cells})
    if len(cohorts) != 1:
        what = f"Several cohorts fit ({', '.join(cohorts)}); choose one with --cohort." if cohorts else ""
        raise UsageError(what or f"{run.path} has no finished {given.aim} to stand beside.")
    return cells[0]


def _test_rows(cell: CellRecord) -> pd.DataFrame:
    table = cell.predictions
    assert table is not None  # chosen by it
    return table[~table["split"].isin(("train", "val"))].reset_index(drop=True)


def _store(
    folder: Path, own: CellRecord, matched: Matched, cohort: Facts, name: str, file: Path, margin: float | None
) -> None:
    cell_id = FOREIGN + digest({"cohort": own.cohort, "aim": own.aim, "name": name})[:12]
    resamples = int(own.facts.get("resamples") or RESAMPLES)
    scores = [
        _scores(rows, matched, cohort, resamples).assign(split=split)
        for split, rows in matched.predictions.groupby("split", sort=False)
    ]
    facts: dict[str, Any] = {
        "id": cell_id, "cohort": own.cohort, "backbone": NO_BACKBONE, "protocol": "foreign", "label": name,
        "aim": own.aim, "seed": None, "unit": own.facts.get("unit"), "resamples": resamples, "radapt": __version__,
        "foreign": {
            "file": file.name, "digest": digest_file(file), "margin": margin, "note": matched.sentence,
            "cases": int(matched.predictions["case"].nunique()), "missing": matched.missing,
            "elsewhere": matched.elsewhere, "incomplete": matched.incomplete,
        },
    }  # fmt: skip
    ledger, planned = Ledger(folder), read_json(folder / PLAN)["cells"]
    if not all(isinstance(entry, dict) for entry in planned):
        raise DataError(f"{folder} is of an older version of radapt. Run the study again.")
    with ledger.writing():
        table = matched.predictions.assign(cell=cell_id)
        ledger.finish(cell_id, facts, table, pd.concat(scores, ignore_index=True), seconds=0.0)
        ledger.write_results(planned)
        if recorded(folder) is not None:
            record_digests(folder, only=["results.parquet"])


def _scores(rows: pd.DataFrame, matched: Matched, cohort: Facts, resamples: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    if matched.metrics is not None:
        table = summarise(rows, labels=list(dict.fromkeys(rows["label"])), rng=rng, resamples=resamples)
        return table[table["metric"].isin(matched.metrics)]
    outputs = tuple(str(one) for one in cohort.get("outputs") or ())
    truth, probabilities, decisions = class_or_finding_arrays(rows, outputs)
    return score(
        truth, probabilities, list(rows["patient"]), task=str(cohort.get("task")), outputs=outputs,
        ordered=bool(cohort.get("ordered")), decisions=decisions, rng=rng, resamples=resamples,
    )  # fmt: skip


def _verdicts(folder: Path, board: Leaderboard, name: str, margin: float | None) -> list[str]:
    """The best method of the study against the tool, by the leading metric and each structure's."""
    family = board.primary or ""
    structures = board.by_class.get(family) if board.aim == "segmentation" else None
    lines = []
    for metric in (family, *(f"{family}:{one}" for one in structures or ())):
        theirs = [row for row in board.foreign.get(family, ()) if row.method.protocol == name]
        measured = set(_measured(folder, theirs[0].method.cells[0])) if theirs else set()
        if (board.split, metric) in measured and board.metrics.get(family):
            best = board.metrics[family][0].method.name
            draws = Draws(margin=margin)
            found = compare_run(
                folder, (best, name), draws, cohort=board.cohort, split=board.split, metric=metric
            )  # fmt: skip
            lines.append(found.text)
    return lines


def _measured(folder: Path, cell: CellRecord) -> list[tuple[str, str]]:
    table = pd.read_parquet(folder / "cells" / cell.id / "scores.parquet")
    return list(zip(table["split"], table["metric"], strict=True))
