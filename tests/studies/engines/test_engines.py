"""Shards of a study on Ray and Slurm: the numbers of one process, whoever dies, and plain refusals."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from radapt.cli.app import app
from radapt.errors import UsageError
from radapt.progress import silent
from radapt.studies import Ledger, Outcome, Settings, read_study, run_study
from radapt.studies.engines import Resources, Shares, run_on_engine
from radapt.studies.engines.on_slurm import run_on_slurm, sbatch_options
from radapt.studies.plan import StudyFailure
from radapt.trackers import Where
from toy_kill import numbers
from toy_study import write_cohort, write_study

SEEDS = 20


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 cells, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("engines")
    path = write_study(folder, [write_cohort(folder / "discs")], seeds=list(range(SEEDS)), protocols=["knn"])
    run_study(read_study(path), folder / "whole", Settings(cache=folder / "cache", offline=True))
    return path


def shares(study: Path, out: str, workers: int = 2, **changes: Any) -> Shares:
    folder = study.parent
    return Shares(study, folder / out, folder / "cache", workers, offline=True, device="cpu", **changes)


def assert_whole(study: Path, out: str) -> None:
    pd.testing.assert_frame_equal(numbers(study.parent / "whole"), numbers(study.parent / out), check_exact=True)


@pytest.mark.slow
def test_submitit_workers_make_the_table_of_one_process(study: Path) -> None:
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    ended = list(run_on_slurm(shares(study, "slurm"), Resources(), {}, "local"))
    assert all(isinstance(each, Outcome) for each in ended)
    assert sum(each.finished for each in ended if isinstance(each, Outcome)) == 2 * SEEDS
    assert_whole(study, "slurm")
    logs = study.parent / "slurm" / "workers" / "slurm"
    assert len(list(logs.glob("*_log.err"))) == 2


@pytest.mark.slow
def test_a_share_that_fails_is_named_with_its_log(study: Path) -> None:
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    (ended,) = run_on_slurm(shares(study, "broken", 1, cells="no such cell"), Resources(), {}, "local")
    assert isinstance(ended, StudyFailure)
    assert ended.what == "worker 1/1"
    assert "No cell fits" in ended.reason
    assert "log: " in ended.reason


def test_a_stopped_job_is_queued_again_with_its_number(study: Path) -> None:
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    given = shares(study, "again")
    again = given.checkpoint(2)
    assert (again.function, again.args) == (given, (2,))


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two machines with one core each; the second can be removed."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster, second
    cluster.shutdown()


@pytest.mark.slow
def test_two_ray_nodes_one_of_which_dies_make_the_table_of_one_process(study: Path, two_nodes: Any) -> None:
    cluster, second = two_nodes
    out = study.parent / "ray"
    words = ["run", str(study), "--out", str(out), "--cache", str(study.parent / "cache"), "--offline"]
    process = subprocess.Popen(
        [sys.executable, "-m", "radapt", *words, "--engine", "ray", "--workers", "2"],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    until = time.monotonic() + 300
    while process.poll() is None and not list(out.glob("cells/*/done.json")) and time.monotonic() < until:
        time.sleep(0.1)
    cluster.remove_node(second, allow_graceful=False)
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    assert f"{2 * SEEDS} cells finished now, 0 finished earlier, {2 * SEEDS} planned" in printed
    assert_whole(study, "ray")


@pytest.mark.slow
def test_more_than_any_ray_node_has_is_refused(study: Path, two_nodes: Any) -> None:
    with pytest.raises(UsageError, match="No machine of the Ray cluster has 64 CPUs, 0 GPUs"):
        run_on_engine("ray", shares(study, "much"), Resources(cpus=64), {}, silent)
    assert not Ledger(study.parent / "much").folder.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "rey"], "There is no engine 'rey'.*ray"),
        (["--engine", "ray", "--shard", "1/2"], "--shard is one part of a run"),
        (["--engine", "ray", "--slurm", "time=3"], "--slurm is for --engine slurm"),
        (["--engine", "slurm", "--slurm", "time"], "expected KEY=VALUE"),
        (["--engine", "slurm", "--slurm", "time=1", "--slurm", "time=2"], "each key once"),
        (["--engine", "ray", "--worker-memory", "-1"], "memory above 0"),
        (["--workers", "4"], "are for --engine ray or --engine slurm"),
        (["--worker-gpus", "0"], "are for --engine ray or --engine slurm"),
        (["--slurm", "time=1"], "are for --engine ray or --engine slurm"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(study: Path, words: list[str], message: str) -> None:
    out = study.parent / "refused"
    outcome = CliRunner().invoke(app, ["run", str(study), "--out", str(out), "--offline", *words])
    assert outcome.exit_code != 0
    assert isinstance(outcome.exception, UsageError)
    assert re.search(message, str(outcome.exception))
    assert not out.exists()


@pytest.mark.parametrize("option", ["mem=3", "array=1-4", "gpus-per-node=1"])
def test_what_the_workers_decide_is_not_given_to_slurm(option: str) -> None:
    name, value = option.split("=")
    with pytest.raises(UsageError, match="is set by --workers"):
        sbatch_options({name: value})
    assert sbatch_options({"partition": "gpu", "time": "240"}) == {"slurm_partition": "gpu", "slurm_time": 240}


def test_slurm_has_to_be_there(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="Run this where sbatch is"):
        list(run_on_slurm(shares(study, "nowhere"), Resources(), {}))


def test_workers_write_to_the_trackers_of_the_command(tmp_path: Path) -> None:
    shared = Shares(tmp_path / "s.yaml", tmp_path / "run", tmp_path, 2, track=(f"csv:{tmp_path / 'numbers'}",))
    assert shared.settings.track == (Where("csv", str((tmp_path / "numbers").resolve())),)


def test_the_command_hands_its_trackers_to_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs", patients=6)])
    given: list[Shares] = []

    def stop(engine: str, shares: Shares, *rest: Any) -> None:
        given.append(shares)
        raise KeyboardInterrupt

    monkeypatch.setattr("radapt.studies.engines.run_on_engine", stop)
    words = ["run", str(study), "--engine", "slurm", "--track", "csv:numbers", "--out", str(study.parent / "tracked")]
    CliRunner().invoke(app, words)
    assert given[0].track == (f"csv:{Path('numbers').resolve()}",)
