"""Task "acre": pictures of objects on a machine that lights up or not, by the rules of ACRE.

What is on which picture, and what follows from it, is in `whenwhere.worlds.acre_logic`; the files have the form that
`whenwhere.datasets.acre` reads. Places, camera and lights are drawn anew for every picture, so that only the looks of
an object tell that it is the same.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whenwhere.datasets.acre import (
    REGIMES,
    Panel,
    PanelObject,
    PanelScene,
    Problem,
    encode_mask,
    vocabulary,
    write_panel,
    write_problems,
)
from whenwhere.media import annotate, write_image
from whenwhere.worlds.acre_logic import problem
from whenwhere.worlds.job import Job
from whenwhere.worlds.layout import directions, jittered_eye, spread
from whenwhere.worlds.render import Rendered, first_moments, visible_pixels
from whenwhere.worlds.scene import CYLINDER_FLATNESS, Camera, Light, Object, Scene, Trajectory, Vector
from whenwhere.worlds.scenes import generator, lights
from whenwhere.worlds.show import enlargement, sheet

RADIUS = 0.6
"""Of every object."""
_EXTENT, _GAP, _MARGIN = 2.3, 0.25, 0.4
_LEAST_PIXELS = 200  # of an object, in a picture of 320 x 240
_PUBLISHED = (240, 320)
_GROUND = 1.01  # how far the ground is below the top of the machine
_HALF, _TALL = 2.8, 0.5  # half sizes of the machine
_EDGE = 0.035  # half the thickness of its edges
_MATT, _LIT, _DARK = (176, 152, 152), (255, 226, 226), (74, 74, 74)  # sRGB: the machine off and on, its edges
_ANSWERS = ("off", "undetermined", "on")


@dataclass(frozen=True)
class Picture:
    """A panel: what its JSON file says but for boxes and masks, and the scene to render.

    Args:
        panel: what is on it.
        scene: the objects, then the parts of the machine where there is one. In the scene the ground is z = 0 and the
            objects stand ``raised`` above it.
        raised: 1.01 on the machine, else 0.
    """

    panel: Panel
    scene: Scene
    raised: float


def make(regime: str, split: str, index: int, number: int, *, made: Problem | None = None) -> Picture:
    """Make a panel of a problem; all its objects show.

    Args:
        regime: "iid", "comp" or "sys".
        split: "train" has the rules of training, every other name those of the tests.
        index: of the problem.
        number: of the panel, 0 to 9; the first six have the machine.
        made: the problem, where it is already known.
    """
    panel = (made or problem(regime, split, index)).panels[number]
    words = vocabulary(regime, split)
    chance = generator(f"acre/{regime}/{split}/{number}", index)
    while True:
        picture = _draw(panel, [words[thing] for thing in panel.objects], chance)
        if _all_show(picture):
            return picture


def _all_show(picture: Picture) -> bool:
    """Whether each object shows in enough pixels of a picture of the published size."""
    count = len(picture.panel.objects)
    apart = replace(picture.scene, objects=picture.scene.objects[:count])
    if (visible_pixels(apart, _PUBLISHED) >= 2 * _LEAST_PIXELS).all():
        return True  # the machine, below them, can hide a line of pixels at most
    return bool((visible_pixels(picture.scene, _PUBLISHED)[:count] >= _LEAST_PIXELS).all())


def known(picture: Picture, seen: Rendered) -> PanelScene:
    """Return what is known of a rendered panel; boxes are x1, y1, x2, y2 in pixels, x2 and y2 exclusive."""
    count, scene = len(picture.panel.objects), picture.scene
    eye, axes = (found[0] for found in scene.camera.frames([0.0]))
    places = scene.positions([0.0])[0] - [0.0, 0.0, picture.raised]
    objects = tuple(
        PanelObject(
            thing.shape,
            thing.size,
            thing.material,
            thing.colour,
            tuple(places[number].tolist()),
            thing.path.last.yaw,
            tuple(seen.centres[0, number].tolist()),
            tuple(seen.boxes[0, number].tolist()),
            encode_mask(seen.masks[0] == number),
        )
        for number, thing in enumerate(scene.objects[:count])
    )
    machine = None
    if picture.panel.light != "no":
        mask = seen.masks[0] >= count
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else (0, 0, 0, 0)
        machine = (tuple(float(side) for side in box), encode_mask(mask))
    return PanelScene(
        picture.panel.light,
        (_lowered(tuple(eye.tolist()), picture.raised), _angles(axes)),
        {
            name: _lowered(light.position, picture.raised)
            for name, light in zip(("key_light", "fill_light", "back_light"), scene.lights, strict=True)
        },
        directions(scene.camera),
        objects,
        machine,
    )


def check(job: Job) -> None:
    """Raise an InputError where files cannot be named after the seed."""
    job.check_seed()


def write(job: Job) -> None:
    """Write the regimes ``iid``, ``comp`` and ``sys``, with ``job.count`` problems each; the split is the seed."""
    check(job)
    for regime in REGIMES:
        root = job.out / regime
        for folder in ("config", "images", "scenes"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        problems = [problem(regime, job.seed, index) for index in range(job.count)]
        for made in problems:
            _pictures(job, root, regime, made)
        write_problems(root / "config" / f"{job.seed}.json", problems)


def _pictures(job: Job, root: Path, regime: str, made: Problem) -> None:
    shown = []
    drawn = [make(regime, made.split, made.index, number, made=made) for number in range(len(made.panels))]
    rendered = first_moments([picture.scene for picture in drawn], job.size)
    for number, (panel, picture, seen) in enumerate(zip(made.panels, drawn, rendered, strict=True)):
        write_image(root / "images" / f"{made.name(number)}.png", seen.rgb[0])
        write_panel(root / "scenes" / f"{made.name(number)}.json", known(picture, seen))
        if job.shown(made.index):
            count, scale = len(panel.objects), enlargement(job.size[0])
            names = [f"{thing.colour} {thing.material} {thing.shape}" for thing in picture.scene.objects[:count]]
            shown.append(annotate(seen.rgb[0], seen.boxes[0, :count], names, note=_note(panel, number), scale=scale))
    if job.shown(made.index):
        write_image(root / f"{made.name(0)[:-3]}.show.png", sheet(shown))


def _note(panel: Panel, number: int) -> str:
    if panel.label is None:
        return f"panel {number}: the machine is {panel.light}"
    added = "" if panel.ref is None else f" (panel {panel.ref} and more)"
    return f"query {number - 5}{added}: {_ANSWERS[panel.label]}, {panel.kind}"


def _draw(panel: Panel, looks: list[tuple[str, str, str]], chance: random.Random) -> Picture:
    raised = _GROUND if panel.light != "no" else 0.0
    x, y, z = jittered_eye(chance)
    camera = Camera(Trajectory.still((x, y, z + raised)), Trajectory.still((0.0, 0.0, raised)), aspect=4 / 3)
    ways = directions(camera)
    while True:
        places = spread(chance, [RADIUS] * len(looks), _EXTENT, ways, _GAP, _MARGIN)
        if places is not None:
            break
    objects = []
    for (shape, colour, material), place in zip(looks, places, strict=True):
        tall = (1.0, 1.0, 1 / CYLINDER_FLATNESS if shape == "cylinder" else 1.0)
        path = Trajectory.still((*place, RADIUS + raised), chance.uniform(0, 360))
        objects.append(Object(shape, colour, material, "medium", path, RADIUS, tall))
    shining = tuple(
        Light((*light.position[:2], light.position[2] + raised), light.strength, light.shadows)
        for light in lights(chance)
    )
    parts = _machine(panel.light == "on") if raised else []
    return Picture(panel, Scene((*objects, *parts), camera, shining, 0.0), raised)


def _machine(lit: bool) -> list[Object]:
    """The box, its top at `_GROUND`, with dark edges."""

    def box(place: Vector, sizes: Vector, paint: tuple[int, int, int], glow: float) -> Object:
        return Object("cube", "gray", "rubber", "large", Trajectory.still(place), 1.0, sizes, glow, paint)

    middle, low, high = _GROUND - _TALL, _GROUND - 2 * _TALL + _EDGE, _GROUND - 0.7 * _EDGE
    parts = [box((0.0, 0.0, middle), (_HALF, _HALF, _TALL), _LIT if lit else _MATT, float(lit))]
    for one in (-_HALF, _HALF):
        for z in (low, high):
            parts.append(box((0.0, one, z), (_HALF + _EDGE, _EDGE, _EDGE), _DARK, 0.0))
            parts.append(box((one, 0.0, z), (_EDGE, _HALF + _EDGE, _EDGE), _DARK, 0.0))
        parts += [box((one, other, middle), (_EDGE, _EDGE, _TALL), _DARK, 0.0) for other in (-_HALF, _HALF)]
    return parts


def _lowered(place: tuple[float, ...], raised: float) -> tuple[float, ...]:
    return (*place[:2], place[2] - raised)


def _angles(axes: np.ndarray) -> tuple[float, ...]:
    """Turns of a camera about x, y and z that looks down when all are 0, radians."""
    right, _, forward = axes.tolist()
    return round(math.acos(-forward[2]), 9), 0.0, round(math.atan2(right[1], right[0]), 9)
