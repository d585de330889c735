"""Decoding points of training: the worked table, the partition, and each form against its definition."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis, decoding_targets

EVENTS = [(0, 10), (8, 30), (50, 90), (0, 100)]
AXIS = TimeAxis(frames=64, n_bins=64)
PLAIN = DecodingPoints(count=16, form="plain")


def points(events=EVENTS, duration=100, axis=AXIS, config=PLAIN, seed=0, **options):
    return decoding_targets(events, duration, axis, config, np.random.default_rng(seed), **options)


def done(point):
    """(start, end) bins of everything that is finished at a point, in the order of the events."""
    return [(e.start, e.end) for e in sorted((*point.prefix, *point.target))]


def test_the_worked_table():
    found = points()
    assert len(found) == 16
    assert {i: (found[i].end, found[i].frame, done(found[i])) for i in (0, 1, 4, 14, 15)} == {
        0: (4, 3, []),
        1: (8, 7, [(0, 48)]),
        4: (20, 19, [(0, 19), (16, 57)]),
        14: (60, 59, [(0, 6), (5, 19), (33, 59)]),
        15: (64, 63, [(0, 6), (5, 18), (31, 56), (0, 63)]),
    }
    assert [e.event for e in found[4].prefix] == [0] and [e.event for e in found[4].target] == [1]
    assert [len(p.target) for p in found] == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert [p.ended for p in found] == [False] * 15 + [True]


def test_one_point_is_an_ordinary_dense_captioner():
    (point,) = points(config=DecodingPoints(count=1))
    assert (point.end, point.frame, point.prefix) == (64, 63, ()) and [e.event for e in point.target] == [0, 1, 2, 3]
    assert done(point) == [(0, 6), (5, 18), (31, 56), (0, 63)]


@pytest.mark.parametrize("count", [3, 7, 8, 16, 20, 40, 63, 64, 100])
def test_the_last_point_sees_all_whatever_the_number(count):
    last = points(config=DecodingPoints(count=count, form="plain"))[-1]
    assert last.end == 64 and done(last) == [(0, 6), (5, 18), (31, 56), (0, 63)]


def test_augmented_form_cuts_what_came_before_at_random():
    cuts = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        for point in points(config=DecodingPoints(count=16), seed=seed):
            bins = [(0, 6), (5, 18), (31, 56), (0, 63)]
            finished = [k for k, (_, end) in enumerate(bins) if end < point.end]
            latest = max((bins[k][1] for k in finished), default=0)
            cut = int(rng.integers(1, max(2, latest)))
            before = [k for k in finished if bins[k][1] < point.number * 4]
            assert [e.event for e in point.prefix] == [k for k in before if bins[k][1] < cut]
            if finished:  # all that is not in the prefix is to be said, so there is always something
                assert [e.event for e in point.target] == [k for k in finished if k not in before or bins[k][1] >= cut]
                assert point.target
            if point.number == 15:
                cuts.add(tuple(e.event for e in point.prefix))
    assert cuts == {(), (0,), (0, 1), (0, 1, 2)}


def test_bernoulli_form_keeps_half():
    config = DecodingPoints(count=16, form="bernoulli")
    last = [points(config=config, seed=seed)[-1] for seed in range(2000)]
    for event in (0, 1, 2):
        assert np.mean([event in [e.event for e in p.prefix] for p in last]) == pytest.approx(0.5, abs=0.05)
    assert not any(3 in [e.event for e in p.prefix] for p in last)  # it ends in the point's own stretch


def test_dynamic_form_has_random_points_and_one_at_the_end():
    config = DecodingPoints(count=8, form="dynamic")
    found = [points(config=config, seed=seed) for seed in range(400)]
    assert all(len(p) == 8 and p[-1].end == 64 for p in found)
    ends = [point.end for p in found for point in p[:-1]]
    assert min(ends) == 1 and max(ends) == 64 and np.mean(ends) == pytest.approx(32.5, abs=1.5)
    share = np.mean([3 in [e.event for e in p[-1].prefix] for p in found])
    assert share == pytest.approx(0.5, abs=0.1)  # anything finished may be in the prefix, even what just ended


forms = st.sampled_from(["plain", "augmented", "bernoulli", "dynamic"])
axes = st.builds(
    TimeAxis,
    frames=st.sampled_from([10, 64, 128]),
    n_bins=st.sampled_from([16, 64, 100]),
    span=st.sampled_from(["seen", "window"]),
    decoding=st.sampled_from(["reference", "center"]),
)
spans = st.lists(st.tuples(st.floats(0, 120), st.floats(0, 120)).map(lambda span: (min(span), max(span))), max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    events=spans,
    axis=axes,
    form=forms,
    count=st.integers(1, 20),
    seed=st.integers(0, 1000),
    plain=st.sampled_from([0.0, 0.5]),
    ends=st.sampled_from([0.0, 0.3]),
    order=st.sampled_from(["given", "end"]),
    share=st.sampled_from([1.0, 0.4]),
)
def test_prefix_and_target_partition_what_is_finished(events, axis, form, count, seed, plain, ends, order, share):
    duration, frames = 100.0, max(1, round(share * axis.frames))
    config = DecodingPoints(count, form, plain_probability=plain, end_probability=ends, order=order)
    found = points(events, duration, axis, config, seed, frames=frames)
    assert [p.number for p in found] == list(range(len(found)))
    for point in found:
        prefix, target = [e.event for e in point.prefix], [e.event for e in point.target]
        assert len({*prefix, *target}) == len(prefix) + len(target)
        assert 0 <= point.frame < frames
        for e in (*point.prefix, *point.target):
            assert 0 <= e.start <= e.end < axis.n_bins
        if axis.decoding == "reference" and axis.span == "seen" and not point.ended:
            end_bins = [math.floor(min(e, duration) / duration * (axis.n_bins - 1)) for _, e in events]
            assert {*prefix, *target} == {k for k, end in enumerate(end_bins) if end < point.end}
        if axis.decoding == "center" and not point.ended:
            assert {*prefix, *target} == {
                k for k, (_, end) in enumerate(events) if end <= point.frame * duration / frames
            }
        for said in (prefix, target):
            key = (lambda k: (events[k][1], events[k][0])) if order == "end" else (lambda k: k)
            assert said == sorted(said, key=key)


def test_same_seed_same_points():
    config = DecodingPoints(count=16, form="bernoulli")
    assert points(config=config, seed=3) == points(config=config, seed=3) != points(config=config, seed=4)


LIVE = TimeAxis(frames=128, n_bins=128, span="window", decoding="center")


def test_window_bins_do_not_change_with_what_was_seen():
    events = [(1.0, 7.0), (8.0, 30.0)]
    for point in points(events, 64.0, LIVE):
        for e in (*point.prefix, *point.target):
            assert (e.start, e.end) == [(1, 13), (15, 59)][e.event]  # floor(t / 64 * 127)
    short = points(events, 32.0, LIVE, frames=64)  # half a window: the same bins, half the points
    assert short == points(events, 64.0, LIVE)[:7] + short[7:] and len(short) == 8
    assert short[7].end == 64 and short[7].frame == 63 and short[7].ended


def test_live_axis_waits_for_a_frame_after_the_end():
    # Frames lie at 0, 0.5, ... The point after frame 15 (7.5 s) knows of an end at 7.5 s, not of one at 7.6 s.
    for end, first in ((7.5, 1), (7.6, 2)):
        found = points([(1.0, end)], 64.0, LIVE)
        assert [p.number for p in found if p.target] == [first]


def test_where_the_video_ends_what_goes_on_ends_too():
    config = replace(PLAIN, end_probability=1.0)
    found = points([(10.0, 50.0), (40.0, 90.0)], 64.0, LIVE, config)
    assert all(p.ended for p in found)
    seconds = [(p.number + 1) * 4.0 for p in found]  # seen at each point
    for point, seen in zip(found, seconds):
        said = {e.event: e for e in (*point.prefix, *point.target)}
        assert (0 in said) == (seen > 10) and (1 in said) == (seen > 40)
        if 10 < seen <= 50:
            assert said[0].end == math.floor(seen / 64 * 127) and 0 not in [e.event for e in point.prefix]
    never = replace(PLAIN, end_probability=1e-12)
    last = points([(10.0, 50.0), (40.0, 90.0)], 64.0, LIVE, never)[-1]
    assert not last.ended and [e.event for e in (*last.prefix, *last.target)] == [0]


def test_plain_probability_mixes_the_forms():
    config = DecodingPoints(count=16, plain_probability=0.5)
    whole = [len(points(config=config, seed=seed)[15].prefix) == 3 for seed in range(400)]
    alone = [len(points(config=DecodingPoints(count=16), seed=seed)[15].prefix) == 3 for seed in range(400)]
    assert np.mean(whole) > 0.5 > np.mean(alone)


@pytest.mark.parametrize(
    "options",
    [{"form": "other"}, {"count": 0}, {"keep": 1.5}, {"sample": 0}, {"prefix": "some"}, {"order": "start"}],
)
def test_bad_configurations_are_refused(options):
    with pytest.raises(InputError):
        DecodingPoints(**options)


def test_bad_events_and_axes_are_refused():
    with pytest.raises(InputError, match="ends before it starts"):
        points([(5, 4)])
    with pytest.raises(InputError, match="129 frames"):
        points(axis=LIVE, frames=129)
    for options in ({"n_bins": 1}, {"frames": 0}, {"span": "all"}, {"decoding": "exact"}):
        with pytest.raises(InputError):
            TimeAxis(**options)
