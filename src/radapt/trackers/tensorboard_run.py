"""Numbers as TensorBoard's event files: a folder per run, a scalar per name."""

from collections.abc import Mapping
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from radapt.trackers.tracked_run import TrackedRun


class TensorBoardRun(TrackedRun):
    """`<folder>/<run>/events.out.tfevents…`."""

    def __init__(self, folder: Path, run: str, title: str) -> None:
        self._folder, self._title = folder / run, title
        super().__init__()
        self._writer = SummaryWriter(str(self._folder))

    def describe(self, facts: Mapping[str, str]) -> None:
        rows = "".join(f"| {name} | {value} |\n" for name, value in {"title": self._title, **facts}.items())
        self._writer.add_text("run", f"| | |\n|---|---|\n{rows}", 0)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _read(self) -> dict[str, int]:
        if not self._folder.is_dir():
            return {}
        events = EventAccumulator(str(self._folder), size_guidance={"scalars": 0})
        events.Reload()
        return {name: max(each.step for each in events.Scalars(name)) for name in events.Tags()["scalars"]}

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
