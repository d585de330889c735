"""The checks that result types run on construction: each returns the clean value or raises ``InputError``."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np

from whenwhere.errors import InputError

LARGEST_RASTER = 1 << 27
"""Most pixels a mask or label map may have (a 16k x 8k frame): a small hostile file must not ask for all memory."""


def number(name: str, value: Any, *, least: float | None = None) -> float:
    """Return ``value`` as a finite Python float, at least ``least`` when given."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise InputError(f"{name} is {value!r}", "a finite number")
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is {short(value)}", "a finite number") from None
    if not math.isfinite(result):
        raise InputError(f"{name} is {result}", "a finite number")
    if least is not None and result < least:
        raise InputError(f"{name} is {result:g}", f"at least {least:g}")
    return result


def maybe_number(name: str, value: Any, *, least: float | None = None) -> float | None:
    """Like :func:`number`, but ``None`` passes."""
    return None if value is None else number(name, value, least=least)


def integer(name: str, value: Any, *, least: int | None = None) -> int:
    """Return ``value`` as a Python int; a bool or a float is refused."""
    if isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {value!r}", "a whole number")
    try:
        result = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {short(value)}", "a whole number") from None
    if least is not None and result < least:
        raise InputError(f"{name} is {result}", f"at least {least}")
    if abs(result) >= 1 << 63:
        raise InputError(f"{name} has {result.bit_length()} bits", "a whole number of at most 63 bits")
    return result


def string(name: str, value: Any) -> str:
    """Return ``value`` if it is a string that UTF-8 can hold (no lone surrogates)."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {short(value)}", "a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{name} is {short(value)}", "text that UTF-8 can hold, without lone surrogates") from None
    return str(value)


def path_string(name: str, value: Any) -> str:
    """Return a path as text; bytes of a file name that are not UTF-8 become U+FFFD, so that it can be written down."""
    if isinstance(value, PathLike):
        value = fspath(value)
    if not isinstance(value, str):
        raise InputError(f"{name} is {short(value)}", "a path")
    return value.encode("utf-8", "surrogateescape" if _escaped(value) else "replace").decode("utf-8", "replace")


def span(name: str, start: Any, end: Any) -> tuple[float, float]:
    """Return ``(start, end)`` as floats with ``0 <= start <= end`` (seconds)."""
    start, end = number(f"{name}.start", start, least=0.0), number(f"{name}.end", end, least=0.0)
    if start > end:
        raise InputError(f"{name} starts at {start:g} s and ends at {end:g} s", "start <= end")
    return start, end


def array(name: str, value: Any, dtype: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return a read-only copy of ``value`` as ``dtype``, floats finite; ``None`` in ``shape`` stands for any length."""
    kinds = "iu" if np.issubdtype(dtype, np.integer) else "iuf"
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{name} is {short(value)}", "a regular array of numbers") from None
    if given.size == 0 and given.dtype.kind == "f":
        given = given.astype(dtype)  # an empty list has no type of its own
    if given.dtype.kind not in kinds:
        raise InputError(f"{name} has dtype {given.dtype}", f"numbers that fit {np.dtype(dtype).name}")
    if given.ndim != len(shape) or any(want is not None and have != want for have, want in zip(given.shape, shape)):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise InputError(f"{name} has shape {given.shape}", f"({wanted})")
    with np.errstate(over="ignore"):
        result = np.array(given, dtype=dtype)
    if result.dtype.kind == "f" and not np.isfinite(result).all():
        raise InputError(f"{name} holds NaN or infinity", "finite numbers")
    if result.dtype.kind == "i" and result.size and (result != given).any():
        raise InputError(f"{name} holds numbers beyond {result.dtype.name}", f"numbers that fit {result.dtype.name}")
    result.flags.writeable = False
    return result


def boxes(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return boxes as read-only float32 ``x1, y1, x2, y2`` with ``x1 <= x2`` and ``y1 <= y2``."""
    result = array(name, value, np.float32, shape)
    if (result[..., 0] > result[..., 2]).any() or (result[..., 1] > result[..., 3]).any():
        raise InputError(
            f"{name} holds a box whose first corner is right of or below its second",
            "x1, y1, x2, y2 with x1 <= x2 and y1 <= y2",
            "convert x, y, width, height boxes first",
        )
    return result


def raster(name: str, value: Any, dtype: Any) -> np.ndarray:
    """Return a read-only copy of a non-empty ``(H, W)`` picture; for ``bool`` only booleans or 0 and 1 pass."""
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{name} is {short(value)}", "a regular (H, W) array") from None
    if given.ndim != 2 or given.size == 0:
        raise InputError(f"{name} has shape {given.shape}", "(H, W), both at least 1")
    raster_size(name, *given.shape)
    if given.dtype.kind not in ("biu" if dtype is bool else "iu"):
        raise InputError(f"{name} has dtype {given.dtype}", np.dtype(dtype).name)
    result = np.array(given, dtype=dtype)
    if (result != given).any():
        raise InputError(f"{name} holds values that are not {np.dtype(dtype).name}", np.dtype(dtype).name)
    result.flags.writeable = False
    return result


def raster_size(name: str, height: Any, width: Any) -> tuple[int, int]:
    """Return ``(height, width)`` of a mask or label map, both positive, with at most :data:`LARGEST_RASTER` pixels."""
    height, width = integer(f"{name} height", height, least=1), integer(f"{name} width", width, least=1)
    if height * width > LARGEST_RASTER:
        raise InputError(f"{name} is {width} x {height} pixels", f"at most {LARGEST_RASTER} pixels")
    return height, width


def instances(name: str, values: Any, kind: type) -> tuple[Any, ...]:
    """Return ``values`` as a tuple whose items are all of class ``kind``."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(f"{name} is {short(values)}", f"a list of {kind.__name__}")
    result = tuple(values)
    for position, value in enumerate(result):
        if not isinstance(value, kind):
            raise InputError(f"{name}[{position}] is {short(value)}", f"of class {kind.__name__}")
    return result


def plain(name: str, value: Any, depth: int = 0) -> Any:
    """Return a deep copy of ``value`` made of JSON's own types (dict, list, str, int, finite float, bool, None)."""
    if depth > 32:
        raise InputError(f"{name} is nested more than 32 deep", "settings that JSON can hold")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return string(name, value)
    if isinstance(value, PathLike):
        return path_string(name, value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return integer(name, value)
    if isinstance(value, (float, np.floating)):
        return number(name, value)
    if isinstance(value, Mapping):
        return {string(f"{name} key", key): plain(f"{name}.{key}", item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(f"{name}[{position}]", item, depth + 1) for position, item in enumerate(value)]
    raise InputError(
        f"{name} is {short(value)}", "something JSON can hold: a string, a finite number, a list or a dict"
    )


def _escaped(value: str) -> bool:
    """Say whether all surrogates in ``value`` are those by which Python stands for undecodable bytes of a file name."""
    return all(0xDC80 <= ord(c) <= 0xDCFF for c in value if 0xD800 <= ord(c) <= 0xDFFF)


def short(value: Any) -> str:
    """Return ``repr(value)`` cut to a length fit for an error message."""
    try:
        shown = repr(value)
    except ValueError:  # an int with more digits than Python prints
        shown = f"a huge {type(value).__name__}"
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
