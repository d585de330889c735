"""Files of predictions and truths: JSON and JSON lines, plain or .gz, read so that every record knows its place."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whenwhere.errors import InputError
from whenwhere.metrics.records import Record

_LIMIT = 2**31  # bytes: a small .gz can unpack to anything
_NOT_A_NUMBER = re.compile(r"(?<=[\s:,\[])-?(?:NaN|Infinity)(?=[\s,\]}])")


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        InputError: if the file cannot be read or is not JSON, with the line; NaN, infinities and keys that come twice
            are refused.
    """
    return _parse(_text(path), path)


def read_records(path: Path, *keys: str) -> list[Record]:
    """A list of records: JSON lines, a JSON list, or a JSON object that holds the list.

    Args:
        path: the file; ``.jsonl`` and ``.jsonl.gz`` are read line by line, and so is what is several JSON documents.
        keys: names under which an object may hold the list.

    Returns:
        Records that know file and line (JSON lines) or file and number.

    Raises:
        InputError: naming the file and line.
    """
    text = _text(path)
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise _broken(error, path, 0) from None
        except RecursionError:
            raise InputError(f"{path}: nested too deeply", "a list of records") from None
        else:
            if not (isinstance(found, dict) and len(text.splitlines()) == 1 and not found.keys() & set(keys)):
                return _listed(_parse(text, path), path, keys)
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_record(_parse(line, path, number), f"{path}, line {number}") for number, line in numbered]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Put the file's name before an error about what is in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error.given}", error.expected, error.todo) from None


def _text(path: Path) -> str:
    try:
        with gzip.open(path) if path.name.endswith(".gz") else open(path, "rb") as file:
            content = file.read(_LIMIT + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged ({error})", "a whole .gz file") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", "a readable file") from None
    if len(content) > _LIMIT:
        raise InputError(f"{path}: more than {_LIMIT / 2**30:g} GB of text", "less", "split it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8", "UTF-8 text, plain or .gz") from None


def _parse(text: str, path: Path, line: int = 0) -> Any:
    def refuse(name: str) -> None:
        at = _NOT_A_NUMBER.search(text)
        place = line or (text.count("\n", 0, at.start()) + 1 if at else 0)
        raise InputError(f"{path}{f', line {place}' if place else ''}: {name}", "finite numbers")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"{path}{f', line {line}' if line else ''}: {twice!r} twice in one object", "every name once"
            )
        return found

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise _broken(error, path, line) from None
    except RecursionError:
        raise InputError(f"{path}{f', line {line}' if line else ''}: nested too deeply", "records") from None


def _broken(error: json.JSONDecodeError, path: Path, line: int) -> InputError:
    return InputError(f"{path}, line {line or error.lineno}: not JSON ({error.msg}, column {error.colno})", "JSON")


def _listed(found: Any, path: Path, keys: tuple[str, ...]) -> list[Record]:
    if isinstance(found, dict):
        name = next((key for key in keys if key in found), None)
        if name is None:
            raise InputError(
                f"{path}: an object with {', '.join(map(repr, list(found)[:5])) or 'nothing'}",
                " or ".join(["a list of records", *(f"an object with {key!r}" for key in keys)]),
            )
        found = found[name]
    if not isinstance(found, list):
        raise InputError(f"{path}: {str(found)[:40]!r}", "a list of records")
    return [_record(record, f"{path}, record {number}") for number, record in enumerate(found)]


def _record(found: Any, place: str) -> Record:
    if not isinstance(found, dict):
        raise InputError(f"{place}: {str(found)[:40]!r}", "an object")
    record = Record(found)
    record.place = place
    return record
