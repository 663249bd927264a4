"""The finished cells of a run, with the scores that choices may be made by: of val or inner folds, never of a test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radapt.errors import DataError, UsageError
from radapt.metrics.registry import METRICS
from radapt.models.folder import MODEL
from radapt.protocols.save_model import MODEL_FOLDER
from radapt.studies.ledger import FAILED, PLAN, Ledger, read_json, slug
from radapt.studies.selection import inner_score, selection_metric

INNER, VAL, NONE = "inner folds", "val", "none"


@dataclass(frozen=True, eq=False)
class RunCell:
    """A finished cell. `scores` {`val` or `inner folds`: value} are those of `metric`; empty if nothing was scored."""

    id: str
    folder: Path
    cohort: str
    backbone: str
    label: str
    seed: int
    aim: str
    control: str
    few_labels: bool
    metric: str
    scores: Mapping[str, float]
    facts: Mapping[str, Any]

    @property
    def method(self) -> str:
        """As a report names it."""
        return self.label if self.backbone in ("none", "") else f"{self.backbone} · {self.label}"

    @property
    def models(self) -> tuple[Path, ...]:
        """The folders of its models: one, or one for each fold; none where the protocol keeps no model."""
        folder = self.folder / MODEL_FOLDER
        if (folder / MODEL).is_file():
            return (folder,)
        return tuple(sorted(path.parent for path in folder.glob(f"fold-*/{MODEL}")))

    def calls(self, name: str) -> bool:
        """Whether `name` is this method: its label, its backbone and label, or its protocol."""
        plain = " ".join(name.replace("·", " ").split()).lower()
        return plain in {
            self.label.lower(),
            f"{self.backbone} {self.label}".lower(),
            str(self.facts.get("protocol", "")).lower(),
        }


def run_cells(run: Path) -> list[RunCell]:
    """The finished cells of the run folder. Raises UsageError if it is none, DataError if a file in it is damaged."""
    if not (run / PLAN).is_file():
        raise UsageError(f"{run} is not a run folder: it has no {PLAN}. Give the folder that `radapt run` wrote.")
    ledger = Ledger(run)
    try:
        planned = [str(entry["id"]) for entry in read_json(run / PLAN)["cells"]]
        cells = [_cell(run, ledger.cell(name)) for name in planned if ledger.is_done(name)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The run folder {run} cannot be read ({type(error).__name__}: {error}). Run the study again: finished "
            "cells are kept."
        ) from error
    if not cells:
        raise UsageError(_nothing_finished(run, ledger, planned))
    return cells


def _nothing_finished(run: Path, ledger: Ledger, planned: Sequence[str]) -> str:
    failed = [path for name in planned if (path := ledger.cell(name) / FAILED).is_file()]
    if not failed:
        return f"No cell of {run} is finished, so there is nothing to export. Run the study first."
    try:
        why = f" The first: {str(read_json(failed[0])['reason']).rstrip('.')}."
    except (OSError, ValueError, KeyError, TypeError):
        why = ""
    count = f"All {len(planned)} cells" if len(failed) == len(planned) else f"{len(failed)} of {len(planned)} cells"
    return (
        f"{count} of {run} failed and none is finished, so there is nothing to export.{why} `radapt report {run}` "
        "lists every reason; `radapt run` with the same study and --out tries the cells again."
    )


def cohort_facts(run: Path, cohort: str) -> dict[str, Any]:
    """What the run says about a cohort."""
    path = run / "cohorts" / slug(cohort) / "cohort.json"
    try:
        return dict(read_json(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Run the study again with the same --out.") from error


def _cell(run: Path, folder: Path) -> RunCell:
    facts = read_json(folder / "cell.json")
    metric = selection_metric(facts, cohort_facts(run, str(facts["cohort"])).get("task"))
    return RunCell(
        id=str(facts["id"]),
        folder=folder,
        cohort=str(facts["cohort"]),
        backbone=str(facts["backbone"]),
        label=str(facts["label"]),
        seed=int(facts["seed"]),
        aim=str(facts["aim"]),
        control=str(facts.get("control") or ""),
        few_labels=facts.get("shots") is not None or facts.get("fraction") is not None,
        metric=metric,
        scores=_scores(folder, facts, metric),
        facts=facts,
    )


def _scores(folder: Path, facts: Mapping[str, Any], metric: str) -> dict[str, float]:
    found = {INNER: inner_score(facts, metric), VAL: _of_val(folder, metric)}
    return {source: value for source, value in found.items() if not math.isnan(value)}


def _of_val(folder: Path, metric: str) -> float:
    scores = pd.read_parquet(folder / "scores.parquet")
    rows = scores[(scores["split"] == "val") & (scores["metric"] == metric)]
    return float(rows["value"].iloc[0]) if len(rows) else math.nan


def loss_of(metric: str, value: float) -> float:
    """Smaller is better."""
    return METRICS[metric].loss(value) if metric in METRICS else -value
