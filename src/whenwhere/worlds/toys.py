"""Toys put together from boxes, balls and rods, one colour each, that look different from every side."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from whenwhere.worlds.paths import Key, Trajectory, Vector
from whenwhere.worlds.scene import CYLINDER_FLATNESS, Object

_WHEEL, _TYRE = 0.26, 0.1  # radius and half thickness


class _Part(NamedTuple):
    shape: str
    place: Vector  # x is forward, y to the left, z up; the floor is z = 0
    sizes: Vector  # half, along x, y and z; of a wheel: radius, radius, half thickness
    wheel: bool = False


def _pair(shape: str, place: Vector, sizes: Vector) -> tuple[_Part, _Part]:
    x, y, z = place
    return _Part(shape, (x, y, z), sizes), _Part(shape, (x, -y, z), sizes)


def _wheels(x: float, y: float) -> tuple[_Part, ...]:
    return tuple(
        _Part("cylinder", (way * x, side * y, _WHEEL), (_WHEEL, _WHEEL, _TYRE), True)
        for way in (1, -1)
        for side in (1, -1)
    )


_PARTS: dict[str, tuple[_Part, ...]] = {
    "animal": (
        _Part("cube", (0, 0, 0.75), (0.75, 0.32, 0.28)),
        _Part("sphere", (0.85, 0, 1.15), (0.32, 0.26, 0.28)),
        _Part("cube", (1.18, 0, 1.08), (0.16, 0.12, 0.12)),
        _Part("cone", (-0.8, 0, 1.15), (0.1, 0.1, 0.3)),
        *_pair("cylinder", (0.55, 0.2, 0.25), (0.13, 0.13, 0.25)),
        *_pair("cylinder", (-0.55, 0.2, 0.25), (0.13, 0.13, 0.25)),
    ),
    "human": (
        _Part("cube", (0, 0, 1.15), (0.22, 0.4, 0.4)),
        _Part("sphere", (0, 0, 1.8), (0.26, 0.26, 0.28)),
        _Part("cube", (0.45, 0.48, 1.35), (0.5, 0.1, 0.1)),
        _Part("cube", (0, -0.5, 1.15), (0.1, 0.1, 0.38)),
        *_pair("cylinder", (0, 0.2, 0.4), (0.15, 0.15, 0.4)),
        *_pair("cube", (0.15, 0.2, 0.08), (0.28, 0.14, 0.08)),
    ),
    "plane": (
        _Part("sphere", (0, 0, 0.6), (1.25, 0.22, 0.24)),
        _Part("cube", (0.2, 0, 0.6), (0.28, 1.15, 0.06)),
        _Part("cube", (-1.0, 0, 0.65), (0.16, 0.45, 0.05)),
        _Part("cube", (-1.0, 0, 0.92), (0.18, 0.05, 0.3)),
        *_pair("cylinder", (0.4, 0.25, 0.2), (0.12, 0.12, 0.2)),
    ),
    "truck": (
        _Part("cube", (0.85, 0, 0.7), (0.32, 0.42, 0.42)),
        _Part("cube", (-0.35, 0, 0.95), (0.78, 0.48, 0.62)),
        *_wheels(0.7, 0.44),
    ),
    "car": (
        _Part("cube", (0, 0, 0.48), (1.15, 0.45, 0.2)),
        _Part("cube", (-0.3, 0, 0.85), (0.5, 0.4, 0.2)),
        *_pair("sphere", (1.12, 0.28, 0.5), (0.12, 0.12, 0.12)),
        *_wheels(0.7, 0.44),
    ),
}
KINDS = tuple(_PARTS)
"""The kinds of toys, those of smallNORB."""


def toy(kind: str, chance: random.Random, place: tuple[float, float], yaw: float) -> tuple[Object, ...]:
    """Build a toy that stands on the floor.

    Args:
        kind: one of `KINDS`.
        chance: of its proportions, each up to 15 % more or less, and of how grey it is.
        place: x and y of its middle.
        yaw: degrees by which its front is turned to the left of the x axis.

    Returns:
        Its parts, each with the yaw of the toy, but for wheels.
    """
    factors = [chance.uniform(0.85, 1.15) for _ in range(3)]
    grey = chance.randint(110, 210)
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    found = []
    for part in _PARTS[kind]:
        x, y, z = (at * factor for at, factor in zip(part.place, factors, strict=True))
        wide, deep, tall = (
            part.sizes if part.wheel else (size * factor for size, factor in zip(part.sizes, factors, strict=True))
        )
        spot = (place[0] + cos * x - sin * y, place[1] + sin * x + cos * y, part.place[2] if part.wheel else z)
        turn, tilt = (yaw + 90.0, 90.0) if part.wheel else (yaw, 0.0)
        stretch = (wide, deep, tall / CYLINDER_FLATNESS if part.shape == "cylinder" else tall)
        shade = grey // 2 if part.wheel else grey
        path = Trajectory((Key(0.0, spot, turn, tilt),))
        found.append(Object(part.shape, "gray", "rubber", "large", path, 1.0, stretch, 0.0, (shade, shade, shade)))
    return tuple(found)
