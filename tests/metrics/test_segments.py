"""Action segmentation: worked numbers, what must hold, bad records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.metrics.segments import action_segmentation

TRUE = list("--aaaabbbb--")
SAID = list("--aaabbbcb--")


def test_worked_numbers():
    figures = action_segmentation({"v": SAID}, {"v": TRUE}, background="-").figures()
    assert figures["accuracy"] == figures["accuracy_per_video"] == pytest.approx(10 / 12)
    assert figures["accuracy_steps"] == pytest.approx(6 / 8)
    assert figures["edit"] == pytest.approx(1 - 2 / 4)  # a b c b against a b
    # a overlaps by 3/4, the first b by 2/5, c and the second b are too many
    assert figures["F1@10"] == figures["F1@25"] == pytest.approx(2 * 2 / (4 + 2))
    assert figures["F1@50"] == pytest.approx(2 * 1 / (4 + 2))


def test_background_counts_only_where_it_should():
    figures = action_segmentation({"v": [0] * 4}, {"v": [0, 0, 0, 1]}, background=0).figures()
    assert figures["accuracy"] == 0.75  # all background: the share of background
    assert (figures["accuracy_steps"], figures["edit"], figures["F1@10"]) == (0.0, 0.0, 0.0)
    plain = action_segmentation({"v": [0] * 4}, {"v": [0, 0, 0, 1]}).figures()
    assert (plain["accuracy_steps"], plain["edit"], plain["F1@50"]) == (0.75, 0.5, pytest.approx(2 / 3))
    quiet = action_segmentation({"v": [0]}, {"v": [0]}, background=0)
    assert quiet.figures()["edit"] == quiet.figures()["F1@10"] == 1.0
    assert "accuracy_steps" in quiet.left_out


def test_long_and_short_videos_weigh_as_the_name_says():
    said, true = {"long": [1] * 9, "short": [2]}, {"long": [1] * 9, "short": [1]}
    found = action_segmentation(said, true)
    assert found.figures()["accuracy"] == 0.9 and found.figures()["accuracy_per_video"] == 0.5
    assert found.figures(np.array([1, 3]))["accuracy"] == 9 / 12


videos = st.lists(st.tuples(st.sampled_from("ab-"), st.sampled_from("ab-")), min_size=1, max_size=15)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("xyz"), videos, min_size=1))
def test_figures_stay_in_their_range(pairs):
    said, true = ({name: [pair[side] for pair in frames] for name, frames in pairs.items()} for side in (0, 1))
    found = action_segmentation(said, true, background="-")
    figures = {name: value for name, value in found.figures().items() if name not in found.left_out}
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["F1@50"] <= figures["F1@25"] <= figures["F1@10"]
    again = action_segmentation(dict(reversed(said.items())), dict(reversed(true.items())), background="-").figures()
    assert {name: again[name] for name in figures} == figures
    perfect = action_segmentation(true, true, background="-").figures()
    assert {value for value in perfect.values() if not np.isnan(value)} == {1.0}


@pytest.mark.parametrize(
    ("said", "true", "told"),
    [
        ({"v": [1, 2]}, {"v": [1]}, "video 'v': 2 predicted and 1 true labels"),
        ({"v": [0.5]}, {"v": [1]}, "video 'v', predicted label of frame 0: 0.5"),
        ({"v": [float("nan")]}, {"v": [1]}, "predicted label of frame 0: nan"),
        ({"v": "ab"}, {"v": ["a", "b"]}, "predicted labels that are a str"),
        ({"v": []}, {"v": []}, "without predicted labels"),
        ({}, {"v": [1]}, "no prediction for 1 of 1 ids, such as video 'v'"),
    ],
)
def test_names_the_bad_video(said, true, told):
    with pytest.raises(InputError, match=told):
        action_segmentation(said, true)
