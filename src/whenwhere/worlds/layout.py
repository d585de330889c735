"""Where the objects of CLEVR's relatives stand and from where they are seen: jittered camera, places with margins."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from whenwhere.worlds.camera import Camera
from whenwhere.worlds.scenes import EYE

_TRIES = 50


def jittered_eye(chance: random.Random) -> tuple[float, float, float]:
    """Return where the camera of a clip or a picture stands: that of CLEVR, moved by up to 0.5 on each axis."""
    x, y, z = (value + chance.uniform(-0.5, 0.5) for value in EYE)
    return x, y, z


def directions(camera: Camera) -> dict[str, tuple[float, ...]]:
    """Return left, right, front, behind, above and below as the camera sees them at second 0, along the ground."""
    _, axes = camera.frames([0.0])
    right, _, forward = axes[0].tolist()
    away = np.array([forward[0], forward[1], 0.0])
    behind = (away / np.sqrt(away[0] * away[0] + away[1] * away[1])).tolist()
    found = {
        "right": right,
        "left": [-value for value in right],
        "behind": behind,
        "front": [-value for value in behind],
    }
    return {
        **{name: tuple(value) for name, value in found.items()},
        "above": (0.0, 0.0, 1.0),
        "below": (0.0, 0.0, -1.0),
    }


def spread(
    chance: random.Random,
    radii: Sequence[float],
    extent: float,
    ways: Mapping[str, Sequence[float]],
    gap: float,
    margin: float,
) -> list[tuple[float, float]] | None:
    """Draw places on the ground that are apart.

    Args:
        chance: of the places.
        radii: of the objects.
        extent: places are at x and y between -extent and extent.
        ways: from `directions`; objects are at least ``margin`` apart along left-right and along front-behind.
        gap: least distance between the circles of the objects.
        margin: see above.

    Returns:
        x and y of each, or None when one found no room in 50 tries.
    """
    places: list[tuple[float, float]] = []
    for radius in radii:
        for _ in range(_TRIES):
            x, y = chance.uniform(-extent, extent), chance.uniform(-extent, extent)
            if all(
                _apart(x - there[0], y - there[1], radius + other + gap, ways, margin)
                for there, other in zip(places, radii, strict=False)
            ):
                places.append((x, y))
                break
        else:
            return None
    return places


def _apart(x: float, y: float, least: float, ways: Mapping[str, Sequence[float]], margin: float) -> bool:
    if x * x + y * y < least * least:
        return False
    return all(not 0 < abs(x * ways[way][0] + y * ways[way][1]) < margin for way in ("right", "behind"))
