"""Numbers in Weights & Biases, offline: nothing is sent until the user runs `wandb sync`."""

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it is read when wandb is imported

import wandb

from radapt.trackers.csv_run import CsvRun
from radapt.trackers.tracked_run import TrackedRun

PROJECT = "radapt"


class WandbRun(TrackedRun):
    """An offline run in `<folder>/wandb`. It cannot be asked what it holds: `<folder>/radapt-steps` keeps a list."""

    def __init__(self, folder: Path, run: str, title: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._steps = CsvRun(folder / "radapt-steps", run, title)
        super().__init__()
        settings = wandb.Settings(
            mode="offline", console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True,
            x_disable_meta=True,
        )  # fmt: skip
        name = blake2b(run.encode(), digest_size=8).hexdigest()
        self._run = wandb.init(
            project=PROJECT, dir=str(folder), id=name, name=title, group=run.split("/")[0], settings=settings,
            reinit="create_new",
        )  # fmt: skip

    def describe(self, facts: Mapping[str, str]) -> None:
        self._run.config.update(dict(facts), allow_val_change=True)

    def flush(self) -> None:
        self._steps.flush()

    def close(self) -> None:
        self._steps.close()
        self._run.finish()

    def _read(self) -> dict[str, int]:
        return dict(self._steps._last)

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._steps.log(step, numbers)
        self._run.log(dict(numbers), step=step)
