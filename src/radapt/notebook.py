"""What a notebook shows: of an object the lines of its `repr` as a small table, of long work a bar."""

import sys
from collections.abc import Sequence
from html import escape
from typing import Any

from radapt.printable import printable


class Described:
    """An object whose `repr` is a title and lines `name: text`, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return described_html(repr(self))


def described_html(text: str) -> str:
    """The first line as a title, lines `name: text` as rows, other lines as paragraphs.

    >>> described_html("Cohort\\n  images: t1 < t2")
    '<div><b>Cohort</b><table><tr><th style="text-align:left">images</th><td style="text-align:left">t1 &lt; t2</td></tr></table></div>'
    """  # noqa: E501
    title, *lines = printable(text).splitlines() or [""]
    rows = "".join(_row(line.strip()) for line in lines)
    return f"<div><b>{escape(title)}</b>{f'<table>{rows}</table>' if rows else ''}</div>"


def _row(line: str) -> str:
    name, colon, text = line.partition(": ")
    left = 'style="text-align:left"'
    if not colon:
        return f'<tr><td colspan="2" {left}>{escape(line)}</td></tr>'
    return f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(text)}</td></tr>"


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts; the first column is the heading of its row."""
    head = "".join(f"<th>{escape(printable(name))}</th>" for name in columns)
    body = "".join(
        f"<tr><th>{escape(printable(first))}</th>" + "".join(f"<td>{escape(printable(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )  # fmt: skip
    return f"<table><tr>{head}</tr>{body}</table>"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. Imports nothing that a kernel has not."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookBar:
    """A bar below the running cell, which is drawn over itself."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self._total, self._label, self._unit = total, label, unit
        self._handle: Any = None

    def show(self, done: int, rest: str) -> None:
        """Draw it with `done` of all, and `rest` behind."""
        from IPython.display import HTML, display

        text = f"{self._label}: {done} of {self._total} {self._unit}{rest}"
        bar = f'<progress value="{done}" max="{max(self._total, 1)}"></progress>'
        page = HTML(f"<div>{bar} <small>{escape(printable(text))}</small></div>")
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)
