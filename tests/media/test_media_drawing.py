"""Boxes and words on pictures."""

from __future__ import annotations

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.media import annotate


def test_a_box_is_drawn_on_its_own_border_pixels():
    black = np.zeros((40, 60, 3), np.uint8)
    drawn = annotate(black, [[10, 20, 30, 35]], colours=[(255, 0, 0)])
    red = (drawn == (255, 0, 0)).all(axis=-1)
    lines, columns = np.nonzero(red)
    assert (columns.min(), lines.min(), columns.max(), lines.max()) == (10, 20, 29, 34)
    assert red.sum() == 2 * 20 + 2 * 13 and not black.any(), "an outline, and the picture itself is untouched"


def test_names_and_notes_are_written_and_nan_boxes_left_out():
    black = np.zeros((60, 90, 3), np.uint8)
    nan = [np.nan] * 4
    assert np.array_equal(annotate(black, [nan], ["x"]), black)
    named = annotate(black, [nan, [10, 30, 40, 50]], ["x", "ball"])
    assert (named[18:30] > 200).any(), "above the box"
    noted = annotate(black, note="one\ntwo")
    assert (noted[30:] > 200).any() and not noted[:25].any()


@pytest.mark.parametrize("wrong", [{"boxes": [[1, 2, 3]]}, {"boxes": [[1, 2, 3, 4]], "names": ["a", "b"]}])
def test_shapes_and_counts_must_agree(wrong):
    with pytest.raises(InputError):
        annotate(np.zeros((8, 8, 3), np.uint8), **wrong)
