"""The counts of a cohort, and the shortcuts on it, again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from radapt.reports.verification.difference import difference
from radapt.reports.verification.fault import Fault
from radapt.reports.verification.tables import count_of, table_faults
from radapt.studies.recomputed import counts_again, shortcut_files, shortcuts_of_file_again


def cohort_numbers(folder: Path, cohort: Path, facts: Mapping[str, Any], resamples: int) -> tuple[int, list[Fault]]:
    """How many numbers about the cohort in the folder `cohort` of a run were computed again, and where they differ."""
    name = (cohort / "cohort.json").relative_to(folder).as_posix()
    count, faults = 0, []
    try:
        again = counts_again(cohort, facts)
    except Exception as error:  # a missing, foreign or damaged table raises a dozen kinds
        faults.append(Fault(name, f"cannot be counted again from cases.parquet ({type(error).__name__})"))
    else:
        count += sum(1 for _ in _numbers(again))
        if (place := difference({key: facts.get(key) for key in again}, again)) is not None:
            faults.append(Fault(name, f"{place}: not what cases.parquet gives"))
    for file in shortcut_files(cohort):
        name = file.relative_to(folder).as_posix()
        try:
            table = shortcuts_of_file_again(file, facts, resamples)
        except Exception as error:
            faults.append(Fault(name, f"cannot be computed again from its answers ({type(error).__name__})"))
            continue
        count += count_of(table)
        faults += table_faults(name, file, table)
    return count, faults


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, int):
        yield value
