"""JSON whose every value knows its file and its place in it, so that an error can name them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import checks
from whenwhere.results.files import read_text

_NOT_A_NUMBER = re.compile(r"(?<=[\s:,\[])-?(?:NaN|Infinity)(?=[\s,\]}])")


@dataclass(frozen=True)
class Field:
    """A value in a JSON file.

    Args:
        value: as `json.loads` gives it.
        place: file and path to the value, such as ``a.json: objects[3].sized``.
    """

    value: Any
    place: str

    def refuse(self, expected: str) -> InputError:
        """Return the error that the value is not what was expected."""
        return InputError(f"{self.place.removesuffix(': ')} is {checks.short(self.value)}", expected)

    def has(self, name: str) -> bool:
        """Whether the value is an object with that key."""
        return isinstance(self.value, dict) and name in self.value

    def __getitem__(self, name: str) -> Field:
        if not isinstance(self.value, dict):
            raise self.refuse(f"an object with {name!r}")
        if name not in self.value:
            raise InputError(f"{self.place} has no {name!r}", f"an object with {name!r}")
        return Field(self.value[name], self._below(name))

    def entries(self) -> dict[str, Field]:
        """Return the values of an object by key."""
        if not isinstance(self.value, dict):
            raise self.refuse("an object")
        return {name: Field(value, self._below(name)) for name, value in self.value.items()}

    def items(self, count: int | None = None) -> list[Field]:
        """Return the values of a list, of the given length if there is one."""
        if not isinstance(self.value, list) or count not in (None, len(self.value)):
            raise self.refuse("a list" if count is None else f"a list of {count}")
        return [Field(value, f"{self.place}[{number}]") for number, value in enumerate(self.value)]

    def text(self, known: Sequence[str] = ()) -> str:
        """Return a string, one of the known ones if there are any."""
        if not isinstance(self.value, str) or (known and self.value not in known):
            raise self.refuse(f"one of {', '.join(known)}" if known else "a string")
        return self.value

    def number(self) -> float:
        """Return a finite number."""
        return checks.number(self.place, self.value)

    def whole(self, least: int, most: int | None = None) -> int:
        """Return a whole number in [least, most]."""
        found = checks.integer(self.place, self.value, least=least)
        if most is not None and found > most:
            raise self.refuse(f"at most {most}")
        return found

    def numbers(self, count: int) -> tuple[float, ...]:
        """Return a list of that many finite numbers."""
        return tuple(item.number() for item in self.items(count))

    def _below(self, name: str) -> str:
        return f"{self.place}{'' if self.place.endswith(': ') else '.'}{name}"


def read_json(path: str | os.PathLike[str], what: str) -> Field:
    """Read a JSON file.

    Args:
        path: the file.
        what: how errors call it.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or not JSON (with the line), or holds NaN or infinities.
    """
    text = read_text(path, what)

    def refuse(name: str) -> None:
        at = _NOT_A_NUMBER.search(text)
        place = f", line {text.count(chr(10), 0, at.start()) + 1}" if at else ""
        raise InputError(f"{path}{place}: {name}", "finite numbers")

    try:
        return Field(json.loads(text, parse_constant=refuse), f"{path}: ")
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON ({error.msg})", f"a JSON {what}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply", f"a JSON {what}") from None


def path_of(locations: Field) -> np.ndarray:
    """Return ``{"0": [x, y, z], "1": ...}`` as (frames, 3) float64; no frame may be missing.

    Raises:
        InputError: naming the frame.
    """
    entries = locations.entries()
    if not entries:
        raise locations.refuse("a place for every frame")
    missing = next((frame for frame in range(len(entries)) if str(frame) not in entries), None)
    if missing is not None:
        raise InputError(f"{locations.place} has no frame {missing}", f"frames 0 to {len(entries) - 1}, each once")
    return np.array([entries[str(frame)].numbers(3) for frame in range(len(entries))], np.float64)
