"""A process for each device of this machine: the numbers of one, whoever dies; all devices for a single training."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from radapt.errors import UsageError
from radapt.studies import Ledger, Outcome, Settings, read_study, run_study
from radapt.studies.engines import Shares, run_here, start
from radapt.studies.engines.on_devices import run_on_devices
from toy_kill import numbers
from toy_study import write_cohort, write_study

NANO = [{"name": "nano", "as": "vit-nano", "weights": "random", "dtype": "float32"}]
TRAINED = {"bitfit": {"lr": 1e-3, "epochs": 1}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells that read features and two that train, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("devices")
    cohort = write_cohort(folder / "discs", patients=24)
    path = write_study(folder, [cohort], backbones=NANO, seeds=[0, 1], protocols=["knn", TRAINED])
    run_study(read_study(path), folder / "whole", Settings(cache=folder / "cache", offline=True))
    return path


def shares(study: Path, out: str, workers: int = 2, **changes: Any) -> Shares:
    folder = study.parent
    return Shares(study, folder / out, folder / f"cache-{out}", workers, offline=True, device="cpu", **changes)


@pytest.mark.slow
def test_two_devices_make_the_table_of_one_process(study: Path) -> None:
    given = shares(study, "two", devices=2)
    outcome = run_here(given, given.settings)
    assert (outcome.finished, outcome.planned, outcome.open, outcome.failures) == (4, 4, 0, ())
    pd.testing.assert_frame_equal(numbers(study.parent / "whole"), numbers(given.folder), check_exact=True)
    assert not list((given.folder / "workers").glob("*.json"))


@pytest.mark.slow
def test_a_process_that_is_killed_is_begun_again(study: Path) -> None:
    given = shares(study, "killed")
    ledger, killed = Ledger(given.folder), list[int]()

    def kill() -> None:
        while not killed:
            for worker in ledger.workers.alive():
                if worker.shard == "2/2":
                    os.kill(worker.pid, signal.SIGKILL)
                    killed.append(worker.pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    ended = list(run_on_devices(given))
    assert killed
    assert all(isinstance(each, Outcome) and not each.failures for each in ended)
    pd.testing.assert_frame_equal(numbers(study.parent / "whole"), numbers(given.folder), check_exact=True)


def test_fewer_cells_than_devices_share_them_all(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(start, "run_study", lambda *given: asked.append(given[2].devices))
    monkeypatch.setattr(start, "run_on_devices", lambda *_: pytest.fail("four cells cannot occupy five devices"))
    given = shares(study, "five", workers=5, devices=5)
    run_here(given, given.settings)
    assert asked == [5]


@pytest.mark.slow
def test_what_a_process_refuses_is_raised(study: Path) -> None:
    with pytest.raises(UsageError, match="No cell fits"):
        list(run_on_devices(shares(study, "none", cells="no such cell")))
