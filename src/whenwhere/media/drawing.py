"""Boxes and words drawn onto pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from whenwhere.errors import InputError
from whenwhere.media.images import check_pixels

Colour = tuple[int, int, int]


def annotate(
    pixels: np.ndarray,
    boxes: np.ndarray | Sequence[Sequence[float]] = (),
    names: Sequence[str] = (),
    colours: Sequence[Colour] = (),
    *,
    note: str = "",
) -> np.ndarray:
    """Return a picture with boxes, their names above them, and a note at the bottom left.

    Args:
        pixels: uint8 (H, W, 3) RGB; it is not changed.
        boxes: (N, 4), x1, y1, x2, y2 in pixels, x2 and y2 exclusive; one with a NaN is left out.
        names: of each box, or none at all.
        colours: of each box; without them all are white.
        note: lines of text.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        InputError: shapes or counts disagree.
    """
    boxes = np.asarray(boxes, np.float64) if len(boxes) else np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"boxes of shape {boxes.shape}", "(N, 4)")
    for what, given in (("names", names), ("colours", colours)):
        if len(given) not in (0, len(boxes)):
            raise InputError(f"{len(given)} {what} for {len(boxes)} boxes", "one for each box, or none")
    image = Image.fromarray(check_pixels(pixels).copy())
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default()
    for number, box in enumerate(boxes):
        if not np.isfinite(box).all():
            continue
        x1, y1, x2, y2 = (round(side) for side in box.tolist())
        colour = colours[number] if colours else (255, 255, 255)
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour)
        if names:
            _write(draw, font, (x1 + 1, y1 - 12 if y1 >= 12 else y1 + 1), names[number], colour)
    if note:
        lines = note.splitlines()
        for number, line in enumerate(lines):
            _write(draw, font, (3, image.height - 12 * (len(lines) - number) - 2), line, (255, 255, 255))
    return np.array(image)


def _write(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    place: tuple[int, int],
    text: str,
    colour: Colour,
) -> None:
    """Write on a dark ground, so that it can be read anywhere."""
    draw.rectangle(draw.textbbox(place, text, font), fill=(20, 20, 20))
    draw.text(place, text, colour, font)
