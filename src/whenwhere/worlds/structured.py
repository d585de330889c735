"""Pictures with one label each that asks for the structure of the scene: how many, how far, where, which way.

Six classification tasks after the structured ones of VTAB-1k (Zhai et al., 2019), whose originals are named in each
task's line. A picture is a pure function of task, split and index. 1,000 pictures are the training set of the
benchmark's rules; every other split may have any number.

Classes are drawn in shuffled rounds of all classes, so that after any number of pictures the largest and the smallest
differ by one; but for ``distance``, whose six classes are the sextiles of the nearest depth of 20,000 scenes of this
world. CLEVR's edges (8, 8.5, 9, 9.5 and 10, from 0 to 100) are not used: they are on the scale of CLEVR's own scenes,
and here they would put 18, 24, 23, 16, 10 and 9 % of the pictures into their six classes.
"""

from __future__ import annotations

import bisect
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.errors import InputError
from whenwhere.media import write_image
from whenwhere.results.files import write_text
from whenwhere.worlds.job import Job
from whenwhere.worlds.layout import directions, jittered_eye, spread
from whenwhere.worlds.paths import Key, Trajectory
from whenwhere.worlds.render import pictures
from whenwhere.worlds.scene import COLOURS, MATERIALS, Camera, Object, Scene
from whenwhere.worlds.scenes import generator, lights
from whenwhere.worlds.show import labelled
from whenwhere.worlds.toys import KINDS, toy

TRAIN = 1000
"""Pictures of the training set."""
SIZE = (64, 64)
"""Height and width, pixels."""
LEAST_OBJECTS, MOST_OBJECTS = 3, 10
DEPTHS = (7.98, 8.34, 8.66, 9.04, 9.58)
"""Edges of the classes of ``distance``, in the world's unit along the camera's axis."""
REACH = 0.95
"""Sprites are at x and y between -REACH and REACH, in a picture from -1.6 to 1.6."""
_RADII = {"small": 0.35, "large": 0.7}  # those of CLEVR
_HEIGHT, _HALF = 20.0, 1.6  # of the camera above the sprites, and half of what it sees
_INSIDE = (0.02, 0.98)  # part of its class in which a number lies
_ON_SHEET = 24


@dataclass(frozen=True)
class StructuredSample:
    """A picture and its class.

    Args:
        image: (H, W, 3) uint8, sRGB.
        label: number of the class, from 0.
        name: of the class.
    """

    image: np.ndarray
    label: int
    name: str


@dataclass(frozen=True)
class StructuredTask:
    """A classification task on pictures of made scenes.

    Args:
        name: of the task.
        classes: names in the order of the labels, which is also that of the alphabet.
        draw: takes a source of chance and the wanted label, and makes a scene.
        label: takes a scene, and tells the label from its state alone.
    """

    name: str
    classes: tuple[str, ...]
    draw: Callable[[random.Random, int], Scene]
    label: Callable[[Scene], int]

    def scene(self, split: str, index: int) -> Scene:
        """Return the scene number ``index`` of a split."""
        turn, place = divmod(index, len(self.classes))
        order = list(range(len(self.classes)))
        generator(f"{self.name}/{split}/classes", turn).shuffle(order)
        return self.draw(generator(f"{self.name}/{split}", index), order[place])

    def sample(self, split: str, index: int, size: tuple[int, int] = SIZE) -> StructuredSample:
        """Return the picture number ``index`` of a split with its class; height and width in pixels."""
        image, label = images(self, split, [index], size)
        return StructuredSample(image[0], int(label[0]), self.classes[int(label[0])])


