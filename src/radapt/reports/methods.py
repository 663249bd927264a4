"""Who is compared: the cells that differ in nothing but seed and repeat are one contestant."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from radapt.digests import digest
from radapt.reports.numbers import counted
from radapt.reports.run_folder import FROM_SCRATCH, Cell, Run

_SAME = ("cohort", "backbone", "aim", "protocol", "options", "label", "image", "pooling")
_NAMING = ("cohort", "backbone", "label", "shots", "fraction")


@dataclass(frozen=True)
class Method:
    """A backbone with a protocol on a cohort, with few labels at one size, and its cells over seeds and repeats."""

    key: str
    cohort: str
    backbone: str
    protocol: str
    shots: int | None
    cells: tuple[Cell, ...]
    fraction: float | None = None
    aim: str = "classification"
    curve: str = ""  # the same for contestants that differ in the number of labels alone
    learner: str = ""  # the same for a few-label protocol and the protocol it repeats

    @property
    def few(self) -> bool:
        """Whether it learned from some of the labels only, so that it is a point of a learning curve."""
        return self.shots is not None or self.fraction is not None

    @property
    def size(self) -> str:
        """How many labels it learned from: '4 shots', '10 % of labels', or nothing."""
        if self.shots is not None:
            return counted(self.shots, "shot")
        return "" if self.fraction is None else f"{100 * self.fraction:g} % of labels"

    @property
    def method(self) -> str:
        """The protocol, with the number of labels where they were few."""
        return f"{self.protocol}, {self.size}" if self.few else self.protocol

    @property
    def name(self) -> str:
        return f"{self.backbone} · {self.method}"

    @property
    def words(self) -> str:
        """Its name inside a sentence."""
        return f"{self.sizeless}, {self.size}" if self.few else self.sizeless

    @property
    def sizeless(self) -> str:
        """Its name inside a sentence, without the number of labels."""
        if self.backbone != FROM_SCRATCH:
            return f"{self.backbone} with {self.protocol}"
        return self.protocol if "scratch" in self.protocol else f"{self.protocol} {FROM_SCRATCH}"

    def count(self, state: str) -> int:
        return sum(cell.state == state for cell in self.cells)


def contestants(run: Run) -> tuple[Method, ...]:
    """Every contestant of the run, in the order of its names, with its cells by seed and repeat."""
    groups: dict[str, list[Cell]] = {}
    for cell in _completed(run.cells):
        groups.setdefault(_key(cell, (*_SAME, "shots", "fraction")), []).append(cell)
    found = [_contestant(key, cells) for key, cells in groups.items()]
    return tuple(sorted(found, key=lambda one: (one.cohort, one.backbone, one.protocol, *_size(one), one.key)))


def without_few(known: Iterable[Method]) -> list[Method]:
    """Those that learned from every label; if there are none, all of them: few labels and all do not compare."""
    known = list(known)
    return [one for one in known if not one.few] or known


def _contestant(key: str, cells: list[Cell]) -> Method:
    first = cells[0]
    shots, fraction = first.facts.get("shots"), first.facts.get("fraction")
    return Method(
        key=key,
        cohort=first.cohort,
        backbone=first.backbone,
        protocol=first.protocol,
        shots=None if shots is None else int(shots),
        cells=tuple(sorted(cells, key=lambda cell: cell.order)),
        fraction=None if fraction is None else float(fraction),
        aim=first.aim,
        curve=_key(first, _SAME),
        learner=_key(first, [name for name in _SAME if name != "label"]),
    )


def _completed(cells: Iterable[Cell]) -> list[Cell]:
    """Cells that were not started are known by name alone; what others of that name were made from holds for them."""
    cells = list(cells)
    started = [cell for cell in cells if cell.facts.get("protocol") is not None]
    of_name = {_key(cell, _NAMING): cell for cell in started}
    aims = {cell.facts.get("label"): cell.aim for cell in started}
    found = []
    for cell in cells:
        facts = dict(cell.facts)
        if facts.get("protocol") is None and (alike := of_name.get(_key(cell, _NAMING))):
            facts |= {name: alike.facts.get(name) for name in _SAME if name not in facts}
        facts["aim"] = facts.get("aim") or aims.get(facts.get("label"), "classification")
        found.append(replace(cell, facts=facts))
    return found


def _size(one: Method) -> tuple[float, float]:
    return one.shots or 0, one.fraction or 0


def _key(cell: Cell, names: Iterable[str]) -> str:
    return digest({name: cell.facts.get(name) for name in names})
