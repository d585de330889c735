"""Where rays meet the shapes, in closed form: spheres, cubes, cylinders, cones and snitches of radius 1 at the origin.

All functions work on flat tensors, one for each component, and use +, -, *, / and square roots only, which IEEE 754
rounds in one way: the results do not depend on the batch, on the vector unit or on the number of threads.

The marker ("snitch") is a ball with a flat ring like a planet's and not a torus: its hits are a quadratic and a plane,
exact in float32, where the quartic of a torus loses most of its digits; and it keeps its outline at three pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from whenwhere.worlds.scene import CYLINDER_FLATNESS, SNITCH_BALL, SNITCH_RING

_TINY = 1e-12


class Vec(NamedTuple):
    """Vectors by component, float32 (n,) each."""

    x: Tensor
    y: Tensor
    z: Tensor

    def dot(self, other: Vec) -> Tensor:
        """Return the dot products (n,)."""
        return self.x * other.x + self.y * other.y + self.z * other.z

    def plus(self, other: Vec, factor: Tensor | float = 1.0) -> Vec:
        """Return ``self + factor * other``."""
        return Vec(self.x + factor * other.x, self.y + factor * other.y, self.z + factor * other.z)

    def minus(self, other: Vec) -> Vec:
        """Return the difference."""
        return Vec(self.x - other.x, self.y - other.y, self.z - other.z)

    def times(self, factor: Tensor | float) -> Vec:
        """Return the vectors scaled."""
        return Vec(self.x * factor, self.y * factor, self.z * factor)

    def unit(self) -> Vec:
        """Return the vectors with length 1."""
        return self.times(1.0 / self.dot(self).clamp(min=_TINY).sqrt())

    def pick(self, index: Tensor) -> Vec:
        """Return the vectors at an index or a mask."""
        return Vec(self.x[index], self.y[index], self.z[index])


def hits(shape: str, origin: Vec, direction: Vec) -> tuple[Tensor, Vec]:
    """Return how far along rays from outside the shape they meet it, infinity where they do not, and the points.

    Args:
        shape: one of `whenwhere.worlds.scene.SHAPES`.
        origin: where the rays begin, in the shape's frame.
        direction: of any length.

    Returns:
        Distances (n,) float32 in lengths of ``direction``, above zero, and the points that far along.
    """
    # From the point nearest to the centre, so that numbers are small and float32 is exact enough far away too.
    middle = -origin.dot(direction) / direction.dot(direction).clamp(min=_TINY)
    near = origin.plus(direction, middle)
    local = _NEAREST[shape](near, direction, -middle)
    distance = middle + local
    return distance, near.plus(direction, local)


def normals(shape: str, point: Vec, direction: Vec) -> Vec:
    """Return the outward normals of length 1 at points on the shape, in its frame.

    Args:
        shape: as in `hits`.
        point: on the surface.
        direction: of the rays that hit there; a flat ring turns its normal against them.
    """
    zero, one = torch.zeros_like(point.x), torch.ones_like(point.x)
    x, y, z = point
    if shape == "sphere":
        return point.unit()
    if shape == "cube":
        ax, ay, az = x.abs(), y.abs(), z.abs()
        on_x = (ax >= ay) & (ax >= az)
        on_y = ~on_x & (ay >= az)
        on_z = ~on_x & ~on_y
        return Vec(
            torch.where(on_x, x.sign(), zero), torch.where(on_y, y.sign(), zero), torch.where(on_z, z.sign(), zero)
        )
    radial = (x * x + y * y).sqrt()
    if shape == "cylinder":
        cap = z.abs() * (1 / CYLINDER_FLATNESS) > radial
        side = Vec(x, y, zero).unit()
        return Vec(torch.where(cap, zero, side.x), torch.where(cap, zero, side.y), torch.where(cap, z.sign(), zero))
    if shape == "cone":
        base = z + 1 < (1 - z) * 0.5 - radial
        side = Vec(x, y, radial * 0.5).unit()
        return Vec(torch.where(base, zero, side.x), torch.where(base, zero, side.y), torch.where(base, -one, side.z))
    ring = point.dot(point) > ((SNITCH_BALL + SNITCH_RING) / 2) ** 2
    ball = point.unit()
    flat = torch.where(direction.z > 0, -one, one)
    return Vec(torch.where(ring, zero, ball.x), torch.where(ring, zero, ball.y), torch.where(ring, flat, ball.z))


def _sphere(near: Vec, direction: Vec, least: Tensor, radius: float = 1.0) -> Tensor:
    room = radius * radius - near.dot(near)
    reach = (room.clamp(min=0) / direction.dot(direction).clamp(min=_TINY)).sqrt()
    return _first(room > 0, -reach, least)


def _cube(near: Vec, direction: Vec, least: Tensor) -> Tensor:
    enter_x, leave_x = _slab(near.x, direction.x, 1.0)
    enter_y, leave_y = _slab(near.y, direction.y, 1.0)
    enter_z, leave_z = _slab(near.z, direction.z, 1.0)
    enter = torch.maximum(torch.maximum(enter_x, enter_y), enter_z)
    leave = torch.minimum(torch.minimum(leave_x, leave_y), leave_z)
    return _first(enter < leave, enter, least)


def _cylinder(near: Vec, direction: Vec, least: Tensor) -> Tensor:
    a = (direction.x * direction.x + direction.y * direction.y).clamp(min=_TINY)
    b = near.x * direction.x + near.y * direction.y
    room = b * b - a * (near.x * near.x + near.y * near.y - 1)
    root = room.clamp(min=0).sqrt()
    enter_z, leave_z = _slab(near.z, direction.z, CYLINDER_FLATNESS)
    enter = torch.maximum((-b - root) / a, enter_z)
    leave = torch.minimum((-b + root) / a, leave_z)
    return _first((room > 0) & (enter < leave), enter, least)


def _cone(near: Vec, direction: Vec, least: Tensor) -> Tensor:
    # x^2 + y^2 <= m^2 with m = (1 - z) / 2: a double cone, of which the slab keeps the lower half
    m, slope = (1 - near.z) * 0.5, direction.z * -0.5
    a = direction.x * direction.x + direction.y * direction.y - slope * slope
    a = torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a)
    b = near.x * direction.x + near.y * direction.y - m * slope
    room = b * b - a * (near.x * near.x + near.y * near.y - m * m)
    root = room.clamp(min=0).sqrt()
    one, two = (-b - root) / a, (-b + root) / a
    low, high = torch.minimum(one, two), torch.maximum(one, two)
    # a ray steeper than the side leaves one half of the double cone and enters the other
    steep = a < 0
    far = torch.full_like(a, torch.inf)
    enter = torch.where(steep, torch.where(direction.z < 0, high, -far), low)
    leave = torch.where(steep, torch.where(direction.z < 0, far, low), high)
    enter_z, leave_z = _slab(near.z, direction.z, 1.0)
    enter, leave = torch.maximum(enter, enter_z), torch.minimum(leave, leave_z)
    return _first((room > 0) & (enter < leave), enter, least)


def _snitch(near: Vec, direction: Vec, least: Tensor) -> Tensor:
    ball = _sphere(near, direction, least, SNITCH_BALL)
    flat = -near.z / torch.where(direction.z == 0, torch.full_like(direction.z, _TINY), direction.z)
    x, y = near.x + flat * direction.x, near.y + flat * direction.y
    radius = x * x + y * y
    return torch.minimum(ball, _first((radius >= SNITCH_RING**2) & (radius <= 1), flat, least))


def _slab(start: Tensor, direction: Tensor, half: float) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the layer between -half and half."""
    safe = torch.where(direction == 0, torch.full_like(direction, _TINY), direction)
    one, two = (-half - start) / safe, (half - start) / safe
    return torch.minimum(one, two), torch.maximum(one, two)


def _first(hit: Tensor, enter: Tensor, least: Tensor) -> Tensor:
    return torch.where(hit & (enter > least), enter, torch.full_like(enter, torch.inf))


_NEAREST = {"sphere": _sphere, "cube": _cube, "cylinder": _cylinder, "cone": _cone, "snitch": _snitch}
