"""Task "referring": phrases that mean exactly one object of a picture, with its box and mask, in the form of MDETR."""

from __future__ import annotations

import random

from whenwhere.datasets import refcoco
from whenwhere.datasets.refcoco import Expression
from whenwhere.results import MediaRef
from whenwhere.worlds import grammar, stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered
from whenwhere.worlds.scene import SHAPES, Scene
from whenwhere.worlds.scenes import generator

_WORDINGS = 3  # at most, of one object


def write(job: Job) -> None:
    """Write the pictures and ``referring.json``."""
    rows: list[Expression] = []
    for index in range(job.count):
        scene = stills.still(job.seed, index)
        seen = stills.look(scene, job.size)
        chance = generator(f"{job.seed}/words", index)
        found = label(scene, seen, stills.media(job, index), index, chance, f"world_{job.seed}")
        stills.save(job, index, seen, [item.region for item in found])
        rows += found
    refcoco.write(job.out / "referring.json", rows, SHAPES)


def label(
    scene: Scene,
    seen: Rendered,
    media: MediaRef,
    index: int,
    chance: random.Random | None = None,
    dataset: str = "world",
) -> list[Expression]:
    """Return phrases for every object that shows well: up to three wordings each, each true of that object only.

    Args:
        scene: what is in the picture.
        seen: the picture.
        media: its file.
        index: its number; object n has the number ``100 * index + n``.
        chance: of the wordings; None takes the first alone.
        dataset: name of the set.
    """
    found = []
    for number in stills.spoken(seen):
        phrases = [grammar.refer(scene, number, 0.0, chance) for _ in range(1 if chance is None else _WORDINGS)]
        for phrase in dict.fromkeys(phrases):
            region = stills.region(seen, number, phrase)
            category = 1 + SHAPES.index(scene.objects[number].shape)
            span = (0, len(phrase))
            found.append(Expression(media, index, 100 * index + number, region, span, category, dataset))
    return found
