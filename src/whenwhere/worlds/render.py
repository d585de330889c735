"""Pictures of a scene, with what is in every pixel: analytic ray casting in plain torch, many frames at once.

Each object is tested only where its bounding sphere shows, and each shadow only where that of the bounding sphere can
fall, so that the work follows the pixels that are covered and not pixels times objects. Colours are mixed with +, -, *,
and square roots, light adding up in the square of the sRGB value (a gamma of 2): a frame is the same to the bit
whatever the batch it is rendered in, the number of threads or the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whenwhere.errors import InputError
from whenwhere.worlds.rays import Vec, hits, normals
from whenwhere.worlds.scene import SHAPES, Light, Scene

_CHUNK = 1 << 17  # pixels rendered at once: the working memory stays below some 100 MB


@dataclass(frozen=True)
class Rendered:
    """T frames of H x W pixels of a scene with N objects. All arrays are numpy.

    Args:
        times: (T,) float64, seconds.
        rgb: (T, H, W, 3) uint8, sRGB.
        masks: (T, H, W) int16, index of the object that shows; -1 for floor and background.
        depth: (T, H, W) float32, distance along the camera's axis; infinity for the background.
        boxes: (T, N, 4) float32, x1, y1, x2, y2 in pixels around what is visible of each object (x2, y2 exclusive);
            NaN where nothing is.
        pixels: (T, N) int64, number of visible pixels.
        alone: (T, N) int64, number of pixels that would be visible if the object were the only one; 0 where it is
            outside the picture or under a cone.
        positions: (T, N, 3) float64, centres in the world.
        centres: (T, N, 3) float64, column and row of the projected centres in pixels (not clipped) and their depth.
    """

    times: np.ndarray
    rgb: np.ndarray
    masks: np.ndarray
    depth: np.ndarray
    boxes: np.ndarray
    pixels: np.ndarray
    alone: np.ndarray
    positions: np.ndarray
    centres: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """(T, N) bool: at least one pixel shows."""
        return self.pixels > 0

    @property
    def visible_fraction(self) -> np.ndarray:
        """(T, N) float64 in 0..1: visible pixels by those of the object alone; 0 where there are none."""
        return self.pixels / np.maximum(self.alone, 1)


def render(
    scene: Scene,
    times: Sequence[float] | np.ndarray,
    size: tuple[int, int],
    *,
    device: str | torch.device = "cpu",
    chunk: int | None = None,
) -> Rendered:
    """Render a scene at the given times.

    Args:
        scene: what to render.
        times: (T,) seconds, in any order; T is at least 1.
        size: height and width in pixels.
        device: where to compute.
        chunk: frames rendered at once; None takes as many as fit some 100 MB. The result does not depend on it.

    Raises:
        InputError: no time, or a size below one pixel.
    """
    height, width = size
    at = np.asarray(times, np.float64)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all():
        raise InputError(f"times of shape {at.shape}", "a list of at least one finite number of seconds")
    if height < 1 or width < 1 or (chunk is not None and chunk < 1):
        raise InputError(f"size {size}, chunk {chunk}", "at least one pixel and one frame")
    chunk = chunk or max(1, _CHUNK // (height * width))
    parts = []
    with torch.inference_mode():
        for first in range(0, len(at), chunk):
            parts.append(_Batch(scene, at[first : first + chunk], size, torch.device(device)).render())
    rgb, masks, depth, boxes, pixels, alone = (np.concatenate(part) for part in zip(*parts, strict=True))
    positions = scene.positions(at)
    return Rendered(at, rgb, masks, depth, boxes, pixels, alone, positions, scene.camera.project(positions, at, size))


class _Batch:
    """The frames of one chunk. Flat lists: a *row* is an object in a frame, a *spot* a pixel of a frame."""

    def __init__(self, scene: Scene, times: np.ndarray, size: tuple[int, int], device: torch.device) -> None:
        self.scene, self.device = scene, device
        self.height, self.width = size
        self.frames = len(times)
        self.eye, self.axes = scene.camera.frames(times)  # (T, 3), (T, 3, 3) rows right, up, forward
        aspect = scene.camera.aspect or self.width / self.height
        self.spread = (scene.camera.focal, scene.camera.focal * aspect)
        column = ((np.arange(self.width) + 0.5) * 2 / self.width - 1) / self.spread[0]
        row = (1 - (np.arange(self.height) + 0.5) * 2 / self.height) / self.spread[1]
        self.columns, self.rows = self._tensor(column), self._tensor(row)  # slopes of the rays through pixel centres
        count = len(scene.objects)
        self.centres = scene.positions(times)  # (T, N, 3)
        self.shown = ~scene.hidden(times)  # (T, N)
        poses = [thing.path.poses(times) for thing in scene.objects]
        empty = np.zeros((self.frames, 0, 3, 3))
        self.turns = np.stack([pose.rotation() for pose in poses], axis=1) if poses else empty  # (T, N, 3, 3)
        radii = [thing.radius * pose.scale for thing, pose in zip(scene.objects, poses, strict=True)]
        self.radii = np.stack(radii, axis=1) if radii else np.zeros((self.frames, 0))
        bounds = np.array([thing.bound / thing.radius for thing in scene.objects])
        self.bounds = self.radii * bounds  # (T, N)
        self.total = self.frames * count
        # rows of R^T / radius: they take vectors of the world into an object's frame of radius 1
        inverse = np.swapaxes(self.turns, 2, 3) / self.radii[..., None, None]
        self.into = self._tensor(inverse.reshape(self.total, 3, 3))
        self.out = self._tensor(self.turns.reshape(self.total, 3, 3))
        self.middles = self._tensor(self.centres.reshape(self.total, 3))
        self.eyes = self._tensor(self.eye)
        self.views = self._tensor(self.axes)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)

    def render(self) -> tuple[np.ndarray, ...]:
        floor, fade = self._floor()  # (T*H*W,) depth, infinity above the horizon
        spots, rows, depths, points, directions = self._candidates()
        found = depths < torch.inf
        spots, rows, depths, shape_points, shape_rays = (
            spots[found],
            rows[found],
            depths[found],
            points.pick(found),
            directions.pick(found),
        )
        nearest = floor.scatter_reduce(0, spots, depths, "amin")
        wins = depths == nearest[spots]
        ids = torch.full_like(spots, 0) if not self.total else rows % len(self.scene.objects)
        none = torch.full_like(floor, len(self.scene.objects), dtype=torch.int64)
        first = none.scatter_reduce(0, spots[wins], ids[wins], "amin")  # of two at the same depth
        wins &= ids == first[spots]
        alone = torch.bincount(rows, minlength=self.total)
        spots, rows = spots[wins], rows[wins]
        pixels = torch.bincount(rows, minlength=self.total)
        masks = torch.where(first == len(self.scene.objects), -1, first).to(torch.int16)
        light = self._shade_floor(floor, fade, masks < 0)  # (T*H*W,) x 3
        colours = self._shade_objects(spots, rows, shape_points.pick(wins), shape_rays.pick(wins))
        channels = []
        for under, over in zip(light, colours, strict=True):
            channel = under.index_put((spots,), over)
            channels.append((channel.clamp(0, 1).sqrt() * 255 + 0.5).to(torch.uint8))
        shape = (self.frames, self.height, self.width)
        count = (self.frames, len(self.scene.objects))
        return (
            torch.stack(channels, dim=-1).view(*shape, 3).cpu().numpy(),
            masks.view(shape).cpu().numpy(),
            nearest.view(shape).cpu().numpy(),
            self._boxes(spots, rows).view(*count, 4).cpu().numpy(),
            pixels.view(count).cpu().numpy(),
            alone.view(count).cpu().numpy(),
        )

    def _boxes(self, spots: Tensor, rows: Tensor) -> Tensor:
        column = (spots % self.width).float()
        line = (spots // self.width % self.height).float()
        far = torch.full((self.total,), torch.inf, device=self.device)
        sides = [
            far.scatter_reduce(0, rows, column, "amin"),
            far.scatter_reduce(0, rows, line, "amin"),
            (-far).scatter_reduce(0, rows, column, "amax") + 1,
            (-far).scatter_reduce(0, rows, line, "amax") + 1,
        ]
        boxes = torch.stack(sides, dim=-1)
        return torch.where(boxes.isinf(), torch.nan, boxes)

    # -- which pixels to test

    def _rectangles(self, centres: np.ndarray, radii: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Pixel rectangles (T, N, 4) x1, y1, x2, y2 (exclusive) that hold the pictures of spheres."""
        seen = centres - self.eye[:, None]
        x, y, z = np.moveaxis(seen, -1, 0)
        a = self.axes[:, None]
        right, up, depth = (a[..., i, 0] * x + a[..., i, 1] * y + a[..., i, 2] * z for i in range(3))
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
        none = ~shown | (depth <= -radii) | (ahead & (depth < 0))
        x2, y2 = np.where(none, x1, x2), np.where(none, y1, y2)
        return np.stack([x1, y1, x2, y2], axis=-1).astype(np.int64)

    def _spread_out(self, rectangles: np.ndarray, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """List the spots of each row's rectangle: spots (n,) and rows (n,), row after row."""
        x1, y1, x2, y2 = rectangles.T
        wide, counts = x2 - x1, (x2 - x1) * (y2 - y1)
        keep = counts > 0
        x1, y1, wide, counts, rows = x1[keep], y1[keep], wide[keep], counts[keep], rows[keep]
        start = (rows // max(1, len(self.scene.objects)) * self.height + y1) * self.width + x1
        before = np.cumsum(counts) - counts
        table = torch.from_numpy(np.stack([rows, wide, start, before])).to(self.device)
        each = torch.from_numpy(counts).to(self.device)
        rows_, wide_, start_, before_ = table.repeat_interleave(each, dim=1)
        number = torch.arange(len(rows_), device=self.device) - before_
        line = torch.div(number, wide_, rounding_mode="floor")
        return start_ + line * self.width + (number - line * wide_), rows_

    def _by_shape(self) -> list[tuple[str, np.ndarray]]:
        """Rows of the objects of each shape."""
        count = len(self.scene.objects)
        found = []
        for shape in SHAPES:
            members = [number for number, thing in enumerate(self.scene.objects) if thing.shape == shape]
            if members:
                found.append((shape, (np.arange(self.frames)[:, None] * count + np.array(members)).reshape(-1)))
        return found

    def _candidates(self) -> tuple[Tensor, Tensor, Tensor, Vec, Vec]:
        """Cast the rays that may hit: spots, rows, depths, and hit points and directions in the objects' frames."""
        rectangles = self._rectangles(self.centres, self.bounds, self.shown).reshape(-1, 4)
        away = (self.eye[:, None] - self.centres).reshape(-1, 3)  # of the eye, from the centres
        inverse = np.swapaxes(self.turns, 2, 3).reshape(-1, 3, 3)
        scale = self.radii.reshape(-1)
        axes = np.repeat(self.axes, len(self.scene.objects), axis=0)  # (rows, 3, 3)
        # in the object's frame: the eye, and the camera's three axes
        local = [_apply(inverse, vector) / scale[:, None] for vector in (away, axes[:, 0], axes[:, 1], axes[:, 2])]
        table = self._tensor(np.concatenate(local, axis=1)).T.contiguous()  # (12, rows)
        parts = []
        for shape, members in self._by_shape():
            spots, rows = self._spread_out(rectangles[members], members)
            across, down = self._slopes(spots)
            ox, oy, oz, rx, ry, rz, ux, uy, uz, fx, fy, fz = table[:, rows]
            direction = Vec(fx + across * rx + down * ux, fy + across * ry + down * uy, fz + across * rz + down * uz)
            depth, point = hits(shape, Vec(ox, oy, oz), direction)
            parts.append((spots, rows, depth, *point, *direction))
        if not parts:
            whole, real = torch.zeros(0, dtype=torch.int64, device=self.device), torch.zeros(0, device=self.device)
            return whole, whole, real, Vec(real, real, real), Vec(real, real, real)
        joined = [torch.cat(part) for part in zip(*parts, strict=True)]
        return joined[0], joined[1], joined[2], Vec(*joined[3:6]), Vec(*joined[6:9])

    def _slopes(self, spots: Tensor) -> tuple[Tensor, Tensor]:
        return self.columns[spots % self.width], self.rows[spots // self.width % self.height]

    def _directions(self, spots: Tensor) -> tuple[Tensor, Vec]:
        """Frames and directions in the world of the rays through spots; the depth of a hit is its multiple of them."""
        across, down = self._slopes(spots)
        frame = torch.div(spots, self.height * self.width, rounding_mode="floor")
        rx, ry, rz, ux, uy, uz, fx, fy, fz = self.views.view(-1, 9).T.contiguous()[:, frame]
        return frame, Vec(fx + across * rx + down * ux, fy + across * ry + down * uy, fz + across * rz + down * uz)

    # -- light

    def _floor(self) -> tuple[Tensor, Tensor]:
        """Depth of the floor in every pixel, infinity above the horizon, and how far it has faded, 0 to 1."""
        views = self.views.view(-1, 9, 1, 1)
        slope = views[:, 8] + self.rows[None, :, None] * views[:, 5] + self.columns * views[:, 2]  # (T, H, W)
        height = self.eyes[:, 2, None, None]
        below = (slope < -1e-6) & (height > 0)
        depth = torch.where(below, -height / torch.where(below, slope, -torch.ones_like(slope)), torch.inf)
        near = torch.where(below, depth, torch.zeros_like(depth)) * 0.03
        fade = torch.where(below, near * near / (near * near + 1), torch.ones_like(depth))
        return depth.reshape(-1), fade.reshape(-1)

    def _shade_floor(self, depth: Tensor, fade: Tensor, bare: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spots = torch.arange(len(depth), device=self.device)
        frame, ray = self._directions(spots)
        seen = depth < torch.inf
        reach = torch.where(seen, depth, torch.zeros_like(depth))
        x, y = self.eyes[frame, 0] + reach * ray.x, self.eyes[frame, 1] + reach * ray.y
        bright = torch.full_like(depth, self.scene.ambient)
        for light in self.scene.lights:
            lx, ly, lz = light.position
            away_x, away_y = lx - x, ly - y
            toward = lz / (away_x * away_x + away_y * away_y + lz * lz).sqrt()
            if light.shadows:
                toward = toward * ~self._floor_shadow(light, x, y, bare & seen)
            bright = bright + light.strength * toward
        if self.scene.checks > 0:
            square = torch.floor(x / self.scene.checks) + torch.floor(y / self.scene.checks)
            bright = bright * torch.where(square * 0.5 == torch.floor(square * 0.5), 1.0, 0.86)
        floor, back = _squared(self.scene.floor), _squared(self.scene.background)
        red, green, blue = (bright * one * (1 - fade) + two * fade for one, two in zip(floor, back, strict=True))
        return red, green, blue

    def _floor_shadow(self, light: Light, x: Tensor, y: Tensor, wanted: Tensor) -> Tensor:
        """Which spots of the floor a light does not reach (bool)."""
        dark = torch.zeros_like(wanted)
        rectangles = self._shadow_rectangles(light).reshape(-1, 4)
        for shape, members in self._by_shape():
            spots, rows = self._spread_out(rectangles[members], members)
            keep = wanted[spots]
            spots, rows = spots[keep], rows[keep]
            ground = Vec(x[spots], y[spots], torch.zeros_like(x[spots]))
            dark[spots[self._blocked(shape, rows, ground, light)]] = True
        return dark

    def _blocked(self, shape: str, rows: Tensor, start: Vec, light: Light) -> Tensor:
        """Whether the objects of rows stand between points and a light (bool)."""
        mx, my, mz = self.middles.T.contiguous()[:, rows]
        turn = self.into.view(-1, 9).T.contiguous()[:, rows]
        lx, ly, lz = light.position
        origin = _turned(turn, start.minus(Vec(mx, my, mz)))
        toward = _turned(turn, Vec(lx - start.x, ly - start.y, lz - start.z))
        distance, _ = hits(shape, origin, toward)
        return (distance > 1e-4) & (distance < 1)

    def _shadow_rectangles(self, light: Light) -> np.ndarray:
        """Pixel rectangles (T, N, 4) that hold the shadows of the bounding spheres on the floor."""
        source = np.array(light.position)
        radii = self.bounds
        x, y = self.centres[..., 0] - source[0], self.centres[..., 1] - source[1]
        drop = source[2] - self.centres[..., 2]
        away = np.sqrt(x * x + y * y)
        along = np.where(
            away[..., None] > 1e-9, np.stack([x, y], axis=-1) / np.maximum(away, 1e-9)[..., None], [1.0, 0.0]
        )
        room = drop * drop - radii * radii
        inside = (drop > 0) & (room > 1e-6)  # else the shadow reaches the horizon
        safe = np.where(inside, room, 1.0)
        swing = radii * np.sqrt(np.maximum(away * away + room, 0))
        near, far = (source[2] * (away * drop + way * swing) / safe for way in (-1, 1))
        half = source[2] * radii * np.sqrt(np.maximum(room, 0)) / safe
        # the shadow is an ellipse; across its axis it is widest off the axis, where it is wider by this factor
        half = half * np.sqrt(np.maximum(away * away + room, 0) / safe)
        corners = [
            source[:2] + at[..., None] * along + side[..., None] * np.stack([-along[..., 1], along[..., 0]], axis=-1)
            for at in (near, far)
            for side in (-half, half)
        ]
        flat = np.stack(corners, axis=2)  # (T, N, 4, 2)
        points = np.concatenate([flat, np.zeros((*flat.shape[:3], 1))], axis=-1)
        px, py, pz = np.moveaxis(points - self.eye[:, None, None], -1, 0)
        a = self.axes[:, None, None]
        right, up, depth = (a[..., i, 0] * px + a[..., i, 1] * py + a[..., i, 2] * pz for i in range(3))
        whole = ~inside | (depth < 0.05).any(axis=-1)
        depth = np.maximum(depth, 0.05)
        column = (1 + self.spread[0] * right / depth) * self.width / 2
        row = (1 - self.spread[1] * up / depth) * self.height / 2
        sides = [
            np.where(whole, 0, np.clip(np.floor(column.min(axis=-1)), 0, self.width)),
            np.where(whole, 0, np.clip(np.floor(row.min(axis=-1)), 0, self.height)),
            np.where(whole, self.width, np.clip(np.ceil(column.max(axis=-1)), 0, self.width)),
            np.where(whole, self.height, np.clip(np.ceil(row.max(axis=-1)), 0, self.height)),
        ]
        rectangles = np.stack(sides, axis=-1).astype(np.int64)
        rectangles[~self.shown] = 0
        return rectangles

    def _shade_objects(self, spots: Tensor, rows: Tensor, local: Vec, ray: Vec) -> tuple[Tensor, Tensor, Tensor]:
        """Light that objects send to the camera, (n,) each for red, green and blue."""
        normal = self._empty(len(spots))
        count = max(1, len(self.scene.objects))
        ids = rows % count
        kinds = torch.tensor([SHAPES.index(thing.shape) for thing in self.scene.objects] or [0], device=self.device)[
            ids
        ]
        for shape, _ in self._by_shape():
            at = torch.nonzero(kinds == SHAPES.index(shape))[:, 0]
            found = normals(shape, local.pick(at), ray.pick(at))
            for whole, part in zip(normal, found, strict=True):
                whole[at] = part
        normal = _turned(self.out.view(-1, 9).T.contiguous()[:, rows], normal)
        middle = Vec(*self.middles.T.contiguous()[:, rows])
        # back from the frame of radius 1 to the world
        scale = self._tensor(self.radii.reshape(-1))[rows]
        point = middle.plus(_turned(self.out.view(-1, 9).T.contiguous()[:, rows], local), scale)
        frame, view = self._directions(spots)
        view = view.unit().times(-1.0)  # to the eye
        facing = normal.dot(view)
        mirror = normal.times(2 * facing).minus(view)
        metal = torch.tensor([thing.material == "metal" for thing in self.scene.objects] or [False], device=self.device)
        shiny = metal[ids].float()
        diffuse = torch.full_like(facing, self.scene.ambient) * (0.75 + 0.25 * normal.z)
        gloss = torch.zeros_like(facing)
        for light in self.scene.lights:
            lx, ly, lz = light.position
            toward = Vec(lx - point.x, ly - point.y, lz - point.z).unit()
            lit = normal.dot(toward).clamp(min=0)
            shine = mirror.dot(toward).clamp(min=0)
            if light.shadows:
                open_ = ~self._object_shadow(light, frame, ids, point)
                lit, shine = lit * open_, shine * open_
            diffuse = diffuse + light.strength * lit
            gloss = gloss + light.strength * torch.where(shiny > 0, 1.3 * _power(shine, 6), 0.12 * _power(shine, 3))
        rim = (1 - facing.clamp(0, 1)) * (1 - facing.clamp(0, 1))
        around = 0.5 + 0.5 * mirror.z
        around = 0.15 + 0.85 * around * around + 0.25 * rim
        colours = self._tensor(np.array([_squared(thing.rgb) for thing in self.scene.objects] or [(0.0, 0.0, 0.0)]))
        weight = diffuse * (1 - 0.55 * shiny) + shiny * 0.6 * around
        red, green, blue = (colour * weight + gloss for colour in colours.T.contiguous()[:, ids])
        return red, green, blue

    def _object_shadow(self, light: Light, frame: Tensor, ids: Tensor, point: Vec) -> Tensor:
        """Which points on objects other objects keep a light from (bool)."""
        dark = torch.zeros_like(ids, dtype=torch.bool)
        count = len(self.scene.objects)
        lx, ly, lz = light.position
        toward = Vec(lx - point.x, ly - point.y, lz - point.z)
        length = toward.dot(toward)
        bounds = self._tensor(np.where(self.shown, self.bounds * 1.001, -1.0).reshape(-1))
        middles = self.middles.T.contiguous()
        for shape, members in self._by_shape():
            spots, rows = [], []
            for number in members[: len(members) // self.frames].tolist():
                row = frame * count + number
                between = Vec(*middles[:, row]).minus(point)
                along = between.dot(toward)
                # twice the distance of the centre from the ray, squared, without a division
                aside = between.dot(between) * length - along * along
                bound = bounds[row]
                near = (ids != number) & (bound > 0) & (aside < bound * bound * length)
                near &= along > -bound * length.sqrt()
                at = torch.nonzero(near)[:, 0]
                spots.append(at)
                rows.append(row[at])
            at, row = torch.cat(spots), torch.cat(rows)
            dark[at[self._blocked(shape, row, point.pick(at), light)]] = True
        return dark

    def _empty(self, count: int) -> Vec:
        x, y, z = torch.zeros(3, count, device=self.device)
        return Vec(x, y, z)


def _squared(rgb: tuple[int, int, int]) -> tuple[float, ...]:
    """Light of an sRGB colour in 0..1, under a gamma of 2."""
    return tuple((value / 255) ** 2 for value in rgb)


def _power(values: Tensor, doublings: int) -> Tensor:
    """Return values to the power ``2 ** doublings``, by squaring."""
    for _ in range(doublings):
        values = values * values
    return values


def _apply(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Matrix (n, 3, 3) times vector (n, 3), in a fixed order of additions."""
    x, y, z = vectors.T
    return np.stack([matrices[:, i, 0] * x + matrices[:, i, 1] * y + matrices[:, i, 2] * z for i in range(3)], axis=-1)


def _turned(matrix: Tensor, v: Vec) -> Vec:
    """Apply matrices (9, n), listed row by row, to vectors."""
    return Vec(
        matrix[0] * v.x + matrix[1] * v.y + matrix[2] * v.z,
        matrix[3] * v.x + matrix[4] * v.y + matrix[5] * v.z,
        matrix[6] * v.x + matrix[7] * v.y + matrix[8] * v.z,
    )
