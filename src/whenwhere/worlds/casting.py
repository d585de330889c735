"""Which rays meet which objects: the frames of a batch, the pixels in which each object can show, and the hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from whenwhere.worlds.camera import seen_from
from whenwhere.worlds.rays import Vec, hits
from whenwhere.worlds.scene import SHAPES, Scene


class Hits(NamedTuple):
    """Rays that meet objects, one each: by spot and row (int64), with depth, point and ray in the object's frame."""

    spots: Tensor
    rows: Tensor
    depths: Tensor
    points: Vec
    rays: Vec

    def pick(self, index: Tensor) -> Hits:
        """Return those at an index or a mask."""
        return Hits(
            self.spots[index], self.rows[index], self.depths[index], self.points.pick(index), self.rays.pick(index)
        )


class Lamp(NamedTuple):
    """A light of a batch: positions (1 or T, 3), numpy."""

    strength: float
    shadows: bool
    positions: np.ndarray


class Frames:
    """T frames of H x W pixels with up to N objects, as tensors.

    Lists are flat: a *row* is an object in a frame (``frame * N + object``), a *spot* a pixel of a frame
    (``(frame * H + line) * W + column``). A scene with fewer than N objects has rows that are not drawn.

    Args:
        scenes: what to render: one for all frames, or one for each; all with the same looks of floor, background,
            camera and lights, which may stand elsewhere.
        times: (T,) seconds.
        size: height and width in pixels.
        device: where to compute.

    Attributes:
        eye, axes: of the camera, (T, 3) and (T, 3, 3), numpy.
        centres, bounds, shown: of the objects, (T, N, 3), (T, N) and (T, N) bool, numpy: their middle, the radius of
            their bounding sphere, and whether they are drawn.
        kinds, metal, glow, colours: of the rows, (rows,), (rows,) bool, (rows,) and (3, rows): number of the shape,
            material, own light, and light under a gamma of 2.
        middles: (3, rows) as `centres`; turns: (9, rows) from an object's frame to the world, row by row of the
            matrix; into: its inverse by the radii, which takes the object to radius 1; radii: (3, rows) along its axes.
        views: (9, T), as `axes`; eyes: (3, T).
    """

    def __init__(self, scenes: Sequence[Scene], times: np.ndarray, size: tuple[int, int], device: torch.device) -> None:
        self.scene, self.device = scenes[0], device
        self.height, self.width = size
        self.frames = len(times)
        parts = [(scenes[0], times)] if len(scenes) == 1 else list(zip(scenes, times[:, None], strict=True))
        views = [scene.camera.frames(at) for scene, at in parts]
        self.eye = np.concatenate([eye for eye, _ in views])  # (T, 3)
        self.axes = np.concatenate([axes for _, axes in views])  # (T, 3, 3) rows right, up, forward
        camera = self.scene.camera
        aspect = camera.aspect or self.width / self.height
        self.spread = (camera.focal, camera.focal * aspect)
        column = ((np.arange(self.width) + 0.5) * 2 / self.width - 1) / self.spread[0]
        row = (1 - (np.arange(self.height) + 0.5) * 2 / self.height) / self.spread[1]
        self.columns, self.lines = self.tensor(column), self.tensor(row)  # slopes of the rays through pixel centres
        self.count = max(len(scene.objects) for scene in scenes)
        self.total = self.frames * self.count
        self.lights = [
            Lamp(
                self.scene.lights[number].strength,
                self.scene.lights[number].shadows,
                np.array([scene.lights[number].position for scene in scenes]).reshape(-1, 3),
            )
            for number in range(len(self.scene.lights))
        ]
        self._objects(parts)
        self.eyes = self.tensor(self.eye.T)
        self.views = self.tensor(self.axes.reshape(-1, 9).T)

    def _objects(self, parts: Sequence[tuple[Scene, np.ndarray]]) -> None:
        """Collect what is known of the objects of scenes at their times."""
        shape = (self.frames, self.count)
        self.centres, self.shown, self.bounds = np.zeros((*shape, 3)), np.zeros(shape, bool), np.zeros(shape)
        turns, radii = np.tile(np.eye(3), (*shape, 1, 1)), np.ones((*shape, 3))
        kinds, metal, glow, colours = (
            np.zeros(shape, np.int64),
            np.zeros(shape, bool),
            np.zeros(shape),
            np.zeros((*shape, 3)),
        )
        first = 0
        for scene, at in parts:
            some = slice(first, first + len(at))
            first += len(at)
            self.shown[some, : len(scene.objects)] = ~scene.hidden(at)
            for number, thing in enumerate(scene.objects):
                pose = thing.path.poses(at)
                self.centres[some, number] = pose.position
                turns[some, number] = pose.rotation()
                radii[some, number] = thing.radius * pose.scale[:, None] * np.array(thing.stretch)
                self.bounds[some, number] = thing.bound * pose.scale
                kinds[some, number] = SHAPES.index(thing.shape)
                metal[some, number] = thing.material == "metal"
                glow[some, number] = thing.glow
                colours[some, number] = squared(thing.rgb)
        self._inverse = np.swapaxes(turns, 2, 3).reshape(-1, 3, 3)
        self._scale = radii.reshape(-1, 3)
        self._kinds = kinds.reshape(-1)
        self.into = self.tensor((self._inverse / self._scale[..., None]).reshape(-1, 9).T)
        self.turns = self.tensor(turns.reshape(-1, 9).T)
        self.middles = self.tensor(self.centres.reshape(-1, 3).T)
        self.radii = self.tensor(self._scale.T)
        self.kinds = torch.from_numpy(self._kinds).to(self.device)
        self.metal = torch.from_numpy(metal.reshape(-1)).to(self.device)
        self.glow, self.colours = self.tensor(glow.reshape(-1)), self.tensor(colours.reshape(-1, 3).T)

    def tensor(self, values: np.ndarray) -> Tensor:
        """Return an array as float32 on the device."""
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)

    def _rectangles(self) -> np.ndarray:
        """Pixel rectangles (T, N, 4) x1, y1, x2, y2 (exclusive) that hold the pictures of the bounding spheres."""
        right, up, depth = seen_from(self.eye, self.axes, self.centres)
        radii = self.bounds
        room = depth * depth - radii * radii
        ahead = room > 1e-6
        safe = np.where(ahead, room, 1.0)
        sides = []
        for offset, spread, pixels, sign in (
            (right, self.spread[0], self.width, 1),
            (up, self.spread[1], self.height, -1),
        ):
            swing = radii * np.sqrt(np.maximum(offset * offset + room, 0))
            ends = [(1 + sign * spread * (offset * depth + way * swing) / safe) * pixels / 2 for way in (-sign, sign)]
            low = np.where(ahead, np.floor(ends[0] - 0.5), 0)
            high = np.where(ahead, np.ceil(ends[1] + 0.5), pixels)
            sides.append((np.clip(low, 0, pixels), np.clip(high, 0, pixels)))
        (x1, x2), (y1, y2) = sides
        none = ~self.shown | (depth <= -radii) | (ahead & (depth < 0))
        x2, y2 = np.where(none, x1, x2), np.where(none, y1, y2)
        return np.stack([x1, y1, x2, y2], axis=-1).astype(np.int64)

    def spread_out(self, rectangles: np.ndarray, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """List the spots of each row's rectangle: spots (n,) and rows (n,), row after row."""
        x1, y1, x2, y2 = rectangles.T
        wide, counts = x2 - x1, (x2 - x1) * (y2 - y1)
        keep = counts > 0
        x1, y1, wide, counts, rows = x1[keep], y1[keep], wide[keep], counts[keep], rows[keep]
        start = (rows // max(1, self.count) * self.height + y1) * self.width + x1
        before = np.cumsum(counts) - counts
        table = torch.from_numpy(np.stack([rows, wide, start, before])).to(self.device)
        each = torch.from_numpy(counts).to(self.device)
        rows_, wide_, start_, before_ = table.repeat_interleave(each, dim=1)
        number = torch.arange(len(rows_), device=self.device) - before_
        line = torch.div(number, wide_, rounding_mode="floor")
        return start_ + line * self.width + (number - line * wide_), rows_

    def by_shape(self) -> list[tuple[str, np.ndarray]]:
        """Rows of the objects of each shape."""
        found = [(shape, np.flatnonzero(self._kinds == number)) for number, shape in enumerate(SHAPES)]
        return [(shape, rows) for shape, rows in found if len(rows)]

    def light(self, lamp: Lamp, frame: Tensor) -> Vec:
        """Return where a light is in the frames of points, (n,) each."""
        places = self.tensor(lamp.positions.T)
        return Vec(*(places.expand(3, len(frame)) if len(lamp.positions) == 1 else places[:, frame]))

    def cast(self) -> Hits:
        """Return all hits, nearest or not."""
        rectangles = self._rectangles().reshape(-1, 4)
        axes = np.repeat(self.axes, self.count, axis=0)  # (rows, 3, 3)
        away = (self.eye[:, None] - self.centres).reshape(-1, 3)
        # the eye and the camera's three axes in the objects' frames of radius 1
        local = [_apply(self._inverse, vector) / self._scale for vector in (away, axes[:, 0], axes[:, 1], axes[:, 2])]
        table = self.tensor(np.concatenate(local, axis=1).T)  # (12, rows)
        none = torch.zeros(0, device=self.device)
        parts = [(none.long(), none.long(), *[none] * 7)]
        for shape, members in self.by_shape():
            spots, rows = self.spread_out(rectangles[members], members)
            across, down = self._slopes(spots)
            ox, oy, oz, rx, ry, rz, ux, uy, uz, fx, fy, fz = table[:, rows]
            ray = Vec(fx + across * rx + down * ux, fy + across * ry + down * uy, fz + across * rz + down * uz)
            depth, point = hits(shape, Vec(ox, oy, oz), ray)
            found = torch.nonzero(depth < torch.inf)[:, 0]
            parts.append((spots[found], rows[found], depth[found], *point.pick(found), *ray.pick(found)))
        spots, rows, depths, *rest = (torch.cat(part) for part in zip(*parts, strict=True))
        return Hits(spots, rows, depths, Vec(*rest[:3]), Vec(*rest[3:]))

    def _slopes(self, spots: Tensor) -> tuple[Tensor, Tensor]:
        return self.columns[spots % self.width], self.lines[
            torch.div(spots, self.width, rounding_mode="floor") % self.height
        ]

    def rays(self, spots: Tensor) -> tuple[Tensor, Vec]:
        """Frames and directions in the world of the rays through spots; the depth of a hit is its multiple of them."""
        across, down = self._slopes(spots)
        frame = torch.div(spots, self.height * self.width, rounding_mode="floor")
        rx, ry, rz, ux, uy, uz, fx, fy, fz = self.views[:, frame]
        return frame, Vec(fx + across * rx + down * ux, fy + across * ry + down * uy, fz + across * rz + down * uz)


def squared(rgb: tuple[int, int, int]) -> tuple[float, ...]:
    """Return the light of an sRGB colour, 0 to 1 per channel, under a gamma of 2."""
    return tuple((value / 255) ** 2 for value in rgb)


def _apply(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Matrix (n, 3, 3) times vector (n, 3), in a fixed order of additions."""
    x, y, z = vectors.T
    return np.stack([matrices[:, i, 0] * x + matrices[:, i, 1] * y + matrices[:, i, 2] * z for i in range(3)], axis=-1)
