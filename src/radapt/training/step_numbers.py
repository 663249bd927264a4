"""The numbers of a training as they come, for trackers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from radapt.trackers.tracking import Log, Tracking, opened
from radapt.training.training_run import TrainingRun


class StepNumbers:
    """Loss, learning rate and gradient norm of every step, and what epochs and checks measured; nothing without log."""

    def __init__(self, run: TrainingRun, log: Log | None) -> None:
        self._run, self._log = run, log
        self._epochs = self._checks = 0

    def step(self) -> None:
        """After a step."""
        if self._log is None:
            return
        self._events()  # of steps before this one
        numbers = {"loss": self._run.loss, "lr": self._run.lr}
        if self._run.gradient_norm is not None:
            numbers["gradient_norm"] = self._run.gradient_norm
        self._log(self._run.state.step, numbers)

    def flush(self) -> None:
        """Before a checkpoint: what it holds must not be missing after a kill."""
        if self._log is not None:
            self._log.flush()

    def end(self) -> None:
        """After the last step."""
        if self._log is not None:
            self._events()

    def _events(self) -> None:
        assert self._log is not None
        state = self._run.state
        for kind, entries, done in (("epoch", state.history, self._epochs), ("check", state.checks, self._checks)):
            for entry in entries[done:]:
                self._log(int(entry["step"]), _named(kind, entry))
        self._epochs, self._checks = len(state.history), len(state.checks)


def _named(kind: str, entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an entry, `epoch/score` and the like."""
    return {
        f"{kind}/{name}": float(value)
        for name, value in entry.items()
        if name not in ("epoch", "step") and isinstance(value, int | float)
    }


@contextmanager
def step_numbers(run: TrainingRun, tracking: Tracking | None) -> Iterator[StepNumbers]:
    """The numbers of `run` in the trackers of `tracking`; nowhere with None."""
    if tracking is None:
        yield StepNumbers(run, None)
        return
    with opened(tracking) as log:
        numbers = StepNumbers(run, log)
        yield numbers
        numbers.end()
