"""What the tests know of the shapes on their own: which points lie inside."""

from __future__ import annotations

from functools import cache

import numpy as np

from whenwhere.worlds.scene import Object


def inside(shape: str, points: np.ndarray) -> np.ndarray:
    """Which points (n, 3) lie in a shape of radius 1 in its own frame; the ring of a snitch has no volume."""
    x, y, z = points.T
    level = np.hypot(x, y)
    if shape == "sphere":
        return x**2 + y**2 + z**2 < 1
    if shape == "cube":
        return np.abs(points).max(axis=1) < 1
    if shape == "cylinder":
        return (level < 1) & (np.abs(z) < 0.65)
    if shape == "cone":
        return (z > -1) & (level < (1 - z) / 2)
    return x**2 + y**2 + z**2 < 0.36


def into(thing: Object, points: np.ndarray, time: float) -> np.ndarray:
    """Take points (n, 3) of the world into the object's frame of radius 1."""
    pose = thing.path.poses([time])
    return (points - pose.position[0]) @ pose.rotation()[0] / (thing.radius * pose.scale[0] * np.array(thing.stretch))


def surface(thing: Object, time: float, count: int) -> np.ndarray:
    """Points (n, 3) on or just inside an object's surface at a time, in the world."""
    pose = thing.path.poses([time])
    local = unit_surface(thing.shape, count) * thing.radius * pose.scale[0] * np.array(thing.stretch)
    return local @ pose.rotation()[0].T + pose.position[0]


@cache
def unit_surface(shape: str, count: int) -> np.ndarray:
    """The same in the shape's own frame, for a radius of 1."""
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origin = np.array([0, 0, -0.5]) if shape == "cone" else np.zeros(3)
    low, high = np.zeros(count), np.full(count, 2.0)
    for _ in range(30):
        middle = (low + high) / 2
        within = inside(shape, origin + directions * middle[:, None])
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    points = origin + directions * low[:, None]
    if shape == "snitch":
        ring = directions * np.array([1, 1, 0])
        points = np.concatenate([points, ring / np.linalg.norm(ring, axis=1, keepdims=True)])
    return points
