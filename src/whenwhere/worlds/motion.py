"""The atomic motions of the CATER benchmark as steps appended to trajectories, and what may stand where.

A motion never looks at other objects; :func:`touching` tells whether paths meet, and who makes a scene draws again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whenwhere.errors import InputError
from whenwhere.worlds.scene import Key, Object, Trajectory

LIFT = 2.0
"""By how much a picked object rises."""
CONE_ROOM = 0.02
"""Least distance between a covered object and the cone's side."""
_TUMBLE_KEYS = 9


def slide(path: Trajectory, start: float, end: float, to: tuple[float, float]) -> Trajectory:
    """Append a straight move over the floor to (x, y) between two times in seconds.

    Raises:
        InputError: the path moves after ``start``, or the end is not after it.
    """
    return path.then(*_span(path, start, end, to))


def pick_place(
    path: Trajectory, start: float, end: float, to: tuple[float, float], height: float | None = None, lift: float = LIFT
) -> Trajectory:
    """Append: rise for a fifth of the time, go to (x, y) for three fifths, come down for a fifth.

    Args:
        path: until now.
        start, end: seconds.
        to: where the object is put.
        height: of its centre there; None keeps that of the start.
        lift: by how much it rises.

    Raises:
        InputError: see `slide`.
    """
    first, last = _span(path, start, end, to)
    x, y, z = first.position
    fifth = (end - start) / 5
    down = z if height is None else height
    top = max(z, down) + lift
    return path.then(
        first,
        _moved(first, start + fifth, (x, y, top)),
        _moved(first, end - fifth, (*to, top)),
        _moved(last, end, (*to, down)),
    )


def rotate(path: Trajectory, thing: Object, start: float, end: float, degrees: float = 90.0) -> Trajectory:
    """Append a turn about the object's own y axis: it tumbles in place, its lowest point on the floor.

    The path keeps to the floor with an error below 2 % of the radius, as it is linear between nine keys.

    Raises:
        InputError: see `slide`.
    """
    first, _ = _span(path, start, end, path.last.position[:2])
    x, y, _ = first.position
    keys = []
    for step in range(_TUMBLE_KEYS):
        part = step / (_TUMBLE_KEYS - 1)
        tilt = first.tilt + degrees * part
        height = thing.height(tilt) * first.scale
        keys.append(Key(start + (end - start) * part, (x, y, height), first.yaw, tilt, first.scale))
    return path.then(*keys)


def ride(path: Trajectory, start: float, leader: Trajectory) -> Trajectory:
    """Append the moves over the floor that another path makes from ``start`` on, as a covered object follows its cone.

    Args:
        path: of the object that follows.
        start: seconds; keys of the leader from then on are followed, keeping the offset and the own height.
        leader: the path of what carries it, its new motion included.
    """
    lead_x, lead_y, _ = leader.position(start)
    x, y, z = path.last.position
    keys = [_moved(path.last, start, (x, y, z))] if start > path.last.time else []
    for key in leader.keys:
        if key.time > start:
            place = (x + key.position[0] - lead_x, y + key.position[1] - lead_y, z)
            keys.append(_moved(path.last, key.time, place))
    return Trajectory(path.keys + tuple(keys))


def fits_under(inner: Object, cone: Object) -> bool:
    """Whether an object that stands upright on the floor has room under a cone, without touching its side."""
    plain = (1.0, 1.0, 1.0)
    if cone.shape != "cone" or cone.stretch != plain:
        return False
    r, tall = cone.radius, 2 * cone.radius
    if inner.shape in ("sphere", "snitch") and inner.stretch == plain:
        # distance of the ball's centre, on the axis, from the side
        ball = inner.radius if inner.shape == "sphere" else inner.radius * 0.6
        room = (tall - ball) * r / float(np.hypot(r, tall))
        ring = inner.shape == "sphere" or inner.radius + CONE_ROOM < r * (1 - inner.rest_height / tall)
        return ring and ball + CONE_ROOM < room
    if inner.shape == "cone" and inner.stretch == plain:
        return inner.radius + CONE_ROOM * float(np.sqrt(5)) / 2 < r  # the sides are parallel
    top = 2 * inner.rest_height
    return inner.footprint + CONE_ROOM < r * (1 - top / tall)


def clearance(one: Object, other: Object, times: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the gap between two objects at (T,) times: below zero they may overlap, above zero they do not.

    Exact for spheres; other shapes are held by a standing cylinder around them, tilted ones by a ball.
    """
    here, there = one.path.poses(times), other.path.poses(times)
    apart = here.position - there.position
    level = np.sqrt(apart[:, 0] ** 2 + apart[:, 1] ** 2)
    if one.shape == other.shape == "sphere" and one.stretch == other.stretch == (1.0, 1.0, 1.0):
        return np.sqrt(level**2 + apart[:, 2] ** 2) - one.radius * here.scale - other.radius * there.scale
    wide = _reach(one, here.tilt) * here.scale + _reach(other, there.tilt) * there.scale
    tall = _rise(one, here.tilt) * here.scale + _rise(other, there.tilt) * there.scale
    return np.maximum(level - wide, np.abs(apart[:, 2]) - tall)


def touching(one: Object, other: Object, times: Sequence[float] | np.ndarray, gap: float = 0.0) -> bool:
    """Whether two objects come nearer than ``gap`` at one of (T,) times."""
    return bool((clearance(one, other, times) < gap).any())


def _reach(thing: Object, tilt: np.ndarray) -> np.ndarray:
    return np.where(tilt % 180 == 0, thing.footprint, thing.bound)


def _rise(thing: Object, tilt: np.ndarray) -> np.ndarray:
    return np.where(tilt % 180 == 0, thing.rest_height, thing.bound)


def _span(path: Trajectory, start: float, end: float, to: tuple[float, float]) -> tuple[Key, Key]:
    """The pose at the start of a motion, and that pose moved to (x, y) at its end."""
    if start < path.last.time or end <= start:
        raise InputError(
            f"a motion from {start:g} s to {end:g} s after a path that ends at {path.last.time:g} s",
            "motions one after the other, each with an end after its start",
        )
    first = _moved(path.last, start, path.last.position)
    return first, _moved(first, end, (*to, first.position[2]))


def _moved(key: Key, time: float, position: tuple[float, float, float]) -> Key:
    return Key(time, position, key.yaw, key.tilt, key.scale)
