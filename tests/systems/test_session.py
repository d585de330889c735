"""The geometry of a stream: horizons, prefixes, seconds, duplicates, and its state.

The decoder here is not a model: it returns scripted texts and notes what it was shown, so that every number is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.layers.beam import Hypothesis
from whenwhere.layers.memory import MemoryConfig, build_memory
from whenwhere.layers.vocab import Vocab
from whenwhere.systems.decoding_points import TimeAxis
from whenwhere.systems.session import StreamOptions, StreamSession

VOCAB = Vocab.wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "runs"], 101)
A, CAT, DOG, RUNS = 4, 5, 6, 7
FRAME = torch.zeros(1, 1)


@dataclass
class Shown:
    positions: list[float]
    prefix: list[int]
    last_bin: int | None
    ended: bool


@dataclass
class Scribe:
    """Says the next scripted list of (start bin, end bin, words) at each decoding point."""

    script: list = field(default_factory=list)
    axis: TimeAxis = field(default_factory=lambda: TimeAxis(frames=16, n_bins=101, decoding="center"))
    prefix_form: str = "captions"
    marks_end: bool = False
    vocab = VOCAB
    shown: list[Shown] = field(default_factory=list)

    def __post_init__(self):
        self.memory = build_memory(MemoryConfig(kind="none"))

    def empty_memory(self):
        return self.memory.init(1, 1)

    def remember(self, state, tokens, position):
        return self.memory.update(state, torch.full((1, 1, 1), position))

    def generate(self, state, prefix, options, *, last_bin, ended):
        self.shown.append(Shown(state.tokens.flatten().tolist(), list(prefix), last_bin, ended))
        events = self.script.pop(0) if self.script else []
        tokens = [t for s, e, words in events for t in VOCAB.event(s, e, words)] + [VOCAB.eos]
        return Hypothesis(tuple(tokens), tuple([-0.5] * len(tokens)), -1.0)


def session(scribe, rate=1.0, duration=None, **options):
    return StreamSession(scribe, rate, StreamOptions(**{"interval": 4, **options}), duration=duration)


def feed(stream, times):
    return [event for t in times for event in stream.push(FRAME, t)]


def test_decoding_points_come_every_interval_and_at_the_end():
    scribe = Scribe()
    stream = session(scribe)
    feed(stream, range(10))
    assert [len(s.positions) for s in scribe.shown] == [4, 8] and not any(s.ended for s in scribe.shown)
    stream.finish()
    assert [len(s.positions) for s in scribe.shown] == [4, 8, 10] and scribe.shown[-1].ended


@pytest.mark.parametrize(("marks_end", "points"), [(False, [4, 8]), (True, [4, 8, 8])])
def test_an_end_that_falls_on_a_point_is_said_to_a_model_that_listens(marks_end, points):
    scribe = Scribe(marks_end=marks_end)
    stream = session(scribe)
    feed(stream, range(8))
    stream.finish()
    assert [len(s.positions) for s in scribe.shown] == points


def test_bins_become_seconds_of_the_stream_at_emission():
    # After frames 20, 21, 22, 23 at 1 a second, 4 seconds were seen: a bin is 0.04 s.
    scribe = Scribe([[(50, 75, [A, CAT])], [(50, 100, [A, DOG])]])
    stream = session(scribe)
    (first,) = feed(stream, range(20, 24))
    assert (first.text, first.emitted_at, first.id) == ("a cat", 24.0, 0)
    assert (first.start, first.end) == pytest.approx((20 + 50.5 * 0.04, 20 + 75.5 * 0.04))
    (second,) = feed(stream, range(24, 28))  # 8 seconds were seen: the same bins are later times
    assert (second.start, second.end) == pytest.approx((20 + 50.5 * 0.08, 28.0)) and second.id == 1
    assert first.score == pytest.approx(torch.exp(torch.tensor(-0.5)).item())


def test_reference_decoding_cuts_to_whole_seconds_of_the_part_seen():
    scribe = Scribe([[(5, 18, [A, CAT])]], axis=TimeAxis(frames=100, n_bins=101))
    (event,) = feed(session(scribe, interval=100), range(100))
    assert (event.start, event.end) == (5, 18)


def test_events_are_sorted_clipped_and_never_after_now():
    scribe = Scribe([[(60, 100, [A, DOG]), (0, 100, [A, CAT]), (80, 20, [CAT])]])
    events = feed(session(scribe, duration=3.5), range(4))
    assert [e.text for e in events] == ["a cat", "cat", "a dog"] and [e.id for e in events] == [0, 1, 2]
    assert all(0 <= e.start <= e.end <= 3.5 == e.emitted_at for e in events)
    assert (events[1].start, events[1].end) == pytest.approx((20.5 * 0.04, 80.5 * 0.04))  # swapped


def test_prefix_holds_what_was_said_in_the_order_it_was_said():
    scribe = Scribe([[(60, 70, [A, DOG]), (0, 10, [A, CAT])], [], [(0, 5, [RUNS])]])
    stream = session(scribe)
    feed(stream, range(16))
    assert [s.prefix for s in scribe.shown] == [
        [2, 3],
        [2, A, DOG, A, CAT, 3],
        [2, A, DOG, A, CAT, 3],
        [2, A, DOG, A, CAT, RUNS, 3],
    ]


def test_prefix_forms_and_cap():
    for form, prefix in (("none", [2, 3]), ("timed", [2, *VOCAB.event(25, 50, [A, CAT]), 3])):
        scribe = Scribe([[(50, 100, [A, CAT])]], prefix_form=form)
        feed(session(scribe), range(8))
        assert scribe.shown[1].prefix == prefix  # bins 50..100 of 4 s are 25..50 of 8 s
    scribe = Scribe([[(0, 9, [A, CAT]), (0, 9, [A, DOG])], [(0, 9, [RUNS])]])
    feed(session(scribe, prefix_tokens=5), range(12))
    assert scribe.shown[2].prefix == [2, A, DOG, RUNS, 3]


def test_duplicates_are_said_once():
    script = [[(0, 50, [A, CAT])], [(0, 25, [A, CAT]), (0, 25, [A, DOG]), (60, 90, [A, CAT])]]
    scribe = Scribe([list(s) for s in script])
    assert [e.text for e in feed(session(scribe, duplicate_tiou=0.5), range(8))] == ["a cat", "a dog", "a cat"]
    assert len(feed(session(Scribe([list(s) for s in script])), range(8))) == 4


def test_words_without_times_and_low_scores():
    class Mumbler(Scribe):
        def generate(self, *args, **kwargs):
            super().generate(*args, **kwargs)
            tokens = (A, CAT, *VOCAB.event(0, 9, [DOG]), VOCAB.eos)
            return Hypothesis(tokens, (-9.0, -9.0, -0.1, -0.1, -0.1, -0.1), -1.0)

    assert [(e.text, e.start) for e in feed(session(Mumbler()), range(4))] == [("a cat", 0.0), ("dog", 0.02)]
    for options in ({"untimed": "drop"}, {"least_score": 0.5}):
        assert [e.text for e in feed(session(Mumbler(), **options), range(4))] == ["dog"]
    (event,) = feed(session(Mumbler(), untimed="drop", capitalize=True), range(4))
    assert event.text == "Dog"


@settings(max_examples=60, deadline=None)
@given(
    horizon=st.sampled_from([4, 8, 16, 30]),
    rate=st.sampled_from([0.5, 2.0, 25.0]),
    start=st.sampled_from([0.0, 7.3]),
    interval=st.integers(1, 7),
)
def test_memory_reaches_back_between_half_a_horizon_and_one(horizon, rate, start, interval):
    scribe = Scribe()
    stream = session(scribe, rate=rate, interval=min(interval, horizon // 2), horizon=horizon)
    for t in range(100):
        known = len(scribe.shown)
        stream.push(FRAME, start + t / rate)
        for shown in scribe.shown[known:]:
            length = len(shown.positions)
            assert min(horizon / 2, t + 1) <= length <= horizon
            assert shown.positions == pytest.approx(list(range(length)), abs=1e-4)
    assert stream.nbytes() < 8000


def test_times_count_from_the_start_of_the_memory_that_is_read():
    scribe = Scribe([[], [], [], [], [(50, 100, [A, CAT])]])
    stream = session(scribe, horizon=8, interval=4)
    (event,) = feed(stream, range(20))
    # After frame 19 the memory that began at 12 is read: 8 seconds, bin 50 in the middle.
    assert scribe.shown[4].positions == list(range(8))
    assert (event.start, event.end) == pytest.approx((12 + 50.5 * 0.08, 20.0))


def test_captions_leave_the_prefix_when_they_end_before_the_horizon():
    scribe = Scribe([[(0, 50, [A, CAT]), (50, 100, [A, DOG])]])
    stream = session(scribe, horizon=4, interval=2)
    feed(stream, range(12))
    # The cat is there till second 1 and the dog till 2; memories begin at 0, 2, 4 ... and are read from 2 s later on.
    words = [[t for t in s.prefix if t > 3] for s in scribe.shown]
    assert words == [[], [A, CAT, A, DOG], [A, DOG], [], [], []]


def test_window_bins_have_one_length_and_stop_at_now():
    scribe = Scribe([[], [(25, 50, [A, CAT])]], axis=TimeAxis(frames=16, n_bins=101, span="window", decoding="center"))
    stream = session(scribe, horizon=16)
    (event,) = feed(stream, range(8))
    assert (event.start, event.end) == pytest.approx((25.5 * 0.16, 8.0))
    assert [s.last_bin for s in scribe.shown] == [25, 50]
    with pytest.raises(InputError, match="horizon of at most 16"):
        session(scribe, horizon=18)
    with pytest.raises(InputError, match="horizon"):
        session(scribe)


def test_a_long_gap_starts_the_memories_anew():
    scribe = Scribe()
    stream = session(scribe, horizon=8, interval=1)
    feed(stream, [0, 1, 2, 1000.0, 1001.0])
    assert [len(s.positions) for s in scribe.shown] == [1, 2, 3, 1, 2]
    assert scribe.shown[-1].positions == [4.0, 5.0]  # of 1000 and 1001 in a memory that began at 996


def test_jitter_does_not_move_the_boundaries():
    scribe = Scribe()
    stream = session(scribe, rate=30.0, horizon=8, interval=1)
    for t in range(64):
        stream.push(FRAME, round(t / 30, 3))  # as a container with a time base of milliseconds gives them
    assert {len(s.positions) for s in scribe.shown[8:]} == {5, 6, 7, 8}


def test_state_is_a_plain_value(tmp_path):
    script = [[(0, 50, [A, CAT])], [(0, 25, [A, DOG])], [(10, 25, [RUNS])], [(0, 5, [DOG])]]
    whole = session(Scribe([list(s) for s in script]), horizon=8)
    expected = feed(whole, range(18))
    for cut in (0, 1, 4, 7, 9, 16):
        stream = session(Scribe([list(s) for s in script]), horizon=8)
        before = feed(stream, range(cut))
        stream.save(tmp_path / "state.safetensors")
        later = session(Scribe([list(s) for s in script[cut // 4 :]]), horizon=8)
        later.load(tmp_path / "state.safetensors")
        assert before + feed(later, range(cut, 18)) == expected
        assert later.state_dict()["plain"] == whole.state_dict()["plain"]
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_states_of_other_streams_are_refused(tmp_path):
    stream = session(Scribe())
    feed(stream, range(3))
    state = stream.state_dict()
    with pytest.raises(InputError, match="rate"):
        session(Scribe(), rate=2.0).load_state_dict(state)
    with pytest.raises(InputError, match="options"):
        session(Scribe(), beam=2).load_state_dict(state)
    with pytest.raises(InputError, match="not a stream state"):
        session(Scribe()).load_state_dict({"tensors": {}})
    with pytest.raises(InputError, match="lacks tokens"):
        session(Scribe()).load_state_dict({**state, "tensors": {}})
    wide = torch.zeros(1, 3, 7)
    with pytest.raises(InputError, match=r"memory tokens \(1, 3, 7\) .*expected \(1, S, 1\)"):
        session(Scribe()).load_state_dict({**state, "tensors": {**state["tensors"], "memory.0.tokens": wide}})
    (tmp_path / "bad").write_bytes(b"nonsense")
    for name in ("bad", "missing"):
        with pytest.raises(InputError, match="cannot read"):
            session(Scribe()).load(tmp_path / name)


def test_memory_of_what_was_said_is_bounded():
    stream = session(Scribe([[(0, 1, [A])] for _ in range(1000)]), interval=1)
    feed(stream, range(1000))
    assert len(stream.state_dict()["plain"]["said"]) <= 257


def test_bad_frames_and_options_are_refused():
    stream = session(Scribe())
    stream.push(FRAME, 1.0)
    for time in (1.0, 0.5, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="increasing times"):
            stream.push(FRAME, time)
    stream.finish()
    assert stream.finish() == []
    with pytest.raises(InputError, match="finished"):
        stream.push(FRAME, 2.0)
    assert session(Scribe()).finish() == []
    for rate in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="rate"):
            session(Scribe(), rate=rate)
    replace(StreamOptions(), interval=8, horizon=16)
    for options in ({"interval": 0}, {"horizon": 3}, {"max_tokens": 1}, {"interval": 9, "horizon": 16}):
        with pytest.raises(InputError):
            replace(StreamOptions(), **options)


def test_a_memory_begins_at_its_half_horizon_and_not_a_frame_before():
    scribe = Scribe()
    feed(session(scribe, interval=8, horizon=64), range(160))
    beginnings = [shown.positions[0] for shown in scribe.shown]
    assert set(beginnings) == {0.0}
    assert [len(shown.positions) for shown in scribe.shown[8:16]] == [40, 48, 56, 64, 40, 48, 56, 64]
