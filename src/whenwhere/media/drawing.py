"""Boxes and words drawn onto pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from whenwhere.errors import InputError
from whenwhere.media.images import check_pixels

Colour = tuple[int, int, int]
_SIZES = (11, 16)  # least and most height of letters, pixels
_WHITE, _GROUND = (255, 255, 255), (20, 20, 20)


class _Area(NamedTuple):
    x1: float
    y1: float
    x2: float
    y2: float

    def shared(self, other: _Area) -> float:
        """Pixels that are in both."""
        wide, high = min(self.x2, other.x2) - max(self.x1, other.x1), min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(0.0, wide) * max(0.0, high)


def annotate(
    pixels: np.ndarray,
    boxes: np.ndarray | Sequence[Sequence[float]] = (),
    names: Sequence[str] = (),
    colours: Sequence[Colour] = (),
    *,
    note: str = "",
    scale: int = 1,
) -> np.ndarray:
    """Return a picture with boxes, their names beside them, and a note at the bottom left.

    Names are put where they hide neither each other nor the note, if there is room; long lines of the note are wrapped.

    Args:
        pixels: uint8 (H, W, 3) RGB; it is not changed.
        boxes: (N, 4), x1, y1, x2, y2 in pixels, x2 and y2 exclusive; one with a NaN is left out.
        names: of each box, or none at all.
        colours: of each box; without them all are white.
        note: lines of text.
        scale: how many times the picture is enlarged before anything is drawn, so that words can be read.

    Returns:
        uint8 (scale * H, scale * W, 3) RGB.

    Raises:
        InputError: shapes or counts disagree, or the scale is below 1.
    """
    boxes = np.asarray(boxes, np.float64) if len(boxes) else np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"boxes of shape {boxes.shape}", "(N, 4)")
    for what, given in (("names", names), ("colours", colours)):
        if len(given) not in (0, len(boxes)):
            raise InputError(f"{len(given)} {what} for {len(boxes)} boxes", "one for each box, or none")
    if scale < 1:
        raise InputError(f"scale {scale}", "a whole number of at least 1")
    image = Image.fromarray(check_pixels(pixels).repeat(scale, axis=0).repeat(scale, axis=1))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(min(_SIZES[1], max(_SIZES[0], image.height // 30)))
    assert isinstance(font, ImageFont.FreeTypeFont)  # as a size is asked for
    shown = [number for number, box in enumerate(boxes) if np.isfinite(box).all()]
    areas = {number: _Area(*(round(scale * side) for side in boxes[number].tolist())) for number in shown}
    colour = {number: colours[number] if colours else _WHITE for number in shown}
    for number, (x1, y1, x2, y2) in areas.items():
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour[number])
    taken = _write_note(draw, font, note, image.size) if note else []
    for number in shown if names else []:
        others = [area for other, area in areas.items() if other != number]
        place = _beside(areas[number], _extent(font, names[number]), image.size, taken, others)
        taken.append(place)
        _write(draw, font, place, names[number], colour[number])
    return np.array(image)


def _write_note(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, note: str, size: tuple[int, int]
) -> list[_Area]:
    """Write lines at the bottom left and return where they are."""
    lines = [piece for line in note.splitlines() for piece in _wrapped(font, line, size[0] - 6)]
    found = []
    for back, line in enumerate(reversed(lines), 1):
        wide, high = _extent(font, line)
        found.append(_Area(2, size[1] - back * high - 2, 2 + wide, size[1] - (back - 1) * high - 2))
        _write(draw, font, found[-1], line, _WHITE)
    return found


def _wrapped(font: ImageFont.FreeTypeFont, line: str, width: int) -> list[str]:
    """Break a line between words where it is wider than so many pixels."""
    found = [""]
    for word in line.split(" "):
        longer = f"{found[-1]} {word}" if found[-1] else word
        if found[-1] and font.getlength(longer) > width:
            found.append(word)
        else:
            found[-1] = longer
    return found


def _extent(font: ImageFont.FreeTypeFont, text: str) -> tuple[int, int]:
    """Width and height of a line on its ground."""
    high, low = font.getmetrics()
    return int(font.getlength(text)) + 3, high + low


def _beside(
    box: _Area, extent: tuple[int, int], size: tuple[int, int], taken: Sequence[_Area], others: Sequence[_Area]
) -> _Area:
    """Where to write the name of a box: above it if there is room, else where it hides least."""
    wide, high = extent
    lines = (box.y1 - high, box.y2 + 1, box.y1 + 1, box.y1 - 2 * high, box.y2 + 1 + high)
    columns = (box.x1, box.x2 - wide, box.x2 + 1, box.x1 - wide - 1)
    found = []
    for order, (x, y) in enumerate((x, y) for y in lines for x in columns):
        x, y = max(0, min(x, size[0] - wide)), max(0, min(y, size[1] - high))
        area = _Area(x, y, x + wide, y + high)
        hidden = 8 * sum(area.shared(other) for other in taken) + sum(area.shared(other) for other in (*others, box))
        away = max(0.0, x - box.x2, box.x1 - area.x2) + max(0.0, y - box.y2, box.y1 - area.y2)
        found.append((hidden + away * high, order, area))
    return min(found)[2]


def _write(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, place: _Area, text: str, colour: Colour) -> None:
    """Write on a dark ground, so that it can be read anywhere."""
    draw.rectangle((place.x1, place.y1, place.x2 - 1, place.y2 - 1), fill=_GROUND)
    draw.text((place.x1 + 1, place.y1), text, colour, font)
