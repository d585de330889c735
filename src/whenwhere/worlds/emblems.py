"""Emblems: 8 x 8 patterns in two colours, the same left and right, no two alike; drawn flat, without a camera.

Stories of names are told in two dimensions: what counts is whether an emblem can be read, and a painted solid seen by a
camera would show a slant of it, shaded, partly hidden, or none at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from whenwhere.media import annotate

SIDE = 8
"""Cells a side."""
DISTANCE = 8
"""In this many of the 32 cells of the left half any two emblems differ, also when one has its colours exchanged."""
COLOURS = (
    (236, 60, 48),
    (255, 160, 24),
    (250, 226, 60),
    (110, 214, 66),
    (40, 206, 190),
    (84, 170, 255),
    (180, 120, 255),
    (255, 130, 190),
    (245, 245, 240),
    (20, 36, 110),
    (16, 84, 56),
    (110, 16, 40),
    (78, 24, 112),
    (92, 56, 16),
    (24, 26, 30),
)
"""Of which an emblem has two, far apart in brightness."""
_CONTRAST = 105.0
_FRAME = (250, 250, 250)


@dataclass(frozen=True)
class Emblem:
    """A pattern that stands for someone or somewhere.

    Args:
        half: rows of the left half as numbers of four bits, the highest leftmost; 1 is the first colour.
        colours: two of `COLOURS`.
    """

    half: tuple[int, ...]
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]

    @property
    def cells(self) -> np.ndarray:
        """(8, 8) bool, True where the first colour is."""
        left = np.array([[row >> bit & 1 for bit in (3, 2, 1, 0)] for row in self.half], bool)
        return np.concatenate([left, left[:, ::-1]], axis=1)

    @property
    def rgb(self) -> np.ndarray:
        """(8, 8, 3) uint8."""
        first, second = np.array(self.colours, np.uint8)
        return np.where(self.cells[..., None], first, second)


def emblems(chance: random.Random, count: int) -> list[Emblem]:
    """Draw emblems that can be told apart.

    Args:
        chance: the source of chance.
        count: how many, up to some hundred.

    Returns:
        Emblems each of which differs from every other, and from its negative, in `DISTANCE` cells of the left half.
    """
    pairs = [(a, b) for a in COLOURS for b in COLOURS if abs(_luma(a) - _luma(b)) > _CONTRAST]
    codes: list[int] = []
    while len(codes) < count:
        code = chance.getrandbits(32)
        calm = 12 <= code.bit_count() <= 20 and _borders(code) <= 24
        if calm and all(DISTANCE <= (code ^ other).bit_count() <= 32 - DISTANCE for other in codes):
            codes.append(code)
    return [Emblem(tuple(code >> 4 * row & 15 for row in range(SIDE)), chance.choice(pairs)) for code in codes]


def _luma(rgb: tuple[int, int, int]) -> float:
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def _borders(code: int) -> int:
    """Neighbouring cells of the left half that differ: few of them make a shape, many make a mess."""
    rows = [code >> 4 * row & 15 for row in range(SIDE)]
    across = sum(((row ^ row >> 1) & 7).bit_count() for row in rows)
    return across + sum((above ^ below).bit_count() for above, below in zip(rows, rows[1:]))


class Canvas:
    """A picture on which emblems are drawn; its square middle is the stage, 64 units wide.

    Args:
        size: height and width in pixels.
    """

    UNITS = 64.0

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        scale = min(size) / self.UNITS
        self.x = (np.arange(width) + 0.5 - width / 2) / scale + self.UNITS / 2
        self.y = (np.arange(height) + 0.5 - height / 2) / scale + self.UNITS / 2
        self._scale, self._size = scale, size

    def tiled(self, emblem: Emblem, strength: float, shift: tuple[float, float], side: float = 16.0) -> np.ndarray:
        """Return float64 (H, W, 3), 0 to 255: the emblem dimly over and over.

        Args:
            emblem: what to draw.
            strength: of its colours, 0 to 1; the rest is grey.
            shift: where a tile begins, in units.
            side: of a tile in units.
        """
        rows = np.floor((self.y - shift[1]) * (SIDE / side)).astype(int) % SIDE
        columns = np.floor((self.x - shift[0]) * (SIDE / side)).astype(int) % SIDE
        return emblem.rgb[rows[:, None], columns].astype(np.float64) * strength + 44.0 * (1 - strength)

    def draw(self, pixels: np.ndarray, emblem: Emblem, x: float, y: float, side: float) -> None:
        """Draw an emblem with a white line of one unit around it onto float64 (H, W, 3).

        Args:
            pixels: are changed.
            emblem: what to draw.
            x: column of its middle, in units.
            y: row of its middle, in units.
            side: in units, without the line.
        """
        rows, down = self._span(self.y, y, side)
        columns, across = self._span(self.x, x, side)
        inside = ((down >= 0) & (down < SIDE))[:, None] & ((across >= 0) & (across < SIDE))
        colours = emblem.rgb[down.clip(0, SIDE - 1)[:, None], across.clip(0, SIDE - 1)]
        pixels[rows, columns] = np.where(inside[..., None], colours, np.array(_FRAME))

    def box(self, x: float, y: float, side: float) -> tuple[float, float, float, float]:
        """Return x1, y1, x2, y2 in pixels of an emblem with its line."""
        half = side / 2 + 1
        height, width = self._size
        middle_x, middle_y = ((at - self.UNITS / 2) * self._scale for at in (x, y))
        reach = half * self._scale
        left, top = middle_x + width / 2 - reach, middle_y + height / 2 - reach
        return left, top, left + 2 * reach, top + 2 * reach

    @staticmethod
    def _span(at: np.ndarray, middle: float, side: float) -> tuple[slice, np.ndarray]:
        """Return the pixels of one direction in emblem and line, and the cell of each, outside of 0..7 the line."""
        low, high = np.searchsorted(at, (middle - side / 2 - 1, middle + side / 2 + 1))
        return slice(low, high), np.floor((at[low:high] - middle + side / 2) * (SIDE / side)).astype(int)


def chart(found: list[Emblem], names: list[str], columns: int = 10) -> np.ndarray:
    """Return all emblems with their names below, uint8 (H, W, 3)."""
    pictures = []
    for emblem, name in zip(found, names, strict=True):
        picture = np.full((92, 124, 3), 44, np.uint8)
        picture[8:72, 30:94] = emblem.rgb.repeat(8, 0).repeat(8, 1)
        pictures.append(annotate(picture, note=name))
    pictures += [np.full_like(pictures[0], 44)] * (-len(pictures) % columns)
    lines = [np.concatenate(pictures[at : at + columns], axis=1) for at in range(0, len(pictures), columns)]
    return np.concatenate(lines)
