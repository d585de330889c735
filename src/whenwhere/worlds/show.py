"""Scenes as files: videos, and for people videos with boxes, names and sentences drawn in, and a sheet of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whenwhere.media import annotate, write_image, write_video
from whenwhere.worlds import grammar
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered, render
from whenwhere.worlds.scene import Scene

_SHEET = (4, 3)  # rows and columns of a sheet of pictures
_GAP = 4  # pixels between them
_DARK = 20


def clip(job: Job, index: int, scene: Scene, notes: Sequence[tuple[float, float, str]] = ()) -> Rendered:
    """Render a scene and write its video, a sheet for people of the first clip, and with ``show`` of all.

    Args:
        job: where to write, and how many frames of what size.
        index: of the clip.
        scene: what is in it.
        notes: start, end and words to show in the pictures for people; none shows the scene's events.

    Returns:
        What is in every frame.

    Raises:
        InputError: the frames of the clip would not fit in memory.
    """
    job.check_clip()
    times = np.arange(job.frames) / job.rate
    seen = render(scene, times, job.size, smooth=2)
    write_video(job.out / f"{job.name(index)}.mp4", seen.rgb, job.rate, reproducible=True)
    if job.shown(index):
        show(job, job.out / job.name(index), scene, seen, notes)
    return seen


def show(job: Job, path: Path, scene: Scene, seen: Rendered, notes: Sequence[tuple[float, float, str]] = ()) -> None:
    """Write a sheet for people, ``path`` with ``.show.png``, and with the job's ``show`` a video, ``.show.mp4``.

    Args:
        job: how many frames per second, and whether a video is wanted.
        path: of the clip, without a suffix.
        scene: what is in it.
        seen: its frames.
        notes: as of `drawn`.
    """
    pictures = drawn(scene, seen, notes)
    if job.show:
        write_video(path.with_name(f"{path.name}.show.mp4"), pictures, job.rate, reproducible=True)
    write_image(path.with_name(f"{path.name}.show.png"), sheet(pictures))


def drawn(scene: Scene, seen: Rendered, notes: Sequence[tuple[float, float, str]] = ()) -> list[np.ndarray]:
    """Return the frames, enlarged, with boxes, names, the time and what happens, uint8 (H, W, 3) each.

    Args:
        scene: what is in them.
        seen: the frames.
        notes: start, end and words; none takes the scene's events.
    """
    names = [grammar.refer(scene, number, 0.0).removeprefix("the ") for number in range(len(scene.objects))]
    colours = [brightened(thing.rgb) for thing in scene.objects]
    notes = notes or [(event.start, event.end, event.text) for event in grammar.events(scene)]
    found = []
    for number, time in enumerate(seen.times.tolist()):
        lines = [f"{time:.1f} s", *(text for start, end, text in notes if start <= time <= end)]
        note = "\n".join(lines)
        boxes = seen.boxes[number]
        found.append(
            annotate(seen.rgb[number], boxes, names, colours, note=note, scale=enlargement(len(seen.rgb[number])))
        )
    return found


def sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return up to twelve of the pictures, evenly spaced, side by side: uint8 (H, W, 3)."""
    rows, columns = _SHEET
    count = min(len(pictures), rows * columns)
    return grid([pictures[round(at)] for at in np.linspace(0, len(pictures) - 1, count)], columns)


def grid(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return pictures of one size side by side, row after row, with dark lines between them: uint8 (H, W, 3)."""
    height, width, _ = pictures[0].shape
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    found = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), _DARK, np.uint8)
    for number, picture in enumerate(pictures):
        y, x = number // columns * (height + _GAP), number % columns * (width + _GAP)
        found[y : y + height, x : x + width] = picture
    return found


def labelled(pictures: Sequence[np.ndarray], words: Sequence[str], columns: int = 6) -> np.ndarray:
    """Return small pictures, enlarged, each above its word, side by side: uint8 (H, W, 3)."""
    scale = enlargement(len(pictures[0]), 192)
    strip = math.ceil(24 / scale)
    found = []
    for picture, word in zip(pictures, words, strict=True):
        ground = np.full((len(picture) + strip, *picture.shape[1:]), _DARK, np.uint8)
        ground[: len(picture)] = picture
        found.append(annotate(ground, note=word, scale=scale))
    return grid(found, columns)


def enlargement(height: int, least: int = 480) -> int:
    """Return how many times a picture is enlarged for people to be at least so many pixels high."""
    return max(1, math.ceil(least / height))


def brightened(rgb: Sequence[int] | np.ndarray) -> tuple[int, int, int]:
    """Return a colour, brightened so that it can be read on a dark ground."""
    red, green, blue = (min(255, 90 + int(value)) for value in rgb)
    return red, green, blue
