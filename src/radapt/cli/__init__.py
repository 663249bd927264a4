"""The command line: one thin file for each verb, and one place where errors become a message and an exit code."""

import sys

from radapt.cli.app import app
from radapt.errors import RadaptError

__all__ = ["app", "main"]

_STOPPED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the data or a cell failed, 2 the command or its file is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    try:
        app(given, prog_name="radapt")
    except RadaptError as error:
        if debug:
            raise
        print(f"radapt: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as ended:  # typer turns Ctrl-C into 130 without a word
        if ended.code == _STOPPED:
            print(
                "radapt: stopped; what was finished is saved, and the same command goes on from there.",
                file=sys.stderr,
            )
        raise
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if debug:
            raise
        print(
            f"radapt: {error.filename or 'A file'} cannot be read or written: {error.strerror or error}. "
            "Check the path, whether you may write there, and the room on the disk.",
            file=sys.stderr,
        )
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        print(
            f"radapt: a fault of radapt itself, not of your data ({type(error).__name__}: {error}). "
            "Run the same command with --debug and report what it prints.",
            file=sys.stderr,
        )
        sys.exit(1)
