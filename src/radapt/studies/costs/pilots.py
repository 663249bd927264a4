"""Runs each kind of cell of a study on a few of its patients, in a cache of its own, and times it."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

from radapt.errors import RadaptError
from radapt.progress import silent
from radapt.studies.cells import Cell, CellEncoder, PreparedCohort
from radapt.studies.costs.samples import Sample, extrapolate, few_patients
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan, Settings
from radapt.studies.work import evaluate_cell, features_of, train_cell

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone
    from radapt.cohorts import Cohort
    from radapt.features.token_pass import MakeStore
    from radapt.protocols import Protocol
    from radapt.protocols.length import Length

PATIENTS = (16, 48)
"""Patients of the timed runs; half and all where the cohort has fewer than the second."""

_COUNTED = 3

_STEPS, _LONGEST = 10, 64
"""Steps of the shortest training that counts steps alone, which scores val ten times; and the longest timed one."""


@dataclass(frozen=True)
class GroupPilot:
    """What the cells of one encoder on one cohort share: seconds to read and encode all its images, bytes to keep."""

    slices_per_second: float
    seconds: float
    bytes: float
    planes: float = 1.0
    """Slices of an image, on average; 1 if the lesion is looked at."""


@dataclass
class Pilots:
    """Timed runs of `plan`. `folder` is emptied afterwards by whoever made it."""

    plan: Plan
    settings: Settings
    folder: Path
    _extracted: set[tuple[str, str, str | None]] = field(default_factory=set, init=False)
    _rooms: dict[tuple[str, str | None, int], int] = field(default_factory=dict, init=False)
    _used: set[str] = field(default_factory=set, init=False)
    """Encoders on cohorts whose features lie in a cache, the numbers of caches, and the protocols that ran."""

    def group(self, prepared: PreparedCohort, ready: "Ready", cells: Sequence[Cell]) -> GroupPilot:
        """Extract the features of a few patients twice, in caches of their own, with the tokens that `cells` read.

        Raises RadaptError as extraction.
        """
        self._extracted.add(_group(ready.encoder, prepared))
        images, times, stored, slices = list[int](), list[float](), list[int](), 0
        for count in self.sizes(prepared.cohort):
            own = self.few(prepared, count)
            room = self.cache_of(prepared, count)
            before, begun = bytes_of(room), time.perf_counter()
            tokens = _tokens(cells, own, ready, room)
            features = features_of(own, ready.backbone, replace(self.settings, cache=room, progress=silent), tokens)
            times.append(time.perf_counter() - begun)
            images.append(int(own.cohort.presence.sum()))
            stored.append(bytes_of(room) - before)
            slices = 0 if prepared.recipe.look == "lesion" else int(features.counts.sum())  # type: ignore[union-attr]
        every = int(prepared.cohort.presence.sum())
        samples = [Sample(n, 0, seconds) for n, seconds in zip(images, times, strict=True)]
        last = max(1, images[-1])
        planes = slices / last if slices else 1.0
        return GroupPilot(slices / times[-1], extrapolate(samples, every, 0), stored[-1] / last * every, planes)

    def cell(self, cell: Cell, ready: "Ready | None") -> tuple[float, int] | None:
        """Seconds of a cell, and the bytes of its folder; None if it cannot be run on a few patients.

        Where no features are extracted before it, each of its timed runs encodes what it needs.
        """
        protocol, cohort = _settled(cell), cell.prepared.cohort
        backbone = ready.backbone if ready else None
        cell = replace(cell, encoder=ready.encoder if ready else None)
        try:
            long = protocol.length(_samples(cell, self.folder / "counted"))
            samples, size = self._runs(cell, protocol, long, backbone)
        except (RadaptError, ValueError):
            return None
        by_steps = long is not None and long.by_steps
        return extrapolate(samples, len(cohort), long.value if long else 0, by_steps=by_steps), size

    def _runs(
        self, cell: Cell, protocol: "Protocol", long: "Length | None", backbone: "LazyBackbone | None"
    ) -> tuple[list[Sample], int]:
        """Timed runs, and the bytes of the last: on few and on more patients, and on few with longer and longer
        trainings until one takes half as long again."""
        small, large = self.sizes(cell.prepared.cohort)
        if cell.job.entry.name not in self._used:  # the first run of a protocol imports its libraries
            self._used.add(cell.job.entry.name)
            self._timed(cell if long is None else _with(cell, protocol, 1), small, 0, backbone)
        if long is None:
            runs = [self._timed(cell, count, 0, backbone) for count in (small, large)]
            return [sample for sample, _ in runs], runs[-1][1]
        most = max(1, round(long.value))
        length, factor = (min(_STEPS, most), 2) if long.by_steps else (1, 4)
        samples = [self._timed(_with(cell, protocol, length), small, length, backbone)[0]]
        while length < min(most, _LONGEST) and samples[-1].seconds < 1.5 * samples[0].seconds:
            length = min(length * factor, most)
            samples.append(self._timed(_with(cell, protocol, length), small, length, backbone)[0])
        last, size = self._timed(_with(cell, protocol, length), large, length, backbone)
        return [*samples, last], size

    def sizes(self, cohort: "Cohort") -> tuple[int, int]:
        """The numbers of patients of the two timed runs."""
        patients = len(set(cohort.patients))
        return (patients // 2, patients) if patients < PATIENTS[1] else PATIENTS

    def few(self, prepared: PreparedCohort, count: int) -> PreparedCohort:
        return replace(prepared, cohort=few_patients(prepared.cohort, count))

    def cache_of(self, prepared: PreparedCohort, count: int) -> Path:
        """The cache of the runs on so many patients. It starts empty, and encoders share its slices as in a run."""
        key = prepared.cohort.name, prepared.image.name, count
        return self.folder / str(self._rooms.setdefault(key, len(self._rooms)))

    def _timed(self, cell: Cell, count: int, length: int, backbone: "LazyBackbone | None") -> tuple[Sample, int]:
        prepared = self.few(cell.prepared, count)
        own = replace(cell, prepared=prepared)
        cache = self.cache_of(cell.prepared, count)
        if cell.encoder is not None and _group(cell.encoder, cell.prepared) not in self._extracted:
            cache = Path(mkdtemp(dir=self.folder))
        settings = replace(self.settings, cache=cache, progress=silent)
        ledger = Ledger(self.folder / "run")
        if cell.job.protocol.reads == "features" and backbone is not None:
            features = features_of(prepared, backbone, settings)
            work: Callable[[], object] = partial(evaluate_cell, own, features, ledger, settings, self.plan)
        else:
            work = partial(train_cell, own, ledger, settings, self.plan)
        begun = time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
        size = bytes_of(ledger.cell(cell.id))
        shutil.rmtree(ledger.cell(cell.id))
        return Sample(len(prepared.cohort), length, seconds), size


def _group(encoder: CellEncoder, prepared: PreparedCohort) -> tuple[str, str, str | None]:
    return encoder.entry.name, prepared.cohort.name, prepared.image.name


def _tokens(cells: Sequence[Cell], few: PreparedCohort, ready: "Ready", cache: Path) -> "MakeStore | None":
    """What stores the tokens that one of the cells reads, as in a run."""
    lazy = ready.encoder.located.lazy
    makes = (
        _settled(cell).token_store(lazy, few.cohort, few.recipe, cell.facts["dtype"], cache)
        for cell in cells
        if cell.job.protocol.reads == "images"
    )
    return next((make for make in makes if make is not None), None)


def _settled(cell: Cell) -> "Protocol":
    if cell.encoder is None:
        return cell.job.protocol
    located = cell.encoder.located
    return cell.job.protocol.settled(located.source, cell.prepared.cohort, located.lazy.modalities)


def _with(cell: Cell, protocol: "Protocol", length: int) -> Cell:
    return replace(cell, job=replace(cell.job, protocol=protocol.shortened(length)))


def bytes_of(folder: Path) -> int:
    """Of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _samples(cell: Cell, cache: Path) -> int:
    """What an epoch of its training goes through: cases, or for masks their planes, counted in a few images."""
    from radapt.images import SliceCache

    prepared = cell.prepared
    cohort = prepared.cohort
    trained = len(cohort) * (1 - 1 / len(cohort.folds)) if cohort.folds else len(cohort)
    trained -= 0 if cohort.folds else sum(case.split in cohort.test_sets for case in cohort)
    if cell.job.protocol.aim == "classification":
        return round(trained)
    images = [next(iter(case.images.items())) for case in cohort if case.images][:_COUNTED]
    planes = [len(SliceCache(cache).planes(location, prepared.recipe, name)) for name, location in images]
    return round(trained * sum(planes) / len(planes))


@contextmanager
def pilots_of(plan: Plan, settings: Settings) -> Iterator[Pilots]:
    """Pilots in a folder of their own beside the cache, which is removed at the end."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".plan-", dir=settings.cache) as folder:
        yield Pilots(plan, settings, Path(folder))


@dataclass(frozen=True)
class Ready:
    """An encoder that is loaded and was used once, so that neither is timed."""

    encoder: CellEncoder
    backbone: "LazyBackbone"


def ready(encoder: CellEncoder, size: Sequence[int], settings: Settings) -> Ready:
    """The encoder, with random weights where its own are not here; these take as long."""
    import torch

    from radapt.backbones import find_backbone

    located, entry = encoder.located, encoder.entry
    if not located.source.available:
        located = find_backbone(
            entry.architecture, "random", dtype=entry.dtype, device=located.device, offline=True, runtime=entry.runtime,
            cache=settings.cache,
        )  # fmt: skip
    lazy = replace(located.lazy, load=cache(located.lazy.load))
    backbone = lazy.load()
    if not lazy.modalities:
        with torch.no_grad():
            backbone.tokens(torch.zeros(1, 3, *size, device=located.device))
    return Ready(CellEncoder(entry, replace(located, lazy=lazy)), lazy)
