"""The cost of a plan before it runs: seconds and bytes of every cell, from timed runs on few patients and from cells of
the same kind that are finished."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from statistics import mean
from typing import TYPE_CHECKING

from radapt.done_file import DONE
from radapt.parsing.json import read_json
from radapt.studies.cells import Cell
from radapt.studies.costs.pilots import GroupPilot, Pilots, Ready, bytes_of, pilots_of, ready
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan, Settings
from radapt.studies.report_facts import processor

if TYPE_CHECKING:
    from radapt.progress import Advance


@dataclass(frozen=True)
class CellCost:
    """Seconds of a cell, without those of the features it reads, and the bytes of its folder."""

    seconds: float
    bytes: float


@dataclass(frozen=True)
class GroupCost:
    """The cost of the cells of one backbone on one cohort, which share one feature extraction.

    `encoding` is what reading and encoding all images takes, None if no unfinished cell reads features or it failed on
    a few patients. `unfinished` holds the cost of every unfinished cell by its id, None where a few patients are too
    few to run it on.
    """

    cells: tuple[Cell, ...]
    encoding: GroupPilot | None
    unfinished: Mapping[str, CellCost | None]

    @property
    def seconds(self) -> float:
        """Of everything whose cost is known."""
        cells = sum(cost.seconds for cost in self.unfinished.values() if cost is not None)
        return cells + (self.encoding.seconds if self.encoding else 0.0)

    @property
    def bytes(self) -> float:
        """Of everything whose cost is known: slices, features and the folders of the cells."""
        cells = sum(cost.bytes for cost in self.unfinished.values() if cost is not None)
        return cells + (self.encoding.bytes if self.encoding else 0.0)


def estimate(plan: Plan, ledger: Ledger, settings: Settings) -> list[GroupCost]:
    """The cost of every group of a plan, measured here: each kind of cell runs on a few patients.

    A kind is a backbone, cohort, protocol and size of draw; its seeds and repeats cost the same. Features that the
    cache holds already are not taken into account.
    """
    groups = [list(cells) for _, cells in groupby(plan.cells, key=lambda cell: (cell.encoder, cell.prepared))]
    kinds = {kind_of(cell) for cell in plan.cells if not ledger.is_done(cell.id)}
    with (
        pilots_of(plan, settings) as pilots,
        settings.progress(len(kinds), "Measuring on a few patients", "kinds of cells") as advance,
    ):
        return [_group(cells, ledger, pilots, advance) for cells in groups]


def kind_of(cell: Cell) -> tuple[str, ...]:
    """What cells have in common whose costs are equal."""
    drawn = cell.job.draw.words if cell.job.draw else ""
    facts = cell.facts
    return str(facts["cohort"]), str(facts["backbone"]), str(facts["label"]), str(facts["control"]), drawn


def _group(cells: list[Cell], ledger: Ledger, pilots: Pilots, advance: "Advance") -> GroupCost:
    first, done = cells[0], {cell.id for cell in cells if ledger.is_done(cell.id)}
    pending = [cell for cell in cells if cell.id not in done]
    used, encoding = None, None
    if pending and first.encoder is not None:
        used = ready(first.encoder, first.prepared.recipe.size, pilots.settings)
        if any(cell.job.protocol.reads == "features" for cell in pending):
            encoding = _encoding(pending, used, pilots)
    known = _finished(cells, done, ledger, pilots.plan.device)
    costs: dict[tuple[str, ...], CellCost | None] = dict(known)
    for cell in pending:
        kind = kind_of(cell)
        if kind not in costs:
            found = pilots.cell(cell, used)
            costs[kind] = found and CellCost(*found)
            advance(1)
    return GroupCost(tuple(cells), encoding, {cell.id: costs[kind_of(cell)] for cell in pending})


def _encoding(pending: list[Cell], used: Ready, pilots: Pilots) -> GroupPilot | None:
    from radapt.errors import RadaptError

    try:
        return pilots.group(pending[0].prepared, used, pending)
    except RadaptError:
        return None  # `radapt check` and the run say why


def _finished(cells: list[Cell], done: set[str], ledger: Ledger, device: str) -> dict[tuple[str, ...], CellCost]:
    """The mean cost of the finished cells of each kind that this processor ran."""
    here = processor(device)
    found: dict[tuple[str, ...], list[CellCost]] = {}
    for cell in (cell for cell in cells if cell.id in done):
        folder = ledger.cell(cell.id)
        facts = read_json(folder / "cell.json")
        if all(facts.get(name) == value for name, value in here.items()):
            size = bytes_of(folder)
            seconds = float(read_json(folder / DONE)["seconds"])
            found.setdefault(kind_of(cell), []).append(CellCost(seconds, size))
    return {
        kind: CellCost(mean(cost.seconds for cost in costs), mean(cost.bytes for cost in costs))
        for kind, costs in found.items()
    }
