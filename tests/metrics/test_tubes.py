"""Spatio-temporal grounding: hand cases, sampling of frames, bad records, files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.tasks import score_files
from whenwhere.metrics.tubes import sampled_frames, tube_grounding

BOX, OFF = [0.0, 0, 40, 40], [10.0, 0, 50, 40]  # IoU 0.6


def tube(start: int, end: int, box=BOX, **more):
    return {"span": [start, end], "boxes": dict.fromkeys(range(start, end), box), **more}


@pytest.mark.parametrize(
    ("said", "space", "time", "both"),
    [
        (tube(10, 20), 1, 1, 1),
        (tube(10, 15), 0.5, 0.5, 0.5),  # right boxes in half of the tube
        (tube(10, 20, OFF), 0.6, 1, 0.6),
        (tube(15, 25, OFF), 0.3, 5 / 15, 5 * 0.6 / 15),
        (tube(5, 25), 1, 0.5, 0.5),
        (tube(30, 40), 0, 0, 0),
        (tube(10, 20) | {"span": [10, 12]}, 1, 0.2, 0.2),  # boxes outside the predicted span count in space only
        (None, 0, 0, 0),
    ],
)
def test_hand_cases(said, space, time, both):
    figures = tube_grounding({} if said is None else {"a": said}, {"a": tube(10, 20)}).figures()
    assert [figures[name] for name in ("sIoU", "tIoU", "vIoU")] == pytest.approx([space, time, both])
    assert figures["vIoU@0.5"] == float(both > 0.5)  # strictly above
    assert figures["vIoU@0.3"] == float(both > 0.3)
    assert figures["sIoU@0.5"] == float(space > 0.5)


def test_only_frames_that_were_looked_at_count():
    truth = {"span": [0, 10], "boxes": {"0": BOX, "5": BOX}, "frames": [0, 5, 10, 15]}
    said = {"span": [0, 20], "boxes": {0: BOX, 5: OFF, 10: BOX, 15: BOX}}
    figures = tube_grounding({"a": said}, {"a": truth}).figures()
    assert figures["sIoU"] == pytest.approx(0.8)
    assert figures["vIoU"] == pytest.approx(1.6 / 4)
    assert figures["tIoU"] == pytest.approx(0.5)


def test_figures_by_type_and_of_resamples():
    truths = {"a": tube(0, 4, type="declarative"), "b": tube(0, 4, type="interrogative")}
    result = tube_grounding({"a": tube(0, 4)}, truths)
    figures = result.figures()
    assert (figures["vIoU"], figures["vIoU[declarative]"], figures["vIoU[interrogative]"]) == (0.5, 1.0, 0.0)
    assert result.counts == {"samples": 2, "samples without prediction": 1}
    assert result.figures(np.array([3, 1]))["sIoU"] == 0.75


def test_sampling():
    assert sampled_frames(0, 20, 25.0) == [0, 5, 10, 15]
    assert sampled_frames(3, 12, 5.0) == list(range(3, 12))
    assert sampled_frames(0, 1000, 5.0)[:3] == [0, 5, 10]
    assert len(sampled_frames(0, 1001, 5.0)) == 200
    with pytest.raises(InputError, match="fps"):
        sampled_frames(0, 10, 0.0)
    with pytest.raises(InputError, match="from frame 5 to 5"):
        sampled_frames(5, 5, 25.0)


@pytest.mark.parametrize(
    ("said", "truth", "told"),
    [
        (tube(0, 2) | {"span": [2, 0]}, tube(0, 2), r"sample 'a', prediction: span"),
        (tube(0, 2) | {"boxes": {0: [0, 0, math.nan, 1]}}, tube(0, 2), "prediction, frame 0: box"),
        (tube(0, 2) | {"boxes": {-1: BOX}}, tube(0, 2), "prediction: frame -1"),
        (tube(0, 2) | {"boxes": [BOX]}, tube(0, 2), "prediction: boxes that are a list"),
        ({"span": [0, 2]}, tube(0, 2), "a record without 'boxes'"),
        (tube(0, 2), tube(0, 2) | {"boxes": {0: BOX}}, "truth: no box on frame 1"),
        (tube(0, 2), tube(0, 2, frames=[7]), "no frame that was looked at"),
    ],
)
def test_bad_records_are_named(said, truth, told):
    with pytest.raises(InputError, match=told):
        tube_grounding({"a": said}, {"a": truth})
    with pytest.raises(InputError, match="sample 'b'"):
        tube_grounding({"b": tube(0, 2)}, {"a": tube(0, 2)})
    with pytest.raises(InputError, match="no sample"):
        tube_grounding({}, {})


def test_files(tmp_path):
    truth, said = tmp_path / "truth.jsonl", tmp_path / "said.jsonl"
    truth.write_text("".join(json.dumps(tube(0, 4) | {"id": name}) + "\n" for name in "ab"))
    said.write_text("".join(json.dumps(tube(0, 2) | {"id": name}) + "\n" for name in "ab"))
    assert score_files("tubes", [truth], said)[1]["vIoU"] == 0.5
    said.write_text(
        json.dumps(tube(0, 2) | {"id": "a"}) + "\n" + json.dumps({"id": "b", "span": [0, "x"], "boxes": {}})
    )
    with pytest.raises(InputError, match=r"said\.jsonl, line 2: span"):
        score_files("tubes", [truth], said)
