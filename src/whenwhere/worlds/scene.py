"""What a scene is: objects that move along known paths, a camera, lights, and a list of what happens when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whenwhere.errors import InputError
from whenwhere.worlds.camera import Camera
from whenwhere.worlds.paths import Key, Poses, Trajectory, Vector

__all__ = ["Action", "Camera", "Containment", "Key", "Light", "Object", "Poses", "Scene", "Trajectory", "Vector"]

SHAPES = ("sphere", "cube", "cylinder", "cone", "snitch")
MATERIALS = ("metal", "rubber")
SIZES = {"small": 0.25, "medium": 0.5, "large": 0.75}
"""Radius of each size."""
COLOURS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
"""sRGB of the eight colours that an object may have; the snitch is gold."""
GOLD = (255, 215, 0)
CYLINDER_FLATNESS = 0.65
"""Half height of a cylinder of radius 1."""
SNITCH_BALL = 0.6
"""Radius of the ball of a snitch of radius 1; the flat ring around it reaches to 1."""
SNITCH_RING = 0.75
"""Inner radius of that ring."""


@dataclass(frozen=True)
class Object:
    """One thing of the world.

    Shapes in their own frame, for a radius of 1: sphere of radius 1; cube from -1 to 1; cylinder of radius 1 about z,
    from -0.65 to 0.65; cone about z with base radius 1 at z = -1 and the tip at z = 1; snitch, a ball of radius 0.6
    with a flat ring from 0.75 to 1 around its equator.

    Args:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`, or "gold".
        material: one of `MATERIALS`.
        size: one of `SIZES`; the word for it.
        path: of the object's centre.
        radius: 0 takes the radius of the size.
        stretch: factors of the radius along the object's own axes.
        paint: sRGB, 0 to 255, to show instead of that of the colour's name; for things that no words are made of.
        glow: 0 to 1, how much of its look is light of its own, as of a lamp, and not shading.

    Raises:
        InputError: a word is unknown, or a number is out of range.
    """

    shape: str
    colour: str
    material: str
    size: str
    path: Trajectory
    radius: float = 0.0
    stretch: Vector = (1.0, 1.0, 1.0)
    glow: float = 0.0
    paint: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("shape", SHAPES),
            ("colour", (*COLOURS, "gold")),
            ("material", MATERIALS),
            ("size", SIZES),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r}", f"one of {', '.join(known)}")
        if self.radius == 0.0:
            object.__setattr__(self, "radius", SIZES[self.size])
        if not self.radius > 0 or not min(self.stretch) > 0:
            raise InputError(f"radius {self.radius}, stretch {self.stretch}", "numbers above zero")
        if not 0 <= self.glow <= 1:
            raise InputError(f"glow {self.glow}", "0 to 1")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """sRGB, 0 to 255."""
        if self.paint is not None:
            return self.paint
        return GOLD if self.colour == "gold" else COLOURS[self.colour]

    @property
    def rest_height(self) -> float:
        """Height of the centre when the object stands upright on the floor."""
        return self.height(0.0)

    @property
    def footprint(self) -> float:
        """Radius of the circle on the floor that the upright object stays in, whatever its yaw."""
        x, y, _ = self.stretch
        return self.radius * (math.hypot(x, y) if self.shape == "cube" else max(x, y))

    @property
    def bound(self) -> float:
        """Radius of the sphere around the centre that holds the whole object, for a scale of 1."""
        x, y, z = self.stretch
        if self.shape in ("sphere", "snitch"):
            return self.radius * max(x, y, z)
        half = CYLINDER_FLATNESS * z if self.shape == "cylinder" else z
        return math.hypot(self.footprint, self.radius * half)

    def height(self, tilt: float) -> float:
        """Return the height of the centre above the floor on which the object lies with a tilt in degrees."""
        x, _, z = (self.radius * factor for factor in self.stretch)
        cos, sin = abs(math.cos(math.radians(tilt))), abs(math.sin(math.radians(tilt)))
        if self.shape == "sphere":
            return math.hypot(z * cos, x * sin)
        if self.shape == "snitch":
            return max(SNITCH_BALL * math.hypot(z * cos, x * sin), x * sin)
        # a cone stands on its base; upside down (a tilt above 90) is not used
        return (CYLINDER_FLATNESS * z if self.shape == "cylinder" else z) * cos + x * sin

    def at(self, path: Trajectory) -> Object:
        """Return the same object with another path."""
        return replace(self, path=path)


@dataclass(frozen=True)
class Light:
    """A point light without falloff.

    Args:
        position: x, y, z.
        strength: added brightness of a surface that faces it; those of all lights and `Scene.ambient` sum to about 1.
        shadows: whether it casts hard ones.
    """

    position: Vector
    strength: float
    shadows: bool = False


@dataclass(frozen=True)
class Action:
    """Something that an object does.

    Args:
        kind: "slide", "rotate", "pick_place" or "contain".
        actor: index of the object in the scene.
        start: seconds.
        end: seconds, after the start.
        target: index of the object that is covered by "contain", or None.
    """

    kind: str
    actor: int
    start: float
    end: float
    target: int | None = None


@dataclass(frozen=True)
class Containment:
    """A time during which an object is under a cone; it is not drawn then.

    Args:
        inner: index of the object.
        outer: index of the cone.
        start: seconds: when the cone has come down.
        end: seconds: when it is lifted, or the end of the scene.
    """

    inner: int
    outer: int
    start: float
    end: float


@dataclass(frozen=True)
class Scene:
    """A world for some seconds.

    Args:
        objects: their index is their id everywhere.
        camera: where it is seen from.
        lights: point lights.
        seconds: how long it lasts; 0 for a still image.
        actions: sorted by start, end and actor.
        containments: sorted likewise.
        ambient: brightness of a surface that no light reaches.
        floor: sRGB of the floor, 0 to 255.
        background: sRGB of what is behind it, into which the floor fades with distance.
        checks: size of the squares of a faint chessboard on the floor, 0 for none.
        seed: what it was made from.
    """

    objects: tuple[Object, ...]
    camera: Camera
    lights: tuple[Light, ...]
    seconds: float
    actions: tuple[Action, ...] = ()
    containments: tuple[Containment, ...] = ()
    ambient: float = 0.25
    floor: tuple[int, int, int] = (168, 168, 168)
    background: tuple[int, int, int] = (120, 124, 130)
    checks: float = 0.0
    seed: str = ""

    def __post_init__(self) -> None:
        for action in self.actions:
            if not 0 <= action.start < action.end <= self.seconds + 1e-9:
                raise InputError(f"{action} in a scene of {self.seconds:g} s", "actions inside the scene")
        used = {number for action in self.actions for number in (action.actor, action.target or 0)}
        used |= {number for item in self.containments for number in (item.inner, item.outer)}
        if not used <= set(range(len(self.objects))):
            raise InputError(f"events of objects {sorted(used)}", f"indices of the scene's {len(self.objects)} objects")

    def positions(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the centres of all objects, (T, N, 3) float64, at (T,) times in seconds."""
        found = [thing.path.poses(times).position for thing in self.objects]
        return np.stack(found, axis=1) if found else np.zeros((len(times), 0, 3))

    def hidden(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return (T, N) bool: which objects are under a cone."""
        at = np.asarray(times, np.float64)
        inside = np.zeros((len(at), len(self.objects)), bool)
        for item in self.containments:
            inside[:, item.inner] |= (at >= item.start) & (at <= item.end)
        return inside
