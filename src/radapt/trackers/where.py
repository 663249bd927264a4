"""`KIND:WHERE`, as `--track` and the study file name a tracker."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radapt.errors import UsageError, suggest
from radapt.locations import expanded
from radapt.trackers.tracked_run import TrackedRun


@dataclass(frozen=True)
class _Kind:
    module: str
    run: str
    needs: str
    uri: bool = False


TRACKERS = {
    "csv": _Kind("csv_run", "CsvRun", ""),
    "tensorboard": _Kind("tensorboard_run", "TensorBoardRun", "tensorboard"),
    "mlflow": _Kind("mlflow_run", "MlflowRun", "mlflow", uri=True),
    "wandb": _Kind("wandb_run", "WandbRun", "wandb"),
}
"""Each with the library it needs, which is an extra of radapt of the same name."""


@dataclass(frozen=True)
class Where:
    """A tracker of a kind, in a folder or, for MLflow, at a URI."""

    kind: str
    where: str

    @classmethod
    def of(cls, text: str, base: Path | None = None) -> "Where":
        """Read `KIND:WHERE`; a relative folder is one in `base`, by default the current one.

        Raises UsageError for another form, an unknown kind, a missing library, and a folder that is a file.
        """
        kind, colon, where = text.partition(":")
        if not colon or not where:
            raise UsageError(f"Tracker {text!r}: expected KIND:FOLDER, such as tensorboard:runs/tb or csv:numbers.")
        if kind not in TRACKERS:
            raise UsageError(f"There is no tracker {kind!r}. {suggest(kind, TRACKERS)}")
        known = TRACKERS[kind]
        if known.needs and find_spec(known.needs) is None:
            raise UsageError(f"Tracker {kind} needs the package {known.needs}: pip install 'radapt[{kind}]'.")
        if "://" in where:
            if not known.uri:
                raise UsageError(f"Tracker {kind} writes to a folder of this machine, and to nothing like {where}.")
            return cls(kind, where)
        folder = (base or Path()) / expanded(where)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"Tracker {text}: {folder} is a file; expected a folder.")
        return cls(kind, str(folder.resolve()))

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}"

    def open(self, run: str, title: str) -> TrackedRun:
        """The run in this tracker. The library is imported here, and only here."""
        known = TRACKERS[self.kind]
        kind: Any = getattr(import_module(f"radapt.trackers.{known.module}"), known.run)
        place = self.where if "://" in self.where else Path(self.where)
        opened: TrackedRun = kind(f"file://{place}" if known.uri and isinstance(place, Path) else place, run, title)
        return opened
