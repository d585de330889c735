"""A video goes in, events come out as they are known: order, evidence, gaps, memory, going on from a saved state."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import io
import json
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from describe_models import random_describer, random_space, scenes
from whenwhere.errors import InputError, MediaError, WeightsError
from whenwhere.media import open_video, write_image
from whenwhere.results import Event, Timeline
from whenwhere.systems.describe_options import DescribeOptions
from whenwhere.systems.describer import Describer
from whenwhere.systems.frame_feed import FrameFeed

SECONDS = 20.0


@pytest.fixture(scope="module")
def describer() -> Describer:
    torch.set_num_threads(1)
    return random_describer(3, random_space())


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("video") / "scenes.mkv", SECONDS)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Noise where the pictures of some seconds in the middle were."""
    path = scenes(tmp_path_factory.mktemp("video") / "damaged.mp4", 24.0)
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * 0.45), int(len(data) * 0.6)
    data[first:last] = np.random.default_rng(1).integers(0, 256, last - first, np.uint8).tobytes()
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def whole(describer, video):
    """The events of the whole video in the order in which they came, and its timeline."""
    with describer.stream(video) as run:
        events = list(run)
        return events, run.timeline()


class OneWay(io.RawIOBase):
    """Bytes that can only be read forwards."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size if 0 <= size < 4096 else 4096)


def test_the_random_model_says_enough_to_test_with(whole):
    events, _ = whole
    assert len(events) > 8 and len({event.text for event in events}) > 2 and len({e.emitted_at for e in events}) > 4


def test_events_come_as_they_are_known_and_say_when(describer, video):
    seen: list[float] = []
    run = describer.stream(video, on_frame=lambda frame: seen.append(frame.time))
    for event in run:
        assert event.end <= event.emitted_at <= SECONDS
        assert seen[-1] < event.emitted_at <= seen[-1] + 0.5, "nothing is held back behind its decoding point"
        assert event.emitted_at == SECONDS or len(seen) % 4 == 0, "and all of it comes at decoding points"
    assert seen == [k / 2 for k in range(40)]


def test_ids_count_in_order_of_emission(whole):
    events, timeline = whole
    assert [event.id for event in events] == list(range(len(events)))
    assert [e.emitted_at for e in events] == sorted(e.emitted_at for e in events)
    assert sorted(timeline.events, key=lambda e: e.id) == events


def test_the_timeline_tells_what_it_is_about(whole, video, describer):
    _, timeline = whole
    media = timeline.media
    assert (media.path, media.width, media.height, media.duration) == (str(video), 96, 64, pytest.approx(SECONDS))
    assert timeline.model == "random" and timeline.gaps == ()
    assert timeline.settings["rate"] == 2.0 and timeline.settings["interval"] == 2.0
    assert timeline.settings["memory"] == 12 and "partial" not in timeline.settings
    assert Timeline.from_json(timeline.to_json()) == timeline


def test_the_same_video_gives_the_same_events_again(describer, video, whole):
    assert describer.describe(video) == whole[1]


@pytest.mark.parametrize("group", [1, 3, 16])
def test_groups_change_neither_when_nor_how_much(group, describer, video, whole):
    with describer.stream(video, group=group) as run:
        events = list(run)
    assert {e.emitted_at for e in events} == {e.emitted_at for e in whole[0]}
    assert run.stats.frames == 40


def test_a_longer_interval_means_fewer_decoding_points(describer, video):
    points = {event.emitted_at for event in describer.stream(video, interval=5.0)}
    assert points <= {4.6, 9.6, 14.6, 19.6, 20.0} and len(points) > 1
    assert describer.captioner.config.stream.interval == 4, "the model itself stays as it is"


def test_an_interval_longer_than_the_memory_surely_reaches_back_is_refused(describer, video):
    assert describer.captioner.config.stream.horizon == 32  # 16 s at two a second, of which half is always remembered
    describer.stream(video, interval=8.0).close()
    with pytest.raises(InputError, match=r"interval of 9 seconds .*expected at most 8 seconds"):
        describer.stream(video, interval=9.0)


@pytest.mark.parametrize(("rate", "warned"), [(0.9, True), (1.0, False), (2.0, False), (4.0, False), (8.0, True)])
def test_a_rate_far_from_the_trained_one_is_remarked_on(rate, warned, video):
    describer = random_describer(0, random_space())
    with describer.stream(video, rate=rate) as run:
        assert run.remark() == "", "nothing is known of what it was trained at"
    describer.captioner.config = dataclasses.replace(describer.captioner.config, trained_rate=2.0)
    with describer.stream(video, rate=rate) as run:
        assert bool(run.remark()) is warned
        if rate == 8.0:
            assert "at 8 frames a second the model's memory reaches back 2 to 4 s" in run.remark()
            assert "trained at 2, where that is 8 to 16 s" in run.remark()
            assert run.reach == 4.0


def test_no_more_memory_than_asked_for(describer, video):
    run = describer.stream(video, memory=5)
    list(run)
    sizes = [slot.memory.tokens.shape[1] for slot in run._session._slots.values()]
    assert max(sizes) == 5 and run.timeline().settings["memory"] == 5
    assert describer.captioner.config.memory.size == 12
    assert describer.captioner.memory.config.size == 12


def test_a_part_of_the_video(describer, video):
    with describer.stream(video, start=6.0, end=11.0) as run:
        events = list(run)
    assert events and all(6.0 <= e.start <= e.end <= 11.0 for e in events)
    assert (run.stats.frames, run.stats.position) == (10, pytest.approx(11.0, abs=0.11))


def test_a_part_that_is_not_there_is_an_error(describer, video):
    with pytest.raises(InputError, match=r"no picture from 60 s .*expected a part of its 20\.00 s"):
        list(describer.stream(video, start=60.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0.0},
        {"rate": float("nan")},
        {"rate": 1e308, "interval": 10.0},
        {"interval": -1.0},
        {"interval": 1e300},
        {"memory": 0},
        {"start": -1.0},
        {"start": 5.0, "end": 5.0},
        {"end": float("inf")},
        {"group": 0},
    ],
)
def test_options_out_of_range_stop_before_the_video_is_opened(wrong, describer):
    with pytest.raises(InputError, match="expected"):
        describer.stream("missing.mp4", **wrong)


def test_the_defaults_of_a_stream_are_those_of_its_options():
    offered = inspect.signature(Describer.stream).parameters
    for option in dataclasses.fields(DescribeOptions):
        assert option.name not in offered or offered[option.name].default == option.default, option.name


def test_a_missing_video_fails_at_once(describer, tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        describer.stream(tmp_path / "missing.mp4")


def test_a_pipe_gives_what_the_file_gives(describer, video, whole):
    with describer.stream(OneWay(video.read_bytes())) as run:
        events = list(run)
    assert events == whole[0] and run.path is None


def test_numbered_images_are_a_video(describer, tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in [*range(20), *range(60, 90)]:  # at 25 a second, with a hole of 1.6 s
        write_image(folder / f"shot_{number:03}.png", np.full((64, 96, 3), number * 2, np.uint8))
    with describer.stream(folder, rate=5.0) as run:
        list(run)
    timeline = run.timeline()
    assert (run.stats.frames, timeline.media.duration) == (10, pytest.approx(3.6))
    assert [(gap.start, gap.end) for gap in timeline.gaps] == [(pytest.approx(0.8), pytest.approx(2.4))]


def test_a_source_slower_than_the_rate_is_not_repeated(describer, tmp_path):
    path = scenes(tmp_path / "slow.mp4", 12.0, rate=1)
    with describer.stream(path, rate=4.0) as run:
        list(run)
    assert run.stats.frames == 12


def test_what_was_going_on_ends_where_too_much_is_lost(describer, damaged):
    with describer.stream(damaged) as run:
        events = list(run)
    timeline = run.timeline()
    long = [gap for gap in timeline.gaps if gap.end - gap.start > 2.0]
    assert len(long) == 1, "the test needs one hole that is longer than what is bridged"
    for event in events:
        assert not any(event.start < gap.end and event.end > gap.start for gap in long), "told of what nobody saw"
    assert any(e.emitted_at <= long[0].start for e in events) and any(e.start >= long[0].end for e in events)
    assert [event.id for event in events] == list(range(len(events)))


def states_of(describer, path, **options):
    """All states that a run passes through, one after each group, as they come back from a file, and its events."""
    states = []

    def keep(stats) -> None:
        state = run.state_dict()
        states.append({"plain": json.loads(json.dumps(state["plain"])), "tensors": state["tensors"]})

    run = describer.stream(path, on_progress=keep, **options)
    return list(run), run.timeline(), states


@pytest.mark.parametrize("name", ["video", "damaged"])
def test_going_on_from_a_state_is_equal_to_the_bit(name, describer, request):
    path = request.getfixturevalue(name)
    events, timeline, states = states_of(describer, path)
    assert len(states) >= 8
    for state in [*states[1:-1:3], states[-1]]:
        again = describer.stream(path)
        again.load_state_dict(state)
        given = state["plain"]["given"]
        assert list(again) == events[given:]
        assert again.timeline() == timeline
        assert again.stats.frames == states[-1]["plain"]["frames"]


def test_a_finished_state_knows_the_measured_length(describer, tmp_path):
    path = scenes(tmp_path / "modest.mkv", 6.0)
    data = path.read_bytes()
    assert data.count(b"00:00:06.000") == 1  # Matroska's tag with the length of the stream
    path.write_bytes(data.replace(b"00:00:06.000", b"00:00:03.000"))
    events, timeline, states = states_of(describer, path)
    again = describer.stream(path)
    assert (again.media.duration, timeline.media.duration) == (3.0, pytest.approx(6.0)), "the header claims less"
    again.load_state_dict(states[-1])
    assert list(again) == events[states[-1]["plain"]["given"] :] and again.timeline() == timeline
    assert again.stats.duration == timeline.media.duration


def test_going_on_near_the_end_of_a_part(describer, video):
    events, timeline, states = states_of(describer, video, start=1.3, end=9.3)
    again = describer.stream(video, start=1.3, end=9.3)
    again.load_state_dict(states[-2])
    assert list(again) == events[states[-2]["plain"]["given"] :] and again.timeline() == timeline


def test_going_on_with_a_pipe_that_is_read_from_its_beginning(describer, video, whole):
    _, _, states = states_of(describer, video)
    again = describer.stream(OneWay(video.read_bytes()))
    again.load_state_dict(states[4])
    assert list(again) == whole[0][states[4]["plain"]["given"] :]


def test_a_state_of_something_else_is_refused(describer, video, tmp_path):
    run = describer.stream(video)
    state = run.state_dict()
    with pytest.raises(InputError, match="options"):
        describer.stream(video, rate=3.0).load_state_dict(state)
    with pytest.raises(InputError, match="media"):
        describer.stream(scenes(tmp_path / "other.mp4", 2.0, size=(64, 64))).load_state_dict(state)
    with pytest.raises(InputError, match="not the state of a run"):
        describer.stream(video).load_state_dict({"plain": {}})
    with pytest.raises(InputError, match="model"):
        random_describer(1, random_space()).stream(video).load_state_dict(state)
    next(run)
    with pytest.raises(InputError, match="has begun"):
        run.load_state_dict(state)


def test_the_state_stays_small(describer, tmp_path):
    path = scenes(tmp_path / "long.mp4", 72.0, rate=4, each=5.0)
    sizes = []
    run = describer.stream(path, on_progress=lambda stats: sizes.append(run._session.nbytes()))
    list(run)
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.2 * max(sizes[:half]), "the second half takes no more than the first"


def decode_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "whenwhere-decode"]


def test_leaving_early_ends_the_decoder(describer, video):
    for event in describer.stream(video):
        assert isinstance(event, Event)
        break
    gc.collect()
    assert not decode_threads()
    with describer.stream(video) as run:
        next(run)
    assert not decode_threads()
    assert run.timeline().events[0].emitted_at is not None, "what is known stays"


def test_decoding_waits_for_its_reader(video):
    feed = FrameFeed(open_video(video), 2.0, 0.0, None, None, depth=3)
    assert feed.get().frame.time == 0.0
    time.sleep(0.5)
    assert feed.position <= 0.5 * (3 + 2), "three frames wait, and one more is in hand"
    times = []
    while (found := feed.get()) is not None:
        times.append(found.frame.time)
    assert times == [k / 2 for k in range(1, 40)] and feed.duration == pytest.approx(SECONDS)
    assert feed.get() is None
    feed.close()


def test_an_error_of_the_decoder_reaches_the_reader(video):
    reader = open_video(video)
    feed = FrameFeed(reader, 2.0, 0.0, None, size=1 << 20)  # pictures beyond the limit
    with pytest.raises(MediaError):
        feed.get()
    assert feed.get() is None
    feed.close()


def test_the_feed_closes_while_nobody_reads(video):
    feed = FrameFeed(open_video(video), 5.0, 0.0, None, None, depth=1)
    feed.get()
    feed.close()
    feed.close()
    assert feed.get() is None and not decode_threads()


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([0.7, 1.0, 2.0, 3.0, 7.0, 12.0]),
    start=st.floats(0, 15).map(lambda s: round(s, 2)),
    length=st.none() | st.floats(0.5, 12).map(lambda s: round(s, 2)),
    share=st.floats(0, 1),
)
def test_a_feed_that_goes_on_gives_the_same_frames(video, rate, start, length, share):
    end = None if length is None else start + length
    wanted = frames_after(video, rate, start, end, None)
    at = int(share * (len(wanted) - 1))
    assert frames_after(video, rate, start, end, wanted[at]) == wanted[at + 1 :]


def frames_after(video, rate, start, end, last) -> list[float]:
    feed = FrameFeed(open_video(video), rate, start, end, None)
    if last is not None:
        feed.resume_after(last)
    times = []
    while (found := feed.get()) is not None:
        times.append(found.frame.time)
    feed.close()
    return times


def test_where_the_time_went(describer, video):
    seen = []
    run = describer.stream(video, on_progress=lambda stats: seen.append((stats.position, stats.frames, stats.events)))
    events = list(run)
    stats = run.stats
    assert seen == sorted(seen) and seen[-1] == (pytest.approx(SECONDS), 40, len(events))
    assert min(stats.decode, stats.encoder, stats.memory, stats.decoder) > 0
    assert stats.encoder + stats.memory + stats.decoder + stats.waiting <= stats.wall
    assert stats.speed == pytest.approx(SECONDS / stats.wall)
    assert 0 < stats.rss <= stats.peak_rss


def test_a_saved_describer_comes_back(tmp_path, monkeypatch):
    original = random_describer(3)
    original.save(tmp_path / "mine")
    loaded = Describer.load(tmp_path / "mine")
    assert loaded.name == "mine" and loaded.captioner.config == original.captioner.config
    assert torch.equal(loaded.encoder.bank_features, original.encoder.bank_features.half().float())
    for (name, a), (_, b) in zip(loaded.captioner.named_parameters(), original.captioner.named_parameters()):
        assert torch.equal(a, b.half().float()), name
    (tmp_path / "mine" / "captioner" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json does not exist"):
        Describer.load(tmp_path / "mine")
