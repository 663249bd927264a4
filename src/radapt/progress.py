"""Progress of long work: a bar on a terminal or in a notebook, plain lines in a log, nothing for less than a second."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from radapt.notebook import NotebookBar, in_notebook

Advance = Callable[[int], None]
ProgressMaker = Callable[[int, str, str], AbstractContextManager[Advance]]
"""(total, label, unit) → a context manager that yields `advance(n)`, such as `progress` and `silent`."""

_QUIET_S = 1.0  # shorter work shows nothing
_LINE_EVERY_S = 10.0


@contextmanager
def silent(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
    """No progress output: the default when radapt is used as a library."""
    yield _ignore


@contextmanager
def progress(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
    """Show on stderr how many of `total` are done; the yielded function takes the number of newly done ones.

    A terminal and a notebook show a bar, other output a line about every ten seconds and one at the end. Work of less
    than a second shows nothing.
    """
    kind = _NotebookBar if in_notebook() else _Bar if sys.stderr.isatty() else _Lines
    show = kind(total, label, unit)
    try:
        yield show.advance
    finally:
        show.close()


def _ignore(count: int = 1) -> None:
    """Advance without output."""


class _Lines:
    """One plain line every `_LINE_EVERY_S` seconds."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self._total, self._label, self._unit = total, label, unit
        self._done = self._printed = 0
        self._start = self._last = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._print()

    def close(self) -> None:
        if self._printed != self._done and time.monotonic() - self._start >= _QUIET_S:
            self._print()

    def _print(self) -> None:
        self._last, self._printed = time.monotonic(), self._done
        seconds = max(self._last - self._start, 1e-9)
        rate = self._done / seconds
        text = f"{self._label}: {self._done} of {self._total} {self._unit}, {rate:.3g} per second"
        print(text, file=sys.stderr, flush=True)


class _NotebookBar:
    """A bar below the cell of a notebook, drawn again once a second."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self._bar, self._done, self._drawn = NotebookBar(total, label, unit), 0, False
        self._start = self._last = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._last >= _QUIET_S:
            self._draw()

    def close(self) -> None:
        if self._drawn:
            self._draw()

    def _draw(self) -> None:
        self._drawn, self._last = True, time.monotonic()
        self._bar.show(self._done, f", {self._last - self._start:.0f} s")


class _Bar:
    """A rich progress bar that appears after a second."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._bar.add_task(label, total=total)
        self._start, self._shown = time.monotonic(), False

    def advance(self, count: int = 1) -> None:
        if not self._shown and time.monotonic() - self._start >= _QUIET_S:
            self._shown = True
            self._bar.start()
        self._bar.advance(self._task, count)

    def close(self) -> None:
        if self._shown:
            self._bar.stop()
