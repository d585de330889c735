"""Pictures of experts: what stays, what darkens, and how the grid lies on the picture."""

from __future__ import annotations

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.reports.experts import draw_experts

PIXELS = np.full((6, 9, 3), (200, 100, 0), np.uint8)


def test_a_patch_is_as_bright_as_its_expert_is_wide():
    experts = np.array([[3, 1, 0], [0, 2, 3]])
    drawn = draw_experts(PIXELS, experts, 4)
    blocks = drawn.reshape(2, 3, 3, 3, 3).transpose(0, 2, 1, 3, 4)  # (rows, columns, 3, 3, RGB)
    for row in range(2):
        for column in range(3):
            kept = (experts[row, column] + 1) / 4
            wanted = [round(kept * value + (1 - kept) * 30) for value in (200, 100, 0)]
            assert np.abs(blocks[row, column].astype(int) - wanted).max() <= 1
    assert (PIXELS == (200, 100, 0)).all()


def test_a_grid_that_does_not_divide_the_picture_is_stretched():
    drawn = draw_experts(PIXELS, np.array([[3, 0]]), 4)
    assert (drawn[:, :5] == (200, 100, 0)).all() and not (drawn[:, 5:] == (200, 100, 0)).any()


@pytest.mark.parametrize(
    ("pixels", "experts"),
    [
        (PIXELS.astype(float), np.zeros((2, 2), int)),
        (PIXELS[..., 0], np.zeros((2, 2), int)),
        (PIXELS, np.zeros(4, int)),
        (PIXELS, np.full((2, 2), 4)),
        (PIXELS, np.full((2, 2), -1)),
    ],
)
def test_what_does_not_fit_is_refused(pixels, experts):
    with pytest.raises(InputError):
        draw_experts(pixels, experts, 4)
