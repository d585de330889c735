"""Run-length coding of masks as the COCO data set does it: column order, first run is background.

The compressed ``counts`` string is the one of pycocotools: each number is the difference to the count two before it,
cut in groups of five bits from the low end, bit 5 saying that more follow, plus 48 to make it printable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import checks


def runs(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(values (r,), lengths (r,) int64)`` of the runs of equal values in a 1-D array of at least one item."""
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges])
    return flat[starts], np.diff(np.concatenate([starts, [flat.size]]))


def encode(mask: np.ndarray) -> list[int]:
    """Return the uncompressed COCO counts of a (H, W) bool mask: runs in column order, background first."""
    values, lengths = runs(np.asarray(mask, bool).reshape(-1, order="F"))
    counts = lengths.tolist()
    return [0, *counts] if values[0] else counts


def decode(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the (H, W) bool mask of uncompressed COCO counts.

    Raises:
        InputError: the counts are negative, not whole numbers, or do not add up to ``height * width``.
    """
    height, width = checks.raster_size("mask", height, width)
    lengths = checks.array("RLE counts", counts, np.int64, (None,))
    # Each count is bounded before the sum, so that the sum cannot overflow
    if (lengths < 0).any() or (lengths > height * width).any() or lengths.sum() != height * width:
        raise InputError("RLE counts do not add up", f"{height} x {width} = {height * width} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T.copy()


def compress(counts: Sequence[int]) -> str:
    """Return the compressed COCO string of uncompressed counts."""
    out = []
    for position, count in enumerate(counts):
        rest = int(count) - int(counts[position - 2]) if position > 2 else int(count)
        more = True
        while more:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            out.append(chr(48 + bits + 32 * more))
    return "".join(out)


def decompress(text: str) -> list[int]:
    """Return the uncompressed counts of a compressed COCO string.

    Raises:
        InputError: the string holds a character outside the code, or ends in the middle of a number.
    """
    counts: list[int] = []
    value = shift = 0
    more = False
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise InputError(f"RLE counts hold the character {letter!r}", "characters from '0' to 'o'")
        value |= (bits & 31) << shift
        shift += 5
        more = bits >= 32
        if shift > 60:
            raise InputError("RLE counts hold a number of more than 60 bits", "counts of a mask")
        if more:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if more:
        raise InputError("RLE counts end in the middle of a number", "a whole compressed string")
    return counts


def to_coco(mask: np.ndarray) -> dict[str, Any]:
    """Return the COCO object ``{"size": [H, W], "counts": "..."}`` (compressed) of a (H, W) bool mask."""
    return {"size": list(mask.shape), "counts": compress(encode(mask))}


def from_coco(coded: Any) -> np.ndarray:
    """Return the (H, W) bool mask of a COCO RLE object, its counts compressed (a string) or not (a list).

    Raises:
        InputError: the object is malformed or its counts do not add up to its size.
    """
    if not isinstance(coded, Mapping) or "size" not in coded or "counts" not in coded:
        raise InputError("RLE mask is malformed", 'an object {"size": [H, W], "counts": string or list}')
    height, width = size_of(coded["size"], "mask")
    counts = coded["counts"]
    return decode(decompress(counts) if isinstance(counts, str) else counts, height, width)


def size_of(size: Any, name: str) -> tuple[int, int]:
    """Return ``(height, width)`` from a JSON ``[H, W]``, checked as ``checks.raster_size`` does."""
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise InputError(f"size of {name} is {checks.short(size)}", "[height, width]")
    return checks.raster_size(name, size[0], size[1])
