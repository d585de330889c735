"""JSON Lines whose every value knows its file and line, and spans of time as annotators leave them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from whenwhere.datasets.fields import Field
from whenwhere.errors import InputError
from whenwhere.results.files import read_text, write_text


def read_lines(path: str | os.PathLike[str], what: str) -> list[Field]:
    """Read a file with one JSON value on each line that is not empty.

    Args:
        path: the file.
        what: how errors call it.

    Raises:
        InputError: the file cannot be read, or a line is not strict JSON (named by its number).
    """
    found = []
    for number, line in enumerate(read_text(path, what).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"

        def refuse(constant: str, place: str = place) -> None:
            raise InputError(f"{place}: {constant}", "finite numbers")

        try:
            found.append(Field(json.loads(line, parse_constant=refuse), f"{place}: "))
        except InputError:
            raise
        except RecursionError:
            raise InputError(f"{place} is nested too deeply", f"a {what} with one JSON object a line") from None
        except ValueError as error:
            raise InputError(f"{place}: not JSON ({error})", f"a {what} with one JSON object a line") from None
    return found


def write_lines(path: str | os.PathLike[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write each row as a line of JSON, the whole file or nothing."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def span_of(field: Field, longest: float | None = None) -> tuple[float, float]:
    """Return ``[start, end]`` in seconds, tidied: ends in the wrong order are swapped, and both lie in 0..longest.

    Public annotations hold both faults: a few ends come before their starts or lie behind the end of the video.

    Raises:
        InputError: there are not two finite numbers.
    """
    low, high = sorted(field.numbers(2))
    low, high = max(0.0, low), max(0.0, high)
    return (low, high) if longest is None else (min(low, longest), min(high, longest))
