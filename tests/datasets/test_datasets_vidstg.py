"""VidSTG and VidOR: spans, sentences and boxes; faults are named by their field."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.datasets import vidstg
from whenwhere.errors import InputError

VIDEO = {
    "frame_count": 4,
    "fps": 2.0,
    "width": 64,
    "height": 48,
    "subject/objects": [{"tid": 0, "category": "dog"}, {"tid": 3, "category": "ball"}, {"tid": 5, "category": "cat"}],
}
ENTRY = {
    "vid": "a",
    **VIDEO,
    "temporal_gt": {"begin_fid": 1, "end_fid": 4},
    "captions": [{"description": "a dog runs", "target_id": 0, "type": "dog"}],
    "questions": [{"description": "what does the dog chase?", "target_id": 3, "type": "ball"}],
}


def box(number, *sides):
    return {"tid": number, "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)), "generated": 0}


BOXES = {
    "video_id": "a",
    "video_path": "a.mp4",
    **VIDEO,
    "trajectories": [[box(0, 1, 2, 3, 4)], [], [box(3, 5, 6, 7, 8), box(0, 2, 3, 4, 5)], []],
}


def put(path, data):
    path.write_text(json.dumps(data))
    return path


def test_sentences_and_questions(tmp_path):
    assert vidstg.read(put(tmp_path / "a", [ENTRY])) == [
        vidstg.TubeQuery("a", "a dog runs", False, 0, "dog", 1, 4, 4, 2.0),
        vidstg.TubeQuery("a", "what does the dog chase?", True, 3, "ball", 1, 4, 4, 2.0),
    ]


def test_boxes_become_tracks(tmp_path):
    found = vidstg.read_boxes(put(tmp_path / "a", BOXES))
    assert (found.video, found.path, found.frames, found.rate, found.width, found.height) == (
        "a", "a.mp4", 4, 2.0, 64, 48,
    )  # fmt: skip
    assert found.categories == {0: "dog", 3: "ball", 5: "cat"}, "the cat is never seen"
    dog, ball = found.tracks
    assert (dog.id, dog.text, dog.frames.tolist(), dog.times.tolist()) == (0, "dog", [0, 2], [0.0, 1.0])
    assert np.array_equal(dog.boxes, [[1, 2, 3, 4], [2, 3, 4, 5]]) and ball.boxes.tolist() == [[5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temporal_gt": {"begin_fid": 2, "end_fid": 2}}, "temporal_gt.end_fid"),
        ({"temporal_gt": {"begin_fid": 1, "end_fid": 5}}, "temporal_gt.end_fid"),
        ({"captions": [{"description": "x", "target_id": 1}]}, r"captions\[0\].target_id is 1"),
        ({"fps": 0}, "fps is 0"),
        ({"questions": None}, "questions"),
    ],
)
def test_a_broken_entry_is_named(change, said, tmp_path):
    with pytest.raises(InputError, match=said):
        vidstg.read(put(tmp_path / "a", [{**ENTRY, **change}]))


@pytest.mark.parametrize(
    ("trajectories", "said"),
    [
        ([[], []], "a list of 4"),
        ([[box(1, 0, 0, 1, 1)], [], [], []], r"trajectories\[0\]\[0\].tid is 1"),
        ([[box(0, 0, 0, 1, 1), box(0, 0, 0, 1, 1)], [], [], []], "once in a frame"),
        ([[{"tid": 0, "bbox": {"xmin": 0}}], [], [], []], "has no 'ymin'"),
    ],
)
def test_broken_boxes_are_named(trajectories, said, tmp_path):
    with pytest.raises(InputError, match=said):
        vidstg.read_boxes(put(tmp_path / "a", {**BOXES, "trajectories": trajectories}))
