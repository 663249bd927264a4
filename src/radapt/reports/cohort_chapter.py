"""The chapter on one cohort: its sections, example slices and facts."""

from collections.abc import Iterable
from dataclasses import dataclass

from radapt.reports import cohort_facts
from radapt.reports.cohort_facts import CountTable
from radapt.reports.groups.shortcuts import ShortcutRow, shortcut_rows
from radapt.reports.leaderboard import AIMS, Leaderboard
from radapt.reports.methods import Method, split_controls
from radapt.reports.report_section import LeaderboardView, ReportSection, report_section
from radapt.reports.run_folder import CellRecord, Facts, Picture, Run


@dataclass(frozen=True)
class ExampleSlice:
    """An example slice with one patch-token picture per backbone."""

    case: str
    modality: str
    slice: int | None
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class CohortChapter:
    """The contents of the chapter."""

    id: str
    name: str
    facts: Facts
    sections: tuple[ReportSection, ...]  # one per aim that has scores
    cells: tuple[CellRecord, ...]
    slices: tuple[ExampleSlice, ...]
    summary: list[tuple[str, str]]
    people: CountTable | None
    missing: CountTable | None
    patterns: CountTable | None
    sites: CountTable | None
    shortcuts: tuple[ShortcutRow, ...] = ()

    @property
    def primary(self) -> str | None:
        return next((section.primary for section in self.sections if section.primary), None)

    @property
    def test_sets(self) -> tuple[LeaderboardView, ...]:
        """The test sets of every aim."""
        return tuple(view for section in self.sections for view in section.test_sets)

    @property
    def synthetic(self) -> bool:
        return cohort_facts.is_synthetic(self.facts)


def cohort_chapter(
    run: Run, name: str, index: int, boards: list[Leaderboard], methods: Iterable[Method]
) -> CohortChapter:
    """The chapter on the cohort `name`, from its leaderboards and the methods of the run."""
    facts = run.cohorts.get(name) or {}
    own = [method for method in methods if method.cohort == name]
    return CohortChapter(
        id=f"cohort-{index + 1}",
        name=name,
        facts=facts,
        sections=_sections(run, f"cohort-{index + 1}", boards, own),
        cells=tuple(cell for method in own for cell in method.cells),
        slices=_slices(run, name),
        summary=cohort_facts.summary(facts),
        people=cohort_facts.people(facts) if facts.get("splits") else None,
        missing=cohort_facts.missing(facts) if facts.get("splits") else None,
        patterns=cohort_facts.patterns(run, facts),
        sites=cohort_facts.sites(run, facts),
        shortcuts=shortcut_rows(run, facts),
    )


def _sections(run: Run, id_: str, boards: list[Leaderboard], methods: list[Method]) -> tuple[ReportSection, ...]:
    aims = [aim for aim in AIMS if any(board.aim == aim for board in boards)]
    sections = []
    for aim in aims:
        title = aim.capitalize() if len(aims) > 1 else ""
        section_id = id_ if aim == aims[0] else f"{id_}-{aim}"
        of_aim = [board for board in boards if board.aim == aim]
        compared, _ = split_controls(method for method in methods if method.aim == aim)
        sections.append(report_section(run, section_id, title, of_aim, compared))
    return tuple(sections)


def _slices(run: Run, cohort: str) -> tuple[ExampleSlice, ...]:
    groups: dict[tuple[str, str, int | None], list[Picture]] = {}
    for picture in run.pictures:
        if picture.cohort == cohort:
            groups.setdefault((picture.case, picture.modality, picture.slice), []).append(picture)
    return tuple(ExampleSlice(*key, tuple(pictures)) for key, pictures in groups.items())
