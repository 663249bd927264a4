"""Progress of long work: a bar on a terminal, plain lines in a log, nothing for work under a second."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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

    A terminal shows a bar, other output a line about every ten seconds and one at the end. Work of less than a second
    shows nothing.
    """
    show = _Bar(total, label, unit) if sys.stderr.isatty() else _Lines(total, label, unit)
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
