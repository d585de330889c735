"""Paths through time: where an object or a camera is, and how it is turned, at any moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whenwhere.errors import InputError

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Key:
    """Where an object is at one time.

    Args:
        time: seconds.
        position: x, y, z of the object's centre.
        yaw: degrees about the vertical, counterclockwise seen from above.
        tilt: degrees about the object's own y axis, applied before the yaw.
        scale: factor of the object's radius.
    """

    time: float
    position: Vector
    yaw: float = 0.0
    tilt: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Poses:
    """A trajectory at T times: ``position`` (T, 3), ``yaw``, ``tilt`` (degrees) and ``scale`` (T,), all float64."""

    position: np.ndarray
    yaw: np.ndarray
    tilt: np.ndarray
    scale: np.ndarray

    def rotation(self) -> np.ndarray:
        """Return (T, 3, 3): ``rotation @ v`` takes a vector of the object's frame into the world's."""
        cy, sy = _turn(self.yaw)
        ct, st = _turn(self.tilt)
        zero = np.zeros_like(cy)
        rows = [[cy * ct, -sy, cy * st], [sy * ct, cy, sy * st], [-st, zero, ct]]
        return np.moveaxis(np.array(rows), -1, 0)


@dataclass(frozen=True)
class Trajectory:
    """A path through time: linear between its keys, at rest before the first and after the last.

    Args:
        keys: at least one, at increasing times.

    Raises:
        InputError: there is no key, or the times do not increase.
    """

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        times = [key.time for key in self.keys]
        if not times or any(after <= before for before, after in zip(times, times[1:], strict=False)):
            raise InputError(f"keys at {times}", "at least one key, at strictly increasing times")

    @classmethod
    def still(cls, position: Vector, yaw: float = 0.0) -> Trajectory:
        """Return the path of an object that never moves."""
        return cls((Key(0.0, position, yaw),))

    @property
    def last(self) -> Key:
        """The key at which the path ends."""
        return self.keys[-1]

    def then(self, *keys: Key) -> Trajectory:
        """Return the path with later keys appended; the object rests until ``keys[0]``.

        The first of the keys tells when the rest ends, so it repeats the pose of :attr:`last` at the time of the start;
        it is left out where the path already ends at that time.
        """
        return Trajectory(self.keys + (keys[1:] if keys and keys[0].time == self.last.time else keys))

    def poses(self, times: Sequence[float] | np.ndarray) -> Poses:
        """Return the poses at (T,) times in seconds."""
        at = np.asarray(times, np.float64)
        knots = np.array([key.time for key in self.keys])
        values = np.array([(*key.position, key.yaw, key.tilt, key.scale) for key in self.keys])  # (K, 6)
        x, y, z, yaw, tilt, scale = (np.interp(at, knots, column) for column in values.T)
        return Poses(np.stack([x, y, z], axis=-1), yaw, tilt, scale)

    def position(self, time: float) -> Vector:
        """Return x, y, z at one time."""
        x, y, z = self.poses([time]).position[0].tolist()
        return x, y, z


def _turn(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine, one by one: vectorised kernels may round a number differently at the end of an array."""
    angles = [math.radians(angle) for angle in degrees.tolist()]
    return np.array([math.cos(angle) for angle in angles]), np.array([math.sin(angle) for angle in angles])
