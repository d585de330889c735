"""Cuts of an image: augmentation whose states can be cached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whenwhere.errors import InputError


@dataclass(frozen=True)
class View:
    """A cut of an image, for augmentation that can be cached.

    Args:
        box: left, top, right, bottom as shares of width and height, 0 <= left < right <= 1.
        flip: mirror it left to right.
    """

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise InputError(f"box {self.box}", "0 <= left < right <= 1 and 0 <= top < bottom <= 1")

    def of(self, image: np.ndarray) -> np.ndarray:
        """The cut of uint8 (H, W, 3); at least one pixel."""
        (height, width), (left, top, right, bottom) = image.shape[:2], self.box
        x, y = min(int(left * width), width - 1), min(int(top * height), height - 1)
        cut = image[y : max(y + 1, round(bottom * height)), x : max(x + 1, round(right * width))]
        return cut[:, ::-1] if self.flip else cut


def random_views(count: int, seed: int = 0, smallest: float = 0.5, mirror: bool = True) -> tuple[View, ...]:
    """The whole image, then random cuts of it, every other one mirrored.

    Args:
        count: at least 1.
        seed: of the choice; the same for all images. The first of many are those of few.
        smallest: least area of a cut, as a share of the image.
        mirror: whether every other one is mirrored.
    """
    if count < 1 or not 0 < smallest <= 1:
        raise InputError(f"count={count}, smallest={smallest}", "count at least 1, smallest in 0..1")
    rng, views = np.random.default_rng(seed), [View()]
    while len(views) < count:
        area, ratio = rng.uniform(smallest, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = min(1.0, (area * ratio) ** 0.5), min(1.0, (area / ratio) ** 0.5)
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        views.append(View((x, y, min(1.0, x + w), min(1.0, y + h)), flip=mirror and len(views) % 2 == 1))
    return tuple(views)
