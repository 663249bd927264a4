"""The key of pseudonyms: a file that the user gives, or a random one in the user's configuration folder.

Whoever has the key can check whether a pseudonym belongs to an id; without it, ids cannot be guessed. The same key
gives the same pseudonyms, also after the cache was deleted.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path

from radapt.errors import UsageError

_SHORTEST = 16
_MOST_BYTES = 1 << 16
_given: list[bytes] = []


def configuration_folder() -> Path:
    """The user's configuration folder for radapt."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "radapt"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming")) / "radapt"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "radapt"


@contextmanager
def using_secret(path: Path | None) -> Iterator[None]:
    """Use the key in the file `path` in the block; None uses the user's own.

    Raises UsageError if the file cannot be read, or is shorter than 16 bytes.
    """
    if path is None:
        yield
        return
    _given.append(_from_file(path))
    try:
        yield
    finally:
        _given.pop()


def secret_key() -> bytes:
    """The key, 32 bytes. The user's own is made at the first call. Raises UsageError if that is not possible."""
    if _given:
        return _given[-1]
    return _own_key(configuration_folder() / "pseudonym.key")


@cache
def _own_key(path: Path) -> bytes:
    if not path.is_file():
        _make(path)
    return _from_file(path)


def _from_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES).strip()
    except OSError as error:
        raise UsageError(f"The secret {path} cannot be read: {error.strerror or error}.") from error
    if len(content) < _SHORTEST:
        raise UsageError(
            f"The secret {path} has {len(content)} bytes; at least {_SHORTEST} are expected. Make one with: "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return blake2b(content, digest_size=32).digest()


def _make(path: Path) -> None:
    """Write a random key that only its owner can read. Where two processes do so at once, the first key stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        raise UsageError(
            f"The key of pseudonyms cannot be written to {path} ({error.strerror or error}). Give one with --secret."
        ) from error
