"""Images behind addresses: read as those of this machine are, fetched once, and refused with a reason."""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radapt.digests import ByteDigests
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache, read
from radapt.images.masks import read_labels
from radapt.locations import Location, is_remote, shown
from radapt.remote import images as remote
from radapt.remote import local_copies
from toy_dicom import ToySeries
from toy_server import ToyServer, serving

pytest.importorskip("aiohttp", reason="web addresses need radapt[remote]")

SIGNED = "?X-Amz-Signature=secret&X-Amz-Date=20260101"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    here = tmp_path / "served"
    (here / "masks").mkdir(parents=True)
    Image.fromarray(rng.integers(0, 255, (24, 24), np.uint8)).save(here / "a.png")
    nib.save(nib.Nifti1Image(rng.normal(size=(8, 9, 5)).astype(np.float32), np.diag([1, 1, 3, 1])), here / "b.nii.gz")
    np.savez(here / "c.npz", images=rng.integers(0, 255, (3, 16, 16), np.uint8), other=np.zeros(3))
    for name, value in (("left", 255), ("right", 1)):
        marked = np.zeros((24, 24), np.uint8)
        marked[3:9, 3:9] = value
        Image.fromarray(np.roll(marked, value, axis=1)).save(here / "masks" / f"{name}.png")
    return here


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyServer]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(remote, "_FRESH_SECONDS", 0.0)
    with serving(folder) as started:
        yield started


@pytest.mark.parametrize("name", ["a.png", "b.nii.gz", "c.npz::images[1]", "c.npz::images", f"a.png{SIGNED}"])
def test_a_remote_image_is_the_local_one(name: str, server: ToyServer, folder: Path) -> None:
    there = read(Location.parse(f"{server.url}/{name}"))
    here = read(Location.parse(name.removesuffix(SIGNED), folder))
    np.testing.assert_array_equal(there.array, here.array)
    np.testing.assert_array_equal(there.affine, here.affine)


def test_a_folder_of_dicom_files_is_fetched_as_one_series(server: ToyServer, folder: Path) -> None:
    ToySeries(np.random.default_rng(0).integers(0, 255, (4, 12, 10), np.uint8)).write(folder / "series")
    (folder / "series" / ".hidden").write_text("no image")
    there, here = read(Location.parse(f"{server.url}/series/")), read(Location(folder / "series"))
    np.testing.assert_array_equal(there.array, here.array)
    np.testing.assert_array_equal(there.affine, here.affine)


def test_the_parts_of_a_mask_are_fetched(server: ToyServer, folder: Path) -> None:
    text = "masks::{1=left.png|2=right.png}"
    there = read_labels(Location.parse(f"{server.url}/{text}"))
    np.testing.assert_array_equal(there.array, read_labels(Location.parse(text, folder)).array)
    (folder / "left.png").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(DataError, match="outside its folder"):
        read_labels(Location.parse(f"{server.url}/masks::{{1=../../../left.png}}"))


def test_entries_of_one_array_are_fetched_and_unpacked_once(server: ToyServer, tmp_path: Path) -> None:
    cache = SliceCache(tmp_path / "cache")
    for index in range(3):
        cache.read(Location.parse(f"{server.url}/c.npz::images[{index}]"))
    assert server.fetched["/c.npz"] == 1
    local_copies._COPIES = local_copies._Copies()
    cache.read(Location.parse(f"{server.url}/c.npz::images[0]"))
    assert server.fetched["/c.npz"] == 2
    assert len(list((tmp_path / "cache" / "arrays").glob("*.npy"))) == 1


def test_copies_are_deleted(server: ToyServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_copies, "_COPIES", local_copies._Copies())
    for number in range(local_copies._KEPT + 3):
        (folder / f"{number}.png").write_bytes((folder / "a.png").read_bytes())
        read(Location.parse(f"{server.url}/{number}.png"))
    home = Path(local_copies._COPIES._home.name)
    assert len(list(home.iterdir())) == local_copies._KEPT
    monkeypatch.undo()
    assert not home.exists()  # as at the end of the process


def test_planes_are_read_into_the_cache_once(server: ToyServer, folder: Path, tmp_path: Path) -> None:
    recipe, cache = Recipe.for_kind("other", size=16), SliceCache(tmp_path / "cache")
    there = Location.parse(f"{server.url}/b.nii.gz")
    first = cache.planes(there, recipe)
    np.testing.assert_array_equal(first, cache.planes(Location(folder / "b.nii.gz"), recipe))
    assert server.fetched["/b.nii.gz"] == 1
    SliceCache(tmp_path / "cache").planes(there, recipe)
    assert server.fetched["/b.nii.gz"] == 1


