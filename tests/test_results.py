"""Result types: what they refuse, equality, and the JSON form."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.results import SCHEMA, Event, Gap, LabelMap, MediaRef, Region, Timeline, Track, Word
from whenwhere.results.files import write_text

MEDIA = MediaRef("street.mp4", 10.0, 640, 480, 25.0)
BOXES = [[0, 0, 10, 10], [5, 5, 20.5, 30.25]]

seconds = st.floats(0, 1e7)
finite = st.floats(allow_nan=False, allow_infinity=False)
spans = st.tuples(seconds, seconds).map(sorted)
events = st.builds(
    lambda span, text, score, at, number: Event(*span, text, score, at, number),
    spans,
    st.text(),
    st.none() | finite,
    st.none() | seconds,
    st.none() | st.integers(-(2**62), 2**62),
)


@st.composite
def boxes(draw, count):
    numbers = st.floats(0, 600, width=32)
    flat = draw(st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=count, max_size=count))
    return [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in flat]


@st.composite
def tracks(draw, number=1):
    times = sorted(draw(st.sets(seconds, min_size=1, max_size=5)))
    scores = draw(st.none() | st.lists(st.floats(-1, 1, width=32), min_size=len(times), max_size=len(times)))
    return Track(number, times, draw(boxes(len(times))), draw(st.text()), draw(st.none() | finite), scores)


@st.composite
def timelines(draw):
    found = sorted(draw(st.lists(events, max_size=4)), key=lambda event: (event.start, event.end))
    holes = sorted(draw(st.lists(st.tuples(spans, st.text()), max_size=2)), key=lambda hole: hole[0])
    plain = st.recursive(st.none() | st.booleans() | finite | st.text(), st.lists, max_leaves=4)
    return Timeline(
        MediaRef(draw(st.text()), None, 640, 640, None),
        found,
        [draw(tracks(number)) for number in range(draw(st.integers(0, 2)))],
        [Gap(*span, reason) for span, reason in holes],
        draw(st.text()),
        draw(st.dictionaries(st.text(), plain, max_size=3)),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Event(2, 1, "a"), "starts at 2 s and ends at 1 s"),
        (lambda: Event(-0.1, 1, "a"), "event.start is -0.1"),
        (lambda: Event(float("nan"), 1, "a"), "finite"),
        (lambda: Event(0, float("inf"), "a"), "finite"),
        (lambda: Event("0", 1, "a"), "event.start is '0'"),
        (lambda: Event(True, 1, "a"), "finite number"),
        (lambda: Event(0, 10**400, "a"), "finite number"),
        (lambda: Event(0, 1, None), "event.text is None"),
        (lambda: Event(0, 1, "\ud800"), "lone surrogates"),
        (lambda: Event(0, 1, "a", score=float("nan")), "event.score"),
        (lambda: Event(0, 1, "a", emitted_at=-1), "event.emitted_at"),
        (lambda: Event(0, 1, "a", id=1.0), "whole number"),
        (lambda: Event(0, 1, "a", id=2**70), "63 bits"),
        (lambda: Word("a", x=1), "both or neither"),
        (lambda: Word("a", start=1, end=0), "word starts"),
        (lambda: Gap(1, 0, "why"), "gap starts"),
        (lambda: MediaRef("a", -1, 2, 2), "media.duration"),
        (lambda: MediaRef("a", 1, 0, 2), "media.width"),
        (lambda: MediaRef("a", 1, 2, 2, 0), "media.rate"),
        (lambda: MediaRef(3, 1, 2, 2), "media.path"),
        (lambda: Track(1, [], np.zeros((0, 4))), "at least one"),
        (lambda: Track(1, [0, 0], BOXES), "strictly increasing"),
        (lambda: Track(1, [-1, 0], BOXES), "not negative"),
        (lambda: Track(1, [0, 1], BOXES[:1]), "shape"),
        (lambda: Track(1, [0], [[5, 0, 1, 1]]), "x1 <= x2"),
        (lambda: Track(1, [0], [[0, 0, np.nan, 1]]), "NaN"),
        (lambda: Track(1, [0], [[0, 0, 1e300, 1]]), "infinity"),
        (lambda: Track(1, [0], [["a", 0, 1, 1]]), "dtype"),
        (lambda: Track(1, [0], [[0, 0, 1], [1]]), "regular array"),
        (lambda: Track(1, [0, 1], BOXES, frames=[1, 1]), "strictly increasing"),
        (lambda: Track(1, [0, 1], BOXES, frames=[0.5, 1.5]), "dtype float64"),
        (lambda: Track(1, [0, 1], BOXES, scores=[1]), "shape"),
        (lambda: Region([0, 0, 1], "a"), "shape"),
        (lambda: Region([0, 0, 9, 2], "a", mask=np.ones((5, 5), bool)), "leaves the 5 x 5 frame"),
        (lambda: Region([0, 0, 2, 2], "a", mask=np.full((5, 5), 0.5)), "dtype float64"),
        (lambda: Region([0, 0, 2, 2], "a", mask=np.full((5, 5), 2)), "not bool"),
        (lambda: LabelMap([[0, 2]], ["a", "b"]), "-1 to 1"),
        (lambda: LabelMap([[-2]], ["a"]), "from -2"),
        (lambda: LabelMap([0], ["a"]), "shape"),
        (lambda: LabelMap([[0]], "a"), "a list of str"),
        (lambda: Timeline(MEDIA, [Event(1, 2, "a"), Event(0, 2, "b")]), "sorted by start"),
        (lambda: Timeline(MEDIA, [Event(1, 3, "a"), Event(1, 2, "b")]), "sorted by start"),
        (lambda: Timeline(MEDIA, [Event(9, 10.01, "a")]), "duration of 10 s"),
        (lambda: Timeline(MEDIA, gaps=[Gap(9, 11, "a")]), "duration of 10 s"),
        (lambda: Timeline(MEDIA, tracks=[Track(1, [0, 11], BOXES)]), "duration of 10 s"),
        (lambda: Timeline(MEDIA, tracks=[Track(1, [0], [[0, 0, 642, 5]])]), "leaves the 640 x 480 frame"),
        (lambda: Timeline(MEDIA, tracks=[Track(1, [0, 1], BOXES)] * 2), "same id"),
        (lambda: Timeline(MEDIA, [Gap(0, 1, "a")]), "events[0] is Gap"),
        (lambda: Timeline("street.mp4"), "of class MediaRef"),
        (lambda: Timeline(MEDIA, settings={"a": float("nan")}), "settings.a"),
        (lambda: Timeline(MEDIA, settings={"a": {1: 2}}), "settings.a key"),
        (lambda: Timeline(MEDIA, settings={"a": object()}), "something JSON can hold"),
    ],
)
def test_bad_values_are_refused_on_construction(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


def test_values_are_normalised_and_frozen():
    event = Event(np.float32(0.5), np.int64(2), "a", id=np.int32(3))
    assert (type(event.start), type(event.end), type(event.id)) == (float, float, int)
    assert event.duration == 1.5
    times = np.array([0.0, 1.0])
    track = Track(1, times, BOXES)
    times[0] = 0.5
    assert track.times[0] == 0  # its own copy
    assert track.boxes.dtype == np.float32
    for change in (lambda: track.boxes.__setitem__(0, 1), lambda: setattr(track, "id", 2)):
        with pytest.raises((ValueError, AttributeError)):
            change()
    assert Timeline(MEDIA, settings={"a": (1, np.float32(0.5))}).settings == {"a": [1, 0.5]}


def test_the_end_of_the_media_has_a_millisecond_of_room():
    assert Timeline(MEDIA, [Event(9, 10.0005, "a")]).events[0].end == 10.0005


def test_equality_looks_into_arrays():
    mask = np.eye(20, dtype=bool)
    assert Track(1, [0, 1], BOXES) == Track(1, [0.0, 1.0], np.array(BOXES, np.float64))
    assert Track(1, [0, 1], BOXES) != Track(1, [0, 2], BOXES)
    assert Track(1, [0, 1], BOXES) != Track(1, [0, 1], BOXES, scores=[1, 1])
    assert Region([0, 0, 2, 2], "a", mask=mask) == Region([0, 0, 2, 2], "a", mask=mask.astype(int))
    assert Region([0, 0, 2, 2], "a", mask=mask) != Region([0, 0, 2, 2], "a", mask=mask[:, ::-1])
    assert Event(0, 1, "a") != Gap(0, 1, "a")
    assert len({Event(0, 1, "a"), Event(0.0, 1.0, "a"), Event(0, 1, "b")}) == 2


def test_clipped_track_fits_its_frame():
    track = Track(1, [0, 1], [[-50, -5, 10, 10], [600, 400, 700, 500]], "car", 0.5, [0.1, 0.2], [3, 4])
    clipped = track.clipped(640, 480)
    assert clipped.boxes.tolist() == [[0, 0, 10, 10], [600, 400, 640, 480]]
    assert Timeline(MEDIA, tracks=[clipped]).tracks[0].text == "car"


@settings(deadline=None)  # a busy machine is no reason to fail
@given(timelines())
def test_timeline_json_round_trip(timeline):
    text = timeline.to_json()
    assert Timeline.from_json(text) == timeline
    assert Timeline.from_json(json.loads(text)) == timeline


@settings(deadline=None)  # a busy machine is no reason to fail
@given(st.data(), st.integers(1, 12), st.integers(1, 12))
def test_pictures_round_trip(data, height, width):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    region = Region([0, 0, width, height], "a", 0.5, mask, 1.5)
    labels = LabelMap(mask.astype(np.int32) - 1, ["x"], 2.0)
    for record in (region, labels, Word("hi", 1, 2, 3, 4), Word("hi"), Region([0, 0, 1, 1], "b")):
        again = type(record).from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False)))
        assert again == record


def with_change(**change):
    data = json.loads(Timeline(MEDIA, [Event(0, 1, "a")]).to_json())
    return {name: value for name, value in {**data, **change}.items() if value is not ...}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "line 1, column 2"),
        ("[]", 'no "schema"'),
        ("{}", 'no "schema"'),
        (with_change(schema="whenwhere.timeline/2"), "'whenwhere.timeline/2'; expected 'whenwhere.timeline/1'"),
        (with_change(schema=["x" * 1000]), "expected 'whenwhere.timeline/1'"),
        (with_change(mood="good"), "unknown fields 'mood'"),
        (with_change(media=...), "lacks media"),
        (with_change(media={"path": "a", "width": 2, "height": 2}), "lacks duration"),
        (with_change(events={}), "timeline.events is dict"),
        (with_change(events=[3]), "Event is given as int"),
        (with_change(events=[{"start": 0, "end": 1, "text": "a", "scor": 1}]), "unknown fields 'scor'"),
        (with_change(events=[{"start": 0, "text": "a"}]), "Event lacks end"),
        (with_change(tracks=[{"id": 1, "times": [0], "boxes": [[0, 0, None, 1]]}]), "dtype object"),
        (with_change(settings=[]), "settings are list"),
        ('{"schema": NaN}', "holds NaN"),
        ('{"schema": -Infinity}', "holds -Infinity"),
        ('{"schema": 1, "schema": 2}', "'schema' twice"),
        ('{"schema": ' + "9" * 5000 + "}", "not usable JSON"),
        ("[" * 100_000, "nested too deep"),
        (json.dumps(with_change()).replace("1.0", "1e999"), "event.end is inf"),
    ],
)
def test_bad_json_is_refused_with_the_reason(data, message):
    with pytest.raises(InputError) as error:
        Timeline.from_json(data)
    assert message in str(error.value)
    assert len(str(error.value)) < 400


@settings(deadline=None)  # a busy machine is no reason to fail
@given(st.text() | st.recursive(st.none() | st.text() | finite, lambda inner: st.dictionaries(st.text(), inner)))
def test_any_json_gives_a_timeline_or_an_input_error(data):
    for attempt in (data, {"schema": SCHEMA, "media": data}, with_change(events=[data]), with_change(tracks=[data])):
        if isinstance(attempt, (str, dict)):
            with pytest.raises(InputError):
                Timeline.from_json(attempt)


@pytest.mark.parametrize(
    "mask",
    [
        {},
        {"size": [2, 2]},
        {"size": [2], "counts": "4"},
        {"size": [2, 2], "counts": [5]},
        {"size": [2, 2], "counts": "~"},
    ],
)
def test_bad_masks_are_refused(mask):
    with pytest.raises(InputError):
        Region.from_dict({"box": [0, 0, 1, 1], "text": "a", "mask": mask})


def test_a_small_file_cannot_ask_for_all_memory():
    huge = {"size": [10**6, 10**6], "values": [0], "counts": [10**12]}
    with pytest.raises(InputError, match="at most 134217728 pixels"):
        LabelMap.from_dict({"labels": huge, "names": ["a"]})


def test_save_and_load(tmp_path):
    timeline = Timeline(MEDIA, [Event(0, 1, "Ünï 猫 \u2028 </script>")], model="m")
    timeline.save(tmp_path / "timeline.json")
    assert Timeline.load(tmp_path / "timeline.json") == timeline
    assert [path.name for path in tmp_path.iterdir()] == ["timeline.json"]
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "timeline.json").read_bytes())
    assert Timeline.load(tmp_path / "bom.json") == timeline


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "timeline.json"
    target.write_text("old")

    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["timeline.json"]


def test_unreadable_files_are_input_errors(tmp_path):
    (tmp_path / "latin").write_bytes(b"\xff\xfe\x00")
    for path, message in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "latin", "not UTF-8"),
    ):
        with pytest.raises(InputError, match=message):
            Timeline.load(path)
    with pytest.raises(InputError, match="cannot write"):
        Timeline(MEDIA).save(tmp_path / "no" / "folder.json")


def test_file_names_that_are_not_utf8_can_be_written_down(tmp_path):
    media = MediaRef(os.fsdecode(b"caf\xe9.mp4"), 1.0, 2, 2)
    assert media.path == "caf\ufffd.mp4"
    Timeline(media).save(tmp_path / "timeline.json")


def test_results_and_reports_import_without_heavy_packages():
    heavy = "{'torch', 'av', 'transformers', 'PIL', 'supervision'}"
    modules = "whenwhere.results, " + ", ".join(
        f"whenwhere.reports.{m}" for m in ("vtt", "srt", "coco", "mot", "html", "supervision_")
    )
    code = f"import sys, {modules}; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
