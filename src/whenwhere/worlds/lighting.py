"""How bright every spot is: the floor and the objects under the scene's lights, with hard shadows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from whenwhere.worlds.camera import seen_from
from whenwhere.worlds.casting import Frames, Hits, Lamp, squared
from whenwhere.worlds.rays import Vec, hits, normals
from whenwhere.worlds.scene import SHAPES

_FADE = 0.03  # the floor has half faded into the background at a depth of 1 / _FADE
_CHECK = 0.86  # brightness of the dark squares


class Floor(NamedTuple):
    """The floor in every pixel, float32 (F, H, W); F is 1 where the camera stands still, else T."""

    depth: Tensor  # infinity above the horizon
    x: Tensor
    y: Tensor
    fade: Tensor  # into the background, 0 to 1


def floor_of(frames: Frames) -> Floor:
    """Return where the rays through all pixels meet the floor."""
    some = 1 if (frames.eye == frames.eye[0]).all() and (frames.axes == frames.axes[0]).all() else frames.frames
    views = frames.views[:, :some, None, None]
    across, down = frames.columns, frames.lines[:, None]
    x, y, z = (views[6 + i] + across * views[i] + down * views[3 + i] for i in range(3))  # (F, H, W)
    eye_x, eye_y, height = frames.eyes[:, :some, None, None]
    below = (z < -1e-6) & (height > 0)
    depth = -height / torch.where(below, z, -torch.ones_like(z))
    near = depth * _FADE
    fade = torch.where(below, near * near / (near * near + 1), torch.ones_like(depth))
    return Floor(torch.where(below, depth, torch.inf), eye_x + depth * x, eye_y + depth * y, fade)


def shade_floor(frames: Frames, floor: Floor, bare: Tensor) -> list[Tensor]:
    """Return the light of the floor and the background.

    Args:
        frames: the batch.
        floor: from `floor_of`.
        bare: (T*H*W,) bool, spots that no object covers.

    Returns:
        Red, green and blue, (T*H*W,) each, 1 for white, under a gamma of 2.
    """
    scene = frames.scene
    shape = (frames.frames, frames.height, frames.width)
    bright = torch.full_like(floor.x, scene.ambient)
    for light in frames.lights:
        lx, ly, lz = frames.tensor(light.positions.T)[:, :, None, None]  # (1 or T, 1, 1) each
        away_x, away_y = lx - floor.x, ly - floor.y
        bright_z = frames.tensor(light.strength * light.positions[:, 2])[:, None, None]
        toward = bright_z / (away_x * away_x + away_y * away_y + lz * lz).sqrt()
        if light.shadows:
            dark = _floor_shadow(frames, floor, light, bare & (floor.depth < torch.inf).expand(shape).reshape(-1))
            toward = torch.where(dark.view(shape), 0, toward)
        bright = bright + toward
    if scene.checks > 0:
        square = (torch.floor(floor.x / scene.checks) + torch.floor(floor.y / scene.checks)) * 0.5
        bright = bright * torch.where(square == torch.floor(square), 1.0, _CHECK)
    pairs = zip(squared(scene.floor), squared(scene.background), strict=True)
    found = [bright * (one * (1 - floor.fade)) + two * floor.fade for one, two in pairs]
    return [channel.expand(shape).reshape(-1) for channel in found]


def shade_objects(frames: Frames, seen: Hits) -> list[Tensor]:
    """Return the light that objects send to the camera at the hits.

    Rubber is matte with a weak, broad highlight; metal has a small bright one and mirrors a sky over dark ground.

    Returns:
        Red, green and blue, (n,) each, 1 for white, under a gamma of 2.
    """
    scene, rows = frames.scene, seen.rows
    turn = frames.turns[:, rows]
    radii = frames.radii[:, rows]
    # normals of a stretched shape go the other way: divided and not multiplied
    upright = Vec(*(part / radius for part, radius in zip(_normals(frames, seen), radii, strict=True)))
    normal = _turned(turn, upright).unit()
    away = Vec(*(part * radius for part, radius in zip(seen.points, radii, strict=True)))
    point = Vec(*frames.middles[:, rows]).plus(_turned(turn, away))
    frame, ray = frames.rays(seen.spots)
    view = ray.unit().times(-1.0)  # to the eye
    facing = normal.dot(view)
    mirror = normal.times(2 * facing).minus(view)
    shiny = frames.metal[rows]
    diffuse = scene.ambient * (0.75 + 0.25 * normal.z)
    gloss = torch.zeros_like(facing)
    for light in frames.lights:
        toward = frames.light(light, frame).minus(point).unit()
        lit = light.strength * normal.dot(toward).clamp(min=0)
        shine = mirror.dot(toward).clamp(min=0)
        if light.shadows:
            dark = _object_shadow(frames, light, frame, rows, point)
            lit, shine = torch.where(dark, 0, lit), torch.where(dark, 0, shine)
        diffuse = diffuse + lit
        gloss = gloss + light.strength * torch.where(shiny, 1.2 * _power(shine, 6), 0.1 * _power(shine, 3))
    edge = 1 - facing.clamp(0, 1)
    sky = 0.5 + 0.5 * mirror.z
    metallic = 0.5 * diffuse + 0.12 + 0.55 * sky * sky + 0.15 * edge * edge
    weight = torch.where(shiny, metallic, diffuse)
    glow = frames.glow[rows]
    weight, gloss = weight * (1 - glow) + glow, gloss * (1 - glow)
    return [colour * weight + gloss for colour in frames.colours[:, rows]]


def _normals(frames: Frames, seen: Hits) -> Vec:
    kinds = frames.kinds[seen.rows]
    x, y, z = torch.zeros(3, len(kinds), device=frames.device)
    for shape, _ in frames.by_shape():
        at = torch.nonzero(kinds == SHAPES.index(shape))[:, 0]
        x[at], y[at], z[at] = normals(shape, seen.points.pick(at), seen.rays.pick(at))
    return Vec(x, y, z)


def _floor_shadow(frames: Frames, floor: Floor, light: Lamp, wanted: Tensor) -> Tensor:
    """Say which spots of the floor a light does not reach, (T*H*W,) bool; those not wanted may be told wrong."""
    dark = torch.zeros_like(wanted)
    rectangles = _shadow_rectangles(frames, light).reshape(-1, 4)
    x, y = floor.x.reshape(-1), floor.y.reshape(-1)
    for shape, members in frames.by_shape():
        spots, rows = frames.spread_out(rectangles[members], members)
        keep = torch.nonzero(wanted[spots])[:, 0]
        spots, rows = spots[keep], rows[keep]
        place = spots % len(x)  # a still camera has one floor for all frames
        ground = Vec(x[place], y[place], torch.zeros(len(place), device=frames.device))
        dark[spots[_blocked(frames, shape, rows, ground, light)]] = True
    return dark


def _shadow_rectangles(frames: Frames, light: Lamp) -> np.ndarray:
    """Pixel rectangles (T, N, 4) x1, y1, x2, y2 (exclusive) that hold the shadows of bounding spheres on the floor.

    Seen from the light the sphere is a circle; its shadow is an ellipse, and this takes the rectangle around that.
    """
    source, radii = np.moveaxis(light.positions[:, None], -1, 0), frames.bounds  # (3, 1 or T, 1)
    x, y, drop = (np.moveaxis(frames.centres, -1, 0) - source) * np.array([1, 1, -1])[:, None, None]
    away = np.sqrt(x * x + y * y)
    safe = np.maximum(away, 1e-9)
    ahead_x, ahead_y = np.where(away > 1e-9, x / safe, 1.0), np.where(away > 1e-9, y / safe, 0.0)
    room = drop * drop - radii * radii
    falls = (drop > 0) & (room > 1e-6)  # else the shadow reaches the horizon
    room = np.where(falls, room, 1.0)
    height = source[2] / room
    swing = radii * np.sqrt(away * away + room)
    near, far = height * (away * drop - swing), height * (away * drop + swing)
    half = height * swing  # half the length; never below half the width
    ends = [(at, side) for at in (near, far) for side in (-half, half)]
    corners = [
        np.stack(
            [source[0] + at * ahead_x - side * ahead_y, source[1] + at * ahead_y + side * ahead_x, 0 * at], axis=-1
        )
        for at, side in ends
    ]
    right, up, depth = seen_from(frames.eye, frames.axes, np.stack(corners, axis=2))  # (T, N, 4)
    whole = ~falls | (depth < 0.05).any(axis=-1)
    depth = np.maximum(depth, 0.05)
    column = (1 + frames.spread[0] * right / depth) * frames.width / 2
    line = (1 - frames.spread[1] * up / depth) * frames.height / 2
    sides = []
    for pick, whole_side in ((np.min, (0, 0)), (np.max, (frames.width, frames.height))):
        for at, most, all_ in zip((column, line), (frames.width, frames.height), whole_side, strict=True):
            edge = np.floor(pick(at, axis=-1)) if pick is np.min else np.ceil(pick(at, axis=-1))
            sides.append(np.where(whole, all_, np.clip(edge, 0, most)))
    rectangles = np.stack(sides, axis=-1).astype(np.int64)
    rectangles[~frames.shown] = 0
    return rectangles


def _object_shadow(frames: Frames, light: Lamp, frame: Tensor, rows: Tensor, point: Vec) -> Tensor:
    """Say at which points on objects another object keeps a light away, (n,) bool."""
    dark = torch.zeros_like(frame, dtype=torch.bool)
    toward = frames.light(light, frame).minus(point)
    length = toward.dot(toward)
    # a little wider than the objects, and nothing where they are hidden
    bounds = frames.tensor(np.where(frames.shown, frames.bounds * 1.001, -1.0).reshape(-1))
    places, others = [], []
    for number in range(frames.count):
        row = frame * frames.count + number
        between = Vec(*frames.middles[:, row]).minus(point)
        bound = bounds[row]
        along = between.dot(toward)
        # squared distance of the centre from the ray, times the squared length of the ray
        aside = between.dot(between) * length - along * along
        near = (rows != row) & (bound > 0) & (along > 0) & (aside < bound * bound * length)
        at = torch.nonzero(near)[:, 0]
        places.append(at)
        others.append(row[at])
    where, blocking = torch.cat(places), torch.cat(others)
    kinds = frames.kinds[blocking]
    for shape, _ in frames.by_shape():
        of = torch.nonzero(kinds == SHAPES.index(shape))[:, 0]
        at = where[of]
        dark[at[_blocked(frames, shape, blocking[of], point.pick(at), light)]] = True
    return dark


def _blocked(frames: Frames, shape: str, rows: Tensor, start: Vec, light: Lamp) -> Tensor:
    """Say whether the objects of rows stand between points and a light, (n,) bool."""
    turn = frames.into[:, rows]
    origin = _turned(turn, start.minus(Vec(*frames.middles[:, rows])))
    frame = torch.div(rows, frames.count, rounding_mode="floor")
    toward = _turned(turn, frames.light(light, frame).minus(start))
    distance, _ = hits(shape, origin, toward)
    return (distance > 1e-4) & (distance < 1)


def _power(values: Tensor, doublings: int) -> Tensor:
    """Return values to the power ``2 ** doublings``, by squaring."""
    for _ in range(doublings):
        values = values * values
    return values


def _turned(matrix: Tensor, v: Vec) -> Vec:
    """Apply matrices (9, n), row by row, to vectors."""
    return Vec(
        matrix[0] * v.x + matrix[1] * v.y + matrix[2] * v.z,
        matrix[3] * v.x + matrix[4] * v.y + matrix[5] * v.z,
        matrix[6] * v.x + matrix[7] * v.y + matrix[8] * v.z,
    )
