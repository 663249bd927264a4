"""Processes that extract the same images share the work; what a dead one held is taken over."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.features import extract, sharing
from radapt.features.batches import SliceSource
from radapt.features.store import ShardWriter
from radapt.images import Recipe
from radapt.locations import Location

Make = Callable[..., Any]
HOLD = """
import sys, time
from pathlib import Path
from radapt.features.batches import SliceSource
from radapt.features.sharing import in_turn
part = [SliceSource(key, "", "", None) for key in sys.argv[2:]]
for _ in in_turn(Path(sys.argv[1]), {0: part}):
    print("held", flush=True)
    time.sleep(60)
"""


def sources(*keys: str) -> list[SliceSource]:
    return [SliceSource(key, key, "t1", Location(Path(key))) for key in keys]


def test_two_at_once_compute_every_image_once(
    toy_cohort: Make, toy_backbone: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PART", 2)
    stored: Counter[str] = Counter()
    add = ShardWriter.add

    def slowly(self: ShardWriter, key: str, rows: np.ndarray) -> None:
        stored[key] += 1
        time.sleep(0.02)
        add(self, key, rows)

    monkeypatch.setattr(ShardWriter, "add", slowly)
    cohort, backbone = toy_cohort(), toy_backbone()
    options = {"recipe": Recipe.for_kind("other", size=16), "layers": (-1,), "batch": 4}
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(extract, cohort, backbone, cache=tmp_path / "both", **options) for _ in range(2)]
        found = [np.array(run.result().pooled()) for run in runs]
    assert set(stored.values()) == {1}
    alone = np.array(extract(cohort, backbone, cache=tmp_path / "alone", **options).pooled())
    for pooled in found:
        np.testing.assert_array_equal(pooled, alone)
    assert not list((tmp_path / "both").rglob("*.lock"))


def test_a_part_of_a_living_process_comes_last_and_that_of_a_dead_one_is_taken_over(tmp_path: Path) -> None:
    parts = {0: sources("a", "b"), 1: sources("c")}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), "a", "b"], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        turns = sharing.in_turn(tmp_path, parts)
        assert next(turns) == 1
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(next, turns)
            time.sleep(0.2)
            assert not waiting.done()
            holder.kill()
            assert waiting.result(timeout=20) == 0
        assert list(turns) == []
    finally:
        holder.kill()
        holder.wait()


def test_parts_without_locks_are_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(self: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(sharing.FileLock, "acquire", no_locks)
    assert list(sharing.in_turn(tmp_path, {0: sources("a"), 1: sources("b")})) == [0, 1]
