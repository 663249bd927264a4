"""The files of an export again: tables as CSV, Markdown and LaTeX, figures as SVG, checklists, summary.json."""

from pathlib import Path

from radapt.errors import UsageError
from radapt.reports.export.exporting import exported_texts
from radapt.reports.study_report import read_study_report
from radapt.reports.verification.fault import Fault


def export_faults(run: Path, export: Path) -> tuple[int, list[Fault]]:
    """How many files of an export of the run were written again, and those that differ or are not of it. Figures as PNG
    are not compared: they are drawn with the fonts of a machine.

    Raises UsageError if `export` is no folder.
    """
    if not export.is_dir():
        raise UsageError(f"{export} is no folder; expected that of `radapt report RUN --export`.")
    texts, faults = exported_texts(read_study_report(run)), []
    for name, text in texts.items():
        try:
            same = (export / name).read_text(encoding="utf-8") == text
        except (OSError, ValueError):
            faults.append(Fault(f"{export}/{name}", "missing or damaged"))
            continue
        if not same:
            faults.append(
                Fault(f"{export}/{name}", "is not what the run gives; `radapt report --export` writes it again")
            )
    return len(texts), faults
