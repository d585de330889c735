"""Whatever is done to a file's bytes: frames and gaps, or a MediaError; no other exception and no hang."""

from __future__ import annotations

import io
import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_cases import noisy
from media_files import OneWay, make_bytes

from whenwhere.errors import MediaError
from whenwhere.media import Limits, open_video

MOST_SECONDS = 5.0  # of the processor, for one example; a hundred times what it takes
BASE = {
    "mp4": make_bytes("mp4", 12, draw=noisy, gop=5),
    "mp4 with sound": make_bytes("mp4", 12, gop=5, audio=1.0, faststart=True),
    "mkv": make_bytes("matroska", 12, draw=noisy, gop=5),
    "webm": make_bytes("webm", 8, codec="libvpx-vp9"),
    "ts": make_bytes("mpegts", 12, draw=noisy, gop=5),
    "avi": make_bytes("avi", 12, codec="mpeg4", draw=noisy),
    "gif": make_bytes("gif", 6, codec="gif"),
    "flv": make_bytes("flv", 12, gop=5),
}
PLACES = st.floats(0, 1)
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("set"), PLACES, st.sampled_from([0, 1, 127, 128, 255])),
    st.tuples(st.just("head"), PLACES, st.integers(0, 255)),
    st.tuples(st.just("tail"), PLACES, st.integers(0, 255)),
    st.tuples(st.just("zero"), PLACES, st.integers(1, 2000)),
    st.tuples(st.just("cut out"), PLACES, st.integers(1, 2000)),
    st.tuples(st.just("cut short"), PLACES, st.just(0)),
    st.tuples(st.just("begin late"), PLACES, st.just(0)),
)


def damaged(data: bytes, damage: list[tuple[str, float, int]]) -> bytes:
    """Apply each damage in turn: a place in parts of the whole (or of the first or last 1,500 bytes), and a value."""
    out = bytearray(data)
    for kind, place, value in damage:
        if not out:
            break
        at = int(place * (len(out) - 1))
        near = int(place * min(len(out) - 1, 1500))
        if kind == "flip":
            out[at] ^= 1 << value
        elif kind == "set":
            out[at] = value
        elif kind == "head":
            out[near] = value
        elif kind == "tail":
            out[len(out) - 1 - near] = value
        elif kind == "zero":
            out[at : at + value] = bytes(len(out[at : at + value]))
        elif kind == "cut out":
            del out[at : at + value]
        elif kind == "cut short":
            del out[at:]
        else:
            del out[:at]
    return bytes(out)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(BASE)),
    damage=st.lists(DAMAGE, max_size=6),
    as_pipe=st.booleans(),
    options=st.sampled_from([{}, {"rate": 3.0}, {"rate": 0.5}, {"start": 0.5, "end": 1.1}, {"size": 20}]),
    keep_damaged=st.booleans(),
)
def test_damaged_video_never_surprises(kind, damage, as_pipe, options, keep_damaged):
    data = damaged(BASE[kind], damage)
    began = time.process_time()
    try:
        source = OneWay(data) if as_pipe else io.BytesIO(data)
        with open_video(source, limits=Limits(max_pixels=1 << 20), keep_damaged=keep_damaged) as video:
            last = -math.inf
            for frame in video.frames(**options):
                assert last < frame.time < 1e9
                assert frame.pixels.shape[2] == 3
                last = frame.time
            gaps = video.gaps
            assert all(0 <= gap.start < gap.end < math.inf and gap.reason for gap in gaps)
            assert all(a.end <= b.start + 1e-9 for a, b in zip(gaps, gaps[1:]))
            assert video.duration is None or video.duration >= max([0.0, last, *(gap.end for gap in gaps)]) - 1e-6
    except MediaError as error:
        assert error.given
        assert error.expected
    assert time.process_time() - began < MOST_SECONDS


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), magic=st.sampled_from(sorted(BASE)), kept=st.integers(0, 64))
def test_noise_behind_a_true_beginning(data, magic, kept):
    """The first bytes of a real file and then anything."""
    with pytest.raises(MediaError) as caught:
        open_video(io.BytesIO(BASE[magic][:kept] + data))
    assert str(caught.value)
