"""Archives: every kind is unpacked once and whole; what could do harm is refused and leaves nothing behind."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from radapt.cohorts import archives, scan
from radapt.cohorts.archives import unpack
from radapt.errors import DataError

FILES = {"top/healthy/a.png": b"a", "top/healthy/b.png": b"b", "top/ill/c.png": b"c", "top/ill/d.png": b"d" * 5000}


def make_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes] = FILES, member: tarfile.TarInfo | None = None) -> Path:
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}["".join(path.suffixes)]
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if member is not None:
            archive.addfile(member)
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.xz"])
def test_unpacked_once_and_whole(name: str, tmp_path: Path) -> None:
    make = make_zip if name.endswith("zip") else make_tar
    archive = make(tmp_path / name)
    folder, made = unpack(archive, tmp_path / "out")
    assert made == (folder, tmp_path / "out")
    assert folder.parent == tmp_path / "out"
    assert folder.name.startswith("x-")
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")} == FILES
    (folder / "readme.txt").touch()
    assert unpack(archive, tmp_path / "out") == (folder, ())
    assert (folder / "readme.txt").exists()
    draft = scan(archive, out=tmp_path / "out" / "cohort.yaml")
    assert (draft.layout, draft.name, len(draft.table)) == ("folders", "top", 4)


def test_an_archive_without_a_top_folder_gives_its_own_name(tmp_path: Path) -> None:
    files = {name.removeprefix("top/"): content for name, content in FILES.items()}
    assert scan(make_zip(tmp_path / "chest.zip", files), out=tmp_path / "cohort.yaml").name == "chest"


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo("top/special")
    info.type, info.linkname = kind, target
    return info


def linked_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("top/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


def encrypted(path: Path) -> Path:
    raw = bytearray(make_zip(path).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        found = raw.find(mark)
        while found >= 0:
            raw[found + at] |= 1
            found = raw.find(mark, found + 4)
    path.write_bytes(bytes(raw))
    return path


def lying_zip(path: Path) -> Path:
    """An entry that claims to be small: the sizes in the headers are lowered by hand."""
    size = 80 << 20
    raw = make_zip(path, {"zeros": bytes(size)}).read_bytes()
    path.write_bytes(raw.replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little")))
    return path


def flip_name(raw: bytes) -> bytes:
    return raw.replace(b"top/ill/d.png", b"top/ill/d.pnq", 1)


def damage_a_header(raw: bytes) -> bytes:
    """Break the header of the last file: readers of tar take one that they cannot read for the end."""
    return raw.replace(b"top/ill/d.png", b"top/ill/d.pnq", 1)


def damage_what_is_packed(raw: bytes) -> bytes:
    return raw[:-40] + bytes(byte ^ 0x55 for byte in raw[-40:-20]) + raw[-20:]


def repacked(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(gzip.compress(change(make_tar(path.with_name("y.tar")).read_bytes())))
    path.with_name("y.tar").unlink()
    return path


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


HARM: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zip parent": (lambda at: make_zip(at / "x.zip", {"../evil": b"x"}), "outside"),
    "zip parent inside": (lambda at: make_zip(at / "x.zip", {"a/../../evil": b"x"}), "outside"),
    "zip absolute": (lambda at: make_zip(at / "x.zip", {"/evil": b"x"}), "outside"),
    "zip drive": (lambda at: make_zip(at / "x.zip", {"C:\\evil": b"x"}), "outside"),
    "zip backslashes": (lambda at: make_zip(at / "x.zip", {"a\\..\\..\\evil": b"x"}), "outside"),
    "zip link": (lambda at: linked_zip(at / "x.zip"), "link"),
    "zip encrypted": (lambda at: encrypted(at / "x.zip"), "encrypted"),
    "zip bomb": (lambda at: make_zip(at / "x.zip", {"zeros": bytes(80 << 20)}), "bomb"),
    "zip bomb that lies": (lambda at: lying_zip(at / "x.zip"), "bomb|broken"),
    "zip name damaged": (
        lambda at: changed(
            make_zip(at / "x.zip"),
            lambda raw: b"top/ill/\0.png".join(raw.rsplit(b"top/ill/d.png", 1)),
        ),
        "is called a folder",
    ),
    "zeros for a tar": (lambda at: changed(make_tar(at / "x.tar"), lambda raw: bytes(1024)), "no file can be found"),
    "zip truncated": (lambda at: changed(make_zip(at / "x.zip"), lambda raw: raw[:-30]), "broken"),
    "zip corrupt": (lambda at: changed(make_zip(at / "x.zip"), flip_name), "broken"),
    "zip of nothing": (lambda at: changed(make_zip(at / "x.zip"), lambda raw: b""), "broken"),
    "zip twice the same": (lambda at: make_tar(at / "x.tar", {"a": b"1"}, tarfile.TarInfo("a")), "broken"),
    "tar parent": (lambda at: make_tar(at / "x.tar", {"../evil": b"x"}), "outside"),
    "tar absolute": (lambda at: make_tar(at / "x.tar.gz", {"/evil": b"x"}), "outside"),
    "tar symbolic link": (lambda at: make_tar(at / "x.tar", FILES, special(tarfile.SYMTYPE, "/etc")), "link"),
    "tar hard link": (lambda at: make_tar(at / "x.tar", FILES, special(tarfile.LNKTYPE, "/etc/passwd")), "link"),
    "tar device": (lambda at: make_tar(at / "x.tar", FILES, special(tarfile.CHRTYPE)), "device"),
    "tar pipe": (lambda at: make_tar(at / "x.tar", FILES, special(tarfile.FIFOTYPE)), "device"),
    "tar bomb": (lambda at: make_tar(at / "x.tar.gz", {"zeros": bytes(80 << 20)}), "bomb"),
    "tar truncated": (lambda at: changed(make_tar(at / "x.tar.gz"), lambda raw: raw[: len(raw) // 2]), "broken"),
    "tar header damaged": (lambda at: changed(make_tar(at / "x.tar"), damage_a_header), "broken"),
    "tar.gz header damaged": (lambda at: repacked(at / "x.tar.gz", damage_a_header), "broken"),
    "tar.gz corrupt": (lambda at: changed(make_tar(at / "x.tar.gz"), damage_what_is_packed), "broken"),
    "tgz of other checksum": (lambda at: changed(make_tar(at / "x.tgz"), lambda raw: raw[:-8] + bytes(8)), "broken"),
    "tar.xz corrupt": (lambda at: changed(make_tar(at / "x.tar.xz"), damage_what_is_packed), "broken"),
    "tar cut between files": (lambda at: changed(make_tar(at / "x.tar"), lambda raw: raw[:2048]), "broken"),
    "tar of noise": (lambda at: changed(make_tar(at / "x.tar.gz"), lambda raw: b"noise" * 99), "broken"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARM)
def test_harm_is_refused_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    build, reason = HARM[name]
    archive = build(tmp_path)
    with pytest.raises(DataError, match=f"(?s)x\\..*({reason})"):
        unpack(archive, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_scan_that_fails_takes_away_what_it_unpacked(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"notes/a.txt": b"a", "notes/b.txt": b"b"})
    out = tmp_path / "deep" / "out" / "cohort.yaml"
    with pytest.raises(DataError, match="not a layout"):
        scan(archive, out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]
    folder = unpack(archive, out.parent).folder
    with pytest.raises(DataError, match="not a layout"):
        scan(archive, out=out)
    assert (folder / "notes" / "a.txt").exists()


def test_an_out_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(DataError):
        scan(make_zip(tmp_path / "x.zip", {"a.txt": b"a"}), out=tmp_path / "out" / "cohort.yaml")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_limits_on_entries_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "x.zip")
    monkeypatch.setattr(archives, "MOST_ENTRIES", 3)
    with pytest.raises(DataError, match="more than 3 entries"):
        unpack(archive, tmp_path)
    monkeypatch.undo()
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="are free"):
        unpack(archive, tmp_path)


def test_a_damaged_end_record_does_not_lose_files(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(5):
            archive.writestr(f"d/{index}.txt", "A" * 50)
    raw = bytearray(file.read_bytes())
    end, second = raw.rindex(b"PK\5\6"), raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 4)
    one = second - raw.index(b"PK\1\2")
    raw[end + 12 : end + 16] = (2 * one).to_bytes(4, "little")
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"counts 5 entries, but 2"):
        unpack(file, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_an_end_in_the_wrong_place_does_not_lose_files(name: str, tmp_path: Path) -> None:
    """An end record of zeros, or a header of zeros, reads as the end of an archive that holds less."""
    if name == "x.zip":
        (tmp_path / name).write_bytes(make_zip(tmp_path / name).read_bytes()[:-18] + bytes(4096))
    else:
        raw = bytearray(make_tar(tmp_path / name).read_bytes())
        raw[1024:1536] = bytes(512)
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match="is broken or cannot be unpacked"):
        unpack(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("name", ["", "a/" * 2000 + "x"])
def test_names_of_no_file_are_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name or "a/" * 100 + "x"))
    for file in ("a.zip", "a.tar"):
        with pytest.raises(DataError, match=r"without a name|in more than 64 folders"):
            unpack(tmp_path / file, tmp_path)
