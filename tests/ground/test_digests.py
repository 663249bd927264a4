import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from radapt.digests import ByteDigests, digest, digest_file
from radapt.errors import DataError, UsageError
from radapt.locations import Location


def test_the_order_of_keys_does_not_matter_and_the_order_of_lists_does() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_equal_bytes_at_two_places_have_one_digest(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_bytes(b"voxels")
    digests = ByteDigests(tmp_path / "cache")
    first, second = (digests.of(Location(tmp_path / name)) for name in ("a.nii", "b.nii"))
    assert first == second == digest_file(tmp_path / "a.nii")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"one")
    before = ByteDigests(tmp_path / "cache").of(Location(path))
    path.write_bytes(b"two")  # same size, so only the time tells
    os.utime(path, ns=(1, 1))
    assert ByteDigests(tmp_path / "cache").of(Location(path)) != before


def test_a_file_whose_times_are_set_back_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"one")
    facts, before = path.stat(), ByteDigests(tmp_path / "cache").of(Location(path))
    path.write_bytes(b"two")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert ByteDigests(tmp_path / "cache").of(Location(path)) != before


def test_a_damaged_page_of_the_memory_costs_time_only(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"one")
    time.sleep(0.1)
    for index in range(300):
        (tmp_path / f"{index}.nii").write_bytes(b"one")
    time.sleep(0.1)
    digests = ByteDigests(tmp_path / "cache")
    for index in range(300):
        digests.of(Location(tmp_path / f"{index}.nii"))
    file = tmp_path / "cache" / "digests.sqlite"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + bytes(range(256)) * ((len(content) - 4096) // 256))
    again = ByteDigests(tmp_path / "cache")
    assert {again.of(Location(tmp_path / f"{index}.nii")) for index in range(300)} == {digest_file(path)}


def test_an_unchanged_file_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"one")
    time.sleep(0.1)  # a file that changed just now may change again without another stamp
    before = ByteDigests(tmp_path / "cache").of(Location(path))
    monkeypatch.setattr("radapt.digests.digest_file", lambda _: pytest.fail("the file was read again"))
    assert ByteDigests(tmp_path / "cache").of(Location(path)) == before


def test_entries_of_one_array_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"arrays")
    digests = ByteDigests(tmp_path / "cache")
    found = {digests.of(Location(path, "train", index)) for index in (0, 1)} | {digests.of(Location(path))}
    assert len(found) == 3


def test_the_names_of_a_series_do_not_matter_and_its_bytes_do(tmp_path: Path) -> None:
    for folder, names in (("one", "ab"), ("two", "yx")):
        (tmp_path / folder).mkdir()
        for name, content in zip(names, (b"1", b"2"), strict=True):
            (tmp_path / folder / name).write_bytes(content)
    digests = ByteDigests(tmp_path / "cache")
    assert digests.of(Location(tmp_path / "one")) == digests.of(Location(tmp_path / "two"))
    (tmp_path / "two" / "z").write_bytes(b"3")
    assert digests.of(Location(tmp_path / "one")) != digests.of(Location(tmp_path / "two"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.nii"):
        ByteDigests(tmp_path / "cache").of(Location(tmp_path / "gone.nii"))


def test_a_broken_memory_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "digests.sqlite").write_bytes(b"not a database, but long enough to look at" * 40)
    (tmp_path / "a.nii").write_bytes(b"one")
    assert ByteDigests(tmp_path).of(Location(tmp_path / "a.nii")) == digest_file(tmp_path / "a.nii")


def test_a_cache_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="--cache"):
        ByteDigests(tmp_path / "file" / "cache")


def test_many_threads_may_ask_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.nii" for index in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    digests = ByteDigests(tmp_path / "cache")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: digests.of(Location(path)), paths * 2))
    assert found == [digest_file(path) for path in paths * 2]
