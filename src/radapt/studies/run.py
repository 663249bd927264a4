"""Run a plan on this machine: one backbone in memory at a time, each cohort's features once, then its cells."""

import time
import traceback
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.studies.describe import processor, write_backbone_facts, write_cohort_facts, write_environment
from radapt.studies.ledger import Ledger
from radapt.studies.pictures import write_pictures
from radapt.studies.plan import Cell, Encoder, Failure, Plan, Settings, plan_study
from radapt.studies.study import Study
from radapt.versions import versions

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone
    from radapt.features import Features


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    folder: Path
    planned: int
    already: int
    finished: int
    failures: tuple[Failure, ...]

    def summary(self) -> str:
        """What was done, and where the numbers are."""
        return (
            f"{self.finished} cells finished now, {self.already} were finished before, of {self.planned} planned.\n"
            f"Results: {self.folder / 'results.parquet'}"
        )

    def reasons(self) -> str:
        """Each reason for failure, once, with all that it stopped; '' without failures."""
        stopped: dict[str, list[str]] = {}
        for failure in self.failures:
            stopped.setdefault(failure.reason, []).append(failure.what)
        return "\n".join(f"Failed: {'; '.join(what)}: {reason}" for reason, what in stopped.items())


def run_study(study: Study, folder: Path, settings: Settings) -> Outcome:
    """Run every cell that is not finished yet; return what was done and what failed.

    Cells that fail are written down with their reason and the others go on. Killed anywhere, the next call
    continues and ends with the same numbers. Raises UsageError for a study that cannot be planned, and for a weight
    file that does not fit its architecture, before anything is written.
    """
    plan = plan_study(study, settings, download=True)
    ledger = Ledger(folder)
    _refuse_unfit_weights(plan, ledger)
    with ledger.writing():
        return _Run(plan, ledger, settings).everything()


def _refuse_unfit_weights(plan: Plan, ledger: Ledger) -> None:
    """Load each weight file that the study names and that is still needed, so that a wrong one stops it at once."""
    needed = {cell.encoder.entry.name: cell.encoder.found for cell in plan.cells if not ledger.is_done(cell.id)}
    for found in needed.values():
        if found.source.kind == "file":
            found.lazy.load()


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
        named = [{name: cell.facts[name] for name in ("id", "cohort", "backbone", "label", "seed")} for cell in cells]
        self.ledger.write_plan(self.plan.study.resolved(), named, map(asdict, self.plan.failures))
        if already < len(cells):
            write_environment(folder, self.settings, cells[0].encoder.found.device)
        for encoder, group in groupby(cells, key=lambda cell: cell.encoder):
            write_backbone_facts(folder, encoder)
            self._one_backbone(encoder, list(group))
            self.ledger.write_results(named)
        self.ledger.write_results(named)
        return Outcome(folder, len(ids), already, self.finished, tuple(self.failures))

    def _one_backbone(self, encoder: Encoder, cells: list[Cell]) -> None:
        # Loaded once at the first need, and let go with this call: one backbone in memory at a time.
        lazy = replace(encoder.found.lazy, load=cache(encoder.found.lazy.load))
        for _, group in groupby(cells, key=lambda cell: cell.prepared):
            pending = [cell for cell in group if not self.ledger.is_done(cell.id)]
            if pending:
                self._one_group(lazy, pending)

    def _one_group(self, backbone: "LazyBackbone", pending: list[Cell]) -> None:
        """The cells of one backbone on one cohort, from one set of features."""
        from radapt.features import extract

        prepared = pending[0].prepared
        write_cohort_facts(self.ledger.folder, prepared)
        try:
            features = extract(
                prepared.cohort, backbone, recipe=prepared.recipe, cache=self.settings.cache,
                progress=self.settings.progress,
            )  # fmt: skip
            write_cohort_facts(self.ledger.folder, prepared, features.counts)
        except Exception as error:  # one group's fault, of whatever kind, must not stop the others
            for cell in pending:
                self._failed(cell, error)
            return
        self._pictures(backbone, pending[0])
        for cell in pending:
            self._one_cell(cell, features)

    def _pictures(self, backbone: "LazyBackbone", cell: Cell) -> None:
        from radapt.images import SliceCache

        place = self.ledger.pictures(cell.facts["cohort"], cell.facts["backbone"])
        slices = SliceCache(self.settings.cache)
        try:
            write_pictures(place, backbone, cell.prepared.cohort, slices, cell.prepared.recipe)
        except Exception as error:  # a picture is worth a line in the log, not the numbers
            self.ledger.log(cell.id, f"no pictures: {error}")

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
        made = {"versions": versions(), **processor(cell.encoder.found.device)}
        facts = {**cell.facts, "features": features.digest, "chosen": result.chosen, **made}
        predictions = result.predictions.assign(cell=cell.id)
        predictions = predictions[["cell", *result.predictions.columns]]
        self.ledger.log(cell.id, f"finished: {cell.title}")
        self.ledger.finish(cell.id, facts, predictions, result.scores, time.perf_counter() - start)
        self.finished += 1

    def _failed(self, cell: Cell, error: BaseException) -> None:
        self.ledger.log(cell.id, "".join(traceback.format_exception(error)))
        self.ledger.fail(cell.id, cell.facts, error)
        self.failures.append(Failure(cell.title, str(error)))
