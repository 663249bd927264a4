import os
from pathlib import Path

import pytest

from radapt.digests import ByteDigests, digest, digest_file
from radapt.errors import DataError
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


def test_an_unchanged_file_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"one")
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
