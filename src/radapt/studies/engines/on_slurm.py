"""Shares of a study as a job array of Slurm, by submitit."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from radapt.errors import UsageError
from radapt.studies.engines.shares import Resources, Shares
from radapt.studies.plan import StudyFailure
from radapt.studies.run import Outcome
from radapt.studies.workers import WORKERS

LOGS = "slurm"
"""The folder in `RUN/workers` with what the jobs printed."""

_POLL_S = {"slurm": 5.0, "local": 0.2}


def run_on_slurm(
    shares: Shares, resources: Resources, options: Mapping[str, str], cluster: Literal["slurm", "local"] = "slurm"
) -> Iterator[Outcome | StudyFailure]:
    """The outcome of each share, as it ends. `options` are sbatch's, such as partition and time.

    A job that Slurm stops, because its time is up or another goes first, is put into the queue again and goes on where
    it stopped. `cluster` `local` runs the same jobs as processes of this machine. Raises UsageError if submitit or
    Slurm is missing, and for an option that submitit sets itself or does not know.
    """
    try:
        import submitit
    except ImportError as error:
        raise UsageError("--engine slurm needs the package submitit: pip install 'radapt[slurm]'.") from error
    try:
        executor = submitit.AutoExecutor(shares.folder / WORKERS / LOGS, cluster=cluster)
    except RuntimeError as error:
        raise UsageError(f"Slurm was not found on this machine ({error}). Run this where sbatch is.") from error
    asked: dict[str, Any] = {"name": "radapt", "cpus_per_task": resources.cpus, "gpus_per_node": resources.gpus}
    if resources.memory_gb is not None:
        asked["mem_gb"] = resources.memory_gb
    try:
        executor.update_parameters(**asked, **({} if cluster == "local" else sbatch_options(options)))
    except (NameError, TypeError) as error:
        raise UsageError(f"--slurm: {error}") from error
    jobs = executor.map_array(shares, list(shares.numbers))
    waiting = dict(zip(jobs, shares.numbers, strict=True))
    try:
        while waiting:
            for job in [job for job in waiting if job.done()]:
                yield _outcome(job, f"worker {waiting.pop(job)}/{shares.workers}")
            time.sleep(_POLL_S[cluster] if waiting else 0)
    finally:
        for job in waiting:  # stopped here: nothing goes on unseen
            job.cancel()


def sbatch_options(options: Mapping[str, str]) -> dict[str, Any]:
    """sbatch's long options, by their names."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name in ("cpus-per-task", "gpus-per-node", "mem", "array"):
            raise UsageError(
                f"--slurm {name}={value} is set by --workers, --worker-cpus, --worker-gpus and --worker-memory."
            )
        found["slurm_" + name.replace("-", "_")] = int(value) if value.isdigit() else value
    return found


def _outcome(job: Any, name: str) -> Outcome | StudyFailure:
    error = job.exception()
    if error is None:
        found: Outcome = job.result()
        return found
    return StudyFailure(name, f"{_last_line(str(error)) or type(error).__name__} (log: {job.paths.stderr})")


def _last_line(text: str) -> str:
    """The last line of a traceback that submitit has put between dashes, before it names its logs."""
    lines = text.partition("You can check full logs")[0].splitlines()
    said = [line.strip() for line in lines if line.strip("- ")]
    return said[-1] if said else ""
