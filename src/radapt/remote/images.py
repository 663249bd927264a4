"""Images behind an address, such as s3://bucket/a.nii.gz: what the server says of them, through fsspec.

Its libraries find the credentials themselves. Messages name addresses without their query, which may be a signature.
"""

import re
import time
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from radapt.errors import DataError, UsageError
from radapt.locations import Location, shown
from radapt.remote.offline import is_offline

_FRESH_SECONDS = 60.0
"""For so long what a server said of a file is not asked for again, but for the file that is being copied."""

_ANSWER_SECONDS = 60.0
_THREADS = 16
_MOST_FILES = 20_000  # of a folder
_STATES = ("etag", "md5hash", "contentmd5", "digest", "crc32c", "generation", "versionid", "checksum")
_TIMES = ("lastmodified", "mtime", "updated", "modified", "created", "creationtime")
_SIGNATURE = re.compile(
    r"(x-(amz|goog|ms)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|"
    r"s[vtrepik]|sig|sdd|skoid|sktid|skt|ske|sks|skv|spr|token|access_token|hdnts)",
    re.IGNORECASE,
)
_QUERY = re.compile(r"\?[^\s'\")]*")


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file. `state` is other once the file changes: from its ETag, size and time."""

    url: str
    size: int | None
    state: tuple[str, ...]


@dataclass(frozen=True)
class RemoteImage:
    """The files that are an image or mask: one, or those of a DICOM folder by name."""

    files: tuple[RemoteFile, ...]
    is_folder: bool = False

    @property
    def state(self) -> list[list[str]]:
        """Equal as long as no file changes, whatever the signature of its address."""
        return [[_unsigned(file.url), *file.state] for file in self.files]


_known: dict[str, tuple[float, RemoteImage]] = {}


def state_of(url: str) -> list[list[str]]:
    """JSON-like values that change with the file or folder at `url`, as its server says.

    Raises DataError if the server refuses it or does not answer; UsageError offline, without the library for its
    protocol, and for an unknown protocol.
    """
    return image_at(url).state


def ask(locations: Collection[Location], listed: int = 20) -> str:
    """Ask the servers of all remote `locations` at once, which `state_of` then knows: why some cannot be read, one line
    each, or ''. Raises UsageError as `state_of` does."""
    places = dict.fromkeys((url, location) for location in locations for url in location.urls)
    if not places:
        return ""

    def reason(place: tuple[str, Location]) -> str:
        try:
            image_at(place[0])
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(_THREADS, "radapt-remote") as pool:
        reasons = list(filter(None, pool.map(reason, places)))
    rest = [f"and {len(reasons) - listed} more"] if len(reasons) > listed else []
    return "\n  ".join([*reasons[:listed], *rest])


def image_at(url: str, *, fresh: bool = False) -> RemoteImage:
    """What the server says of the file or folder at `url` now, or said a moment ago. Raises as `state_of` does."""
    then, image = _known.get(url, (0.0, None))
    if image is not None and not fresh and time.monotonic() - then < _FRESH_SECONDS:
        return image
    with answering(url):
        image = _asked(url)
    _known[url] = time.monotonic(), image
    return image


def _asked(url: str) -> RemoteImage:
    files, path = file_system(url)
    if not _ends_as_folder(url):
        info = files.info(path)
        if info.get("type") != "directory":
            return RemoteImage((_file(url, info),))
    inside = [item for item in files.ls(path, detail=True) if _is_series_file(str(item["name"]), item)]
    if len(inside) > _MOST_FILES:
        raise DataError(f"{shown(url)} holds {len(inside):,} files; a series has {_MOST_FILES:,} at most.")
    if not inside:
        raise DataError(f"{shown(url)} is a folder without files. Name a file, or the folder of one DICOM series.")
    if any(not _state(item) for item in inside):  # listings of web servers name the files only
        with ThreadPoolExecutor(_THREADS, "radapt-remote") as pool:
            inside = list(pool.map(lambda item: {**files.info(item["name"]), "name": item["name"]}, inside))
    named = sorted((str(item["name"]), item) for item in inside)
    return RemoteImage(tuple(_file(files.unstrip_protocol(name), item) for name, item in named), is_folder=True)


def _file(url: str, info: Mapping[str, Any]) -> RemoteFile:
    if not (state := _state(info)):
        raise DataError(
            f"The server gives neither an ETag nor a time of change for {shown(url)}, so that a change could not be "
            "noticed. Copy the file to this machine."
        )
    size = info.get("size")
    return RemoteFile(url, None if size is None else int(size), (str(size), *state))


def _state(info: Mapping[str, Any]) -> tuple[str, ...]:
    facts = {re.sub("[-_]", "", str(key)).lower(): value for key, value in info.items()}
    return tuple(f"{name}={facts[name]}" for name in (*_STATES, *_TIMES) if facts.get(name) not in (None, ""))


def _is_series_file(name: str, info: Mapping[str, Any]) -> bool:
    last = name.rpartition("/")[2]
    return info.get("type") != "directory" and last != "" and not last.startswith(".") and "?" not in last


def _ends_as_folder(url: str) -> bool:
    return re.split("[?#]", url, maxsplit=1)[0].endswith("/")


def _unsigned(url: str) -> str:
    """`url` without user, password and signature, which differ from one day to the next."""
    query = urllib.parse.urlsplit(url).query
    kept = [(name, value) for name, value in urllib.parse.parse_qsl(query) if not _SIGNATURE.fullmatch(name)]
    return f"{shown(url)}?{urllib.parse.urlencode(kept)}" if kept else shown(url)


def file_system(url: str) -> tuple[Any, str]:
    """The file system of fsspec and the path in it."""
    if is_offline():
        raise UsageError(
            f"{shown(url)} is on a server, but radapt works offline. Leave out --offline and HF_HUB_OFFLINE, or copy "
            "the files to this machine."
        )
    protocol = url.partition("://")[0].lower()
    try:
        import fsspec

        return fsspec.core.url_to_fs(url, **_options(protocol, url))
    except ImportError:
        raise UsageError(f"{shown(url)} needs a library that is not installed: pip install 'radapt[remote]'") from None
    except ValueError as error:
        if "rotocol" not in str(error):
            raise
        raise UsageError(
            f"radapt does not know the protocol of {shown(url)}; expected https, s3, gs or another of fsspec."
        ) from None


def _options(protocol: str, url: str) -> dict[str, Any]:
    """Limits on the waiting for web servers, and their addresses as they are written; the user's settings go before."""
    if protocol not in ("http", "https"):
        return {"use_listings_cache": False}
    import aiohttp
    from fsspec.config import conf

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_SECONDS, sock_read=_ANSWER_SECONDS)
    client = {"timeout": timeout, "trust_env": True, "headers": {"Accept-Encoding": "identity"}}
    client |= dict(conf.get(protocol, {})).get("client_kwargs", {})
    return {"use_listings_cache": False, "encoded": "%" in url, "client_kwargs": client}


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn what goes wrong between here and the server into a DataError that names the address."""
    try:
        yield
    except (DataError, UsageError):
        raise
    except ImportError:
        raise UsageError(f"{shown(url)} needs a library that is not installed: pip install 'radapt[remote]'") from None
    except Exception as error:  # the libraries of the protocols raise types of their own
        raise DataError(f"{shown(url)} cannot be read: {_reason(error)}") from None  # a cause would show the query


def _reason(error: BaseException) -> str:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    status = next(filter(None, map(_status, chain)), None)
    if status in (401, 403) or any(isinstance(each, PermissionError) for each in chain):
        return f"the server refuses it ({status or 403}). Check your credentials; a signed address may have expired."
    if any("Timeout" in type(each).__name__ for each in chain):
        return "the server does not answer in time. Run the same command again later."
    if any("Credential" in type(each).__name__ for each in chain):
        return "no credentials were found where the library of this protocol looks for them."
    if status in (404, 410) or (status is None and isinstance(error, FileNotFoundError) and len(chain) == 1):
        return "it does not exist (404). Correct the address, or leave it empty if the image is missing."
    if status is not None:
        return f"the server answers {status}. Run the same command again later."
    deepest = chain[-1]
    text = " ".join(_QUERY.sub("", str(deepest)).split())[:300].rstrip(".")
    return f"{text or type(deepest).__name__}."


def _status(error: BaseException) -> int | None:
    """The status of an answer that went wrong, as the libraries keep it."""
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping):
        return answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for name in ("status", "code"):
        if isinstance(status := getattr(error, name, None), int) and 400 <= status < 600:
            return status
    return None
