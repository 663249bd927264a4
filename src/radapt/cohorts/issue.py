"""One issue of a cohort, worded so that it can be found and fixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from radapt.errors import DataError, counted
from radapt.printable import printable

Severity = Literal["error", "warning"]

SHOWN = 20
"""How many issues one error message lists before it counts the rest."""

_LONGEST = 900
"""Letters of an issue that are shown: a label may be a page of text."""


@dataclass(frozen=True, slots=True)
class CohortIssue:
    """What is wrong (`message`), where (`file`, `row` with the header as row 1, `case`) and the nearest `fix`.

    A cohort with an `error` cannot be used; a `warning` is worth knowing. `code` is a short stable name of the kind of
    issue, for programs.
    """

    severity: Severity
    code: str
    message: str
    case: str | None = None
    row: int | None = None
    file: str | None = None
    fix: str = ""

    def __str__(self) -> str:
        row = f"row {self.row}" if self.row is not None else ""
        case = f"case {self.case!r}" if self.case is not None else ""
        where = ", ".join(filter(None, (self.file, row, case)))
        text = " ".join(filter(None, (f"{where}:" if where else "", self.message, self.fix)))
        return printable(_cut(text))


def _cut(text: str) -> str:
    """At most `_LONGEST` letters of `text`, three from its beginning for one from its end, which says what to do."""
    if len(text) <= _LONGEST:
        return text
    end = _LONGEST // 4
    return f"{text[: _LONGEST - end]} … ({len(text) - _LONGEST:,} more letters) … {text[-end:]}"


def raise_errors(problems: Sequence[CohortIssue], subject: str) -> None:
    """Raise one DataError that lists the errors among `problems`, at most `SHOWN`, and counts the rest."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    lines = [f"{subject} has {counted(len(errors), 'error')}."]
    lines += [f"- {problem}" for problem in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"- and {len(errors) - SHOWN} more; `radapt check` lists them all.")
    raise DataError("\n".join(lines))
