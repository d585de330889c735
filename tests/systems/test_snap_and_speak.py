"""Two aids for live use: times move to cuts that can be seen, and silence has to be likely to be kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_captioners import build, live_config, random_tokens
from test_session import CAT, DOG, Scribe

from whenwhere.errors import InputError
from whenwhere.systems.session import StreamOptions, StreamSession

LEFT, RIGHT = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def two_shots(session, cut=5, frames=10):
    """Push a frame a second, the second shot from frame ``cut`` on; return the events."""
    events = [event for t in range(frames) for event in session.push(LEFT if t < cut else RIGHT, float(t))]
    return events + session.finish()


def session_of(script, **options):
    return StreamSession(Scribe(script), 1.0, StreamOptions(interval=10, **options))


def test_times_move_to_a_near_cut_and_only_there():
    # 101 bins over the 10 s seen: bin 42 is near 4.2 s; the cut lies between the frames at 4 and 5 s
    script = [[(5, 42, [CAT]), (58, 95, [DOG])], [(58, 95, [DOG])]]  # the second may be going on until the end is told
    first, second = two_shots(session_of([*script], snap=1.5))
    assert first.end == second.start == 4.5
    assert (first.start, second.end) == (0.0, 10.0)  # the first frame and the end are near, and cuts too
    plain_first, plain_second = two_shots(session_of([*script]))
    assert plain_first.end == pytest.approx(4.2, abs=0.1)
    assert plain_first.start == pytest.approx(0.5, abs=0.1) and plain_second.end == pytest.approx(9.5, abs=0.1)
    narrow, _ = two_shots(session_of([*script], snap=0.1))
    assert narrow.end == plain_first.end


def test_an_event_without_a_cut_waits_one_decoding_point_and_no_longer():
    # after 4 frames bin 90 of 101 is near 3.6 s: just now, and nothing was seen to end there
    script = [[(0, 90, [CAT])], [(0, 42, [CAT])]]
    stream = StreamSession(Scribe(script), 1.0, StreamOptions(interval=4, snap=1.5))
    waiting = [event for t in range(4) for event in stream.push(LEFT, float(t))]
    then = [event for t in range(4, 8) for event in stream.push(LEFT, float(t))]
    assert waiting == [] and [event.text for event in then] == ["cat"]
    stream = StreamSession(Scribe([[(0, 90, [CAT])], [(0, 95, [CAT])]]), 1.0, StreamOptions(interval=4, snap=1.5))
    told = [[event for t in range(at, at + 4) for event in stream.push(LEFT, float(t))] for at in (0, 4)]
    assert [len(events) for events in told] == [0, 1] and told[1][0].end > 7
    at_once = StreamSession(Scribe([[(0, 90, [CAT])]]), 1.0, StreamOptions(interval=4))
    assert len([event for t in range(4) for event in at_once.push(LEFT, float(t))]) == 1


def test_an_event_never_shrinks_to_nothing():
    (event,) = two_shots(session_of([[(43, 47, [CAT])]], snap=2.0))  # both ends lie near the same cut
    assert event.start < event.end
    assert (event.start, event.end) == (pytest.approx(4.3, abs=0.1), pytest.approx(4.7, abs=0.1))


def test_the_first_and_the_last_shot_reach_to_the_ends_of_the_stream():
    scribe = Scribe([[], [(5, 42, [CAT]), (58, 95, [DOG])]])
    scribe.marks_end = True
    first, second = two_shots(StreamSession(scribe, 1.0, StreamOptions(interval=10, snap=1.5)))
    assert (first.start, second.end) == (0.0, 10.0)


def test_a_shot_that_ended_untold_is_asked_for():
    """With the shot told, a second text of the same point is not asked for."""
    asked = []

    class Asked(Scribe):
        def generate(self, state, prefix, options, **rest):
            asked.append(options.speak)
            return super().generate(state, prefix, options, **rest)

    session = StreamSession(Asked([[(5, 42, [CAT])], []]), 1.0, StreamOptions(interval=10, snap=1.5, speak=0.3))
    (event,) = two_shots(session)
    assert (event.end, asked) == (4.5, [1.0])  # told up to the cut: nothing is left that must be said
    asked.clear()
    quiet = StreamSession(Asked([[], []]), 1.0, StreamOptions(interval=10, snap=1.5, speak=0.3))
    assert two_shots(quiet) == [] and asked == [1.0]
    asked.clear()
    plain = StreamSession(Asked([[(5, 42, [CAT])]]), 1.0, StreamOptions(interval=10, speak=0.3))
    two_shots(plain)
    assert asked == [0.3]


def test_alike_frames_make_no_cut():
    session = session_of([[(5, 42, [CAT])]], snap=2.0)
    (event,) = [e for t in range(10) for e in session.push(LEFT + 0.1 * t * RIGHT / 10, float(t))]
    assert event.end == pytest.approx(4.2, abs=0.1)


def test_cuts_survive_saving(tmp_path):
    whole = two_shots(session_of([[(5, 42, [CAT])]], snap=1.5))
    script = [[(5, 42, [CAT])]]
    first, second = session_of([], snap=1.5), session_of(script, snap=1.5)
    for t in range(7):
        first.push(LEFT if t < 5 else RIGHT, float(t))
    first.save(tmp_path / "state.safetensors")
    second.load(tmp_path / "state.safetensors")
    rest = [event for t in range(7, 10) for event in second.push(RIGHT, float(t))] + second.finish()
    assert rest == whole and rest[0].end == 4.5


def test_cuts_are_forgotten_with_the_memory():
    session = StreamSession(Scribe([]), 1.0, StreamOptions(interval=4, horizon=16, snap=1.0))
    for t in range(400):
        session.push(LEFT if t // 5 % 2 else RIGHT, float(t))
    assert 0 < len(session.state_dict()["plain"]["cuts"]) <= 16 // 5 + 1


def test_a_likely_event_is_told_although_silence_is_shorter():
    model = build(live_config())
    model.decoder.output_bias.data[model.vocab.eos] += 12.0
    tokens = random_tokens(3, 16, 3, 12)
    options = model.config.stream

    def told(speak):
        return len(model.predict(tokens, 8.0, replace(options, speak=speak)))

    assert told(0.0) == 0  # left to the search
    assert told(1.0) > 0  # silence would have to be certain
    assert told(None) <= told(1.0)


@pytest.mark.parametrize("bad", [{"speak": 1.5}, {"snap": -1.0}, {"snap": float("nan")}, {"cut_below": 2.0}])
def test_bad_values_are_refused(bad):
    with pytest.raises(InputError):
        StreamOptions(**bad)
