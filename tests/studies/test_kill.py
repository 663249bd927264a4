"""Killed anywhere, the next run continues and ends with the same numbers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.studies import Ledger
from toy_kill import command, kill_when, numbers
from toy_study import write_cohort, write_study


@pytest.mark.slow
def test_a_run_killed_at_random_points_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")])
    subprocess.run(command(study, tmp_path / "calm"), check=True, capture_output=True)

    folder, rng = tmp_path / "killed", np.random.default_rng(1)

    def found(pattern: str, count: int) -> Callable[[], bool]:
        return lambda: len(list(folder.glob(pattern))) >= count

    moments = [
        found("run/plan.json", 1),  # about to extract
        found("cache/features/*/*.f32", 1),  # while features are written
        found("run/cells/*/*", 1),  # while a cell is written
        found("run/cells/*/done.json", 2),  # between two backbones
    ]
    kills = [kill_when(command(study, folder), moment, rng.uniform(0, 0.1)) for moment in moments]
    assert any(kills), "no run was still going when it was to be killed"
    subprocess.run(command(study, folder), check=True, capture_output=True)

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
