"""How far long work has come: a bar on a terminal, plain lines in a log, nothing for tiny work."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
ProgressMaker = Callable[[int, str, str], AbstractContextManager[Advance]]
"""(total, label, unit) → a context that yields `advance(n)`; `progress` and `silent` are of this shape."""

_QUIET_S = 1.0  # work that ends sooner shows nothing
_LINE_EVERY_S = 10.0


@contextmanager
def silent(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
    """No sign of progress at all: the default when radapt is used as a library."""
    yield _ignore


@contextmanager
def progress(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
    """Show on stderr how many of `total` are done; call the yielded function with how many more became done.

    A terminal gets a bar, anything else a line about every ten seconds and one at the end. Work that is over
    within a second shows nothing.
    """
    show = _Bar(total, label, unit) if sys.stderr.isatty() else _Lines(total, label, unit)
    try:
        yield show.advance
    finally:
        show.close()


def _ignore(count: int = 1) -> None:
    """Take a step and say nothing."""


class _Lines:
    """One plain line every `_LINE_EVERY_S` seconds."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self._total, self._label, self._unit = total, label, unit
        self._done = self._said = 0
        self._start = self._last = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._say()

    def close(self) -> None:
        if self._said != self._done and time.monotonic() - self._start >= _QUIET_S:
            self._say()

    def _say(self) -> None:
        self._last, self._said = time.monotonic(), self._done
        seconds = max(self._last - self._start, 1e-9)
        rate = self._done / seconds
        text = f"{self._label}: {self._done} of {self._total} {self._unit}, {rate:.3g} per second"
        print(text, file=sys.stderr, flush=True)


class _Bar:
    """A rich bar that appears once the work has taken a second."""

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
