"""Runs a plan on this machine: one backbone in memory at a time, one feature extraction per cohort, then its cells.

Cells that train on images follow those that read features, and each loads its own backbone.
"""

import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radapt.cohorts import cohort_digest
from radapt.cohorts.remote_images import locations_of
from radapt.digests import ByteDigests
from radapt.errors import DataError, counted
from radapt.failure_reason import reason_of
from radapt.studies.cells import Cell, CellEncoder
from radapt.studies.duplicates import refuse_equal_images, report_near_duplicates
from radapt.studies.groups import write_groups
from radapt.studies.ledger import Ledger
from radapt.studies.part import Part
from radapt.studies.patch_pictures import write_pictures
from radapt.studies.plan import Plan, Settings, StudyFailure, plan_study
from radapt.studies.report_facts import (
    cohort_folder,
    cohort_is_described,
    processor,
    write_backbone_facts,
    write_cohort_facts,
    write_environment,
)
from radapt.studies.run_digests import record_digests
from radapt.studies.segmentation_overlays import write_overlays
from radapt.studies.shortcuts import search_shortcuts
from radapt.studies.study import Study
from radapt.studies.token_stores import tokens_beside
from radapt.studies.tracked import result_numbers, tracked_cell
from radapt.studies.work import evaluate_cell, features_of, train_cell
from radapt.versions import versions

