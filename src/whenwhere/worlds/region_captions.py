"""Task "region_captions": pictures with many described regions, in the form of Visual Genome.

Regions are single objects, with all that can be said of them or where they are, and pairs of objects that overlap.
"""

from __future__ import annotations

import random
from itertools import permutations

import numpy as np

from whenwhere.datasets import visual_genome
from whenwhere.datasets.visual_genome import DescribedImage
from whenwhere.results import MediaRef, Region
from whenwhere.worlds import grammar, stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import generator


def write(job: Job) -> None:
    """Write the pictures, ``region_descriptions.json`` and ``image_data.json``; picture i has the number i + 1."""
    rows = []
    regions_before = 0
    for index in range(job.count):
        scene = stills.still(job.seed, index)
        seen = stills.look(scene, job.size)
        regions = label(scene, seen, generator(f"{job.seed}/words", index))
        stills.save(job, index, seen, regions, f"{index + 1}")
        ids = tuple(range(regions_before + 1, regions_before + 1 + len(regions)))
        regions_before += len(regions)
        height, width = job.size
        image = MediaRef(f"{index + 1}.jpg", None, width, height)
        rows.append(DescribedImage(image, index + 1, tuple(regions), ids))
    visual_genome.write(job.out, rows)


def label(scene: Scene, seen: Rendered, chance: random.Random | None = None) -> list[Region]:
    """Return the regions of a picture: boxes in whole pixels around what shows, and a phrase each.

    "a large red metal cube" for each object that shows well, and "a red cube in front of a blue sphere" for each pair
    whose boxes overlap, around both; what is in front
    is nearer to the camera.

    Args:
        scene: what is in the picture.
        seen: the picture.
        chance: of the wordings; None takes the first of each.
    """
    numbers = stills.spoken(seen)
    found = [
        Region(seen.boxes[0, number], grammar.indefinite(grammar.name(scene, number, chance))) for number in numbers
    ]
    depth = seen.centres[0, :, 2]
    for near, far in permutations(numbers, 2):
        one, two = seen.boxes[0, near], seen.boxes[0, far]
        low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
        if depth[near] < depth[far] and (low < high).all():
            box = np.concatenate([np.minimum(one[:2], two[:2]), np.maximum(one[2:], two[2:])])
            names = [grammar.indefinite(grammar.name(scene, number, chance)) for number in (near, far)]
            found.append(Region(box, " in front of ".join(names)))
    return found