def test_a_changed_file_is_another_one(server: ToyServer, folder: Path, tmp_path: Path) -> None:
    digests, there = ByteDigests(tmp_path / "cache"), Location.parse(f"{server.url}/a.png{SIGNED}")
    before = digests.of(there)
    assert digests.of(Location.parse(f"{server.url}/a.png?X-Amz-Signature=other")) == before
    assert digests.of(Location.parse(f"{server.url}/a.png?id=3")) != before
    os.utime(folder / "a.png", (1e9, 1e9))
    assert digests.of(there) != before


def test_a_file_that_changes_while_it_is_read_is_refused(
    server: ToyServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SliceCache(tmp_path / "cache")
    fetch = local_copies._fetch

    def change(*arguments: object) -> None:
        fetch(*arguments)  # type: ignore[arg-type]
        os.utime(folder / "a.png", (1e9, 1e9))

    monkeypatch.setattr(local_copies, "_fetch", change)
    with pytest.raises(DataError, match=r"a\.png changed while"):
        cache.planes(Location.parse(f"{server.url}/a.png"), Recipe.for_kind("other", size=16))


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "does not exist"), (403, "refuses it .403."), (401, "credentials"), (500, "answers 500")],
)
def test_the_reason_is_said_and_the_signature_is_not(
    status: int, reason: str, server: ToyServer, tmp_path: Path
) -> None:
    server.failing["/a.png"] = status
    location = Location.parse(f"{server.url}/a.png{SIGNED}")
    with pytest.raises(DataError, match=reason) as failure:
        read(location)
    said = "".join(traceback.format_exception(failure.value))
    assert f"{server.url}/a.png" in said
    assert "secret" not in said + repr(location) + str(location) + str(location.path)


def test_a_damaged_image_is_named_by_its_address(server: ToyServer, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    with pytest.raises(DataError) as failure:
        read(Location.parse(f"{server.url}/a.png{SIGNED}"))
    assert str(failure.value).startswith(f"{server.url}/a.png is truncated")
    assert "radapt-" not in str(failure.value)


def test_a_file_that_is_cut_or_too_long_is_refused(server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.cut.add("/b.nii.gz")
    with pytest.raises(DataError, match=r"b\.nii\.gz"):
        read(Location.parse(f"{server.url}/b.nii.gz"))
    (image,) = (remote.image_at(f"{server.url}/a.png"),)
    short = remote.RemoteImage((remote.RemoteFile(image.files[0].url, 10, image.files[0].state),))
    monkeypatch.setattr(local_copies, "image_at", lambda *_, **__: short)
    with pytest.raises(DataError, match="longer than the 10 bytes"):
        read(Location.parse(f"{server.url}/a.png"))


def test_a_file_larger_than_the_disk_is_not_begun(server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_copies, "_SPARE_BYTES", 1 << 62)
    with pytest.raises(DataError, match="has no room"):
        read(Location.parse(f"{server.url}/a.png"))
    assert not server.fetched["/a.png"]


def test_a_server_that_does_not_answer_is_given_up(server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ANSWER_SECONDS", 0.2)
    server.stuck.add("/a.png")
    with pytest.raises(DataError, match="does not answer in time"):
        read(Location.parse(f"{server.url}/a.png"))


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/a\.png cannot be read"):
        read(Location.parse("http://127.0.0.1:9/a.png"))


def test_offline_nothing_is_asked(server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="works offline"):
        read(Location.parse(f"{server.url}/a.png"))


def test_a_missing_library_and_an_unknown_protocol_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(UsageError, match="does not know the protocol of nowhere:"):
        read(Location.parse("nowhere://a/b.png"))
    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UsageError, match=r"pip install 'radapt\[remote\]'"):
        read(Location.parse("s3://a/b.png"))


def test_a_file_whose_changes_cannot_be_seen_is_refused() -> None:
    with pytest.raises(DataError, match="neither an ETag nor a time"):
        remote._file("http://a/b.png", {"size": 3})


@pytest.mark.parametrize(
    ("text", "url", "array"),
    [
        ("s3://bucket/a b.nii.gz", "s3://bucket/a b.nii.gz", None),
        ("gs://bucket/c.npz::images[2]", "gs://bucket/c.npz", "images"),
        ("https://u:p@[::1]:80/c.npz?sig=x::images", "https://u:p@[::1]:80/c.npz?sig=x", "images"),
    ],
)
def test_addresses_are_parsed(text: str, url: str, array: str | None) -> None:
    location = Location.parse(text, Path("/base"))
    assert is_remote(text)
    assert (location.url, location.array) == (url, array)
    assert "u:p" not in str(location) + repr(location)
    assert "sig" not in str(location) + repr(location)
    assert str(location).startswith(shown(url))
    assert not is_remote(r"C:\a.png")
    assert not is_remote("a/b.png::c[1]")
