"""MOT challenge text: round trips by rate, by frame times and by frame numbers, and refusals that name the line."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.reports import mot
from whenwhere.results import Track


@st.composite
def numbered_tracks(draw):
    """Tracks that know their frames, at a constant rate; and the rate."""
    rate = draw(st.sampled_from([1, 23.976, 25, 29.97, 60, 1000]))
    made = []
    for number in sorted(draw(st.sets(st.integers(0, 10**6), max_size=3))):
        frames = sorted(draw(st.sets(st.integers(0, 10**6), min_size=1, max_size=5)))
        flat = draw(st.lists(st.floats(-100, 5000, width=32), min_size=4 * len(frames), max_size=4 * len(frames)))
        corners = np.sort(np.array(flat, np.float32).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        scores = draw(st.none() | st.lists(st.floats(0, 0.75, width=32), min_size=len(frames), max_size=len(frames)))
        made.append(Track(number, np.array(frames) / rate, corners, scores=scores, frames=frames))
    return tuple(made), rate


@given(numbered_tracks())
def test_round_trip(made):
    tracks, rate = made
    text = mot.format(tracks, rate=rate)
    assert text == mot.format(tracks)  # by the frames that tracks know
    for after, before in zip(mot.parse(text, rate=rate), tracks, strict=True):
        np.testing.assert_allclose(after.boxes, before.boxes, rtol=1e-6, atol=1e-6)  # x + width rounds in the last bit
        assert replace(after, boxes=before.boxes) == before


@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=12), st.data())
def test_round_trip_at_a_variable_rate(steps, data):
    times = np.cumsum(steps)
    frames = sorted(data.draw(st.sets(st.integers(0, len(times) - 1), min_size=1)))
    track = Track(3, times[frames], [[0, 0, 1, 1]] * len(frames), frames=frames)
    assert mot.parse(mot.format([track], times=times), times=times) == (track,)


def test_lines_are_those_of_the_challenge(tmp_path):
    tracks = [
        Track(2, [0.0, 0.04], [[10, 20, 30.5, 60.25], [11, 20, 31, 60]], "car", scores=[0.9, 0.1]),
        Track(1, [0.04], [[0, 0, 5, 5]]),
    ]
    mot.write(tracks, tmp_path / "gt.txt", rate=25)
    assert (tmp_path / "gt.txt").read_text() == (
        "1,2,10.0,20.0,20.5,40.25,0.9,-1,-1,-1\n"
        "2,1,0.0,0.0,5.0,5.0,1.0,-1,-1,-1\n"
        "2,2,11.0,20.0,20.0,40.0,0.1,-1,-1,-1\n"
    )
    one, two = mot.read(tmp_path / "gt.txt", rate=25)
    assert (one.id, one.scores, two.frames.tolist(), two.times.tolist()) == (1, None, [0, 1], [0.0, 0.04])


def test_files_in_the_wild():
    text = "\ufeff1, 3, 794.27, 247.59, 71.245, 174.88, 1, 1, 0.8\r\n\r\n3 3 -5 0 1e1 10\r\n"
    (track,) = mot.parse(text, rate=10)
    assert track.frames.tolist() == [0, 2]
    assert track.times.tolist() == [0.0, 0.2]
    np.testing.assert_allclose(track.boxes, [[794.27, 247.59, 865.515, 422.47], [-5, 0, 5, 10]], rtol=1e-6)
    assert mot.parse("", rate=1) == ()


def test_times_snap_to_the_nearest_frame():
    track = Track(1, [0.09, 0.41], [[0, 0, 1, 1]] * 2)
    lines = mot.format([track], times=[0, 0.1, 0.2, 0.5]).splitlines()
    assert [line.split(",")[0] for line in lines] == ["2", "4"]
    assert mot.format([Track(1, [5.0], [[0, 0, 1, 1]])], times=[0.0]).startswith("1,")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,0,0,5", "line 1 is '1,1,0,0,5'"),
        ("\n1,1,0,0,5,x,1", "line 2"),
        ("1,1,0,0,nan,5,1", "line 1"),
        ("1,1,0,0,1_0,5,1", "line 1"),
        ("0,1,0,0,5,5,1", "line 1: frame is 0"),
        ("1.5,1,0,0,5,5,1", "line 1: frame is 1.5"),
        ("1,-1,0,0,5,5,1", "line 1: id is -1"),
        ("1,1,0,0,-5,5,1", "line 1: box is -5 x 5"),
        ("1,1,0,0,1e300,5,1", "line 1: box holds NaN or infinity"),
        ("1e99,1,0,0,5,5,1", "line 1: frame is 1e99"),
        ("1,1,0,0,5,5,1\n1,1,0,0,6,6,1", "line 2: track 1 has a second box on frame 1"),
    ],
)
def test_malformed_lines_are_refused(text, message):
    with pytest.raises(InputError) as error:
        mot.parse(text, rate=25)
    assert message in str(error.value)


@given(
    st.text()
    | st.text(alphabet="0123456789,.-e\n ")
    | st.lists(st.floats(), min_size=6).map(lambda row: ",".join(map(str, row)))
)
def test_any_text_gives_tracks_or_an_input_error(text):
    try:
        assert all(isinstance(track, Track) for track in mot.parse(text, rate=25))
    except InputError as error:
        assert "line " in str(error)


def test_frames_need_a_clock():
    track = Track(1, [0.0, 0.01], [[0, 0, 1, 1]] * 2)
    for make, message in (
        (lambda: mot.parse("1,1,0,0,5,5,1"), "neither rate nor times"),
        (lambda: mot.parse("", rate=1, times=[0]), "both rate and times"),
        (lambda: mot.parse("", rate=0), "rate is 0"),
        (lambda: mot.parse("", times=[1, 0]), "strictly increasing"),
        (lambda: mot.parse("3,1,0,0,5,5,1", times=[0, 1]), "line 1: frame 3"),
        (lambda: mot.format([track]), "no frames"),
        (lambda: mot.format([track], rate=25), "two boxes on frame 1"),
        (lambda: mot.format([track], rate=1e300), "reaches frame"),
        (lambda: mot.format([track, track], rate=100), "track has id 1"),
        (lambda: mot.format([Track(-1, [0], [[0, 0, 1, 1]])], rate=100), "track has id -1"),
    ):
        with pytest.raises(InputError, match=message):
            make()
