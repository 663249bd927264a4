"""Several processes in one run folder: each cell once, dead workers replaced, the same table as one process makes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from radapt.durable import write_json
from radapt.errors import UsageError
from radapt.studies import Ledger, Outcome, Part, Settings, Shard, plan_study, read_study, run_study
from radapt.studies.workers import Worker, Workers
from toy_kill import numbers
from toy_study import write_cohort, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    path = write_study(folder, [write_cohort(folder / "discs")], seeds=[0, 1, 2, 3], protocols=["knn"])
    run(path, "whole")
    return path


def run(study: Path, out: str, part: Part = Part()) -> Outcome:
    return run_study(read_study(study), study.parent / out, Settings(cache=study.parent / "cache", offline=True), part)


def done(folder: Path) -> set[str]:
    return {file.parent.name for file in folder.glob("cells/*/done.json")}


def dead(folder: Path, shard: Shard) -> Worker:
    """A worker that is listed, of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    worker = Worker("0" * 16, str(shard), os.uname().nodename, ended.pid, time.time() - 5)
    write_json(folder / "workers" / f"{worker.name}.json", worker.__dict__)
    return worker


def wait_for(folder: Path, shards: set[str], seconds: float = 300) -> None:
    """Until processes of these shards are listed as workers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        listed = [file.read_text(encoding="utf-8") for file in folder.glob("workers/*.json")]
        if shards <= {json.loads(text)["shard"] for text in listed if text}:
            return
        time.sleep(0.2)
    raise AssertionError(f"No worker of {', '.join(sorted(shards))} within {seconds} s.")


def test_shards_together_make_the_table_of_one_process(study: Path) -> None:
    outcomes = [run(study, "three", Part(Shard(number, 3))) for number in (2, 1, 3)]
    assert sorted(outcome.finished for outcome in outcomes) == [2, 3, 3]
    assert [outcome.open for outcome in outcomes] == [5, 2, 0]
    one, other = (numbers(study.parent / name) for name in ("whole", "three"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert not list((study.parent / "three" / "workers").glob("*.json"))
    assert "of shard 2/3" in outcomes[0].summary()
    assert "5 cells outside this part are not finished" in outcomes[0].summary()


def test_a_shard_with_more_shards_than_cells_has_nothing_to_do(study: Path) -> None:
    assert run(study, "many", Part(Shard(20, 20))).finished == 0


def test_cells_are_chosen_by_a_pattern(study: Path) -> None:
    outcome = run(study, "pattern", Part(pattern="*vit*knn*seed 1"))
    assert (outcome.planned, outcome.finished, outcome.open) == (1, 1, 7)
    assert run(study, "pattern", Part(pattern="VIT")).finished == 3
    table = pd.read_parquet(study.parent / "pattern" / "results.parquet")
    assert set(table["backbone"]) == {"vit"}
    with pytest.raises(UsageError, match=r"No cell fits --cells 'mil'. The study has 8, such as discs × vit"):
        run(study, "pattern", Part(pattern="mil"))


def test_the_cells_of_a_dead_shard_are_taken_over(study: Path) -> None:
    folder = study.parent / "taken"
    run(study, "taken", Part(Shard(1, 2)))
    claimed = dead(folder, Shard(2, 2))
    left = Part(Shard(2, 2)).of(
        plan_study(read_study(study), Settings(cache=study.parent / "cache", offline=True)).cells
    )
    (folder / "workers" / "claims").mkdir(exist_ok=True)
    (folder / "workers" / "claims" / left[0].id).write_text(claimed.name)
    outcome = run(study, "taken", Part(Shard(1, 2)))
    assert (outcome.finished, outcome.open) == (4, 0)
    pd.testing.assert_frame_equal(numbers(study.parent / "whole"), numbers(folder), check_exact=True)
    assert not Workers(folder).abandoned()


def test_a_cell_that_a_living_process_has_is_left_to_it(study: Path) -> None:
    folder = study.parent / "claimed"
    plan = plan_study(read_study(study), Settings(cache=study.parent / "cache", offline=True))
    other = Workers(folder)
    with other.at_work(Shard(2, 2)):
        assert other.claim(plan.cells[0].id)
        mine = Workers(folder)
        with mine.at_work(Shard(1, 2)):
            assert not mine.claim(plan.cells[0].id)
            assert mine.claim(plan.cells[1].id)
        outcome = run(study, "claimed", Part(Shard(1, 2)))
    assert outcome.finished == 3
    assert plan.cells[0].id not in done(folder)


def test_a_whole_run_waits_for_no_shard_but_says_so(study: Path) -> None:
    folder = study.parent / "busy"
    with (
        Ledger(folder).sharing(Shard(2, 3)),
        pytest.raises(UsageError, match=r"Shards are at work in .*busy \(2/3\)"),
        Ledger(folder).writing(),
    ):
        pass
    with Ledger(folder).writing():
        pass


def test_a_worker_elsewhere_lives_as_long_as_it_touches_its_file(tmp_path: Path) -> None:
    file = tmp_path / "workers" / "ab.json"
    write_json(file, Worker("ab", "1/2", "another-host", 1, 0.0).__dict__)
    (tmp_path / "workers" / ".lock").touch()
    assert [worker.name for worker in Workers(tmp_path).alive()] == ["ab"]
    os.utime(file, (time.time() - 120, time.time() - 120))
    assert not Workers(tmp_path).alive()
    assert Workers(tmp_path).abandoned() == [Shard(1, 2)]


def test_shards_of_another_study_are_not_mixed(study: Path) -> None:
    other = write_study(study.parent / "other", [study.parent / "discs" / "cohort.yaml"], protocols=["knn"])
    run(study, "mixed", Part(Shard(1, 2)))
    with Workers(study.parent / "mixed").at_work(Shard(2, 2)), pytest.raises(UsageError, match="another study"):
        run_study(
            read_study(other), study.parent / "mixed", Settings(cache=study.parent / "cache", offline=True),
            Part(Shard(1, 2)),
        )  # fmt: skip


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_is_one_of_several(text: str) -> None:
    with pytest.raises(UsageError, match="expected i/n"):
        Shard.of(text)


@pytest.mark.slow
def test_four_shards_at_once_with_kills(study: Path) -> None:
    out, cache = study.parent / "four", study.parent / "cold-cache"
    words = [sys.executable, "-m", "radapt", "run", str(study), "--out", str(out), "--cache", str(cache), "--offline"]
    running = {n: subprocess.Popen([*words, "--shard", f"{n}/4"], stderr=subprocess.DEVNULL) for n in range(1, 5)}
    wait_for(out, {"2/4", "4/4"})  # those that die before they are listed are missed by none of the others
    for number in (2, 4):
        running[number].kill()
    codes = {number: process.wait(timeout=300) for number, process in running.items()}
    assert [codes[1], codes[3]] == [0, 0]
    subprocess.run([*words, "--shard", "1/4"], check=True)
    pd.testing.assert_frame_equal(numbers(study.parent / "whole"), numbers(out), check_exact=True)
