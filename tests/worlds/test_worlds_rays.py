"""Hits and normals against marching through the solids in small steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from world_solids import inside

from whenwhere.worlds.rays import Vec, hits, normals
from whenwhere.worlds.scene import SHAPES

SOLID = [shape for shape in SHAPES if shape != "snitch"]
STEP = 0.002


def rays(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Origins at a distance of 3 to 6 and directions that pass near the middle, of any length."""
    chance = np.random.default_rng(seed)
    origin = chance.normal(size=(count, 3))
    origin *= chance.uniform(3, 6, (count, 1)) / np.linalg.norm(origin, axis=1, keepdims=True)
    direction = (chance.uniform(-0.9, 0.9, (count, 3)) - origin) * chance.uniform(0.2, 3, (count, 1))
    return origin, direction


def vec(values: np.ndarray) -> Vec:
    return Vec(*torch.from_numpy(values.T.astype(np.float32)).contiguous())


@pytest.mark.parametrize("shape", SOLID)
def test_hits_are_where_marching_enters(shape):
    origin, direction = rays(300)
    length = np.linalg.norm(direction, axis=1)
    found, point = hits(shape, vec(origin), vec(direction))
    found, at = found.numpy(), torch.stack(list(point), dim=-1).numpy()
    steps = np.arange(0, 9, STEP)
    for number in range(len(origin)):
        way = origin[number] + steps[:, None] * direction[number] / length[number]
        entered = np.flatnonzero(inside(shape, way))
        if len(entered) == 0:
            # a ray may cut a corner between two steps
            assert np.isinf(found[number]) or not inside(shape, at[number : number + 1] * 1.02)[0]
        elif len(entered) > 2:
            assert found[number] * length[number] == pytest.approx(steps[entered[0]], abs=2 * STEP)
            exact = origin[number] + found[number] * direction[number]
            assert np.allclose(at[number], exact, atol=1e-4)


@pytest.mark.parametrize("shape", SOLID)
def test_normals_part_inside_from_outside(shape):
    origin, direction = rays(400, 1)
    found, point = hits(shape, vec(origin), vec(direction))
    hit = torch.nonzero(found.isfinite())[:, 0]
    point, ray = point.pick(hit), vec(direction).pick(hit)
    normal = torch.stack(list(normals(shape, point, ray)), dim=-1).numpy()
    at = torch.stack(list(point), dim=-1).numpy()
    assert len(at) > 100 and np.allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    step = np.random.default_rng(2).normal(size=at.shape)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    slope = (step * normal).sum(axis=1)
    away = inside(shape, at + 2e-3 * step)
    clear = np.abs(slope) > 0.1
    # all but a few points next to an edge
    assert (away[clear] == (slope[clear] < 0)).mean() > 0.985


def test_a_snitch_is_a_ball_and_a_flat_ring():
    down = np.array([[0, 0, -1.0]]).repeat(4, axis=0)
    above = np.array([[0.0, 0, 5], [0.9, 0, 5], [0.7, 0, 5], [1.1, 0, 5]])
    found, point = hits("snitch", vec(above), vec(down))
    assert found[:2].numpy() == pytest.approx([4.4, 5.0])  # the ball's top at 0.6, the ring at 0
    assert found[2:].isinf().all()  # between ball and ring, and outside
    normal = normals("snitch", point.pick(torch.tensor([0, 1])), vec(down).pick(torch.tensor([0, 1])))
    assert normal.z.tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_hit_behind_the_origin(shape):
    origin, direction = rays(50, 3)
    found, _ = hits(shape, vec(origin), vec(-direction))
    assert found.isinf().all()
