"""Pictures of stories: two emblems that move on a ground tiled with a third, drawn flat."""

from __future__ import annotations

import random

import numpy as np

from whenwhere.errors import InputError
from whenwhere.media import annotate
from whenwhere.worlds.emblems import Canvas
from whenwhere.worlds.show import enlargement
from whenwhere.worlds.stories import Story

NOISE = 0.05
"""Every value of a picture is off by up to this part of the range."""
JITTER = 0.4
"""Every emblem is off by up to this many units in every frame."""
_DIM = 0.4  # strength of the ground


def places(told: Story, count: int) -> np.ndarray:
    """Return where the two persons are in each of the clip's frames: (count, 2, 2), column and row in units."""
    chance = random.Random(f"motions/{told.id}")
    found = told.encounter.at(np.arange(count) / max(1, count - 1))
    if chance.random() < 0.5:
        found[:, :, 0] = Canvas.UNITS - found[:, :, 0]
    noise = [chance.uniform(-JITTER, JITTER) for _ in range(found.size)]
    return found + np.array(noise).reshape(found.shape)


def check_size(size: tuple[int, int]) -> None:
    """Raise an InputError where a side is below 64 pixels, in which emblems cannot be read."""
    if min(size) < Canvas.UNITS:
        raise InputError(f"pictures of {size[0]} x {size[1]}", "each side at least 64 pixels")


def frames(told: Story, count: int = 8, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Draw a clip.

    Args:
        told: the story.
        count: number of frames, spread over all of it.
        size: height and width in pixels; the stage is the square in the middle.

    Returns:
        uint8 (count, H, W, 3), the same for the same arguments.

    Raises:
        InputError: no frames, or a side below 64 pixels, in which emblems cannot be read.
    """
    if count < 1:
        raise InputError(f"{count} frames", "at least one")
    check_size(size)
    chance = random.Random(f"pixels/{told.id}")
    canvas = Canvas(size)
    first, second, place = (entity.emblem for entity in told.cast[:3])
    assert first and second and place
    light = chance.uniform(0.85, 1.0)
    ground = canvas.tiled(place, _DIM, (chance.uniform(0, 16), chance.uniform(0, 16)))
    pixels = np.empty((count, *size, 3), np.uint8)
    most = round(NOISE * 255)
    for number, spots in enumerate(places(told, count).tolist()):
        picture = ground.copy()
        for emblem, (x, y), side in zip((first, second), spots, told.encounter.sides, strict=True):
            canvas.draw(picture, emblem, x, y, side)
        # Python's own bytes and integers: the same on every machine and with every version of numpy
        noise = np.frombuffer(chance.randbytes(picture.size), np.uint8).reshape(picture.shape).astype(np.int64)
        picture = picture * (light * chance.uniform(0.95, 1.05)) + (noise * (2 * most + 1) // 256 - most)
        pixels[number] = np.rint(picture).clip(0, 255).astype(np.uint8)
    return pixels


def drawn(told: Story, pixels: np.ndarray) -> list[np.ndarray]:
    """Return the frames, enlarged, with boxes, names and the caption, uint8 (H, W, 3) each."""
    canvas = Canvas((pixels.shape[1], pixels.shape[2]))
    names = [entity.name for entity in told.cast[:2]]
    left, right = told.caption.split(" over ")
    found = []
    for picture, spots in zip(pixels, places(told, len(pixels)).tolist(), strict=True):
        boxes = [canvas.box(x, y, side) for (x, y), side in zip(spots, told.encounter.sides, strict=True)]
        note = f"{told.date}\n{left}\nover {right}"
        found.append(annotate(picture, boxes, names, note=note, scale=enlargement(len(picture))))
    return found


def strip(pixels: np.ndarray, told: Story) -> np.ndarray:
    """Return four frames of a clip side by side, above its caption."""
    chosen = pixels[np.rint(np.linspace(0, len(pixels) - 1, 4)).astype(int)]
    larger = enlargement(pixels.shape[1], 160)
    chosen = chosen.repeat(larger, 1).repeat(larger, 2)
    chosen[:, :, -2:] = 20  # a line between them
    row = np.concatenate(list(chosen), axis=1)
    ground = np.full((row.shape[0] + 18, row.shape[1], 3), 20, np.uint8)
    ground[: row.shape[0]] = row
    return annotate(ground, note=f"{told.date}  {told.caption}")
