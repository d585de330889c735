"""Task "narratives": a spoken description of a picture with the path of the mouse, as Localized Narratives.

While the words of an object are said, the mouse moves inside what shows of it; while other words are said, it goes
straight on to the next object. Times and paths are made in steps of a tenth of a second.
"""

from __future__ import annotations

import random

import numpy as np

from whenwhere.datasets import localized_narratives
from whenwhere.datasets.localized_narratives import Narrative, Point
from whenwhere.media import write_image
from whenwhere.results import Word
from whenwhere.worlds import grammar, stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import generator

STEP = 0.1
"""Seconds between the points of a path."""
_OPENINGS = ("there is", "I can see", "we see", "one can see")
_SIDES = ("On the left", "In the middle", "On the right")
_TRIES = 8
_FASTEST = 30.0  # pixels a step inside an object
_DOTS = 200  # of the path of a word, in pictures for people
_SAYS, _GOES = (255, 255, 255), (255, 120, 0)  # its colours: while an object is named, and else


def write(job: Job) -> None:
    """Write the pictures and ``narratives.jsonl``."""
    rows = []
    for index in range(job.count):
        scene = stills.still(job.seed, index)
        seen = stills.look(scene, job.size)
        chance = generator(f"{job.seed}/words", index)
        narrative, about = tell(scene, seen, chance, job.name(index), f"world_{job.seed}")
        rows.append(narrative)
        write_image(job.out / f"{job.name(index)}.jpg", seen.rgb[0])
        if job.shown(index, stills.FIRST):
            write_image(job.out / f"{job.name(index)}.show.png", drawn(seen, narrative, about))
    localized_narratives.write(job.out / "narratives.jsonl", rows)


def tell(
    scene: Scene, seen: Rendered, chance: random.Random, image: str, dataset: str = "world"
) -> tuple[Narrative, list[int | None]]:
    """Return a narrative of all objects that show well, in random order, a sentence each.

    Args:
        scene: what is in the picture.
        seen: the picture.
        chance: of the order, the wordings and the path.
        image: id of the picture.
        dataset: name of the set.

    Returns:
        The narrative, and for each of its words the object that it is about, or None.
    """
    height, width = seen.masks.shape[1:]
    order = stills.spoken(seen)
    chance.shuffle(order)
    words: list[Word] = []
    about: list[int | None] = []
    strokes: list[tuple[Point, ...]] = []
    at: tuple[float, float] | None = None
    step = 2
    for number in order:
        inside = stills.mask(seen, number)
        home = middle(inside)
        side = _SIDES[min(2, int(3 * home[0] / width))]
        opening = f"{side} {chance.choice(_OPENINGS)}".split()
        noun = f"{grammar.indefinite(grammar.name(scene, number, chance))}.".split()
        lengths = [2 + len(word) // 3 for word in opening + noun]
        ends = [step + sum(lengths[: place + 1]) for place in range(len(lengths))]
        travel = sum(lengths[: len(opening)])
        path = _way(at or home, home, travel)
        path += _wander(inside, home, sum(lengths[len(opening) :]), chance)
        strokes.append(
            tuple(
                (round(x / width, 6), round(y / height, 6), round((step + place) * STEP, 3))
                for place, (x, y) in enumerate(path)
            )
        )
        for place, word in enumerate(opening + noun):
            start = ends[place] - lengths[place]
            words.append(Word(word, start=round(start * STEP, 3), end=round(ends[place] * STEP, 3)))
            about.append(None if place < len(opening) else number)
        at, step = path[-1], ends[-1]
    caption = " ".join(word.text for word in words)
    return Narrative(dataset, image, 0, caption, tuple(words), tuple(strokes)), about


def middle(inside: np.ndarray) -> tuple[float, float]:
    """Return the centre of a pixel of a mask (H, W) that lies deep inside: x and y in pixels."""
    left = np.pad(inside, 1)
    deep = left
    while left.any():
        deep = left
        left = left.copy()
        left[1:-1, 1:-1] &= deep[:-2, 1:-1] & deep[2:, 1:-1] & deep[1:-1, :-2] & deep[1:-1, 2:]
    rows, columns = np.nonzero(deep[1:-1, 1:-1])
    pick = len(rows) // 2
    return float(columns[pick]) + 0.5, float(rows[pick]) + 0.5


def drawn(seen: Rendered, narrative: Narrative, about: list[int | None]) -> np.ndarray:
    """Return the picture, enlarged, with the path of the mouse, boxes of what is spoken of in its order, and the words.

    The path is white while an object is named, and orange on the way to it.
    """
    said = {
        number: " ".join(word.text for word, other in zip(narrative.words, about, strict=True) if other == number)
        for number in about
        if number is not None
    }
    texts = [f"{place} {text.rstrip('.')}" for place, text in enumerate(said.values(), 1)]
    picture = stills.drawn(seen.rgb[0], [seen.boxes[0, number] for number in said], texts, narrative.caption)
    height, width, _ = picture.shape
    for place, path in enumerate(narrative.paths(_DOTS) if about else []):  # nothing may show well enough
        x, y = (path * (width, height)).astype(int).T
        picture[y.clip(0, height - 1), x.clip(0, width - 1)] = _SAYS if about[place] is not None else _GOES
    return picture


def _way(start: tuple[float, float], end: tuple[float, float], steps: int) -> list[tuple[float, float]]:
    """The points of a straight way, its end left out."""
    parts = [place / steps for place in range(steps)]
    return [(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])) for part in parts]


def _wander(
    inside: np.ndarray, home: tuple[float, float], steps: int, chance: random.Random
) -> list[tuple[float, float]]:
    """Points of a path inside a mask, the first at home: it goes on straight to pixels that can be seen from it."""
    rows, columns = np.nonzero(inside)
    path = [home]
    for _ in range(steps):
        here = path[-1]
        for _ in range(_TRIES):
            pick = chance.randrange(len(rows))
            there = (float(columns[pick]) + 0.5, float(rows[pick]) + 0.5)
            if max(abs(there[0] - here[0]), abs(there[1] - here[1])) <= _FASTEST and _sees(inside, here, there):
                path.append(there)
                break
        else:
            path.append(here)
    return path


def _sees(inside: np.ndarray, one: tuple[float, float], two: tuple[float, float]) -> bool:
    """Whether all pixels that a line meets, and those that touch it, are in a mask."""
    far = max(abs(two[0] - one[0]), abs(two[1] - one[1]))
    part = np.linspace(0, 1, 4 * int(far) + 2)
    x, y = one[0] + part * (two[0] - one[0]), one[1] + part * (two[1] - one[1])
    height, width = inside.shape
    return all(
        inside[
            (y + dy).astype(int).clip(0, height - 1),
            (x + dx).astype(int).clip(0, width - 1),
        ].all()
        for dx in (-0.1, 0.1)
        for dy in (-0.1, 0.1)
    )
