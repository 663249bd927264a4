"""The cost of a study as text: time, disk, energy and money of each cell and of all."""

from dataclasses import dataclass

from radapt.studies.cells import Cell
from radapt.studies.costs.estimate import GroupCost
from radapt.studies.plan import Plan


@dataclass(frozen=True)
class Prices:
    """What the machine draws at work, in watts, and what an hour of it costs in euros; None: money is not shown."""

    watts: float = 100.0
    per_hour: float | None = None

    def of(self, seconds: float) -> str:
        """Time, energy and money."""
        money = "" if self.per_hour is None else f", {seconds / 3600 * self.per_hour:.2f} EUR"
        return f"{duration(seconds)}, {_energy(self.watts * seconds / 3600)}{money}"


def plan_text(costs: list[GroupCost], plan: Plan, prices: Prices = Prices(), memory_gib: float | None = None) -> str:
    """The plan as text: groups with their cost, each followed by its cells, and the total."""
    lines = []
    for cost in costs:
        lines.append(_group_line(cost, plan, prices))
        lines += [f"  {cell.id}  {_cell_line(cell, cost, prices)}" for cell in cost.cells]
    lines += [f"not planned: {note}" for note in plan.notes]
    lines += [f"not planned: control {one.control} on {one.cohort}: {one.reason}" for one in plan.skipped_controls]
    lines += [f"cannot be planned: {failure.what}: {failure.reason}" for failure in plan.failures]
    return "\n".join([*lines, _total(costs, prices, memory_gib)])


def _total(costs: list[GroupCost], prices: Prices, memory_gib: float | None) -> str:
    cells, unfinished = sum(len(cost.cells) for cost in costs), sum(len(cost.unfinished) for cost in costs)
    encoding = sum(cost.encoding.seconds for cost in costs if cost.encoding)
    unknown = sum(cell is None for cost in costs for cell in cost.unfinished.values())
    parts = [f"{cells} cells, {cells - unfinished} of them finished"]
    if unfinished:
        parts.append(f"about {prices.of(sum(cost.seconds for cost in costs))}, at {prices.watts:g} W")
        parts += [f"{duration(encoding)} of it to encode unless stored"] if encoding else []
        parts.append(f"{_size(sum(cost.bytes for cost in costs))} on disk")
        parts += [f"{memory_gib:.1f} GiB of memory"] if memory_gib else []
        parts += [f"{unknown} cells whose time is unknown"] if unknown else []
        parts.append("measured on a few patients of each kind")
    return "; ".join(parts) + "."


def _group_line(cost: GroupCost, plan: Plan, prices: Prices) -> str:
    first = cost.cells[0]
    if first.encoder is None:
        what = "controls" if all(cell.facts["control"] for cell in cost.cells) else "networks from scratch"
        return f"{what} on {first.facts['cohort']} ({plan.device})"
    located, encoding = first.encoder.located, ""
    if cost.encoding:
        rate = f"{cost.encoding.slices_per_second:.3g} slices/s, " if cost.encoding.slices_per_second else ""
        encoding = f": {rate}about {prices.of(cost.encoding.seconds)} to encode unless stored, "
        encoding += f"{_size(cost.encoding.bytes)} on disk"
    return f"{first.facts['backbone']} on {first.facts['cohort']} ({located.lazy.dtype}, {located.device}){encoding}"


def _cell_line(cell: Cell, cost: GroupCost, prices: Prices) -> str:
    drawn = f", {cell.job.draw.words}, repeat {cell.job.draw.repeat}" if cell.job.draw else ""
    control = ", control" if cell.facts["control"] else ""
    if cell.id not in cost.unfinished:
        taken = ", finished"
    else:
        known = cost.unfinished[cell.id]
        taken = ", time unknown" if known is None else f", about {prices.of(known.seconds)}, {_size(known.bytes)}"
    return f"{cell.facts['label']}{drawn}{control}, seed {cell.seed}{taken}"


def duration(seconds: float) -> str:
    """Seconds in the unit in which a person would say them."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _energy(watt_hours: float) -> str:
    return f"{watt_hours:.2g} Wh" if watt_hours < 99.5 else f"{watt_hours / 1000:.2g} kWh"


def _size(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"
