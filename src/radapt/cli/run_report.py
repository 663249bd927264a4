"""The report at the end of a run, written again only if the run folder or radapt's code has changed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.digests import digest, digest_file, stamp_of
from radapt.durable import plain, write_json
from radapt.parsing.json import read_json
from radapt.versions import versions

if TYPE_CHECKING:
    from radapt.studies import Outcome

_REWRITTEN = ("", "backbones", "cohorts")
"""Folders of a run whose files every run writes again, with the same bytes if nothing has changed; the others hold
many large files, which are compared by size, times and inode."""


@dataclass(frozen=True)
class RunReport:
    """The path of `report.html`, and its leaderboards and answers as text for a terminal."""

    path: Path
    tables: tuple[str, ...]
    answers: tuple[str, ...]


def run_report(outcome: "Outcome", cache: Path) -> RunReport:
    """The report of a run, with the pictures of cases that it shows, drawn from the slices in `cache`.

    What it prints is kept in `cache` with a digest of the run folder, so that a run with nothing to do does not write
    the same report again: importing and writing it takes seconds.
    """
    kept = cache / "reports" / f"{digest(str(outcome.folder.resolve()))}.json"
    known = _known(kept, outcome.folder)
    if known is not None:
        return known
    from radapt.reports import write_report_with_answers
    from radapt.reports.case_browser.wanted import wanted_pictures
    from radapt.studies.case_pictures.write import write_case_pictures

    write_case_pictures(outcome.folder, outcome.cells, wanted_pictures(outcome.folder), cache)
    written = write_report_with_answers(outcome.folder)
    report = RunReport(written.path, written.tables, written.answers)
    stored = plain({"state": _state(outcome.folder), **asdict(report)})
    write_json(kept, {"report": stored, "digest": digest(stored)})
    return report


def _known(kept: Path, folder: Path) -> RunReport | None:
    try:
        sealed = read_json(kept)
        stored = sealed["report"]
        if digest(stored) == sealed["digest"] and stored["state"] == _state(folder):
            return RunReport(Path(stored["path"]), tuple(stored["tables"]), tuple(stored["answers"]))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None


def _state(folder: Path) -> str:
    """The digest of a run folder, with its report, and of the code that wrote it."""
    code = Path(__file__).parents[1]
    files = {
        str(path.relative_to(folder)): _content(path, path.relative_to(folder).parent.parts)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != "digests.json"
    }
    own = [stamp_of(path.stat()) for path in sorted(code.rglob("*")) if path.suffix != ".pyc" and path.is_file()]
    return digest([files, own, versions()])


def _content(path: Path, parents: tuple[str, ...]) -> str:
    return digest_file(path) if (parents or ("",))[0] in _REWRITTEN else stamp_of(path.stat())
