"""Polygons as masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import checks


def polygon_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return the pixels whose centres lie in one of the polygons, by the even-odd rule.

    pycocotools draws the rim as well, so that its masks may be one pixel larger there.

    Args:
        polygons: each x1, y1, x2, y2, ... in pixels, three corners or more.
        height, width: of the picture.

    Returns:
        (H, W) bool.

    Raises:
        InputError: a polygon has an odd number of values or fewer than six, or the size is out of range.
    """
    height, width = checks.raster_size("mask", height, width)
    mask = np.zeros((height, width), bool)
    columns = np.arange(width) + 0.5
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise InputError(f"a polygon of {len(polygon)} values", "x and y of three corners or more")
        x, y = np.asarray(polygon, np.float64).reshape(-1, 2).T
        x2, y2 = np.roll(x, -1), np.roll(y, -1)
        for row in range(max(0, int(y.min())), min(height, int(np.ceil(y.max())))):
            crossed = (y <= row + 0.5) != (y2 <= row + 0.5)
            at = x[crossed] + (row + 0.5 - y[crossed]) * (x2 - x)[crossed] / (y2 - y)[crossed]
            mask[row] |= (at[:, None] > columns).sum(axis=0) % 2 == 1
    return mask
