"""DICOMweb: a study from an archive into a folder, and results back into the archive."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from radapt.durable import atomic_path
from radapt.errors import DataError, UsageError, counted
from radapt.images.dicom.frames import series_key
from radapt.parsing.dicom import dcmread

TOKEN = "RADAPT_DICOMWEB_TOKEN"
"""The environment variable with a bearer token, so that none stands in a command's history."""

LOCAL = ("localhost", "127.0.0.1", "::1")

TIMEOUT_S = 60.0
"""Without an answer, or without a further byte."""


def fetch_study(server: str, study: str, folder: Path) -> list[Path]:
    """Retrieve every instance of a study (WADO-RS) into a new `folder`; returns the folders of its series.

    `study` is a StudyInstanceUID. Names are `series-<12 hex digits>/0001.dcm`, in which nothing names a patient. After
    an error there is no folder. Raises UsageError if the folder exists, the address is wrong or the archive does not
    answer, and DataError if it has no such study or answers with something else.
    """
    client = _client(server)
    if folder.exists():
        raise UsageError(f"{folder} exists. Give a new folder for the study.")
    if not set(study) <= set("0123456789.") or not study:
        raise UsageError("A study is named by its StudyInstanceUID: digits and points.")
    counts: Counter[str] = Counter()
    with atomic_path(folder, folder=True) as part:
        with _answering(server):
            for data in client.iter_study(study):
                key = series_key(str(data.get("SeriesInstanceUID", "")))
                counts[key] += 1
                path = part / key / f"{counts[key]:04d}.dcm"
                path.parent.mkdir(exist_ok=True)
                data.save_as(path)
        if not counts:
            raise DataError(f"{server} has no instance of this study.")
    return [folder / key for key in sorted(counts)]


def send_results(server: str, paths: Sequence[Path]) -> int:
    """Store DICOM files in an archive (STOW-RS); returns how many it took.

    Raises UsageError if the address is wrong or the archive does not answer, and DataError with the count if it
    refuses any.
    """
    client = _client(server)
    with _answering(server):
        answer = client.store_instances([dcmread(path) for path in paths])
    refused = len(answer.get("FailedSOPSequence", []))
    if refused:
        raise DataError(f"{server} refused {refused} of {counted(len(paths), 'DICOM object')}.")
    return len(paths)


def _client(server: str) -> Any:
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise UsageError("DICOMweb needs dicomweb-client. Install it with: pip install 'radapt[dicomweb]'") from error
    address, token = urlsplit(server), os.environ.get(TOKEN)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UsageError(f"{server} is no DICOMweb address; expected one such as https://archive.example/dicom-web.")
    if token and address.scheme == "http" and address.hostname not in LOCAL:
        raise UsageError(f"{TOKEN} is set, and {server} is not encrypted. Use https, or unset the token.")
    headers = {"Authorization": f"Bearer {token}"} if token else None
    client = DICOMwebClient(server.rstrip("/"), headers=headers, timeout=TIMEOUT_S)
    client.set_http_retry_params(retry=False)
    return client


@contextmanager
def _answering(server: str) -> Iterator[None]:
    """Turn errors of the connection into messages without UIDs, which the addresses in them hold."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        if status == 404:
            raise DataError(
                f"{server} does not have what was asked for (404). Check the address and the UID."
            ) from None
        hint = f" Set {TOKEN} to a token that may." if status in (401, 403) else ""
        raise DataError(f"{server} answered with {status}.{hint}") from None
    except requests.RequestException as error:
        raise UsageError(f"{server} cannot be reached ({type(error).__name__}). Check the address.") from None
    except (ValueError, KeyError, AttributeError, EOFError) as error:
        raise DataError(f"{server} did not answer with DICOM ({type(error).__name__}).") from None
