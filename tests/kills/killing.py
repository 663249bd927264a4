"""Processes that are killed at random points, and resumed until they end."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kills.jobs import Job

MOST_KILLS = 20
"""Of one job before it may end undisturbed, so that every job comes to its end."""

PRELOADED = ["radapt.cli", "radapt.studies.run", "radapt.mmdino.adapt_run", "timm", "peft", "monai.losses"]


@dataclass
class Killed:
    """How often a job was killed, ended, and ended otherwise than undisturbed; the differences."""

    kills: int = 0
    ends: int = 0
    different: list[str] = field(default_factory=list)


def kill_at_random(job: Job, folder: Path, *, kills: int, seed: int, deadline: float = float("inf")) -> Killed:
    """Kill `job` `kills` times in all, or until `deadline`; it is started anew whenever it came to its end."""
    rng, result = random.Random(f"{job.name} {seed}"), Killed()
    calm, usual_s = _undisturbed(job, folder / "calm")
    while result.kills < kills and time.monotonic() < deadline:
        here, before = folder / f"{result.ends}", result.kills
        while True:
            killed = result.kills < min(kills, before + MOST_KILLS)
            start = time.monotonic()
            if _started(job, here, rng.uniform(0, usual_s) if killed else None) == 0:
                break
            result.kills += 1
        usual_s = min(usual_s, time.monotonic() - start)  # a resumed run is shorter; most kills should hit it
        result.ends += 1
        found = job.ended(here)
        result.different += [
            f"{job.name}: {name}" for name in sorted(calm.keys() | found.keys()) if calm.get(name) != found.get(name)
        ]
        result.different += [f"{job.name}: left {path.name}" for path in (here / "out").rglob("*.part")]
        shutil.rmtree(here)
    return result


def _undisturbed(job: Job, folder: Path) -> tuple[dict[str, str], float]:
    start = time.monotonic()
    if code := _started(job, folder, None):
        raise RuntimeError(f"{job.name} ends with exit code {code} without being killed")
    return dict(job.ended(folder)), time.monotonic() - start


def _started(job: Job, folder: Path, wait_s: float | None) -> int:
    """The exit code of the command; -SIGKILL if it was killed after `wait_s`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process: Any = context.Process(target=_command, args=(job.words(folder), folder.with_suffix(".log")))
    process.start()
    process.join(wait_s)
    if process.exitcode is None:
        process.kill()
        process.join()
    code = int(process.exitcode)
    if code not in (0, -signal.SIGKILL):
        log = folder.with_suffix(".log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{job.name} ends with exit code {code}: {log}")
    return code


def _command(words: list[str], log: Path) -> None:
    from radapt.cli import main

    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, 1)
    os.dup2(target, 2)
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    main(words)
