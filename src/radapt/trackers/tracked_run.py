"""One run in one tracker: numbers by name and step, each of them once."""

import abc
import math
from collections.abc import Mapping


class TrackedRun(abc.ABC):
    """A run that may exist already, from a process that was killed: what it holds is not written again.

    Numbers of a resumed run are those of the killed one, bit for bit, so the first ones stay.
    """

    def __init__(self) -> None:
        self._last = self._read()

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write those of `numbers` that are finite and that the run does not hold for this step yet."""
        new = {
            name: float(value)
            for name, value in numbers.items()
            if math.isfinite(value) and step > self._last.get(name, -1)
        }
        if new:
            self._write(step, new)
            self._last |= dict.fromkeys(new, step)

    @abc.abstractmethod
    def describe(self, facts: Mapping[str, str]) -> None:
        """Write what the run is; the same facts may be written again."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Everything that was logged is in the tracker when this returns."""

    @abc.abstractmethod
    def close(self) -> None:
        """Flush, and release files and processes."""

    @abc.abstractmethod
    def _read(self) -> dict[str, int]:
        """The last step that the tracker holds of each number of the run."""

    @abc.abstractmethod
    def _write(self, step: int, numbers: Mapping[str, float]) -> None: ...
