"""The feature store: what was flushed is there, what broke is not, whoever writes at the same time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from radapt.errors import DataError, UsageError
from radapt.features.store import FeatureStore

WIDTH = 6


def rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def fill(folder: Path, seeds: range) -> None:
    with FeatureStore(folder, WIDTH).writer() as writer:
        for seed in seeds:
            writer.add(f"key{seed}", rows(seed, 1 + seed % 4))


def check(folder: Path, seeds: range) -> None:
    store = FeatureStore(folder, WIDTH)
    assert len(store) == len(seeds)
    for seed in seeds:
        entry = store.entry(f"key{seed}")
        np.testing.assert_array_equal(store.view(entry), rows(seed, 1 + seed % 4))
        np.testing.assert_array_equal(store.read(entry), rows(seed, 1 + seed % 4))


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    fill(tmp_path, range(5, 9))
    check(tmp_path, range(9))
    assert "key9" not in FeatureStore(tmp_path, WIDTH)


def test_views_are_mapped_and_read_only(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    store = FeatureStore(tmp_path, WIDTH)
    view = store.view(store.entry("key1"))
    assert isinstance(view, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


def test_an_unused_writer_leaves_nothing(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, WIDTH).writer():
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.zeros((0, WIDTH)), np.zeros((2, WIDTH + 1)), np.zeros(WIDTH)])
def test_rows_of_another_shape_are_refused(tmp_path: Path, bad: np.ndarray) -> None:
    with FeatureStore(tmp_path, WIDTH).writer() as writer, pytest.raises(ValueError, match="row of 6"):
        writer.add("key", bad)


@pytest.mark.parametrize("cut", [1, 10, WIDTH * 4 + 3])
def test_truncated_rows_are_not_there(tmp_path: Path, cut: int) -> None:
    fill(tmp_path, range(6))
    (shard,) = tmp_path.glob("*.f32")
    os.truncate(shard, shard.stat().st_size - cut)
    store = FeatureStore(tmp_path, WIDTH)
    assert "key5" not in store
    assert "key3" in store


@pytest.mark.parametrize("tail", [b'{"key":"torn","start":0', b'{"key":"torn"}\n', b"\x00\xff\n", b"[1]\n"])
def test_a_torn_index_line_does_not_count(tmp_path: Path, tail: bytes) -> None:
    fill(tmp_path, range(4))
    (index,) = tmp_path.glob("*.jsonl")
    with index.open("ab") as file:
        file.write(tail)
    check(tmp_path, range(4))


def test_a_changed_byte_costs_its_image_only(tmp_path: Path) -> None:
    fill(tmp_path, range(6))
    (shard,) = tmp_path.glob("*.f32")
    data = bytearray(shard.read_bytes())
    data[FeatureStore(tmp_path, WIDTH).entry("key2").start * WIDTH * 4 + 1] ^= 1
    shard.write_bytes(data)
    store = FeatureStore(tmp_path, WIDTH)
    assert [seed for seed in range(6) if not store.is_intact(f"key{seed}")] == [2]
    with pytest.raises(DataError, match="damaged"):
        store.entry("key2")


def test_an_intact_copy_replaces_damaged_rows(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    (shard,) = tmp_path.glob("*.f32")
    fill(tmp_path, range(2))
    shard.write_bytes(bytes(shard.stat().st_size))
    check(tmp_path, range(2))


def test_missing_rows_file_is_an_empty_store(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    (shard,) = tmp_path.glob("*.f32")
    shard.unlink()
    assert len(FeatureStore(tmp_path, WIDTH)) == 0


def test_unwritable_folder_is_said(tmp_path: Path) -> None:
    writer = FeatureStore(tmp_path / "gone", WIDTH).writer()
    writer.add("key", rows(0, 1))
    with pytest.raises(UsageError, match="cannot be written"):
        writer.flush()
    writer.close()  # leaves the first error to be the one that is seen


def test_processes_write_at_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=fill, args=(tmp_path, range(n, n + 60))) for n in (0, 30, 60)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    check(tmp_path, range(120))


WRITER = """
import sys, numpy as np
from pathlib import Path
from radapt.features import store
store._FLUSH_EVERY_S = 0.0
writer = store.FeatureStore(Path(sys.argv[1]), 6).writer()
for seed in range(10**6):
    writer.add(f"key{seed}", np.random.default_rng(seed).normal(size=(1 + seed % 4, 6)).astype(np.float32))
"""


def test_a_killed_writer_leaves_whole_images(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not any(
        index.read_bytes().count(b"\n") > 5 for index in tmp_path.glob("*.jsonl")
    ):
        time.sleep(0.005)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    found = len(FeatureStore(tmp_path, WIDTH))
    assert found > 5
    check(tmp_path, range(found))
