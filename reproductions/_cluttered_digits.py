"""A task for the claims about MoNE: which digit is somewhere on a cluttered canvas.

Real handwritten digits (scikit-learn's, 8 x 8 pixels, enlarged to 16 x 16) are put at a random place of a grid of
8 pixels, between fragments of other digits, a slope of light and noise. A digit covers a ninth of the canvas, so a
model that knows where to look can save. Training and test canvases are made of different digits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SIDE, DIGIT, PIECE, GRID = 48, 16, 8, 8  # pixels
PIECES = 6  # fragments on a canvas
TEST_DIGITS = 500


def digits(test: bool) -> tuple[np.ndarray, np.ndarray]:
    """Digits (n, DIGIT, DIGIT) in 0..1 and their labels; which are for the test is drawn once, the same for all."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    chosen = order[:TEST_DIGITS] if test else order[TEST_DIGITS:]
    small = torch.from_numpy(data.images[chosen].astype(np.float32) / 16)[:, None]
    large = torch.nn.functional.interpolate(small, (DIGIT, DIGIT), mode="bilinear", align_corners=False)
    return large[:, 0].numpy(), data.target[chosen]


class Canvases:
    """Draws canvases.

    Args:
        test: made of the digits for the test.
    """

    def __init__(self, test: bool) -> None:
        self.images, self.labels = digits(test)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
        """``pixels`` (count, 1, SIDE, SIDE), ``labels`` (count,), ``corner`` (count, 2): row and column in pixels."""
        slope = rng.uniform(-0.4, 0.4, (2, count, 1, 1)).astype(np.float32)
        place = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
        canvas = slope[0] * place[None, :, None] + slope[1] * place[None, None, :]
        canvas = canvas + rng.normal(0, 0.1, (count, SIDE, SIDE)).astype(np.float32)
        which = rng.integers(len(self.images), size=(count, 1 + PIECES))
        corner = GRID * rng.integers((SIDE - DIGIT) // GRID + 1, size=(count, 2))
        at = rng.integers(SIDE - PIECE + 1, size=(count, PIECES, 2))
        cut = rng.integers(DIGIT - PIECE + 1, size=(count, PIECES, 2))
        for i in range(count):
            for piece in range(PIECES):
                (y, x), (v, u) = at[i, piece], cut[i, piece]
                source = self.images[which[i, 1 + piece]][v : v + PIECE, u : u + PIECE]
                canvas[i, y : y + PIECE, x : x + PIECE] += source
            y, x = corner[i]
            canvas[i, y : y + DIGIT, x : x + DIGIT] += self.images[which[i, 0]]
        return {
            "pixels": torch.from_numpy(canvas[:, None] * 2 - 0.4),
            "labels": torch.from_numpy(self.labels[which[:, 0]].astype(np.int64)),
            "corner": torch.from_numpy(corner),
        }
