"""The ``whenwhere`` command: one module per command, imported only when it is asked for.

Every command module offers ``main(argv) -> int``, which lets tyro call a typed function with what was typed.

Exit codes: 0 when all went well, 1 when the answer is "no" (``doctor`` found something missing), 2 after an error that
the user can act on, 130 after Ctrl-C, 141 when the reader of a pipe went away.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from whenwhere.cli.errors import UsageError, exit_code

# command -> the module that runs it, and its line in the help
COMMANDS: dict[str, tuple[str, str]] = {
    "describe": ("whenwhere.cli.describe", "say what happens in a video and when, while it is being read"),
    "caption": ("whenwhere.cli.caption", "say what each image shows, one line per image"),
    "adapt": ("whenwhere.cli.adapt", "train a small model on your own labelled pictures or clips"),
    "predict": ("whenwhere.cli.predict", "say which class pictures or clips show, by a model of whenwhere adapt"),
    "evaluate": ("whenwhere.cli.evaluate", "test a model of whenwhere adapt on labelled pictures or clips"),
    "search-placement": ("whenwhere.cli.search_placement", "find where in a transformer a few adapters help most"),
    "score": ("whenwhere.cli.score", "score a file of predictions against the truth"),
    "world": ("whenwhere.cli.world", "make labelled videos of a world of which everything is known"),
    "models": ("whenwhere.cli.models", "list, fetch, verify or remove the default model weights"),
    "doctor": ("whenwhere.cli.doctor", "tell what is installed, what is missing, and the command to mend it"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and turn every foreseen failure into one line on stderr.

    Args:
        argv: arguments without the program's name; None takes them from ``sys.argv``.

    Returns:
        The exit code; see the module's docstring.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(lambda: _dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(_help(), file=sys.stderr)
        return 2
    command, rest = arguments[0], arguments[1:]
    if command in ("-h", "--help", "help"):
        if rest and command == "help":
            return _dispatch([rest[0], "--help"])
        print(_help())
        return 0
    if command in ("-V", "--version"):
        from whenwhere import __version__

        print(f"whenwhere {__version__}")
        return 0
    if command not in COMMANDS:
        raise UsageError(f"there is no command {command!r}", todo=_suggestion(command))
    return importlib.import_module(COMMANDS[command][0]).main(rest)


def _suggestion(command: str) -> str:
    import difflib

    near = difflib.get_close_matches(command.lower(), COMMANDS, n=1, cutoff=0.5)
    return f"did you mean: whenwhere {near[0]}" if near else "run: whenwhere --help"


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: whenwhere COMMAND [OPTIONS]",
            "",
            "Say what happens in a video or an image, when and where.",
            "",
            "commands:",
            *lines,
            "",
            "Options of a command: whenwhere COMMAND --help. Version: whenwhere --version.",
            "First time here: whenwhere doctor",
        ]
    )
