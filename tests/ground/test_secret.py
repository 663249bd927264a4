"""The key of pseudonyms: the user's own is made once and private; another one gives other pseudonyms."""

import stat
from pathlib import Path

import pytest

from radapt.cohorts.layouts.dicom.headers import pseudonym
from radapt.errors import UsageError
from radapt.secret import secret_key, using_secret


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "radapt"


def test_the_users_key_is_made_once_and_private(home: Path) -> None:
    first = secret_key()
    assert len(first) == 32
    (file,) = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret_key.__globals__["_own_key"].cache_clear()
    assert secret_key() == first


def test_two_users_have_two_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for name in ("one", "two"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / name))
        keys.add(secret_key())
    assert len(keys) == 2


def test_pseudonyms_depend_on_the_key_and_have_64_bits(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b", "a"):
        (tmp_path / name).write_text(name * 20)
        with using_secret(tmp_path / name):
            found.append(pseudonym("483920"))
    assert found[0] == found[2] != found[1]
    assert len(bytes.fromhex(found[0])) >= 8
    assert pseudonym("483920") not in found


@pytest.mark.parametrize("content", [None, b"", b"short  \n"])
def test_a_secret_that_is_none_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match="secret"), using_secret(tmp_path / "key"):
        pass
