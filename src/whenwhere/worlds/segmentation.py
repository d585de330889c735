"""Task "segmentation": a class name for every pixel of a picture, in the form of PASCAL VOC.

``SegmentationClass`` has the labels; ``SegmentationObject`` has the same objects as masks without a class, for methods
that learn from masks alone.
"""

from __future__ import annotations

import numpy as np

from whenwhere.datasets import voc
from whenwhere.errors import InputError
from whenwhere.media import write_image
from whenwhere.media.indexed import palette, write_indices
from whenwhere.results import LabelMap, Region
from whenwhere.worlds import stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered
from whenwhere.worlds.scene import COLOURS, SHAPES, Scene
from whenwhere.worlds.show import brightened

NAMES = (*(f"{colour} {shape}" for shape in SHAPES if shape != "snitch" for colour in COLOURS), "snitch")
"""The classes: colour and shape, 33 in all."""


def check(job: Job) -> None:
    """Raise an InputError where a list cannot be named after the seed."""
    if "/" in job.seed or "\\" in job.seed or job.seed.startswith("."):
        raise InputError(f"seed {job.seed!r}", "a name that a file can have, as the list is named after it")


def write(job: Job) -> None:
    """Write the folders of a VOC set whose one list is named after the seed."""
    folders = ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")
    check(job)
    try:
        for folder in folders:
            (job.out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make folders in {job.out} ({error.strerror})", "a folder that you may write"
        ) from None
    for index in range(job.count):
        scene = stills.still(job.seed, index)
        seen = stills.look(scene, job.size)
        labels = label(scene, seen)
        write_image(job.out / "JPEGImages" / f"{job.name(index)}.jpg", seen.rgb[0])
        write_indices(job.out / "SegmentationClass" / f"{job.name(index)}.png", labels.labels.astype(np.uint8))
        write_indices(job.out / "SegmentationObject" / f"{job.name(index)}.png", (seen.masks[0] + 1).astype(np.uint8))
        if job.shown(index, stills.FIRST):
            found = _objects(seen)
            names = [classes(scene)[number] for number, _ in found]
            grey = seen.rgb[0].mean(axis=2, keepdims=True)  # so that a class has one hue whatever the object's
            coloured = (grey / 3 + palette()[labels.labels] / 1.5).astype(np.uint8)
            tinted = np.where(labels.labels[..., None] > 0, coloured, seen.rgb[0])
            colours = [brightened(palette()[1 + NAMES.index(name)]) for name in names]
            shown = stills.drawn(tinted, [item.box for _, item in found], names, colours=colours)
            write_image(job.out / f"{job.name(index)}.show.png", shown)
    voc.write_list(job.out / "classes.txt", list(NAMES))
    voc.write_list(
        job.out / "ImageSets" / "Segmentation" / f"{job.seed}.txt", [job.name(index) for index in range(job.count)]
    )


def classes(scene: Scene) -> list[str]:
    """Return the class of each object of a scene."""
    return ["snitch" if thing.shape == "snitch" else f"{thing.colour} {thing.shape}" for thing in scene.objects]


def label(scene: Scene, seen: Rendered) -> LabelMap:
    """Return the class of every pixel of a picture; the first is "background", and every pixel has one."""
    numbers = [0, *(1 + NAMES.index(name) for name in classes(scene))]
    return LabelMap(np.array(numbers, np.int32)[seen.masks[0] + 1], ("background", *NAMES))


def segments(seen: Rendered) -> list[Region]:
    """Return the objects of a picture as masks without a class, by rising index."""
    return [item for _, item in _objects(seen)]


def _objects(seen: Rendered) -> list[tuple[int, Region]]:
    return [(number, stills.region(seen, number, "")) for number in np.flatnonzero(seen.visible[0]).tolist()]
