"""Runs each kind of cell of a study on a few of its patients, in a cache of its own, and times it."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

from radapt.errors import RadaptError
from radapt.progress import silent
from radapt.studies.cells import Cell, CellEncoder, PreparedCohort
from radapt.studies.costs.samples import Sample, Workload, extrapolate, few_patients
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan, Settings
from radapt.studies.work import evaluate_cell, features_of, train_cell

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone
    from radapt.cohorts import Cohort
    from radapt.features.token_pass import MakeStore
    from radapt.protocols import Protocol, Result
    from radapt.protocols.length import Length

LIMIT_S = 5.0
"""No timed run that is expected to take longer is begun, but for the first of a kind, on as few patients as can be."""

PATIENTS = (12, 24, 48)
"""Patients of timed runs. Trainings take the first two, or the next two where these are too few to learn from; probes
the fewest and the most that were encoded within the limit."""

_COUNTED = 3

_STEPS = 10
"""Steps of the shortest training that counts steps alone, which scores val as often."""

_LONGER = (8, 4, 2, 1)
"""By how much the second training of a kind is longer than the first."""


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
    _extracted: dict[tuple[str, str, str | None], list[int]] = field(default_factory=dict, init=False)
    _rooms: dict[tuple[str, str | None, int], int] = field(default_factory=dict, init=False)
    _used: set[str] = field(default_factory=set, init=False)
    """The numbers of patients whose features lie in a cache, those of caches, and the protocols that ran."""

    def group(self, prepared: PreparedCohort, ready: "Ready", cells: Sequence[Cell]) -> GroupPilot:
        """Extract the features of a few patients, and of more while that is quick, in caches of their own, with the
        tokens that `cells` read.

        Raises RadaptError as extraction.
        """
        extracted = self._extracted.setdefault(_group(ready.encoder, prepared), [])
        images, times, stored, slices = list[int](), list[float](), list[int](), 0
        for count in self.sizes(prepared.cohort):
            if extracted and times[-1] * count / extracted[-1] > LIMIT_S:
                break
            own = self.few(prepared, count)
            room = self.cache_of(prepared, count)
            before, begun = bytes_of(room), time.perf_counter()
            tokens = _tokens(cells, own, ready, room)
            features = features_of(own, ready.backbone, replace(self.settings, cache=room, progress=silent), tokens)
            times.append(time.perf_counter() - begun)
            extracted.append(count)
            images.append(int(own.cohort.presence.sum()))
            stored.append(bytes_of(room) - before)
            slices = 0 if prepared.recipe.look == "lesion" else int(features.counts.sum())  # type: ignore[union-attr]
        every = int(prepared.cohort.presence.sum())
        samples = [Sample(Workload(n, 0), seconds) for n, seconds in zip(images, times, strict=True)]
        last = max(1, images[-1])
        planes, seconds = slices / last if slices else 1.0, extrapolate(samples, Workload(every, 0), 0)
        return GroupPilot(slices / times[-1], seconds, stored[-1] / last * every, planes)

    def cell(self, cell: Cell, ready: "Ready | None") -> tuple[float, int] | None:
        """Seconds of a cell, and the bytes of its folder; None if it cannot be run on a few patients.

        Where no features are extracted before it, each of its timed runs encodes what it needs.
        """
        protocol, cohort = _settled(cell), cell.prepared.cohort
        backbone = ready.backbone if ready else None
        cell = replace(cell, encoder=ready.encoder if ready else None)
        sizes = self.sizes(cohort)
        encoded = self._extracted.get(_group(cell.encoder, cell.prepared), []) if cell.encoder else []
        pairs = [*pairwise(sizes)]
        if encoded and _reads_stored(cell, self.settings.cache):  # a run encodes them before the cell
            most = encoded[-1] if protocol.reads == "features" else encoded[min(1, len(encoded) - 1)]
            halved = [(encoded[0] // 2, encoded[0])] if len(encoded) == 1 else []
            pairs = [*halved, (encoded[0], most), *pairs[1:]]
        for small, large in pairs:
            try:
                long = protocol.length(_samples(cell, self.folder / "counted"))
                samples, size = self._runs(cell, protocol, long, backbone, (small, large))
            except (RadaptError, ValueError):
                continue  # too few of a class, it may be
            by_steps = long is not None and long.by_steps
            seconds = extrapolate(samples, Workload.of(cohort), long.value if long else 0, by_steps=by_steps)
            return seconds, size
        return None

    def _runs(
        self,
        cell: Cell,
        protocol: "Protocol",
        long: "Length | None",
        backbone: "LazyBackbone | None",
        sizes: tuple[int, int],
    ) -> tuple[list[Sample], int]:
        """Timed runs, and the bytes of the last: on few patients and briefly, then on more patients and for longer, if
        that takes no longer than the limit."""
        most = max(1, round(long.value)) if long else 0
        length = min(_STEPS if long and long.by_steps else 1, most)
        brief = _with(cell, protocol, length) if long else cell
        is_new = cell.job.entry.name not in self._used  # its first run imports libraries
        self._used.add(cell.job.entry.name)
        first, size = self._timed(brief, sizes[0], length, backbone, apart=is_new)
        if is_new and first.seconds < LIMIT_S:
            first, size = self._timed(brief, sizes[0], length, backbone)
        for factor in _LONGER if long else (1,):
            more = sizes[1] / sizes[0]
            expected = more * (first.seconds - first.training + factor * first.training)
            if sizes[1] > sizes[0] and length * factor <= max(most, length) and expected <= LIMIT_S:
                longer = _with(cell, protocol, length * factor) if long else cell
                second, size = self._timed(longer, sizes[1], length * factor, backbone)
                return [first, second], size
        return [first], size

    def sizes(self, cohort: "Cohort") -> tuple[int, ...]:
        """The numbers of patients of timed runs, from few to more; half of them and all in a small cohort."""
        patients = len(set(cohort.patients))
        fitting = tuple(count for count in PATIENTS if count <= patients)
        return fitting if len(fitting) > 1 else (patients // 2, patients)

    def few(self, prepared: PreparedCohort, count: int) -> PreparedCohort:
        """So many patients of the cohort; fewer than the fewest of `sizes` are some of those."""
        least = max(count, self.sizes(prepared.cohort)[0])
        return replace(prepared, cohort=few_patients(few_patients(prepared.cohort, least), count))

    def cache_of(self, prepared: PreparedCohort, count: int) -> Path:
        """The cache of the runs on so many patients. It starts empty, and encoders share its slices as in a run."""
        key = prepared.cohort.name, prepared.image.name, max(count, self.sizes(prepared.cohort)[0])
        return self.folder / str(self._rooms.setdefault(key, len(self._rooms)))

    def _timed(
        self, cell: Cell, count: int, length: int, backbone: "LazyBackbone | None", *, apart: bool = False
    ) -> tuple[Sample, int]:
        """One run, and the bytes of its folder. `apart` leaves the cache as it is, so that a second run stores as much
        in it."""
        prepared = self.few(cell.prepared, count)
        own = replace(cell, prepared=prepared)
        cache = self.cache_of(cell.prepared, count)
        if cell.encoder is not None and _group(cell.encoder, cell.prepared) not in self._extracted:
            cache = Path(mkdtemp(dir=self.folder))
        elif apart and cache.is_dir():
            cache = Path(shutil.copytree(cache, mkdtemp(dir=self.folder), dirs_exist_ok=True))
        settings = replace(self.settings, cache=cache, progress=silent)
        ledger = Ledger(self.folder / "run")
        if cell.job.protocol.reads == "features" and backbone is not None:
            features = features_of(prepared, backbone, settings)
            work: Callable[[], Result] = partial(evaluate_cell, own, features, ledger, settings, self.plan)
        else:
            work = partial(train_cell, own, ledger, settings, self.plan)
        begun = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - begun
        training = min(seconds, result.cost.seconds) if length else 0.0
        size = bytes_of(ledger.cell(cell.id))
        shutil.rmtree(ledger.cell(cell.id))
        return Sample(Workload.of(prepared.cohort), seconds, training, length), size


def _group(encoder: CellEncoder, prepared: PreparedCohort) -> tuple[str, str, str | None]:
    return encoder.entry.name, prepared.cohort.name, prepared.image.name


def _tokens(cells: Sequence[Cell], few: PreparedCohort, ready: "Ready", cache: Path) -> "MakeStore | None":
    """What stores the tokens that one of the cells reads, as in a run."""
    own = (replace(cell, encoder=ready.encoder) for cell in cells)
    return next((make for cell in own if (make := _token_store(cell, few, cache)) is not None), None)


def _reads_stored(cell: Cell, cache: Path) -> bool:
    """Whether the cell reads features or tokens that are extracted before it."""
    return cell.job.protocol.reads == "features" or _token_store(cell, cell.prepared, cache) is not None


def _token_store(cell: Cell, prepared: PreparedCohort, cache: Path) -> "MakeStore | None":
    """What stores the tokens that the cell reads; None if it reads none."""
    if cell.encoder is None or cell.job.protocol.reads != "images":
        return None
    lazy = cell.encoder.located.lazy
    return _settled(cell).token_store(lazy, prepared.cohort, prepared.recipe, cell.facts["dtype"], cache)


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
