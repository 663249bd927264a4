"""Killed anywhere, the next run continues and ends with the same numbers."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_cohort, write_study

from radapt.studies import Ledger


def command(study: Path, folder: Path) -> list[str]:
    out, cache = folder / "run", folder / "cache"
    return [sys.executable, "-m", "radapt", "run", str(study), "--out", str(out), "--cache", str(cache), "--offline"]


def numbers(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "results.parquet").drop(columns="seconds")


def test_a_run_killed_at_random_points_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")])
    start = time.monotonic()
    subprocess.run(command(study, tmp_path / "calm"), check=True, capture_output=True)
    whole_s = time.monotonic() - start

    rng = np.random.default_rng(1)
    kills = 0
    for share in rng.uniform(0.4, 1.0, 4):
        process = subprocess.Popen(
            command(study, tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(share * whole_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills, "no run was still going when it was to be killed"
    subprocess.run(command(study, tmp_path / "killed"), check=True, capture_output=True)

    calm, killed = tmp_path / "calm" / "run", tmp_path / "killed" / "run"
    pd.testing.assert_frame_equal(numbers(calm), numbers(killed), check_exact=True)
    for done in (calm / "cells").glob("*/done.json"):
        tables = [pd.read_parquet(run / "cells" / done.parent.name / "predictions.parquet") for run in (calm, killed)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert not list(killed.rglob("*.part")), "a killed run may leave parts, but the last one must tidy them"


def test_two_runs_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    from radapt.errors import UsageError

    with Ledger(tmp_path).writing(), pytest.raises(UsageError, match="Another radapt run"), Ledger(tmp_path).writing():
        pass