_READERS = 4
_WAIT_S = 600.0  # for another shard that writes the results
_LOG = logging.getLogger("radapt")

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone
    from radapt.cohorts import Cohort
    from radapt.features import Features, LesionFeatures
    from radapt.images import Recipe
    from radapt.locations import Location
    from radapt.protocols import Result
    from radapt.studies.cells import PreparedCohort


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run."""

    folder: Path
    planned: int
    already: int
    finished: int
    failures: tuple[StudyFailure, ...]
    part: Part = field(default_factory=Part)
    open: int = 0  # cells of other parts that are not finished
    cells: tuple[Cell, ...] = field(default=(), repr=False)  # all of the plan

    def summary(self) -> str:
        """The number of finished cells and the path of the results."""
        shard = f" of shard {self.part.shard}" if self.part.shard else ""
        others = f" {counted(self.open, 'cell')} outside this part are not finished." if self.open else ""
        return (
            f"{counted(self.finished, 'cell')} finished now, {self.already} finished earlier, "
            f"{self.planned} planned{shard}.{others}\n"
            f"Results: {self.folder / 'results.parquet'}"
        )

    def reasons(self) -> str:
        """Each reason for failure once, with everything that it stopped; '' without failures."""
        stopped: dict[str, list[str]] = {}
        for failure in self.failures:
            stopped.setdefault(failure.reason, []).append(failure.what)
        return "\n".join(f"Failed: {'; '.join(what)}: {reason}" for reason, what in stopped.items())


def run_study(study: Study, folder: Path, settings: Settings, part: Part = Part()) -> Outcome:
    """Run every cell that is not finished, or those of a `part`; return the counts and the failures.

    Shards may work in the folder at once, on one machine or on several that share it: each runs its cells, then those
    of shards whose process died, and writes the results of all cells that are finished by then.

    A failed cell is stored with its reason, and the others continue. After an interruption, the next call resumes and
    gives the same numbers. Raises UsageError, before anything is written, for a study that cannot be planned and for a
    weight file that does not fit its architecture.
    """
    ledger = Ledger(folder)
    ledger.refuse_foreign()
    plan = plan_study(study, settings, download=True)
    _refuse_unfit_weights(plan, ledger)
    part.of(plan.cells)
    with ledger.writing() if part.shard is None else ledger.sharing(part.shard):
        return _StudyRun(plan, ledger, settings, part).run()


def _refuse_unfit_weights(plan: Plan, ledger: Ledger) -> None:
    """Load each weight file that unfinished cells need, so that a wrong one stops the study at once."""
    encoders = [cell.encoder for cell in plan.cells if cell.encoder and not ledger.is_done(cell.id)]
    for located in {encoder.entry.name: encoder.located for encoder in encoders}.values():
        if located.source.kind == "file":
            located.lazy.load()


NAMING = ("id", "cohort", "backbone", "label", "seed", "shots", "fraction", "repeat", "control")
"""The facts that identify a cell in tables."""


class _StudyRun:
    """One pass over a plan."""

    def __init__(self, plan: Plan, ledger: Ledger, settings: Settings, part: Part) -> None:
        self.plan, self.ledger, self.settings, self.part = plan, ledger, settings, part
        self.failures = list(plan.failures)
        self.finished = 0
        self.started = time.time()
        self.without_duplicates = set[tuple[str, str]]()

    def run(self) -> Outcome:
        every, own = self.plan.cells, self.part.of(self.plan.cells)
        already = sum(self.ledger.is_done(cell.id) for cell in own)
        skipped = map(asdict, self.plan.skipped_controls)
        with self._alone():
            self.ledger.write_plan(self.plan.study.resolved(), self._named, map(asdict, self.plan.failures), skipped)
            write_groups(self.ledger, self.plan.study, {id(c.prepared): c.prepared for c in every}.values())
        for cell in own:
            if (name := self.ledger.damaged(cell.id)) is not None:
                note = f"{name} of this cell was damaged after it had finished; the cell is run again"
                self.ledger.log(cell.id, note)
                _LOG.warning("Cell %s: %s.", cell.id, note)
        if already < len(own):
            write_environment(self.ledger.folder, self.settings, self.plan.device)
        self._run(own)
        # What a dead process leaves is done by whoever has nothing else to do.
        for shard in self.ledger.workers.abandoned() if self.part.shard else []:
            left = self.part.of(every, shard)
            _LOG.warning("The process of shard %s has died; its cells are run here.", shard)
            self._run(left)
            if all(self.ledger.is_done(cell.id) for cell in left):
                self.ledger.workers.strike(shard)
        self._write_results()
        with self._alone():
            record_digests(self.ledger.folder, since=self.started)
        open_ = sum(not self.ledger.is_done(cell.id) for cell in every if cell not in own)
        failures = tuple(self.failures)
        return Outcome(self.ledger.folder, len(own), already, self.finished, failures, self.part, open_, tuple(every))

    @property
    def _named(self) -> list[dict[str, Any]]:
        return [{name: cell.facts[name] for name in NAMING} for cell in self.plan.cells]

    def _run(self, cells: list[Cell]) -> None:
        for encoder, group in groupby(cells, key=lambda cell: cell.encoder):
            own, before = list(group), self.finished
            if encoder:
                write_backbone_facts(self.ledger.folder, encoder)
                self._from_one_backbone(encoder, own)
                if self.finished > before:
                    self._write_results()
            for cell in own:
                if cell.job.protocol.reads == "images" and not self.ledger.is_done(cell.id):
                    self._trained(cell)
                    self._write_results()

    def _write_results(self) -> None:
        with self._alone():
            self.ledger.write_results(self._named)

    def _alone(self) -> AbstractContextManager[None]:
        """Beside other shards, the lock of the folder for a moment; alone, the process has it already."""
        return self.ledger.locked(wait_s=_WAIT_S) if self.part.shard else nullcontext()

    def _from_one_backbone(self, encoder: CellEncoder, cells: list[Cell]) -> None:
        """Run the cells that read features. The backbone is loaded on first use and released when this call returns."""
        lazy = replace(encoder.located.lazy, load=cache(encoder.located.lazy.load))
        reading = [cell for cell in cells if cell.job.protocol.reads == "features"]
        for prepared, group in groupby(reading, key=lambda cell: cell.prepared):
            pending = [cell for cell in group if not self.ledger.is_done(cell.id)]
            if pending:
                write_cohort_facts(self.ledger.folder, prepared)
                self._from_features(lazy, pending)

    def _trained(self, cell: Cell) -> None:
        """Run a cell that trains on images, with its own copy of the backbone."""
        if not cohort_is_described(self.ledger.folder, cell.prepared):  # keep slice counts that an extraction wrote
            write_cohort_facts(self.ledger.folder, cell.prepared)
        self._one_cell(cell, partial(train_cell, cell, self.ledger, self.settings, self.plan))

    def _from_features(self, backbone: "LazyBackbone", pending: list[Cell]) -> None:
        """Run the cells of one backbone on one cohort, which share one set of features."""
        from radapt.features import LesionFeatures

        prepared = pending[0].prepared
        try:
            tokens = tokens_beside(self.plan.cells, pending[0], self.ledger, self.settings.cache)
            features = features_of(prepared, backbone, self.settings, tokens)
            counts = None if isinstance(features, LesionFeatures) else features.counts
            write_cohort_facts(self.ledger.folder, prepared, counts)
            self._check_images(prepared, prepared.recipe)
        except Exception as error:  # an error in one group must not stop the others
            for cell in pending:
                self._failed(cell, error)
            return
        if not pending[0].facts["control"] and self.plan.study.pictures == "embed":
            self._pictures(backbone, pending[0])
            search_shortcuts(self.ledger, self.plan.study, pending[0], features)
        for cell in pending:
            self._one_cell(
                cell, partial(evaluate_cell, cell, features, self.ledger, self.settings, self.plan), features
            )

    def _pictures(self, backbone: "LazyBackbone", cell: Cell) -> None:
        from radapt.images import SliceCache

        target = self.ledger.pictures(cell.facts["cohort"], cell.facts["backbone"])
        slices = SliceCache(self.settings.cache)
        try:
            write_pictures(target, backbone, cell.prepared.cohort, slices, cell.prepared.recipe)
        except Exception as error:  # a missing picture is logged and does not fail the cell
            self.ledger.log(cell.id, f"no pictures: {error}")

    def _overlays(self, cell: Cell, result: "Result") -> None:
        folder, prepared = self.ledger.cell(cell.id), cell.prepared
        try:
            write_overlays(folder, prepared.cohort, prepared.recipe, result.predictions, self.settings.cache)
        except Exception as error:  # a missing picture is logged and does not fail the cell
            self.ledger.log(cell.id, f"no overlays: {error}")

    def _one_cell(
        self, cell: Cell, work: "Callable[[], Result]", features: "Features | LesionFeatures | None" = None
    ) -> None:
        if not self.ledger.workers.claim(cell.id) or self.ledger.is_done(cell.id):
            return  # another process has it, or has finished it meanwhile
        start = time.perf_counter()
        try:
            if features is None:
                self._check_images(cell.prepared, cell.prepared.recipe.whole)
            with tracked_cell(self.plan.study, self.settings, self.ledger, cell) as tracked:
                result = work()
                if features is None:
                    self._check_unchanged(cell.prepared)
                if tracked is not None:
                    tracked.results(result_numbers(result.scores))
        except Exception as error:  # an error in one cell must not stop the others
            self._failed(cell, error)
            return
        if cell.job.protocol.aim == "segmentation" and self.plan.study.pictures == "embed":
            self._overlays(cell, result)
        if result.subsets is not None:
            result.subsets.write(self.ledger.cell(cell.id))
        environment = {"versions": versions(), **processor(self.plan.device)}
        facts = {**cell.facts, "features": features.digest if features else None, **_records(result), **environment}
        predictions = result.predictions.assign(cell=cell.id)[["cell", *result.predictions.columns]]
        self.ledger.log(cell.id, f"finished: {cell.title}")
        cost = asdict(result.cost)
        if cell.encoder and cell.job.protocol.reads == "features":
            cost["parameters"] += cell.encoder.located.card.parameters  # frozen, but part of the model
        self.ledger.finish(cell.id, facts, predictions, result.scores, time.perf_counter() - start, cost)
        self.finished += 1

    def _check_images(self, prepared: "PreparedCohort", recipe: "Recipe") -> None:
        """Raise DataError if images changed since the plan, or if patients of different splits share one."""
        from radapt.images import SliceCache

        self._check_unchanged(prepared)
        if recipe.look == "lesion":
            recipe = recipe.whole
        checked = (prepared.digest or prepared.mask_digest, recipe.digest)
        if checked in self.without_duplicates:
            return
        slices = SliceCache(self.settings.cache)
        images = {location: name for case in prepared.cohort for name, location in case.images.items()}
        with ThreadPoolExecutor(_READERS) as pool:  # most are decoded already; what is not will be needed next
            found = pool.map(lambda image: slices.planes_digest(image[0], recipe, image[1]), images.items())
            digests = dict(zip(images, found, strict=True))

        def planes_of(modality: str, location: "Location") -> str | None:
            return digests[location]

        def varies(modality: str, location: "Location") -> bool:
            planes = slices.planes(location, recipe, modality)
            return bool(planes.min() != planes.max())

        duplicates = self.plan.study.duplicates
        refuse_equal_images(prepared.cohort, duplicates, planes_of, "pixels", varies)
        if checked[0] not in {digest for digest, _ in self.without_duplicates}:  # hashes do not depend on the recipe
            report_near_duplicates(prepared.cohort, duplicates, slices, cohort_folder(self.ledger.folder, prepared))
        self.without_duplicates.add(checked)

    def _check_unchanged(self, prepared: "PreparedCohort") -> None:
        """Raise DataError if images or masks are others than those that the ids of the cells were computed from."""
        digests = ByteDigests(self.settings.cache)
        for masks, planned in ((False, prepared.digest), (True, prepared.mask_digest)):
            if planned and cohort_digest(prepared.cohort, digests, masks=masks) != planned:
                raise DataError(_changed(prepared.cohort, self.started))

    def _failed(self, cell: Cell, error: BaseException) -> None:
        self.ledger.log(cell.id, "".join(traceback.format_exception(error)))
        self.ledger.fail(cell.id, cell.facts, error)
        self.failures.append(StudyFailure(cell.title, reason_of(error)))


def _changed(cohort: "Cohort", since: float) -> str:
    """What to say about images of a cohort that changed `since` the study started."""
    files = [location for location in locations_of(cohort) if not location.url]
    names = [str(location) for location in files if max(map(_change_time, location.files)) >= since - 1]
    named = f": {', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else ""
    return (
        f"Images or masks of cohort {cohort.name} changed while the study was running{named}. Its numbers would belong "
        "to other images than planned. Run the study again when nothing writes to them any more."
    )


def _change_time(path: Path) -> float:
    try:
        return path.stat().st_ctime
    except OSError:
        return float("inf")


def _records(result: "Result") -> dict[str, Any]:
    """`fit`, the record of the one model; in a cohort with folds `folds`, by name, and no `fit`."""
    if not result.folds:
        return {"fit": result.fit.to_json()}
    return {"fit": None, "folds": {name: fit.to_json() for name, fit in zip(result.folds, result.fits, strict=True)}}
