"""Who wrote a DICOM object: radapt and the model, and the UIDs of what they write."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from uuid import NAMESPACE_OID, uuid5

from radapt.errors import DataError, UsageError
from radapt.versions import __version__

RESEARCH_ONLY = "Research use only"

LONGEST = 64
"""Bytes in a DICOM value of type LO: the standard counts characters, and some readers, such as dciodvfy, bytes."""

_MORE, _BETWEEN = "...", " ·,;:-/("
"""The end of shortened text, and what does not stand before it."""


@dataclass(frozen=True)
class Algorithm:
    """The model that made a result, and when.

    `model` names it for readers, `digest` is the digest of its folder. `created` is written as the content date; UIDs
    depend on it, so the same result written with the same time has the same UIDs.
    """

    model: str
    digest: str
    created: datetime = field(default_factory=datetime.now)

    @property
    def described(self) -> str:
        return f"radapt {__version__}, model {self.model}, digest {self.digest}"

    def uid(self, *parts: object) -> str:
        """A UID under 2.25 (PS3.5 B.2) that is the same for the same parts, model and time."""
        text = "\n".join(_word(part) for part in (self.digest, self.created.isoformat(), *parts))
        return f"2.25.{uuid5(NAMESPACE_OID, text).int}"

    def equipment(self) -> dict[str, str]:
        """The equipment module of what the model writes, as keyword arguments of highdicom."""
        return {
            "manufacturer": "radapt",
            "manufacturer_model_name": short(self.model),
            "software_versions": __version__,
            "device_serial_number": short(self.digest),
        }


def _word(part: object) -> str:
    return blake2b(part, digest_size=16).hexdigest() if isinstance(part, bytes) else str(part)


def short(text: str, length: int = LONGEST) -> str:
    """`text` in one line of at most `length` bytes of UTF-8, without the backslash that separates DICOM values.

    Longer text ends after a whole word, with "..."; a first word that alone is too long is cut.

    >>> short("glioma grade · dinov2-s · logistic", 26)
    'glioma grade · dinov2-s...'
    """
    line = " ".join(text.replace("\\", "/").split())
    if len(line.encode()) <= length:
        return line
    room = length - len(_MORE)
    start = line.encode()[: room + 1].decode(errors="ignore")  # one byte on, to see whether a word ends here
    words = start.rpartition(" ")[0].rstrip(_BETWEEN)
    return (words or line.encode()[:room].decode(errors="ignore")) + _MORE


@contextmanager
def source_values() -> Iterator[None]:
    """Let values of the source pass as they are, without a word: warnings about them print names and identifiers.

    Values that cannot be passed raise a DataError that does not repeat them.
    """
    from pydicom.config import disable_value_validation

    logging.getLogger("highdicom").setLevel(logging.CRITICAL)
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"A value in the DICOM header of the source fits no new object ({type(error).__name__}). Export the "
                "series again."
            ) from error


def require_highdicom() -> None:
    """Raise UsageError that names the extra if highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "DICOM segmentations and reports need highdicom. Install it with: pip install 'radapt[dicom-out]'"
        ) from error
