"""Checklists for papers, filled from what a run supports; everything else stays open for the authors.

Titles of items are in our own words; the numbers are those of the checklists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from radapt.reports.cohort_chapter import CohortChapter
from radapt.reports.export.checklist_items import CHECKLISTS, Checklist
from radapt.reports.export.evidence import evidence_of
from radapt.reports.run_folder import Run

State = Literal["from the run", "in part", "open"]


@dataclass(frozen=True)
class FilledItem:
    """An item with what the run says of it; `evidence` is empty where it stays open."""

    number: str
    title: str
    state: State
    evidence: str


def filled(checklist: Checklist, evidence: dict[str, str]) -> tuple[FilledItem, ...]:
    """Every item of a checklist. Topics of an item without evidence leave it open."""
    items = []
    for number, title, topics, whole in checklist.items:
        said = [evidence[topic] for topic in topics if evidence.get(topic)]
        state: State = "open" if not said else "from the run" if whole and len(said) == len(topics) else "in part"
        items.append(FilledItem(number, title, state, " ".join(said)))
    return tuple(items)


def checklists(run: Run, chapters: Sequence[CohortChapter]) -> dict[str, str]:
    """Each checklist as Markdown, by the name of its file."""
    evidence = evidence_of(run, chapters)
    return {checklist.file: _markdown(checklist, filled(checklist, evidence), run.name) for checklist in CHECKLISTS}


def _markdown(checklist: Checklist, items: Sequence[FilledItem], study: str) -> str:
    counts = {state: sum(item.state == state for item in items) for state in ("from the run", "in part", "open")}
    lines = [
        f"# {checklist.name}: {study}",
        "",
        f"{counts['from the run']} items are answered from the run, {counts['in part']} in part, and {counts['open']} "
        "are open: the authors answer them. Titles are paraphrased; take the wording, and where in the paper each item "
        f"stands, from the checklist itself: {checklist.reference}.",
        "",
        "| item | about | state | evidence from the run |",
        "|---|---|---|---|",
        *(f"| {item.number} | {item.title} | {item.state} | {_cell(item.evidence)} |" for item in items),
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
