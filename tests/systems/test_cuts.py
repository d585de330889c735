"""Cuts by themselves; what a stream does with them is in test_snap_and_speak."""

from __future__ import annotations

import json

import torch
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.systems.cuts import Cuts

LEFT, RIGHT = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def seen(looks: str, snap: float | None = 1.5) -> Cuts:
    """Cuts of a stream with a frame a second, "L" or "R"."""
    cuts = Cuts(snap, 0.6)
    for time, look in enumerate(looks):
        cuts.see(LEFT if look == "L" else RIGHT, time - 1.0, float(time))
    return cuts


def test_a_cut_lies_between_frames_that_differ():
    assert seen("LLLRRL").state()[0] == [0.0, 2.5, 4.5]
    assert seen("LLLRRL", None).state() == ([], None)


def test_ends_move_to_the_nearest_cut_within_reach():
    cuts = seen("LLLRRRRRR")
    cuts.end(9.0)
    assert cuts.snapped(1.0, 3.9) == (0.0, 2.5)
    assert cuts.snapped(1.4, 5.0) == (2.5, 5.0)  # 1.1 s to the one, 1.4 s to the other; 5.0 is too far from both
    assert cuts.snapped(2.2, 2.9) == (2.2, 2.9), "nothing would be left"
    assert seen("LLLRRR", None).snapped(1.0, 3.9) == (1.0, 3.9)


@given(st.text("LR", min_size=2, max_size=12), st.floats(0, 12), st.floats(0, 12), st.floats(0, 5))
def test_no_time_moves_to_before_what_was_forgotten(looks, begun, start, length):
    cuts = seen(looks)
    cuts.forget(begun)
    start = max(start, begun)
    moved_start, moved_end = cuts.snapped(start, start + length)
    assert begun <= moved_start <= moved_end
    assert abs(moved_start - start) <= 1.5 + 1e-9 and abs(moved_end - start - length) <= 1.5 + 1e-9


def test_a_shot_is_untold_when_more_than_half_of_snap_is_left_of_it():
    cuts = seen("LLLRR")  # the first shot ends at 2.5
    assert cuts.untold(0.0) and cuts.untold(1.7)
    assert not cuts.untold(1.75) and not cuts.untold(2.5)


def test_the_state_is_all_there_is():
    cuts, again = seen("LLR"), Cuts(1.5, 0.6)
    times, look = cuts.state()
    again.load(json.loads(json.dumps(times)), look)
    for one in (cuts, again):
        one.see(LEFT, 2.0, 3.0)
    assert again.state()[0] == cuts.state()[0] == [0.0, 1.5, 2.5]
    assert torch.equal(again.state()[1], cuts.state()[1])
