"""What the workers of an engine do: each one shard of a study, in a run folder that all of them see."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from radapt.errors import UsageError
from radapt.studies.part import Part
from radapt.studies.plan import Settings
from radapt.studies.run import Outcome, run_study
from radapt.studies.shard import Shard
from radapt.studies.study import Study, read_study
from radapt.trackers import Where

Engine = Literal["ray", "slurm"]
ENGINES: tuple[Engine, ...] = ("ray", "slurm")


@dataclass(frozen=True)
class Resources:
    """What one worker is given: CPU cores, GPUs, and memory in GB (None: whatever the engine gives)."""

    cpus: int = 1
    gpus: int = 0
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.gpus < 0 or (self.memory_gb is not None and self.memory_gb <= 0):
            raise UsageError(
                f"A worker with {self.cpus} CPUs, {self.gpus} GPUs and {self.memory_gb} GB: expected at least one CPU, "
                "no fewer than 0 GPUs, and memory above 0."
            )

    @property
    def text(self) -> str:
        memory = "" if self.memory_gb is None else f", {self.memory_gb:g} GB"
        return f"{self.cpus} CPU{'s' * (self.cpus > 1)}, {self.gpus} GPU{'s' * (self.gpus != 1)}{memory}"


@dataclass(frozen=True)
class Shares:
    """The study at a path, dealt out to `workers`: called with a number from 1, it runs that share of the cells.

    Paths are absolute, and the same on every machine. It is sent to other machines, so that it holds plain values only.
    """

    study: Path
    folder: Path
    cache: Path
    workers: int
    cells: str | None = None
    device: str = "auto"
    devices: int = 1
    offline: bool = False
    runtime: str | None = None
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} workers: expected at least 1.")

    @property
    def numbers(self) -> range:
        return range(1, self.workers + 1)

    @property
    def settings(self) -> Settings:
        track = tuple(Where.of(text) for text in self.track)
        return Settings(self.cache, self.device, self.offline, devices=self.devices, track=track)

    @property
    def described(self) -> Study:
        """The study, with features by the `runtime` if one is named."""
        study = read_study(self.study)
        return study if self.runtime is None else study.with_runtime(self.runtime)

    def __call__(self, number: int) -> Outcome:
        """Run one share; one that was interrupted goes on where it stopped."""
        part = Part(Shard(number, self.workers), self.cells)
        return run_study(self.described, self.folder, self.settings, part)

    def checkpoint(self, number: int) -> Any:
        """What Slurm puts into its queue again when it takes the machine away or the time is up."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)
