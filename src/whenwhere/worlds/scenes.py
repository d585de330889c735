"""Plain scenes: a few objects on a floor that slide, tumble, are carried and covered, none ever inside another."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from whenwhere.errors import InputError
from whenwhere.worlds import motion
from whenwhere.worlds.scene import (
    COLOURS,
    MATERIALS,
    SIZES,
    Camera,
    Light,
    Object,
    Scene,
    Trajectory,
)
from whenwhere.worlds.stage import Stage

EYE = (7.4811, -6.5076, 5.3437)
"""Where the camera of CLEVR and CATER stands before it is jittered; it looks at the origin."""
LIGHTS = ((6.45, -2.91, 4.26), (-4.67, -4.01, 3.01), (-1.17, 2.65, 5.82))
"""Key, fill and back light of the same scenes."""
STRENGTHS = (0.85, 0.2, 0.25)
_LEAST_WAY = 1.2  # from where to where an object moves
_TRIES = 60


@dataclass(frozen=True)
class SceneOptions:
    """What plain scenes are like.

    Args:
        objects: least and most.
        seconds: length.
        motions: least and most; each is an action of one object.
        extent: objects stand at x and y between -extent and extent.
        gap: least distance between objects.
        duration: shortest and longest motion, seconds.
        snitch: whether object 0 is the gold marker.
    """

    objects: tuple[int, int] = (4, 8)
    seconds: float = 10.0
    motions: tuple[int, int] = (3, 6)
    extent: float = 3.0
    gap: float = 0.2
    duration: tuple[float, float] = (0.8, 1.6)
    snitch: bool = True

    def __post_init__(self) -> None:
        for name in ("objects", "motions", "duration"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise InputError(f"{name}={low, high}", "least and most, not below 0")
        if self.seconds < 0 or not self.extent > 0:
            raise InputError(f"seconds={self.seconds}, extent={self.extent}", "a length and an extent above zero")


def generator(seed: str | int, index: int) -> random.Random:
    """Return the source of chance of one scene, the same on every machine: that of ``index`` under a split's seed."""
    return random.Random(f"{seed}/{index}")


def make(seed: str | int, index: int, options: SceneOptions | None = None) -> Scene:
    """Make the scene number ``index`` of a split.

    Args:
        seed: name or number of the split.
        index: 0 and up.
        options: what it is like.

    Returns:
        A scene in which no two objects overlap at any time; covered objects are inside their cone.
    """
    options = options or SceneOptions()
    chance = generator(seed, index)
    while True:
        objects = place(chance, options)
        if objects is not None:
            break
    scene = Scene(tuple(objects), camera(chance), lights(chance), options.seconds, seed=f"{seed}/{index}")
    return act(scene, chance, options) if options.seconds > 0 else scene


def camera(chance: random.Random) -> Camera:
    """Return the CLEVR camera, its eye jittered by up to 0.5 on each axis."""
    x, y, z = (value + chance.uniform(-0.5, 0.5) for value in EYE)
    return Camera(Trajectory.still((x, y, z)))


def lights(chance: random.Random) -> tuple[Light, ...]:
    """Return key, fill and back light, each jittered by up to 1 on each axis; the key light casts the shadows."""
    found = []
    for number, place_ in enumerate(LIGHTS):
        x, y, z = (value + chance.uniform(-1, 1) for value in place_)
        found.append(Light((x, y, z), STRENGTHS[number], shadows=number == 0))
    return tuple(found)


def place(chance: random.Random, options: SceneOptions) -> list[Object] | None:
    """Draw objects and stand them apart on the floor; None when one found no room."""
    count = chance.randint(*options.objects)
    objects: list[Object] = []
    for number in range(count):
        thing = _draw(chance, number, options)
        for _ in range(_TRIES):
            x, y = (chance.uniform(-options.extent, options.extent) for _ in range(2))
            yaw = chance.uniform(0, 360)
            placed = thing.at(Trajectory.still((x, y, thing.rest_height), yaw))
            if not any(motion.touching(placed, other, [0.0], options.gap) for other in objects):
                objects.append(placed)
                break
        else:
            return None
    return objects


def _draw(chance: random.Random, number: int, options: SceneOptions) -> Object:
    path = Trajectory.still((0.0, 0.0, 0.0))
    if number == 0 and options.snitch:
        return Object("snitch", "gold", "metal", "small", path, 0.3)
    shape = chance.choice(("cube", "sphere", "cylinder", "cone"))
    colour, material = chance.choice(tuple(COLOURS)), chance.choice(MATERIALS)
    if number == 1 and options.snitch:  # something that can cover it
        return Object("cone", colour, material, chance.choice(("medium", "large")), path)
    size = chance.choice(tuple(SIZES))
    # a cube as wide from corner to corner as a ball of its size
    radius = SIZES[size] / math.sqrt(2) if shape == "cube" else SIZES[size]
    return Object(shape, colour, material, size, path, radius)


def act(scene: Scene, chance: random.Random, options: SceneOptions) -> Scene:
    """Let the objects of a still scene move, one or two at a time, without touching each other."""
    stage = Stage(scene, options.gap)
    wanted = chance.randint(*options.motions)
    mean = sum(options.duration) / 2
    begin = chance.uniform(0.2, 1.0)
    for _ in range(wanted * 10):
        start = round(begin, 2)
        end = round(start + chance.uniform(*options.duration), 2)
        left = wanted - len(stage.actions)
        if left <= 0 or end > options.seconds:
            break
        if _move(stage, chance, start, end, options):
            # spread over what is left of the time; now and then the next motion begins while this one goes on
            pause = max(0.3, (options.seconds - end) / left - mean)
            begin = start + 0.3 if chance.random() < 0.25 else end + chance.uniform(0.1, pause)
    return stage.scene()


def _move(stage: Stage, chance: random.Random, start: float, end: float, options: SceneOptions) -> bool:
    """Try one action of a random object; tell whether it could be done."""
    actor = chance.randrange(len(stage.objects))
    shape = stage.objects[actor].shape
    targets = stage.targets(actor, start)
    kinds = ["slide", "pick_place"]
    kinds += ["rotate"] if shape in ("cube", "cylinder") else ["contain"] * 3 if targets else []
    kind = chance.choice(kinds)
    if kind == "rotate":
        return stage.rotate(actor, start, end)
    if kind == "contain":
        return stage.contain(actor, chance.choice(targets), start, end)
    to = (chance.uniform(-options.extent, options.extent), chance.uniform(-options.extent, options.extent))
    x, y, _ = stage.objects[actor].path.last.position
    if (to[0] - x) ** 2 + (to[1] - y) ** 2 < _LEAST_WAY**2:
        return False
    return stage.slide(actor, start, end, to) if kind == "slide" else stage.pick_place(actor, start, end, to)
