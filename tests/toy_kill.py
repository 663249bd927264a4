"""`radapt run` as a process that is killed, and what must be the same afterwards."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def command(study: Path, folder: Path) -> list[str]:
    out, cache = folder / "run", folder / "cache"
    return [sys.executable, "-m", "radapt", "run", str(study), "--out", str(out), "--cache", str(cache), "--offline"]


def numbers(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "results.parquet").drop(columns=["seconds", "minutes", "peak_memory_mb"])


def kill_when(words: list[str], ready: Callable[[], bool], delay_s: float) -> bool:
    """Start the command, kill it `delay_s` after `ready`; whether it was still going."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not ready():
        time.sleep(0.002)
    time.sleep(delay_s)
    process.kill()
    return process.wait() == -signal.SIGKILL
