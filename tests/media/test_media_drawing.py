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


def test_an_enlarged_picture_has_its_boxes_where_they_were():
    black = np.zeros((20, 30, 3), np.uint8)
    drawn = annotate(black, [[5, 10, 15, 18]], colours=[(255, 0, 0)], scale=4)
    lines, columns = np.nonzero((drawn == (255, 0, 0)).all(axis=-1))
    assert drawn.shape == (80, 120, 3)
    assert (columns.min(), lines.min(), columns.max(), lines.max()) == (20, 40, 59, 71)
    with pytest.raises(InputError, match="scale 0"):
        annotate(black, scale=0)


def test_names_do_not_hide_each_other():
    """Boxes side by side, whose names above would overlap: as many light pixels as when each is drawn alone."""
    ground = np.zeros((200, 300, 3), np.uint8)
    boxes = [[100, 80, 120, 100], [125, 80, 145, 100], [112, 90, 133, 110]]
    names, colours = ["the first of three", "the second of three", "the third"], [(255, 0, 0), (0, 255, 0), (0, 0, 255)]

    def inked(picture):
        return [(picture.argmax(-1) == channel)[picture.max(-1) > 60].sum() for channel in range(3)]

    bare = inked(annotate(ground, boxes, colours=colours))
    together = inked(annotate(ground, boxes, names, colours))
    alone = [
        inked(annotate(ground, [box], [name], [colour]))[number]
        - inked(annotate(ground, [box], colours=[colour]))[number]
        for number, (box, name, colour) in enumerate(zip(boxes, names, colours, strict=True))
    ]
    assert [with_ - without for with_, without in zip(together, bare, strict=True)] == pytest.approx(alone, rel=0.25)


def test_long_notes_are_wrapped():
    black = np.zeros((120, 100, 3), np.uint8)
    text = "a sentence that is much too wide for the picture"
    drawn = annotate(black, note=text)
    lit = np.nonzero((drawn > 200).any(axis=(1, 2)))[0]
    assert lit.max() - lit.min() > 30 and not (drawn[:, 97:] > 200).any(), "in several lines, none of them cut"
