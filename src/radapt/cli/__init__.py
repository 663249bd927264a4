"""The command line: one file per command, and the conversion of errors to messages and exit codes."""

import contextlib
import signal
import sys

from radapt.cli.app import app
from radapt.errors import FULL, RadaptError
from radapt.failure_reason import reason_of
from radapt.printable import printable

__all__ = ["app", "main"]

_STOPPED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the data or a cell failed, 2 the command or its file is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop is a Ctrl-C
    try:
        app(given, prog_name="radapt")
    except RadaptError as error:
        if debug:
            raise
        print(f"radapt: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as error:  # typer turns Ctrl-C into exit code 130 without a message
        if error.code == _STOPPED:
            print(
                "radapt: stopped; finished work is saved, and the same command resumes it.",
                file=sys.stderr,
            )
        raise
    except BrokenPipeError:
        sys.exit(0)
    except MemoryError as error:
        if debug:
            raise
        print(f"radapt: {reason_of(error)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        named = printable(str(error.filename or "A file"))
        said = f"{named} cannot be read or written: {error.strerror or error}. Check the path and the write permission."
        print(f"radapt: {reason_of(error) if error.errno in FULL else said}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        print(
            f"radapt: an internal error of radapt, not of your data ({type(error).__name__}: {printable(str(error))}). "
            "Run the same command with --debug and report its output.",
            file=sys.stderr,
        )
        sys.exit(1)
