"""One thing that is wrong with a cohort, said so that it can be found and fixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from radapt.errors import DataError, counted

Severity = Literal["error", "warning"]

SHOWN = 20
"""How many problems one error message spells out before it only counts the rest."""


@dataclass(frozen=True, slots=True)
class CohortIssue:
    """What is wrong (`message`), where (`file`, `row` with the header as row 1, `case`) and the nearest
    `fix`.

    An `error` keeps the cohort from being used; a `warning` is worth knowing. `code` is a short stable word
    for the kind of problem, so that a program can count them.
    """

    severity: Severity
    code: str
    message: str
    case: str | None = None
    row: int | None = None
    file: str | None = None
    fix: str = ""

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                self.file or "",
                f"row {self.row}" if self.row is not None else "",
                f"case {self.case!r}" if self.case is not None else "",
            )
            if part
        )
        return " ".join(part for part in (f"{place}:" if place else "", self.message, self.fix) if part)


def raise_errors(problems: Sequence[CohortIssue], subject: str) -> None:
    """Raise one DataError that lists every error among `problems`, at most `SHOWN` of them in words."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    lines = [f"{subject} has {counted(len(errors), 'error')}."]
    lines += [f"- {problem}" for problem in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"- and {len(errors) - SHOWN} more; `radapt check` lists them all.")
    raise DataError("\n".join(lines))
