"""Reading and writing small text files: whole or not at all, with errors a user can act on."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from whenwhere.errors import InputError


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text to a temporary name beside ``path`` and rename it, so that a reader never sees half a file.

    Raises:
        InputError: the file cannot be written there.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            with open(temporary, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {target}: {reason}", "a folder that exists and is writable") from error


def let_read(path: str | os.PathLike[str]) -> None:
    """Let others read a file where they may read its folder; safetensors writes files for their owner alone."""
    path = Path(path)
    path.chmod(path.resolve().parent.stat().st_mode & 0o044 | 0o600)


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Read a UTF-8 text file (a byte order mark is dropped), with line ends as they are.

    Args:
        path: the file.
        what: how error messages call it, such as ``"timeline"``.

    Raises:
        InputError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror or error}", "a readable file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the {what} {path} is not UTF-8 (byte {error.start})", "a UTF-8 text file") from None
