"""The tables of a report, its summary and its page again, from the stored predictions."""

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from radapt.durable import plain
from radapt.reports.study_report import SUMMARY, page_of, read_study_report, report_tables
from radapt.reports.summary import summary_json, summary_of
from radapt.reports.templating import REPORT_FILE
from radapt.reports.verification.difference import difference
from radapt.reports.verification.fault import Fault
from radapt.reports.verification.tables import count_of, table_faults

_IMAGE = re.compile(r"data:image/[a-z]+;base64,[\w+/=]+")
_PACKED = re.compile(r'(<script type="application/octet-stream"[^>]*>)([\w+/=\s]+)(</script>)')


def report_numbers(folder: Path) -> tuple[int, list[Fault]]:
    """How many numbers of the report's tables were computed again, and which files differ from what they give."""
    study = read_study_report(folder)
    count, faults = 0, []
    for name, table in report_tables(study).items():
        count += count_of(table)
        faults += table_faults(name, folder / name, table)
    again = plain(summary_json(summary_of(study.run, study.chapters, study.over_cohorts)))
    if (place := difference(_read(folder / SUMMARY), again)) is not None:
        faults.append(Fault(SUMMARY, f"{place or 'its entries'}: not what the predictions give"))
    if not _same_page(folder, page_of(study)):
        faults.append(Fault(REPORT_FILE, "is not the page that the predictions give; `radapt report` writes it again"))
    return count, faults


def _same_page(folder: Path, again: str) -> bool:
    """Whether the stored page is this one, or this one without images of patients.

    Images and what is packed are compared as they are unpacked, since other libraries compress to other bytes.
    """
    stored = _text(folder / REPORT_FILE)
    if stored is None or _unpacked(stored) == _unpacked(again):
        return True
    return _unpacked(stored) == _unpacked(page_of(read_study_report(folder, images=False)))


def _unpacked(page: str) -> str:
    def inner(found: re.Match[str]) -> str:
        try:
            return gzip.decompress(b64decode(found[2])).decode()
        except (ValueError, OSError, EOFError):
            return found[0]

    return _IMAGE.sub("image", _PACKED.sub(inner, page))


def _read(file: Path) -> Any:
    text = _text(file)
    try:
        return None if text is None else json.loads(text)
    except ValueError:  # damaged, which its digest says
        return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
