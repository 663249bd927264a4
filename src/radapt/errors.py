"""What can go wrong, said in one readable paragraph, with the exit code that goes with it.

Every message gives what was given, what was expected and the nearest fix. The command line prints the message
and nothing else; `--debug` adds the traceback.
"""

import difflib
from collections.abc import Iterable, Mapping


class RadaptError(Exception):
    """Base of all errors radapt raises on purpose."""

    exit_code = 1


class DataError(RadaptError):
    """The data are wrong: a table's row, an image file, a label. Exit code 1."""

    exit_code = 1


class UsageError(RadaptError):
    """The command, an option, or a file it names is wrong. Exit code 2."""

    exit_code = 2


def counted(count: int, noun: str) -> str:
    """A count with its noun in the right number.

    >>> counted(1, "error"), counted(0, "error"), counted(1200, "case")
    ('1 error', '0 errors', '1,200 cases')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def suggest(given: str, known: Iterable[str], renamed: Mapping[str, str] | None = None) -> str:
    """The end of an error message about an unknown name: the nearest known one, then all of them.

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
