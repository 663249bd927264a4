"""radapt's errors, each with an exit code.

Every message is one readable paragraph: what was given, what was expected and the nearest fix. The command line prints
only the message; `--debug` adds the traceback.
"""

import difflib
import errno
from collections.abc import Iterable, Mapping

from radapt.printable import printable


class RadaptError(Exception):
    """Base class of all errors that radapt raises deliberately."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())  # file names and cells of tables may hold escape sequences


class DataError(RadaptError):
    """An error in the data: a row of a table, an image file, a label. Exit code 1."""

    exit_code = 1


class UsageError(RadaptError):
    """An error in the command, an option, or a file that it names. Exit code 2."""

    exit_code = 2


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a disk, or of a user's part of it, that is full."""


def unwritable(what: object, error: OSError) -> UsageError:
    """The error for a file or folder that cannot be written, with what to do if the disk is full."""
    fix = " Free some space there, or choose a folder on another disk." if error.errno in FULL else ""
    return UsageError(f"{what} cannot be written: {error.strerror or error}.{fix}")


def counted(count: int, noun: str) -> str:
    """A count with its noun in singular or plural.

    >>> counted(1, "error"), counted(0, "error"), counted(1200, "case")
    ('1 error', '0 errors', '1,200 cases')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def suggest(given: str, known: Iterable[str], renamed: Mapping[str, str] | None = None) -> str:
    """The end of an error message about an unknown name: the nearest known name, then all names.

    A name that was `renamed` (old name → new name) is answered with its new name alone.

    >>> suggest("dinov2s", ["dinov2-s", "resnet50"])
    "Did you mean 'dinov2-s'? Known: dinov2-s, resnet50."
    """
    if renamed and given in renamed:
        return f"It is called {renamed[given]!r} now."
    names = [str(name) for name in known]
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(str(given).casefold(), list(folded), n=1, cutoff=0.6)
    hint = f"Did you mean {folded[near[0]]!r}? " if near else ""
    return f"{hint}Known: {', '.join(names) if names else 'none'}."
