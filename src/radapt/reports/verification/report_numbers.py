"""The tables of a report, its summary and its page again, from the stored predictions."""

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pandas as pd

from radapt.durable import plain
from radapt.reports.study_report import SUMMARY, page_of, read_study_report, report_tables
from radapt.reports.summary import summary_json, summary_of
from radapt.reports.templating import REPORT_FILE
from radapt.reports.verification.fault import CLOSE, Fault
from radapt.versions import __version__

_IMAGE = re.compile(r"data:image/[a-z]+;base64,[\w+/=]+")
_PACKED = re.compile(r'(<script type="application/octet-stream"[^>]*>)([\w+/=\s]+)(</script>)')


def has_report(folder: Path) -> bool:
    """Whether this version of radapt wrote a report there; that of another one may say the same in other words."""
    stored = _read(folder / SUMMARY)
    return isinstance(stored, dict) and stored.get("radapt") == __version__


def report_numbers(folder: Path) -> tuple[int, list[Fault]]:
    """How many numbers of the report's tables were computed again, and which files differ from what they give."""
    study = read_study_report(folder)
    count, faults = 0, []
    for name, table in report_tables(study).items():
        count += int(table.select_dtypes("number").size)
        faults += _table(folder / name, table)
    again = plain(summary_json(summary_of(study.run, study.chapters, study.over_cohorts)))
    if (place := _difference(_read(folder / SUMMARY), again)) is not None:
        faults.append(Fault(SUMMARY, f"{place or 'its entries'}: not what the predictions give"))
    if not _same_page(folder, page_of(study)):
        faults.append(Fault(REPORT_FILE, "is not the page that the predictions give; `radapt report` writes it again"))
    return count, faults


def _table(file: Path, again: pd.DataFrame) -> list[Fault]:
    try:
        pd.testing.assert_frame_equal(pd.read_parquet(file), again, check_dtype=False, rtol=0, atol=CLOSE)
    except AssertionError as error:
        return [Fault(file.name, f"is not what the predictions give ({' '.join(str(error).split())[:120]})")]
    except Exception as error:  # of a damaged file pyarrow and pandas raise a dozen kinds
        return [Fault(file.name, f"cannot be read ({type(error).__name__})")]
    return []


def _difference(stored: Any, again: Any, place: str = "") -> str | None:
    """Where two JSON values differ by more than rounding; None if nowhere."""
    if isinstance(stored, dict) and isinstance(again, dict) and stored.keys() == again.keys():
        pairs = ((f"{place}.{key}".lstrip("."), stored[key], again[key]) for key in stored)
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        pairs = ((f"{place}[{index}]", one, two) for index, (one, two) in enumerate(zip(stored, again, strict=True)))
    elif isinstance(stored, float) and isinstance(again, float | int):
        return None if abs(stored - again) <= CLOSE else place
    else:
        return None if stored == again else place
    return next((found for where, one, two in pairs if (found := _difference(one, two, where)) is not None), None)


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
