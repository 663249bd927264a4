"""The digests of every file of a run folder, and all its numbers again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radapt.digests import digest_file
from radapt.done_file import DONE, damage
from radapt.errors import DataError, UsageError, counted
from radapt.parsing.yaml import load_yaml
from radapt.reports.study_report import SUMMARY
from radapt.reports.templating import REPORT_FILE
from radapt.reports.verification.cell_numbers import cell_numbers
from radapt.reports.verification.cohort_numbers import cohort_numbers
from radapt.reports.verification.export_files import export_faults
from radapt.reports.verification.fault import Fault
from radapt.reports.verification.report_numbers import report_numbers
from radapt.studies import Ledger
from radapt.studies.run_digests import DIGESTS, covered, recorded
from radapt.versions import __version__

_SHOWN = 20


@dataclass(frozen=True)
class Verification:
    """What `verify_run` found: how much was looked at, the report as well or not, every fault, and in `notes` what this
    version of radapt cannot compute again."""

    folder: str
    files: int
    cells: int
    unfinished: int
    numbers: int
    faults: tuple[Fault, ...]
    report: bool = False
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """A line per fault, at most twenty, and what was looked at."""
        lines = [f"{fault.file}: {fault.what}" for fault in self.faults[:_SHOWN]]
        if len(self.faults) > _SHOWN:
            lines.append(f"… and {counted(len(self.faults) - _SHOWN, 'more fault')}")
        seen = (
            f"{counted(self.files, 'file')} compared with their digests, {counted(self.numbers, 'number')} of "
            f"{counted(self.cells, 'cell')}{' and the report' if self.report else ''} computed again"
        )
        waiting = f"; {counted(self.unfinished, 'cell')} not finished" if self.unfinished else ""
        lines += [f"{seen}{waiting}{'' if self.faults else ': all as written'}.", *self.notes]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def verify_run(folder: Path, export: Path | None = None) -> Verification:
    """Compare every file of a run folder with its digest, the table of results with the tables of the cells, every
    value, count and interval in these with what their stored predictions give, also those from every subset of
    sequences, the cohorts with their tables of cases, the shortcuts with the answers of their probes, and the report,
    and an `export` of it, with what these give.
    What a run measured (times, memory, validation in training, slices of images) is covered by digests alone.

    Raises UsageError for a folder that is no run folder, and DataError if it has no digests, as an interrupted run.
    """
    if not (folder / "plan.json").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no plan.json. Give the folder that `radapt run` wrote.")
    faults: list[Fault] = []
    files = recorded(folder)
    if files is None:
        if (folder / DIGESTS).is_file():
            return Verification(str(folder), 0, 0, 0, 0, (Fault(DIGESTS, "damaged, so nothing can be compared"),))
        raise DataError(f"{folder} has no {DIGESTS}: the run was interrupted, or is of an older version. Run it again.")
    faults += _changed(folder, files)
    intact_facts = not faults
    ledger = Ledger(folder)
    if any(fault.file == "plan.json" for fault in faults):  # which cells there should be is not known
        return Verification(str(folder), len(files), 0, 0, 0, tuple(faults))
    planned = [*json.loads((folder / "plan.json").read_text(encoding="utf-8"))["cells"], *ledger.foreign()]
    looked, numbers, unfinished, intact = len(files), 0, 0, []
    for cell in planned:
        place = ledger.cell(str(cell["id"]))
        if not (place / DONE).is_file():
            unfinished += 1
            continue
        inside, wrong = _cell_files(place, folder)
        looked += inside
        faults += wrong
        if damage(place) is not None:
            continue
        intact.append(cell)
        count, wrong = cell_numbers(place, folder, str(cell["cohort"]))
        numbers += count
        faults += wrong
    faults += _table(ledger, folder, intact)
    notes = _of_other_versions(folder)
    if intact_facts and not notes:
        count, wrong = _cohorts(folder)
        numbers += count
        faults += wrong
    report = not faults and not unfinished and not notes and (folder / REPORT_FILE).is_file()
    if report:  # else it cannot be what it was
        count, wrong = report_numbers(folder)
        numbers += count
        faults += wrong
    if export is not None and report:
        count, wrong = export_faults(folder, export)
        looked += count
        faults += wrong
    elif export is not None:
        notes = (*notes, f"{export} was not compared, because the run is not as it was written or not finished.")
    found = len(planned) - unfinished
    return Verification(str(folder), looked, found, unfinished, numbers, tuple(faults), report, notes)


def _of_other_versions(folder: Path) -> tuple[str, ...]:
    """What another version of radapt wrote, which may say the same in other words."""
    notes = []
    for name, what in (("environment.json", "run"), (SUMMARY, "report")):
        try:
            version = json.loads((folder / name).read_text(encoding="utf-8")).get("radapt")
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if version != __version__:
            notes.append(
                f"The {what} is of radapt {version}; this is {__version__}, and computed again were the values of the "
                "cells alone."
            )
    return tuple(notes)


def _cohorts(folder: Path) -> tuple[int, list[Fault]]:
    """The counts of each cohort and its shortcuts again."""
    numbers, faults = 0, []
    resamples = int((load_yaml((folder / "study.yaml").read_text(encoding="utf-8")) or {}).get("resamples") or 0)
    for file in sorted((folder / "cohorts").glob("*/cohort.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        count, wrong = cohort_numbers(folder, file.parent, facts, resamples)
        numbers += count
        faults += wrong
    return numbers, faults


def _changed(folder: Path, files: Mapping[str, str]) -> Iterator[Fault]:
    present = dict(covered(folder))
    for name, expected in files.items():
        if name not in present:
            yield Fault(name, "missing")
        elif digest_file(present[name]) != expected:
            yield Fault(name, "changed since it was written")
    for name in sorted(present.keys() - files.keys()):
        yield Fault(name, "not written by radapt, or after the run")


def _cell_files(place: Path, folder: Path) -> tuple[int, list[Fault]]:
    """How many files of a finished cell have a digest, and those that are not as they were written."""
    here = place.relative_to(folder).as_posix()
    if damage(place) == DONE:
        return 1, [Fault(f"{here}/{DONE}", "damaged")]
    stored = json.loads((place / DONE).read_text(encoding="utf-8"))
    faults = []
    digests = {**stored["files"], **stored.get("others", {})}
    for name, expected in digests.items():
        try:
            if digest_file(place / name) != expected:
                faults.append(Fault(f"{here}/{name}", "changed since it was written"))
        except OSError:
            faults.append(Fault(f"{here}/{name}", "missing"))
    return len(digests) + 1, faults


def _table(ledger: Ledger, folder: Path, cells: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Whether results.parquet holds the scores of these intact cells."""
    try:
        stored = pd.read_parquet(folder / "results.parquet")
        stored = stored[stored["cell"].isin([str(cell["id"]) for cell in cells])].reset_index(drop=True)
        expected = ledger.results(cells)
        pd.testing.assert_frame_equal(stored, expected, check_dtype=False, check_exact=True)
    except AssertionError as error:
        yield Fault("results.parquet", f"is not the table of the cells ({str(error).splitlines()[0]})")
    except Exception as error:  # of a damaged file pyarrow and pandas raise a dozen kinds
        yield Fault("results.parquet", f"cannot be read ({type(error).__name__})")
