"""The compared methods: cells that differ only in seed and repeat belong to one method."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from radapt.digests import digest
from radapt.reports.formatting import counted
from radapt.reports.run_folder import FROM_SCRATCH, NO_NETWORK, OTHER_TOOL, CellRecord, Run

_SAME = ("cohort", "backbone", "aim", "protocol", "options", "label", "image", "pooling")
_NAMING = ("cohort", "backbone", "label", "shots", "fraction")


@dataclass(frozen=True)
class Method:
    """A backbone with a protocol on a cohort, and its cells over seeds and repeats.

    In a learning curve, each number of labels is a method of its own.
    """

    key: str
    cohort: str
    backbone: str
    protocol: str
    shots: int | None
    cells: tuple[CellRecord, ...]
    fraction: float | None = None
    aim: str = "classification"
    curve_key: str = ""  # equal for methods that differ only in the number of labels
    base_key: str = ""  # equal for a few-label protocol and the protocol it repeats
    control: str = ""  # the name of the control that it is
    foreign: bool = False  # whether another tool made its predictions

    @property
    def few_labels(self) -> bool:
        """Whether it was trained on part of the labels, as a point of a learning curve."""
        return self.shots is not None or self.fraction is not None

    @property
    def contamination(self) -> str:
        """Whether the pretraining of its backbone lists the cohort (see `radapt.pretraining`), or ''."""
        return str(self.cells[0].facts.get("contamination") or "")

    @property
    def contaminated(self) -> bool:
        """Whether the pretraining of its backbone lists the data set that it is tested on."""
        return self.contamination == "listed"

    @property
    def use(self) -> str:
        """What a model of it may be used for, as its licences say; '' where it is not stored."""
        return str(self.cells[0].facts.get("use") or "")

    @property
    def size(self) -> str:
        """The number of training labels, '4 shots' or '10 % of labels'; empty for all."""
        if self.shots is not None:
            return counted(self.shots, "shot")
        return "" if self.fraction is None else f"{100 * self.fraction:g} % of labels"

    @property
    def protocol_and_size(self) -> str:
        return f"{self.protocol}, {self.size}" if self.few_labels else self.protocol

    @property
    def name(self) -> str:
        return f"{self.backbone} · {self.protocol_and_size}"

    @property
    def phrase(self) -> str:
        """The name inside a sentence."""
        return f"{self.phrase_without_size}, {self.size}" if self.few_labels else self.phrase_without_size

    @property
    def phrase_without_size(self) -> str:
        if self.backbone in (NO_NETWORK, OTHER_TOOL):
            return self.protocol
        if self.backbone != FROM_SCRATCH:
            return f"{self.backbone} with {self.protocol}"
        return self.protocol if "scratch" in self.protocol else f"{self.protocol} {FROM_SCRATCH}"

    def title_of(self, cell: CellRecord) -> str:
        """The name, with the seed of the cell if there are several cells."""
        seed = cell.facts.get("seed")
        return self.name + (f" (seed {seed})" if len(self.cells) > 1 and seed is not None else "")

    def count(self, state: str) -> int:
        return sum(cell.state == state for cell in self.cells)


def methods_of(run: Run) -> tuple[Method, ...]:
    """Every method of the run in the order of names, with its cells by seed and repeat."""
    groups: dict[str, list[CellRecord]] = {}
    for cell in _with_inferred_facts(run.cells):
        groups.setdefault(_key(cell, (*_SAME, "shots", "fraction")), []).append(cell)
    methods = [_method(key, cells) for key, cells in groups.items()]
    return tuple(sorted(methods, key=_order))


def prefer_all_labels(methods: Iterable[Method]) -> list[Method]:
    """The methods trained on every label, or all methods if there are none: the two kinds do not compare."""
    methods = list(methods)
    return [method for method in methods if not method.few_labels] or methods


def split_controls(methods: Iterable[Method]) -> tuple[list[Method], list[Method]]:
    """The methods to rank, and the controls beside them; without any other method the controls are ranked.

    Results of other tools are in neither.
    """
    methods = [method for method in methods if not method.foreign]
    ranked = [method for method in methods if not method.control]
    return (ranked, [method for method in methods if method.control]) if ranked else (methods, [])


def _method(key: str, cells: list[CellRecord]) -> Method:
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
        curve_key=_key(first, _SAME),
        base_key=_key(first, [name for name in _SAME if name != "label"]),
        control=first.control,
        foreign=bool(first.foreign),
    )


def _with_inferred_facts(cells: Iterable[CellRecord]) -> list[CellRecord]:
    """Cells that have not started have a name only; they take the other facts from a started cell of the same name."""
    cells = list(cells)
    started = [cell for cell in cells if cell.facts.get("protocol") is not None]
    by_name = {_key(cell, _NAMING): cell for cell in started}
    aims = {cell.facts.get("label"): cell.aim for cell in started}
    completed = []
    for cell in cells:
        facts = dict(cell.facts)
        if facts.get("protocol") is None and (namesake := by_name.get(_key(cell, _NAMING))):
            facts |= {name: namesake.facts.get(name) for name in _SAME if name not in facts}
        facts["aim"] = facts.get("aim") or aims.get(facts.get("label"), "classification")
        completed.append(replace(cell, facts=facts))
    return completed


def _order(method: Method) -> tuple[str, str, str, float, float, str]:
    size = (method.shots or 0, method.fraction or 0)
    return (method.cohort, method.backbone, method.protocol, *size, method.key)


def _key(cell: CellRecord, names: Iterable[str]) -> str:
    return digest({name: cell.facts.get(name) for name in names})
