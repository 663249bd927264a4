"""The part of a study that fits into a given time, chosen by a plain rule.

In this order, as little as needed is left out: repeats of learning curves, seeds, slices of volumes (half, then a
quarter of them are kept), protocols. Controls stay, and every backbone keeps its cheapest protocol on every cohort; of
the others, the one with the most time per method that it adds is dropped first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from radapt.errors import UsageError
from radapt.studies.cells import Cell
from radapt.studies.costs.estimate import GroupCost, kind_of
from radapt.studies.costs.text import duration
from radapt.studies.study import ImageSettings, ProtocolEntry, Study

RESERVE = 0.1
"""The share of the time that is kept in reserve."""

_SLICES = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Choice:
    """The study that fits, the seconds it takes, and what was left out and why, a sentence each."""

    study: Study
    seconds: float
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class _Extent:
    """How much of a study is run. `protocols` are titles; `slices` is the share of the planes that is kept."""

    protocols: tuple[str, ...]
    slices: float
    seeds: int
    repeats: int

    def seconds(self, costs: Sequence[GroupCost], study: Study) -> float:
        """What is left to do, encoding included."""
        total = 0.0
        for cost in costs:
            own = [cell for cell in cost.cells if cell.id in cost.unfinished and self._runs(cell, study)]
            for cell in own:
                known = cost.unfinished[cell.id]
                total += (known.seconds if known else 0.0) * (
                    self.slices if cell.job.protocol.reads == "images" else 1.0
                )
            if cost.encoding and any(cell.job.protocol.reads == "features" for cell in own):
                total += cost.encoding.seconds * self.slices
        return total

    def _runs(self, cell: Cell, study: Study) -> bool:
        if cell.seed not in study.seeds[: self.seeds]:
            return False
        if cell.job.draw is not None and cell.job.draw.repeat >= self.repeats:
            return False
        return bool(cell.job.control) or cell.job.entry.label in self.protocols


def choose(study: Study, costs: Sequence[GroupCost], seconds: float) -> Choice:
    """The part of the study that takes at most `seconds`, less the reserve.

    Raises UsageError, with the least time that would do, if nothing fits.
    """
    unknown = sorted({cell.job.entry.label for cost in costs for cell in cost.cells if _unknown(cell, cost)})
    names = [entry.label for entry in study.protocols if entry.label not in unknown]
    repeats = max((cell.job.draw.repeat + 1 for cost in costs for cell in cost.cells if cell.job.draw), default=1)
    volumes = any(cost.encoding is not None and cost.encoding.planes > 1 for cost in costs)
    shares = _SLICES if volumes else _SLICES[:1]
    least = 0.0
    for kept in _fewer(names, costs):
        for share, seeds, few in product(shares, range(len(study.seeds), 0, -1), range(repeats, 0, -1)):
            extent = _Extent(tuple(kept), share, seeds, few)
            least = extent.seconds(costs, study)
            if kept and least <= (1 - RESERVE) * seconds:
                return Choice(_part(study, extent), least, tuple(_reasons(study, costs, extent, unknown, repeats)))
    raise UsageError(
        f"Nothing of the study fits into {duration(seconds)}. The least that would do is "
        f"{duration(least / (1 - RESERVE))}: the controls, and the cheapest protocol of every backbone, with one seed. "
        "Give that much with --fit, or a study with fewer backbones or smaller images."
    )


def parse_time(text: str) -> float:
    """Seconds of a time such as 8h, 90min or 45s. Raises UsageError for anything else."""
    for unit, factor in (("min", 60.0), ("h", 3600.0), ("s", 1.0)):
        number = text.strip().removesuffix(unit)
        if number != text.strip():
            try:
                value = float(number)
            except ValueError:
                break
            if 0 < value < float("inf"):
                return value * factor
    raise UsageError(f"--fit {text}: expected a time with its unit, such as 8h, 90min or 45s.")


def _unknown(cell: Cell, cost: GroupCost) -> bool:
    return not cell.job.control and cell.id in cost.unfinished and cost.unfinished[cell.id] is None


def _fewer(names: list[str], costs: Sequence[GroupCost]) -> Iterator[list[str]]:
    """All protocols, then one less at a time: of those that no backbone needs, the dearest per method first."""
    needed, dear = set[str](), dict[str, list[float]]()
    for cost in costs:
        own: dict[str, float] = {}
        kinds = {kind_of(cell): cell for cell in cost.cells if cell.id in cost.unfinished and not cell.job.control}
        for cell in kinds.values():
            known = cost.unfinished[cell.id]
            if known is not None:
                own[cell.job.entry.label] = own.get(cell.job.entry.label, 0.0) + known.seconds
                dear.setdefault(cell.job.entry.label, []).append(known.seconds)
        if own:
            needed.add(min(own, key=lambda name: own[name]))
    kept = list(names)
    yield list(kept)
    price = {name: sum(seconds) / len(seconds) for name, seconds in dear.items()}
    for name in sorted(set(names) - needed, key=lambda name: -price.get(name, 0.0)):
        kept.remove(name)
        yield list(kept)


def _repeats(entry: ProtocolEntry) -> int:
    from radapt.protocols import FewShot

    return int(entry.options.get("repeats", FewShot.repeats))


def _part(study: Study, extent: _Extent) -> Study:
    def fewer(entry: ProtocolEntry) -> ProtocolEntry:
        if entry.name != "fewshot" or _repeats(entry) <= extent.repeats:
            return entry
        options = entry.options | {"repeats": min(_repeats(entry), extent.repeats)}
        return entry.model_copy(update={"options": options, "title": entry.label})

    def thinned(image: ImageSettings) -> ImageSettings:
        if extent.slices == 1:
            return image
        slices = image.slices
        less = {"every": round(slices.every / extent.slices)}
        if slices.count is not None:
            less = {"count": max(1, round(slices.count * extent.slices))}
        return image.model_copy(update={"slices": slices.model_copy(update=less)})

    protocols = [fewer(entry) for entry in study.protocols if entry.label in extent.protocols]
    return study.model_copy(
        update={
            "protocols": protocols,
            "seeds": study.seeds[: extent.seeds],
            "image": thinned(study.image),
            "images": [thinned(image) for image in study.images],
        }
    )


def _reasons(
    study: Study, costs: Sequence[GroupCost], extent: _Extent, unknown: Sequence[str], repeats: int
) -> Iterator[str]:
    if extent.repeats < repeats:
        yield f"repeats of learning curves: {extent.repeats} of {repeats} are run"
    if extent.seeds < len(study.seeds):
        yield f"seeds: {extent.seeds} of {len(study.seeds)} are run"
    if extent.slices < 1:
        yield f"slices: {'half' if extent.slices == 0.5 else 'a quarter'} of those of each volume are read"
    for name in unknown:
        yield f"{name}: its time could not be measured on a few patients"
    for entry in study.protocols:
        if entry.label not in extent.protocols and entry.label not in unknown:
            cells = [
                known
                for cost in costs
                for cell in cost.cells
                if cell.job.entry.label == entry.label and not cell.job.control
                if (known := cost.unfinished.get(cell.id)) is not None
            ]
            seconds = sum(cell.seconds for cell in cells)
            yield f"{entry.label}: {duration(seconds)} for {len(cells)} cells, more per method than what is kept"
