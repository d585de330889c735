"""A table of numbers as a picture: cells coloured by value, with axes, a scale and a title."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from whenwhere.errors import InputError

# From low to high: dark blue, violet, red, orange, pale yellow. Lighter means more, for colour-blind eyes too.
_STOPS = np.array([(13, 8, 60), (84, 25, 117), (187, 55, 84), (243, 130, 40), (252, 245, 170)], float)
_GREY = (214, 214, 214)  # a cell without a value
_INK, _PAPER, _MARK = (30, 30, 30), (255, 255, 255), (0, 210, 235)
_SCALE = 14  # pixels of width of the colour scale


def heat_map(
    values: np.ndarray,
    *,
    title: str = "",
    rows: str = "row",
    columns: str = "column",
    marks: Iterable[tuple[int, int]] = (),
    low: float | None = None,
    high: float | None = None,
) -> np.ndarray:
    """Draw a table of numbers.

    Args:
        values: (R, C); NaN is drawn grey.
        title: one line above.
        rows, columns: what the two axes are.
        marks: (row, column) of cells to frame.
        low, high: ends of the colour scale; default the least and the largest value.

    Returns:
        uint8 (H, W, 3) RGB; row 0 is at the top.

    Raises:
        InputError: no table, no finite number in it, infinities, or a mark outside of it.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or not np.isfinite(table).any() or np.isinf(table).any():
        raise InputError(f"a table of shape {table.shape}", "(R, C) with a finite number, and NaN where there is none")
    height, width = table.shape
    low = float(np.nanmin(table)) if low is None else low
    high = float(np.nanmax(table)) if high is None else high
    cell = max(4, min(24, 640 // max(height, width)))
    font, small = ImageFont.load_default(14), ImageFont.load_default(11)
    left, top = 64, 36 if title else 12
    across, down = width * cell, height * cell
    wide = max(left + across + 110, left + math.ceil(font.getlength(title)) + 12)
    image = Image.new("RGB", (wide, top + down + 52), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((left, 8), title, _INK, font)
    for row in range(height):
        for column in range(width):
            x, y = left + column * cell, top + row * cell
            fill = _colour(table[row, column], low, high)
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=fill)
    for row, column in marks:
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(f"mark {(row, column)}", f"a cell of {height} x {width}")
        x, y = left + column * cell, top + row * cell
        draw.rectangle((x, y, x + cell - 1, y + cell - 1), outline=_MARK, width=max(2, cell // 8))
    for row in _ticks(height, cell):
        draw.text((left - 6, top + (row + 0.5) * cell), str(row), _INK, small, anchor="rm")
    for column in _ticks(width, cell):
        draw.text((left + (column + 0.5) * cell, top + down + 4), str(column), _INK, small, anchor="mt")
    draw.text((left + across / 2, top + down + 24), columns, _INK, font, anchor="mt")
    _upwards(image, rows, font, top + down / 2)
    _scale(draw, small, (left + across + 16, top, down), low, high)
    return np.array(image)


def _colour(value: float, low: float, high: float) -> tuple[int, int, int]:
    if math.isnan(value):
        return _GREY
    part = 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    place = part * (len(_STOPS) - 1)
    begin = min(int(place), len(_STOPS) - 2)
    red, green, blue = _STOPS[begin] + (place - begin) * (_STOPS[begin + 1] - _STOPS[begin])
    return round(red), round(green), round(blue)


def _ticks(count: int, cell: int) -> range:
    """Every cell that has room for its number, in steps that people count in."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if step * cell >= 18)
    return range(0, count, step)


def _upwards(image: Image.Image, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, middle: float) -> None:
    """Write a line that reads upwards, at the left."""
    line = Image.new("RGB", (max(1, math.ceil(font.getlength(text))), 20), _PAPER)
    ImageDraw.Draw(line).text((0, 2), text, _INK, font)
    turned = line.rotate(90, expand=True)
    image.paste(turned, (10, max(0, round(middle - turned.height / 2))))


def _scale(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    place: tuple[int, int, int],
    low: float,
    high: float,
) -> None:
    """The colours from the largest value at the top to the least."""
    x, top, down = place
    for step in range(down):
        part = 1 - step / max(1, down - 1)
        draw.line((x, top + step, x + _SCALE, top + step), fill=_colour(low + part * (high - low), low, high))
    for part in (0.0, 0.5, 1.0) if high > low else (0.5,):
        y = top + (1 - part) * (down - 1)
        draw.text((x + _SCALE + 5, y), f"{low + part * (high - low):.4g}", _INK, font, anchor="lm")
