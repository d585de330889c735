"""How a command ends: its exit code, and one line on stderr for every failure that a user can act on."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from whenwhere.errors import WhenwhereError


class UsageError(WhenwhereError):
    """The command line itself is wrong: an unknown command, or options that exclude each other."""


def exit_code(run: Callable[[], int]) -> int:
    """Call ``run`` and translate how it ended into an exit code.

    Errors of the project, of the operating system (a missing file, a full disk) and missing packages become one line
    on stderr. Anything else is a mistake in the program and keeps its traceback, which belongs into a bug report.

    Args:
        run: the command; returns its exit code.

    Returns:
        What ``run`` returned, or 2 (error), 130 (interrupted), 141 (nobody reads the output any more).
    """
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a caption or a file name must not stop at a terminal's encoding
            sys.stdout.reconfigure(errors="backslashreplace")
        code = run()
        if sys.stdout is not None:  # closed by the caller (>&-)
            sys.stdout.flush()  # a pipe that broke shows here rather than while the interpreter shuts down
        return code
    except WhenwhereError as error:
        return _complain(str(error))
    except BrokenPipeError:
        _discard_output()
        return 141
    except KeyboardInterrupt:
        print("whenwhere: interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "whenwhere").partition(".")[0] == "whenwhere":
            raise
        return _complain(f"the package {error.name} is not installed; run: whenwhere doctor")
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except SystemExit as stop:  # the argument parser prints its own message
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def printable(text: str) -> str:
    """One line without control characters: a hostile file name must not be able to steer the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in " ".join(text.split()))


def _complain(message: str) -> int:
    print(f"whenwhere: error: {printable(message)}", file=sys.stderr)
    return 2


def _discard_output() -> None:
    """Point stdout at nothing, or the interpreter would complain again when it flushes on exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
