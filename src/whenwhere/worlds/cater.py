"""Task "cater": clips by the rules of CATER, in which cones cover things and the gold snitch is to be found at the end.

Objects, places, motions and camera follow the published generator (Girdhar and Ramanan, "CATER", ICLR 2020); the
pictures are those of this package. The files have the form that `whenwhere.datasets.cater` reads.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from whenwhere.datasets.cater import GRIDS, CaterObject, CaterScene, Movement, write_scene
from whenwhere.errors import InputError
from whenwhere.media import write_video
from whenwhere.results.files import write_text
from whenwhere.worlds import motion
from whenwhere.worlds.cater_motion import GAP, Body, Play, Rules
from whenwhere.worlds.job import Job
from whenwhere.worlds.layout import directions, jittered_eye, spread
from whenwhere.worlds.render import render
from whenwhere.worlds.scene import (
    COLOURS,
    MATERIALS,
    SIZES,
    Action,
    Camera,
    Containment,
    Key,
    Object,
    Scene,
    Trajectory,
)
from whenwhere.worlds.scenes import generator, lights
from whenwhere.worlds.show import show

TARGET = (0.0143, 0.0026, 0.0011)
"""What the camera looks at."""
RATE = 24.0
"""Frames per second of the published clips, which have the frames 0 to 300."""
_SHAPES = ("cube", "sphere", "cylinder", "cone")
_RAISED = {"cone": 0.181, "spl": 0.0421}  # by how much the centre in the files is above one radius
_SNITCH = 0.35  # radius of what is drawn for the snitch, whose ball is 0.3
_MARGIN = 0.4
_CAMERA_STEP = 30  # frames between places of the moving camera
_DONE = {"_slide": "slide", "_pick_place": "pick_place", "_rotate": "rotate", "_contain": "contain"}


@dataclass(frozen=True)
class CaterOptions:
    """What clips are like; the defaults are the published ``all_actions``.

    Args:
        moving: whether the camera moves (``all_actions_cameramotion``).
        objects: least and most, the snitch and two cones among them.
        rules: of the motions; ``Rules(most=2)`` is ``max2action``.
        rate: frames per second.

    Raises:
        InputError: fewer than three objects, or a rate that is not above zero.
    """

    moving: bool = False
    objects: tuple[int, int] = (5, 10)
    rules: Rules = field(default_factory=Rules)
    rate: float = RATE

    def __post_init__(self) -> None:
        if not 3 <= self.objects[0] <= self.objects[1]:
            raise InputError(f"objects={self.objects}", "least and most, at least 3")
        if not self.rate > 0:
            raise InputError(f"rate={self.rate}", "frames per second above zero")


@dataclass(frozen=True)
class CaterVideo:
    """A clip: what its JSON file says, with the label and its flags, and the scene to render."""

    known: CaterScene
    scene: Scene

    @property
    def times(self) -> np.ndarray:
        """(Frames,) seconds of the frames."""
        return np.arange(self.known.last_frame + 1) * (self.scene.seconds / self.known.last_frame)


def make(seed: str, index: int, options: CaterOptions | None = None) -> CaterVideo:
    """Make the clip number ``index`` of a split; the camera does not change what happens, but where things start.

    Args:
        seed: name of the split.
        index: 0 and up.
        options: what it is like.
    """
    options = options or CaterOptions()
    chance = generator(f"cater/{seed}", index)
    count = chance.randint(*options.objects)
    first = jittered_eye(chance)
    ways = directions(Camera(Trajectory.still(first), Trajectory.still(TARGET)))
    while True:
        things = [_draw(chance, number) for number in range(count)]
        places = spread(chance, [radius for *_, radius in things], 3.0, ways, GAP, _MARGIN)
        if places is None:
            continue
        bodies = [
            Body(shape, radius, (*place, _height(shape, radius))) for (shape, *_, radius), place in zip(things, places)
        ]
        yaws = [chance.uniform(0, 360) for _ in things]
        play = Play(bodies, chance, options.rules)
        if not play.meets():
            break
    shining = lights(chance)
    last = options.rules.last
    eye = _moving(first, last, options.rate, chance) if options.moving else Trajectory.still(first)
    camera = Camera(eye, Trajectory.still(TARGET), aspect=4 / 3)
    pixels = camera.project(play.places[None, :, 0], [0.0], (240, 320))[0].tolist()
    names = [
        f"{'Snitch' if thing[0] == 'spl' else thing[0].capitalize()}_{number}" for number, thing in enumerate(things)
    ]
    objects = tuple(
        CaterObject(name, shape, size, material, colour, radius, yaw, tuple(pixel), place, moves)
        for name, (shape, size, material, colour, radius), yaw, pixel, place, moves in zip(
            names, things, yaws, pixels, play.places, play.named(names), strict=True
        )
    )
    known = CaterScene(seed, index, f"{file_name(seed, index)}.avi", ways, objects)
    scene = Scene((), camera, shining, last / options.rate, seed=f"cater/{seed}/{index}")
    return CaterVideo(known, staged(known, scene))


def file_name(seed: str, index: int) -> str:
    """Return the name of a clip, without a suffix."""
    return f"CATER_{seed}_{index:06d}"


def staged(known: CaterScene, scene: Scene) -> Scene:
    """Return a scene with the objects of a clip and all that they do, for its own seconds and camera.

    Objects stand on the floor, also where the files say otherwise (a cone 0.181 above it), and tumble over it.
    """
    rate = known.last_frame / scene.seconds
    objects = tuple(_object(thing, rate) for thing in known.objects)
    number = {thing.instance: at for at, thing in enumerate(known.objects)}
    inside = [Containment(number[i], number[o], s / rate, e / rate) for i, o, s, e in known.covers if s < e]
    actions = []
    for actor, thing in enumerate(known.objects):
        for move in thing.movements:
            start, end = move.start / rate, move.end / rate
            carried = any(item.inner == actor and item.start <= start and end <= item.end for item in inside)
            if move.action in _DONE and not carried:
                target = None if move.other is None else number[move.other]
                actions.append(Action(_DONE[move.action], actor, start, end, target))
    return replace(
        scene,
        objects=objects,
        actions=tuple(sorted(actions, key=lambda item: (item.start, item.end, item.actor))),
        containments=tuple(sorted(inside, key=lambda item: (item.start, item.end, item.inner))),
    )


def check(job: Job) -> None:
    """Raise an InputError where files cannot be named after the seed, or clips are too short or too large."""
    job.check_seed()
    longest = Rules().duration[1]
    if job.frames < longest:
        raise InputError(f"clips of {job.frames} frames", f"at least {longest}, the length of a motion")
    job.check_clip()


def write(job: Job) -> None:
    """Write the sets ``all_actions`` and ``all_actions_cameramotion``, with ``job.count`` clips each."""
    check(job)
    rules = Rules(last=job.frames)
    for name, moving in (("all_actions", False), ("all_actions_cameramotion", True)):
        options = CaterOptions(moving, rules=rules, rate=job.rate)
        root = job.out / name
        for folder in ("videos", "scenes", *(f"lists/{task}" for task in GRIDS)):
            (root / folder).mkdir(parents=True, exist_ok=True)
        made = [_clip(job, root, make(job.seed, index, options), job.shown(index)) for index in range(job.count)]
        for task, grid in GRIDS.items():
            lines = [f"{known.filename} {known.cell(grid=grid)}\n" for known in made]
            _lists(root / "lists" / task, job.seed, lines)


def _clip(job: Job, root: Path, video: CaterVideo, shown: bool) -> CaterScene:
    known = video.known
    seen = render(video.scene, video.times, job.size, smooth=2)
    write_video(root / "videos" / known.filename, seen.rgb, job.rate)
    name = known.filename.removesuffix(".avi")
    write_scene(root / "scenes" / f"{name}.json", known)
    if shown:
        show(job, root / name, video.scene, seen)
    return known


def _lists(folder: Path, split: str, lines: list[str]) -> None:
    """Write the list of a split, and for "train" the first four fifths and the rest as the subsets T and V."""
    write_text(folder / f"{split}.txt", "".join(lines))
    if split == "train":
        cut = len(lines) * 4 // 5
        write_text(folder / "train_subsetT.txt", "".join(lines[:cut]))
        write_text(folder / "train_subsetV.txt", "".join(lines[cut:]))


def _draw(chance: random.Random, number: int) -> tuple[str, str, str, str, float]:
    """Shape, size, material, colour and radius of an object."""
    if number == 0:
        return "spl", "small", "metal", "gold", 0.3
    material, colour = chance.choice(MATERIALS), chance.choice(tuple(COLOURS))
    if number <= 2:
        size = ("medium", "large")[number - 1]
        return "cone", size, material, colour, SIZES[size]
    size = chance.choice(tuple(SIZES))
    return chance.choice(_SHAPES), size, material, colour, SIZES[size]


def _height(shape: str, radius: float) -> float:
    return radius + _RAISED.get(shape, 0.0)


def _object(thing: CaterObject, rate: float) -> Object:
    """The object that is drawn, with its path in seconds."""
    snitch = thing.shape == "spl"
    path = Trajectory.still((0.0, 0.0, 0.0))
    made = Object("snitch" if snitch else thing.shape, thing.colour, thing.material, thing.size, path, thing.radius)
    made = replace(made, radius=_SNITCH) if snitch else made
    x, y, _ = thing.locations[0].tolist()
    made = made.at(Trajectory.still((x, y, made.rest_height), thing.rotation))
    for move in thing.movements:
        if move.action != "_no_op":
            made = made.at(_moved(made, thing, move, rate))
    return made


def _moved(made: Object, thing: CaterObject, move: Movement, rate: float) -> Trajectory:
    start, end = move.start / rate, move.end / rate
    if move.action == "_rotate":
        return motion.rotate(made.path, made, start, end)
    x, y, _ = thing.locations[move.end].tolist()
    if move.action == "_slide":
        return motion.slide(made.path, start, end, (x, y))
    return motion.pick_place(made.path, start, end, (x, y))


def _moving(first: Sequence[float], last: int, rate: float, chance: random.Random) -> Trajectory:
    """The path of the camera: every 30 frames it makes for another side, smoothly; and rests at the end."""
    x, y, z = first
    keys = [(x, y, z)]
    for _ in range(_CAMERA_STEP, last, _CAMERA_STEP):
        if chance.random() < 0.5:
            x = chance.choice((-10.0, 10.0))
        else:
            y = chance.choice((-10.0, 10.0))
        z = chance.choice((8.0, 10.0, 12.0))
        keys.append((x, y, z))
    keys.append(keys[-1])
    places = np.array(keys)
    frames = np.arange(last + 1)
    number = np.minimum(frames // _CAMERA_STEP, len(keys) - 2)
    part = ((frames - number * _CAMERA_STEP) / _CAMERA_STEP).clip(0, 1)[:, None]
    eased = part * part * (3 - 2 * part)
    path = places[number] + (places[number + 1] - places[number]) * eased
    return Trajectory(tuple(Key(frame / rate, (x, y, z)) for frame, (x, y, z) in enumerate(path.tolist())))
