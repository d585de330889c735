"""The behaviour that all result types share: equality by value and conversion to and from plain JSON data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from whenwhere.errors import InputError

RecordT = TypeVar("RecordT", bound="Record")


class Record:
    """Base of the result types, all of them frozen dataclasses.

    A field that is an array compares by its values; an optional field that is ``None`` is left out of the JSON form.
    """

    __hash__: ClassVar[Any] = None  # arrays have no hash; the types without arrays get one from their dataclass

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data (dict, list, str, int, float, bool) that ``from_dict`` reads back equal."""
        result = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if value is not None or f.default is MISSING:
                result[f.name] = _plain(value)
        return result

    @classmethod
    def from_dict(cls: type[RecordT], data: Mapping[str, Any]) -> RecordT:
        """Build the record from the data that ``to_dict`` gives.

        Raises:
            InputError: ``data`` is not a mapping, a required field is missing, a value is bad, or a field is unknown.
                Unknown fields are refused, not ignored: a misspelt ``scor`` must not be lost in silence.
        """
        return cls(**cls._arguments(data))

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return constructor arguments from plain data; types whose JSON form differs from their fields extend this."""
        name = cls.__name__
        if not isinstance(data, Mapping):
            raise InputError(f"{name} is given as {type(data).__name__}", "an object with named fields")
        known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
        unknown = [key for key in data if key not in known]
        if unknown:
            shown = ", ".join(repr(key) for key in unknown[:5])
            raise InputError(f"{name} has unknown fields {shown}", f"only {', '.join(known)}")
        required = (f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING)
        missing = [field for field in required if field not in data]
        if missing:
            raise InputError(f"{name} lacks {', '.join(missing)}", f"the fields {', '.join(known)}")
        return dict(data)


def dump_json(data: Mapping[str, Any]) -> str:
    """Return an object as strict JSON text (no NaN): a line for each field, and for each item of a list of objects."""
    lines = []
    for name, value in data.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            shown = "[\n  " + ",\n  ".join(_compact(item) for item in value) + "\n ]"
        else:
            shown = _compact(value)
        lines.append(f" {_compact(name)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def parse_json(text: str, what: str) -> Any:
    """Parse strict JSON: NaN, infinity and repeated keys are refused.

    Args:
        text: the JSON document.
        what: how error messages call it, such as ``"timeline"``.

    Raises:
        InputError: the text is not strict JSON.
    """

    def refuse_constant(constant: str) -> Any:
        raise InputError(f"{what} holds {constant}", "strict JSON, in which all numbers are finite")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{what} names {twice!r} twice in one object", "each field once")
        return result

    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=unique)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{what} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{what} is nested too deep", "a JSON document of ordinary depth") from None
    except ValueError as error:  # a number with more digits than Python converts
        raise InputError(f"{what} is not usable JSON: {error}") from None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.array_equal(a, b)
    return bool(a == b)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return floats(value) if value.dtype == np.float32 else value.tolist()
    return value


def floats(values: np.ndarray) -> list[Any]:
    """Return a float32 array as nested lists of the shortest decimals that read back to the same float32."""
    if values.ndim > 1:
        return [floats(row) for row in values]
    return [float(str(value)) for value in values]
