"""Heat maps: the cells have the colours of their values, and a bad table is refused."""

from __future__ import annotations

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.media import heat_map

LOW, HIGH, GREY, MARK = (13, 8, 60), (252, 245, 170), (214, 214, 214), (0, 210, 235)


def cell(picture, row, column, size=24, at=12):
    """The colour in a cell, 12 pixels from its corner."""
    return tuple(picture[36 + row * size + at, 64 + column * size + at].tolist())


def test_cells_have_the_colours_of_their_values():
    table = np.array([[0.0, 1.0, np.nan], [0.5, 2.0, 4.0]])
    picture = heat_map(table, title="a title", marks=[(0, 1)])
    assert cell(picture, 0, 0) == LOW and cell(picture, 1, 2) == HIGH and cell(picture, 0, 2) == GREY
    assert cell(picture, 1, 1) == (187, 55, 84)  # the middle
    assert cell(picture, 0, 1, at=0) == MARK and cell(picture, 0, 1) == (84, 25, 117)
    brightness = [sum(cell(picture, *place)) for place in ((0, 0), (1, 0), (0, 1), (1, 1), (1, 2))]
    assert brightness == sorted(brightness)
    fixed = heat_map(table, title="a title", low=-4.0, high=4.0)
    assert cell(fixed, 0, 0) == (187, 55, 84)


def test_words_are_drawn_and_a_large_table_still_fits():
    table = np.arange(81.0 * 81).reshape(81, 81)
    picture = heat_map(table, title="x", rows="from", columns="to")
    assert max(picture.shape) < 1000
    other = heat_map(table, title="x", rows="from", columns="TO")
    changed = np.argwhere((picture != other).any(-1))
    assert len(changed) and changed[:, 0].min() >= 36 + 81 * 7  # below the cells
    other = heat_map(table, title="x", rows="FROM", columns="to")
    changed = np.argwhere((picture != other).any(-1))
    assert len(changed) and changed[:, 1].max() < 64  # left of the cells
    long = heat_map(np.ones((2, 2)), title="a title that is far wider than two cells of a table could ever be")
    assert long.shape[1] > 350 and cell(long, 0, 0) == (187, 55, 84)


@pytest.mark.parametrize(
    "table", [np.zeros(3), np.full((2, 2), np.nan), np.array([[1.0, np.inf]]), np.zeros((0, 3)), np.zeros((2, 2, 2))]
)
def test_what_is_no_table_is_refused(table):
    with pytest.raises(InputError, match="a table of shape"):
        heat_map(table)


def test_a_mark_outside_is_refused():
    with pytest.raises(InputError, match=r"mark \(2, 0\).*2 x 2"):
        heat_map(np.zeros((2, 2)), title="t", marks=[(2, 0)])
