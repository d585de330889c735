"""Still pictures of the world, and what is in them: shared by the tasks whose labels are of one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whenwhere.media import annotate, write_image
from whenwhere.results import MediaRef, Region
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered, render
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import SceneOptions, make
from whenwhere.worlds.show import enlargement

LEAST_PART = 0.3
"""Part of an object that must show for it to be spoken of."""
LEAST_PIXELS = 24
FIRST = 4
"""Number of pictures that have one for people in any case."""
_HIGH = 720  # pixels, of pictures for people
_COLOURS = ((255, 255, 255), (255, 200, 90), (130, 230, 255), (170, 255, 150), (255, 160, 200), (200, 180, 255))


def still(seed: str | int, index: int) -> Scene:
    """Return scene number ``index`` of a split, in which nothing moves."""
    return make(seed, index, SceneOptions(objects=(4, 8), seconds=0.0))


def look(scene: Scene, size: tuple[int, int]) -> Rendered:
    """Return the one picture of a scene; height and width in pixels."""
    return render(scene, [0.0], size, smooth=2)


def media(job: Job, index: int) -> MediaRef:
    """Return what is known of a picture's file."""
    height, width = job.size
    return MediaRef(f"{job.name(index)}.jpg", None, width, height)


def spoken(seen: Rendered) -> list[int]:
    """Return the objects that show well enough to be spoken of."""
    clear = (seen.pixels[0] >= LEAST_PIXELS) & (seen.visible_fraction[0] >= LEAST_PART)
    return [int(number) for number in np.flatnonzero(clear)]


def mask(seen: Rendered, number: int) -> np.ndarray:
    """Return the pixels in which an object shows, (H, W) bool."""
    return seen.masks[0] == number


def region(seen: Rendered, number: int, text: str) -> Region:
    """Return the box and the mask of what shows of an object, with words."""
    return Region(seen.boxes[0, number], text, mask=mask(seen, number))


def save(job: Job, index: int, seen: Rendered, regions: Sequence[Region], name: str = "") -> None:
    """Write a picture under its number or a name, and one for people with the regions drawn in: of the first or all."""
    name = name or job.name(index)
    write_image(job.out / f"{name}.jpg", seen.rgb[0])
    if job.shown(index, FIRST):
        shown = drawn(seen.rgb[0], [item.box for item in regions], [item.text for item in regions])
        write_image(job.out / f"{name}.show.png", shown)


def drawn(
    pixels: np.ndarray,
    boxes: Sequence[np.ndarray],
    texts: Sequence[str],
    note: str = "",
    colours: Sequence[tuple[int, int, int]] = _COLOURS,
) -> np.ndarray:
    """Return a picture enlarged, with boxes and words, for people; all words of equal boxes are written at one.

    Args:
        pixels: (H, W, 3) uint8.
        boxes: x1, y1, x2, y2 in pixels each.
        texts: of each box.
        note: lines of text below.
        colours: of the boxes, in turn.
    """
    words: dict[tuple[float, ...], list[str]] = {}
    for box, text in zip(boxes, texts, strict=True):
        words.setdefault(tuple(box.tolist()), []).append(text)
    names = [" / ".join(found) for found in words.values()]
    turns = [colours[number % len(colours)] for number in range(len(words))]
    places = np.array(list(words)).reshape(-1, 4)
    return annotate(pixels, places, names, turns, note=note, scale=enlargement(len(pixels), _HIGH))