def images(
    task: StructuredTask | str, split: str, numbers: Sequence[int], size: tuple[int, int] = SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Make many pictures of a task at once.

    Args:
        task: one of `TASKS`, or its name.
        split: such as "train".
        numbers: index of each picture, such as ``range(1000)``.
        size: height and width in pixels.

    Returns:
        (N, H, W, 3) uint8 and the labels, (N,) int64.

    Raises:
        InputError: there is no such task, or no picture is asked for.
    """
    if isinstance(task, str):
        if task not in TASKS:
            raise InputError(f"task {task!r}", f"one of {', '.join(TASKS)}")
        task = TASKS[task]
    scenes = [task.scene(split, number) for number in numbers]
    return pictures(scenes, size), np.array([task.label(scene) for scene in scenes], np.int64)


def check(job: Job) -> None:
    """Raise an InputError where a folder cannot be named after the seed."""
    job.check_seed()


def write(name: str, job: Job) -> None:
    """Write the pictures of a task as ``SPLIT/CLASS/INDEX.png`` and name them in ``manifest.jsonl``.

    Each line of the manifest has ``image``, ``label`` and ``split``; those of other splits that are there already stay.

    Args:
        name: of the task.
        job: the split is its seed.

    Raises:
        InputError: the seed cannot be a folder's name, or pictures of another run are in the way.
    """
    task = TASKS[name]
    check(job)
    pixels, labels = images(task, job.seed, range(job.count), job.size)
    files = [f"{job.seed}/{task.classes[label]}/{job.name(i)}.png" for i, label in enumerate(labels.tolist())]
    others = {path.relative_to(job.out).as_posix() for path in (job.out / job.seed).rglob("*.*")} - set(files)
    if others:
        raise InputError(
            f"{job.out / job.seed} has other files, such as {min(others)}", "an empty folder for the split", "remove it"
        )
    for label in task.classes:
        (job.out / job.seed / label).mkdir(parents=True, exist_ok=True)
    for file, image in zip(files, pixels, strict=True):
        write_image(job.out / file, image)
    lines = [
        json.dumps({"image": file, "label": task.classes[label], "split": job.seed})
        for file, label in zip(files, labels.tolist(), strict=True)
    ]
    write_text(job.out / "manifest.jsonl", "".join(f"{line}\n" for line in _kept(job.out, job.seed) + lines))
    words = [task.classes[label] for label in labels[:_ON_SHEET].tolist()]
    root = job.out.resolve()  # beside it, as every picture in it is one of a class
    sheet = root.with_name(f"{root.name}.{job.seed}.show.png")
    write_image(sheet, labelled(list(pixels[:_ON_SHEET]), words))


def _kept(out: Path, split: str) -> list[str]:
    """Lines of the manifest that are of other splits."""
    file = out / "manifest.jsonl"
    try:
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [line for line in lines if json.loads(line)["split"] != split]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{file} is no manifest of pictures", "a file that this command wrote", "remove it") from None


def _crowd(chance: random.Random, count: int) -> Scene:
    """Objects of CLEVR that stand apart, none with another in front of its middle."""
    while True:
        camera = Camera(Trajectory.still(jittered_eye(chance)))
        looks = [
            (chance.choice(("cube", "sphere", "cylinder")), chance.choice(tuple(COLOURS)), chance.choice(MATERIALS))
            for _ in range(count)
        ]
        sizes = [chance.choice(tuple(_RADII)) for _ in looks]
        places = spread(chance, [_RADII[size] for size in sizes], 3.0, directions(camera), 0.25, 0.4)
        if places is None:
            continue
        objects = []
        for (shape, colour, material), size, place in zip(looks, sizes, places, strict=True):
            radius = _RADII[size] / (math.sqrt(2) if shape == "cube" else 1)
            thing = Object(shape, colour, material, size, Trajectory.still((0.0, 0.0, 0.0)), radius)
            objects.append(thing.at(Trajectory.still((*place, thing.rest_height), chance.uniform(0, 360))))
        scene = Scene(tuple(objects), camera, lights(chance), 0.0)
        if _clear(scene, [_RADII[size] for size in sizes]):
            return scene


def _clear(scene: Scene, radii: Sequence[float]) -> bool:
    """Whether no object has the outline of a nearer one, that is not much smaller, over its middle."""
    x, y, depth = scene.camera.project(scene.positions([0.0]), [0.0], (2, 2))[0].T
    wide = scene.camera.focal * np.array(radii) / depth
    apart = np.sqrt((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2)
    covers = (depth[:, None] < depth) & (wide[:, None] > 0.6 * wide)
    return bool((apart[covers] >= np.broadcast_to(wide[:, None], apart.shape)[covers]).all())


def _nearest(scene: Scene) -> float:
    return float(scene.camera.project(scene.positions([0.0]), [0.0], SIZE)[0, :, 2].min())


def _sprite(chance: random.Random, x: float, turn: float) -> Scene:
    """A flat-looking grey sprite with a white nose, seen from above."""
    y, radius = chance.uniform(-REACH, REACH), chance.choice((0.3, 0.36, 0.42))
    shape = chance.choice(("cube", "sphere", "cone"))
    lies = shape == "cone"
    path = Trajectory((Key(0.0, (x, y, 0.0), turn, 90.0 if lies else 0.0),))
    stretch = (0.7, 0.7, 1.0) if lies else (1.0, 0.6, 0.6)
    body = Object(shape, "gray", "rubber", "large", path, radius, stretch, 1.0, (150, 150, 150))
    far = 1.15 * radius
    tip = (x + far * math.cos(math.radians(turn)), y + far * math.sin(math.radians(turn)), 0.0)
    nose = Object("sphere", "gray", "rubber", "small", Trajectory.still(tip), 0.35 * radius, glow=1.0, paint=(255,) * 3)
    # not quite from above, where "up in the picture" would have no meaning
    camera = Camera(Trajectory.still((0.0, -1e-3, _HEIGHT)), focal=_HEIGHT / _HALF)
    return Scene((body, nose), camera, (), 0.0, floor=(0, 0, 0), background=(0, 0, 0))


def _toy(chance: random.Random, yaw: float, elevation: float) -> Scene:
    """A toy on a floor, seen from an angle above it."""
    target = (0.0, 0.0, 0.5)
    away, up = math.cos(math.radians(elevation)), math.sin(math.radians(elevation))
    distance = chance.uniform(6.0, 7.0)
    eye = (0.0, -distance * away, target[2] + distance * up)
    place = (chance.uniform(-0.2, 0.2), chance.uniform(-0.2, 0.2))
    things = toy(chance.choice(KINDS), chance, place, yaw)
    return Scene(things, Camera(Trajectory.still(eye), Trajectory.still(target)), lights(chance), 0.0)


def _elevation(scene: Scene) -> float:
    eye, target = (np.array(path.position(0.0)) for path in (scene.camera.eye, scene.camera.target))
    x, y, z = eye - target
    return math.degrees(math.atan2(z, math.hypot(x, y)))


def _within(chance: random.Random, number: int, width: float) -> float:
    return (number + chance.uniform(*_INSIDE)) * width


TASKS: dict[str, StructuredTask] = {
    task.name: task
    for task in (
        StructuredTask(
            "count",
            tuple(f"{number:02d}_objects" for number in range(LEAST_OBJECTS, MOST_OBJECTS + 1)),
            lambda chance, label: _crowd(chance, LEAST_OBJECTS + label),
            lambda scene: len(scene.objects) - LEAST_OBJECTS,
        ),
        StructuredTask(
            "distance",
            tuple(
                f"{number}_{'below' if number < len(DEPTHS) else 'from'}_{DEPTHS[min(number, len(DEPTHS) - 1)]:.2f}"
                for number in range(len(DEPTHS) + 1)
            ),
            lambda chance, label: _crowd(chance, chance.randint(LEAST_OBJECTS, MOST_OBJECTS)),
            lambda scene: bisect.bisect_right(DEPTHS, _nearest(scene)),
        ),
        StructuredTask(
            "location",
            tuple(f"column_{number:02d}" for number in range(16)),
            lambda chance, label: _sprite(chance, _within(chance, label, REACH / 8) - REACH, chance.uniform(0, 360)),
            lambda scene: math.floor((scene.objects[0].path.last.position[0] + REACH) / (REACH / 8)),
        ),
        StructuredTask(
            "orientation",
            tuple(f"from_{22.5 * number:05.1f}_degrees" for number in range(16)),
            lambda chance, label: _sprite(chance, chance.uniform(-REACH, REACH), _within(chance, label, 22.5)),
            lambda scene: math.floor(scene.objects[0].path.last.yaw / 22.5),
        ),
        StructuredTask(
            "azimuth",
            tuple(f"{20 * number:03d}_degrees" for number in range(18)),
            lambda chance, label: _toy(chance, 20.0 * label, 30.0 + 5.0 * chance.randrange(9)),
            lambda scene: round(scene.objects[0].path.last.yaw / 20),
        ),
        StructuredTask(
            "elevation",
            tuple(f"{30 + 5 * number}_degrees" for number in range(9)),
            lambda chance, label: _toy(chance, 20.0 * chance.randrange(18), 30.0 + 5.0 * label),
            lambda scene: round((_elevation(scene) - 30) / 5),
        ),
    )
}
"""The tasks by name.

``count``: 3 to 10 objects (CLEVR count). ``distance``: depth of the nearest object, six classes (CLEVR distance).
``location``: column of a sprite, of 16 (dSprites x position). ``orientation``: the way a sprite's nose points, 16
classes of 22.5 degrees, counterclockwise from the right (dSprites orientation). ``azimuth``: by how much a toy is
turned, 18 angles (smallNORB azimuth). ``elevation``: from how high it is seen, 9 angles (smallNORB elevation).
"""
