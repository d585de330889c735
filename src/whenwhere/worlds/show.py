"""Scenes as files: videos, and for people videos with boxes, names and sentences drawn in, and a sheet of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.errors import InputError
from whenwhere.media import annotate, write_image, write_video
from whenwhere.results import MediaRef
from whenwhere.worlds import grammar
from whenwhere.worlds.render import Rendered, render
from whenwhere.worlds.scene import Scene

_SHEET = (4, 3)  # rows and columns of a sheet of pictures
_GAP = 4  # pixels between them
_DARK = 20
_MOST_RATE = 120.0
_MOST_SIDE = 2048
_MOST_PIXELS = 500_000_000  # of a clip, all frames together: 9 bytes of colour, object and depth each are kept


@dataclass(frozen=True)
class Job:
    """What to write, and where.

    Args:
        out: an existing folder.
        seed: name of the split; clip number i is made from it and i.
        count: number of clips.
        size: height and width in pixels, both even.
        rate: frames per second.
        seconds: length of a clip.
        show: whether to write pictures for people of every clip; without it, of the first alone.

    Raises:
        InputError: a number is out of range.
    """

    out: Path
    seed: str = "train"
    count: int = 4
    size: tuple[int, int] = (240, 320)
    rate: float = 12.0
    seconds: float = 10.0
    show: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"{self.count} clips", "at least one")
        if not 16 <= min(self.size) <= max(self.size) <= _MOST_SIDE or any(side % 2 for side in self.size):
            raise InputError(
                f"a size of {self.size[0]} x {self.size[1]}", f"even numbers of pixels, 16 to {_MOST_SIDE}"
            )
        if not (math.isfinite(self.rate) and 0 < self.rate <= _MOST_RATE):
            raise InputError(f"{self.rate} frames per second", f"above 0, at most {_MOST_RATE:g}")
        if not (math.isfinite(self.seconds) and 2 <= self.seconds <= 600):
            raise InputError(f"clips of {self.seconds} seconds", "2 to 600")

    def name(self, index: int) -> str:
        """Return the name of a clip, without a suffix."""
        return f"{index:05d}"

    def shown(self, index: int, first: int = 1) -> bool:
        """Whether a picture for people is wanted of clip ``index``; without ``show``, of the first ones only."""
        return self.show or index < first

    @property
    def frames(self) -> int:
        """Number of frames of a clip."""
        return math.ceil(self.seconds * self.rate - 1e-6)

    def media(self, index: int) -> MediaRef:
        """Return what is known of a clip's file."""
        height, width = self.size
        return MediaRef(f"{self.name(index)}.mp4", self.frames / self.rate, width, height, self.rate)

    def check_clip(self) -> None:
        """Raise an InputError where a clip of this size, rate and length is too large to be held in memory."""
        pixels = self.frames * self.size[0] * self.size[1]
        if pixels > _MOST_PIXELS:
            raise InputError(
                f"clips of {self.frames} frames of {self.size[0]} x {self.size[1]}",
                f"at most {_MOST_PIXELS // 10**6} million pixels a clip, not {pixels // 10**6} million",
                "take fewer --seconds, a lower --rate or a smaller picture",
            )

    def clip(self, index: int, scene: Scene, notes: Sequence[tuple[float, float, str]] = ()) -> Rendered:
        """Render a scene and write its video, a sheet for people of the first clip, and with ``show`` of all.

        Args:
            index: of the clip.
            scene: what is in it.
            notes: start, end and words to show in the pictures for people; none shows the scene's events.

        Returns:
            What is in every frame.

        Raises:
            InputError: the frames of the clip would not fit in memory.
        """
        self.check_clip()
        times = np.arange(self.frames) / self.rate
        seen = render(scene, times, self.size, smooth=2)
        write_video(self.out / f"{self.name(index)}.mp4", seen.rgb, self.rate, reproducible=True)
        if self.shown(index):
            pictures = drawn(scene, seen, notes)
            if self.show:
                write_video(self.out / f"{self.name(index)}.show.mp4", pictures, self.rate, reproducible=True)
            write_image(self.out / f"{self.name(index)}.show.png", sheet(pictures))
        return seen


def drawn(scene: Scene, seen: Rendered, notes: Sequence[tuple[float, float, str]] = ()) -> list[np.ndarray]:
    """Return the frames, enlarged, with boxes, names, the time and what happens, uint8 (H, W, 3) each.

    Args:
        scene: what is in them.
        seen: the frames.
        notes: start, end and words; none takes the scene's events.
    """
    names = [grammar.refer(scene, number, 0.0).removeprefix("the ") for number in range(len(scene.objects))]
    colours = [_light(thing.rgb) for thing in scene.objects]
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


def _light(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """The colour, brightened so that it can be read on a dark ground."""
    red, green, blue = (min(255, 90 + value) for value in rgb)
    return red, green, blue
