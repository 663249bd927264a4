"""One chapter of the report per cohort: what was found, part by part, its pictures and facts."""

from collections.abc import Iterable
from dataclasses import dataclass

from radapt.reports import cohort_facts
from radapt.reports.cohort_facts import Grid
from radapt.reports.leaderboard import AIMS, Leaderboard
from radapt.reports.methods import Method
from radapt.reports.parts import BoardView, Part, part
from radapt.reports.run_folder import Cell, Facts, Picture, Run


@dataclass(frozen=True)
class Slice:
    """An example slice with one patch picture per backbone."""

    case: str
    modality: str
    slice: int | None
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Chapter:
    """All the report says of one cohort."""

    id: str
    name: str
    facts: Facts
    parts: tuple[Part, ...]  # one per aim that has numbers
    cells: tuple[Cell, ...]
    slices: tuple[Slice, ...]
    words: list[tuple[str, str]]
    people: Grid | None
    missing: Grid | None
    patterns: Grid | None
    sites: Grid | None

    @property
    def primary(self) -> str | None:
        return next((part.primary for part in self.parts if part.primary), None)

    @property
    def boards(self) -> tuple[BoardView, ...]:
        """The test sets of every aim."""
        return tuple(view for part in self.parts for view in part.boards)

    @property
    def synthetic(self) -> bool:
        return cohort_facts.is_synthetic(self.facts)


def chapter(run: Run, name: str, index: int, boards: list[Leaderboard], known: Iterable[Method]) -> Chapter:
    """The chapter of the cohort `name`."""
    facts = run.cohorts.get(name) or {}
    own = [one for one in known if one.cohort == name]
    return Chapter(
        id=f"cohort-{index + 1}",
        name=name,
        facts=facts,
        parts=_parts(run, f"cohort-{index + 1}", boards, own),
        cells=tuple(cell for one in own for cell in one.cells),
        slices=_slices(run, name),
        words=cohort_facts.words(facts),
        people=cohort_facts.people(facts) if facts.get("splits") else None,
        missing=cohort_facts.missing(facts) if facts.get("splits") else None,
        patterns=cohort_facts.patterns(run, facts),
        sites=cohort_facts.sites(run, facts),
    )


def _parts(run: Run, id_: str, boards: list[Leaderboard], known: list[Method]) -> tuple[Part, ...]:
    aims = [aim for aim in AIMS if any(board.aim == aim for board in boards)]
    found = []
    for aim in aims:
        title = aim.capitalize() if len(aims) > 1 else ""
        own = [board for board in boards if board.aim == aim]
        part_id = id_ if aim == aims[0] else f"{id_}-{aim}"
        found.append(part(run, part_id, title, own, [one for one in known if one.aim == aim]))
    return tuple(found)


def _slices(run: Run, cohort: str) -> tuple[Slice, ...]:
    groups: dict[tuple[str, str, int | None], list[Picture]] = {}
    for picture in run.pictures:
        if picture.cohort == cohort:
            groups.setdefault((picture.case, picture.modality, picture.slice), []).append(picture)
    return tuple(Slice(*key, tuple(pictures)) for key, pictures in groups.items())
