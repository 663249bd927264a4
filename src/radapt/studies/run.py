"""Run a plan on this machine: one backbone in memory at a time, each cohort's features once, then its cells."""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.errors import RadaptError
from radapt.studies.describe import write_backbone_facts, write_cohort_facts, write_environment
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Cell, Encoder, Failure, Plan, Prepared, Settings, plan_study
from radapt.studies.study import Study

if TYPE_CHECKING:
    from radapt.backbones import Backbone
    from radapt.features import Features

log = logging.getLogger("radapt.studies")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    folder: Path
    planned: int
    already: int
    finished: int
    failures: tuple[Failure, ...]

    def summary(self) -> str:
        lines = [
            f"{self.finished} cells finished now, {self.already} were finished before, of {self.planned} planned.",
            *(f"Failed: {failure.what}: {failure.reason}" for failure in self.failures),
            f"Results: {self.folder / 'results.parquet'}",
        ]
        return "\n".join(lines)


def run_study(study: Study, folder: Path, settings: Settings) -> Outcome:
    """Run every cell that is not finished yet; return what was done and what failed.

    Cells that fail are written down with their reason and the others go on. Killed anywhere, the next call
    continues and ends with the same numbers. Raises UsageError for a study that cannot be planned.
    """
    plan = plan_study(study, settings)
    ledger = Ledger(folder)
    with ledger.writing():
        return _Run(plan, ledger, settings).everything()


class _Run:
    """One pass over a plan."""

    def __init__(self, plan: Plan, ledger: Ledger, settings: Settings) -> None:
        self.plan, self.ledger, self.settings = plan, ledger, settings
        self.failures = list(plan.failures)
        self.finished = 0

    def everything(self) -> Outcome:
        cells, folder = self.plan.cells, self.ledger.folder
        ids = [cell.id for cell in cells]
        already = sum(self.ledger.is_done(cell_id) for cell_id in ids)
        self.ledger.write_plan(self.plan.study.resolved(), ids)
        for encoder, group in groupby(cells, key=lambda cell: cell.encoder):
            write_backbone_facts(folder, encoder)
            write_environment(folder, self.settings, encoder.device)
            self._one_backbone(encoder, list(group))
            self.ledger.write_results(ids)
        self.ledger.write_results(ids)
        return Outcome(folder, len(ids), already, self.finished, tuple(self.failures))

    def _one_backbone(self, encoder: Encoder, cells: list[Cell]) -> None:
        # Loaded at the first need: with all features stored, a cell needs no weights in memory.
        load = cache(lambda: self._load(encoder))
        for prepared, group in groupby(cells, key=lambda cell: cell.prepared):
            write_cohort_facts(self.ledger.folder, prepared)
            pending = [cell for cell in group if not self.ledger.is_done(cell.id)]
            if pending:
                self._one_group(encoder, prepared, pending, load)

    def _load(self, encoder: Encoder) -> "Backbone":
        from radapt.backbones import load_backbone

        entry = encoder.entry
        log.info("loading %s (%s, %s)", entry.name, encoder.source.identity, encoder.dtype)
        return load_backbone(
            entry.architecture, entry.weights, seed=entry.seed, dtype=encoder.dtype, device=encoder.device,
            offline=self.settings.offline,
        )  # fmt: skip

    def _one_group(
        self, encoder: Encoder, prepared: Prepared, pending: list[Cell], load: "Callable[[], Backbone]"
    ) -> None:
        """The cells of one backbone on one cohort, from one set of features."""
        try:
            features = self._features(encoder, prepared, load)
        except (RadaptError, OSError, RuntimeError) as error:
            for cell in pending:
                self._failed(cell, error)
            return
        for cell in pending:
            self._one_cell(cell, features)

    def _one_cell(self, cell: Cell, features: "Features") -> None:
        from radapt.features import Pooling
        from radapt.protocols import evaluate

        study, start = self.plan.study, time.perf_counter()
        try:
            result = evaluate(
                features, cell.protocol.name, seed=cell.seed, pooling=Pooling(**study.pooling.model_dump()),
                resamples=study.resamples, **cell.protocol.options,
            )  # fmt: skip
        except Exception as error:  # one cell's fault, of whatever kind, must not stop the others
            self._failed(cell, error)
            return
        facts = {**cell.facts, "features": features.digest, "chosen": result.chosen}
        predictions = result.predictions.assign(cell=cell.id)
        predictions = predictions[["cell", *result.predictions.columns]]
        self.ledger.log(cell.id, f"finished: {cell.title}")
        self.ledger.finish(cell.id, facts, predictions, result.scores, time.perf_counter() - start)
        self.finished += 1

    def _failed(self, cell: Cell, error: BaseException) -> None:
        self.ledger.log(cell.id, "".join(traceback.format_exception(error)))
        self.ledger.fail(cell.id, cell.facts, error)
        self.failures.append(Failure(cell.title, str(error)))
