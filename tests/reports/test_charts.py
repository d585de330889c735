"""Charts are files a person can open, and say no to what they cannot draw."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.media import read_image
from whenwhere.reports import charts


def test_a_confusion_matrix_is_dark_where_the_truth_was_said(tmp_path):
    right = read_image(charts.confusion(tmp_path / "right.png", 9 * np.eye(8), [f"class {i}" for i in range(8)]))
    even = read_image(charts.confusion(tmp_path / "even.png", np.ones((8, 8)), [f"class {i}" for i in range(8)]))
    dark = [(picture.max(2) < 120).mean() for picture in (right, even)]
    assert right.shape == even.shape and dark[0] > dark[1] + 0.03


def test_curves_and_points_have_their_lines(tmp_path):
    empty = read_image(charts.curves(tmp_path / "a.png", {"loss": {"train": ((0, 1), (0.0, 0.0))}}))
    more = read_image(
        charts.curves(tmp_path / "b.png", {"loss": {"train": ((0, 1), (0.0, 0.0)), "test": ((0, 1), (1.0, 0.0))}})
    )
    assert empty.shape == more.shape and not np.array_equal(empty, more)
    groups = {"one": [(10.0, 0.5, 0.1)], "two": [(1000.0, 0.7, 0.0), (100.0, 0.6, 0.0)]}
    picture = read_image(charts.points(tmp_path / "c.png", groups, x="n", y="a", logarithmic=True, front=True))
    assert picture.std() > 5


def test_marks_frame_their_cells(tmp_path):
    names = [str(i) for i in range(70)]  # more than can all be written
    plain = read_image(charts.heat_map(tmp_path / "a.png", np.zeros((70, 70)), names, names, bar="rank"))
    marked = read_image(
        charts.heat_map(tmp_path / "b.png", np.zeros((70, 70)), names, names, bar="rank", marks=[(3, 4)])
    )
    assert plain.shape == marked.shape and not np.array_equal(plain, marked)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda path: charts.confusion(path / "a.png", np.eye(3), ["a", "b"]), "for 2 classes"),
        (lambda path: charts.curves(path / "a.png", {}), "no panel"),
        (lambda path: charts.curves(path / "a.png", {"p": {"l": ((1, 2), (1,))}}), "2 x and 1 y"),
        (lambda path: charts.points(path / "a.png", {}, x="", y=""), "no point"),
        (lambda path: charts.confusion(path / "a.jpg", np.eye(2), ["a", "b"]), "ending in .png"),
        (lambda path: charts.confusion(path / "no" / "a.png", np.eye(2), ["a", "b"]), "may write"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, draw, words):
    with pytest.raises(InputError, match=words):
        draw(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_font_can_write_raises_no_warning_of_another_library(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts.confusion(tmp_path / "a.png", np.eye(2), ["cat", "\U00013080 \u732b"])


def test_steps_are_whole_numbers(tmp_path, monkeypatch):
    ticks = []

    def keep(figure, path):
        figure.canvas.draw()
        ticks.append(figure.axes[0].get_xticks())

    monkeypatch.setattr(charts, "_write", keep)
    charts.curves(tmp_path / "a.png", {"loss": {"train": ((1, 2, 3), (2.0, 1.0, 0.5))}})
    charts.curves(tmp_path / "a.png", {"loss": {"train": ((0.1, 0.2, 0.3), (2.0, 1.0, 0.5))}})
    assert all(float(tick).is_integer() for tick in ticks[0])
    assert not all(float(tick).is_integer() for tick in ticks[1])
