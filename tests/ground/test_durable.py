import errno
import json
import os
from pathlib import Path

import pytest

from radapt.durable import atomic_path, write_json, write_text


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    for name in ("first", "second"):
        with atomic_path(path, folder=True) as part:
            (part / name).write_text(name)
    assert [item.name for item in path.iterdir()] == ["second"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "pictures", folder=True) as part:
        (part / "first").write_text("first")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_undefined_numbers_become_null_and_numpy_numbers_become_plain(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    value = {"auroc": float("nan"), "n": np.int64(3), "values": (1.5, np.float32("inf")), "path": Path("a/b")}
    write_json(tmp_path / "value.json", value)
    assert json.loads((tmp_path / "value.json").read_text()) == {
        "auroc": None,
        "n": 3,
        "values": [1.5, None],
        "path": "a/b",
    }


def test_written_files_and_folders_have_the_rights_of_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with atomic_path(tmp_path / "our folder", folder=True):
        pass
    (tmp_path / "plain folder").mkdir()
    assert (tmp_path / "our folder").stat().st_mode == (tmp_path / "plain folder").stat().st_mode


def test_writing_never_touches_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the whole process: two threads that read it by setting it can leave it open to everybody."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    write_text(tmp_path / "ours", "x")


def test_a_file_that_a_library_put_in_place_gets_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    with atomic_path(tmp_path / "weights") as part:
        part.unlink()
        part.touch(mode=0o600)
    assert (tmp_path / "weights").stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize(
    "raised",
    [
        OSError(errno.ENOSPC, "No space left on device"),  # write() names no file
        OSError("1000000 requested and 262112 written"),  # numpy.save
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),  # torch.save
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
    ],
)
def test_a_full_disk_is_named_whatever_the_library_raises(tmp_path: Path, raised: Exception) -> None:
    path = tmp_path / "a" / "weights"
    with pytest.raises(OSError, match="No space left on device") as caught, atomic_path(path) as part:
        part.write_text("half")
        raise raised
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_names_the_file_as_it_would_have_been_called(tmp_path: Path) -> None:
    model = tmp_path / "model"
    with (
        pytest.raises(OSError, match="quota") as caught,
        atomic_path(model, folder=True) as part,
        atomic_path(part / "members" / "weights"),
    ):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert caught.value.filename == str(model / "members" / "weights")
    assert list(tmp_path.iterdir()) == []


def test_of_a_copy_the_full_disk_is_that_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, atomic_path(tmp_path / "copy") as part:
        raise OSError(errno.ENOSPC, "No space left on device", "original", None, str(part))  # shutil.copyfile
    assert caught.value.filename == str(tmp_path / "copy")


def test_other_errors_are_raised_as_they_are(tmp_path: Path) -> None:
    for raised in (OSError("image file is truncated"), FileNotFoundError(2, "No such file", "b"), ValueError("x")):
        with pytest.raises(type(raised)) as caught, atomic_path(tmp_path / "a"):
            raise raised
        assert caught.value is raised
