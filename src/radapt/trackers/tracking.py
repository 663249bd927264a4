"""The trackers of the run that is going on, which trainings find by themselves."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from time import strftime

from radapt.trackers.tracked_run import TrackedRun
from radapt.trackers.where import Where

_LOG = logging.getLogger(__name__)
_CURRENT: ContextVar["Tracking | None"] = ContextVar("radapt-tracking", default=None)


@dataclass(frozen=True)
class Tracking:
    """A run and where its numbers go. `root` is the folder of the run, in which its checkpoints lie."""

    places: tuple[Where, ...]
    run: str
    title: str
    root: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    def training(self, checkpoint: Path | None, label: str) -> "Tracking":
        """One training of the run, named by its checkpoint, which a resumed training has too.

        A training without a checkpoint starts again after a kill, and is a run of its own then.
        """
        if checkpoint is None:
            name = f"{label}-{strftime('%Y%m%d-%H%M%S')}"
        elif self.root is not None and checkpoint.is_relative_to(self.root):
            name = "/".join(checkpoint.relative_to(self.root).with_suffix("").parts)
        else:
            name = checkpoint.with_suffix("").name
        parts = [part[:8] if re.fullmatch("[0-9a-f]{32}", part) else part for part in name.split("/")]
        name = _plain("-".join(part for part in parts if part not in ("checkpoints", "folds")))
        return Tracking(self.places, f"{self.run}/{name}", f"{self.title}: {label}", self.root, self.facts)

    def results(self, numbers: Mapping[str, float]) -> None:
        """Write the results of the run, `<split>/<metric>` with its value."""
        with opened(self) as log:
            log(0, numbers)


@contextmanager
def tracking(
    places: Sequence[Where | str],
    run: str,
    title: str = "",
    root: Path | None = None,
    facts: Mapping[str, str] | None = None,
) -> Iterator[Tracking | None]:
    """Track everything that is trained inside the block in each of `places`; nothing without any.

    `run` names the run: a resumed one has the name of the one that was killed. Raises UsageError for a tracker that
    cannot be (see `Where.of`).
    """
    found = tuple(place if isinstance(place, Where) else Where.of(place) for place in places)
    current = Tracking(found, _plain(run), title or run, root, dict(facts or {})) if found else None
    token = _CURRENT.set(current)
    try:
        yield current
    finally:
        _CURRENT.reset(token)


def tracked_training(checkpoint: Path | None, label: str) -> Tracking | None:
    """The training that begins, in the trackers of the run that is going on; None without any."""
    current = _CURRENT.get()
    return None if current is None else current.training(checkpoint, label)


class Log:
    """Writes to every tracker of a run. One that fails, as on a full disk, is left out from then on, with a warning."""

    def __init__(self, tracking: Tracking) -> None:
        self._runs: dict[Where, TrackedRun] = {}
        for place in tracking.places:
            self._guarded(place, lambda place=place: self._open(place, tracking))  # type: ignore[misc]

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        self._each(lambda run: run.log(step, numbers))

    def flush(self) -> None:
        self._each(lambda run: run.flush())

    def close(self) -> None:
        self._each(lambda run: run.close())

    def _open(self, place: Where, tracking: Tracking) -> None:
        run = place.open(tracking.run, tracking.title)
        self._runs[place] = run
        run.describe(tracking.facts)

    def _each(self, work: Callable[[TrackedRun], None]) -> None:
        for place, run in list(self._runs.items()):
            self._guarded(place, lambda run=run: work(run))  # type: ignore[misc]

    def _guarded(self, place: Where, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a tracker must never stop a training
            self._runs.pop(place, None)
            _LOG.warning("Tracker %s is left out from here: %s: %s", place, type(error).__name__, error)


@contextmanager
def opened(tracking: Tracking) -> Iterator[Log]:
    """The trackers of a run, closed at the end."""
    log = Log(tracking)
    try:
        yield log
    finally:
        log.close()


def _plain(name: str) -> str:
    """A name that is a path of folders on every system, and needs no quoting."""
    parts = (re.sub(r"[^A-Za-z0-9._=+-]+", "-", part).strip("-.") for part in name.split("/"))
    return "/".join(part for part in parts if part) or "run"
