"""HOTA, CLEAR MOT and identity scores: recorded figures, TrackEval and motmetrics live, hand cases, invariants."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_cases import for_trackeval, random_video, side, two_tracks

from whenwhere.errors import InputError
from whenwhere.metrics import tracks
from whenwhere.metrics.clear_mot import clear_mot
from whenwhere.metrics.hota import hota
from whenwhere.metrics.identity import identity
from whenwhere.metrics.tasks import score_files
from whenwhere.metrics.track_files import read_mot
from whenwhere.metrics.tracking import tracking
from whenwhere.metrics.tracks import Detections

# Their names of our figures, where they differ
TRACKEVAL = {"Recall": "CLR_Re", "Precision": "CLR_Pr", "TP": "CLR_TP", "FN": "CLR_FN", "FP": "CLR_FP"}
MOTMETRICS = {
    **{"MOTA": "mota", "IDF1": "idf1", "IDP": "idp", "IDR": "idr", "IDSW": "num_switches", "FP": "num_false_positives"},
    **{"FN": "num_misses", "MT": "mostly_tracked", "PT": "partially_tracked", "ML": "mostly_lost"},
    **{"Recall": "recall", "Precision": "precision"},
}


def test_recorded_figures(shared_data):
    folder = shared_data / "scorers" / "mot" / "TUD-Campus"
    figures = tracking(read_mot(folder / "gt.txt", folder / "test.txt")).figures()
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    for name, value in figures.items():
        assert value == pytest.approx(expected["trackeval"][TRACKEVAL.get(name, name)], abs=1e-6), name
    for ours, theirs in MOTMETRICS.items():
        assert figures[ours] == pytest.approx(expected["motmetrics_1_4_0"][theirs], abs=1e-6), ours
    assert 1 - figures["MOTP"] == pytest.approx(expected["motmetrics_1_4_0"]["motp"], abs=1e-6)


def test_trackeval_agrees_on_several_videos():
    metrics = pytest.importorskip("trackeval", reason="TrackEval is not installed").metrics
    videos = {f"v{seed}": random_video(seed) for seed in range(4)}
    videos["nothing predicted"] = videos["v0"][0], Detections(np.array([], int), [], np.zeros((0, 4)))
    figures = tracking(videos).figures()
    for metric in (metrics.HOTA(), metrics.CLEAR({"PRINT_CONFIG": False}), metrics.Identity({"PRINT_CONFIG": False})):
        each = {name: metric.eval_sequence(for_trackeval(*pair, 30)) for name, pair in videos.items()}
        for name, value in metric.combine_sequences(each).items():
            ours = {theirs: ours for ours, theirs in TRACKEVAL.items()}.get(name, name)
            if ours in figures:
                assert figures[ours] == pytest.approx(float(np.mean(value)), abs=1e-9), name


def test_motmetrics_agrees_on_the_counts():
    motmetrics = pytest.importorskip("motmetrics", reason="motmetrics is not installed")
    truth, prediction = random_video(7, empty=False)
    data = for_trackeval(truth, prediction, 30)
    heap = motmetrics.MOTAccumulator(auto_id=True)
    for ours, theirs, table in zip(data["gt_ids"], data["tracker_ids"], data["similarity_scores"]):
        heap.update(ours, theirs, np.where(table >= 0.5, 1 - table, np.nan))
    found = motmetrics.metrics.create().compute(heap, metrics=["idf1", "num_objects", "num_predictions"])
    figures = identity({"v": (truth, prediction)}).figures()
    assert figures["IDF1"] == pytest.approx(float(found["idf1"].iloc[0]), abs=1e-9)
    assert figures["IDTP"] + figures["IDFN"] == found["num_objects"].iloc[0]


def test_errors_counted_by_hand():
    truth = side(*[(f, 1, "A", "") for f in range(6)])
    # two frames as 7, a miss, two as 8 with a false box, another miss at the end
    said = side((0, 7, "A", ""), (1, 7, "A", ""), (3, 8, "A", ""), (4, 8, "A", ""), (4, 9, "C", ""), (2, 9, "C", ""))
    figures = clear_mot({"v": (truth, said)}).figures()
    wanted = {"TP": 4, "FN": 2, "FP": 2, "IDSW": 1, "Frag": 1, "MT": 0, "PT": 1, "ML": 0, "MOTP": 1}
    assert wanted.items() <= figures.items()
    assert figures["MOTA"] == pytest.approx((4 - 2 - 1) / 6)
    found = identity({"v": (truth, said)}).figures()
    assert (found["IDTP"], found["IDFN"], found["IDFP"]) == (2, 4, 4)
    assert found["IDF1"] == pytest.approx(2 * 2 / (6 + 6))


def test_a_pair_of_the_frame_before_is_kept_though_another_overlaps_more():
    truth = Detections(np.array([0, 1]), [1, 1], np.array([[0.0, 0, 10, 10]] * 2))
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 10]])
    said = Detections(np.array([0, 1, 1]), [5, 5, 6], boxes)
    assert clear_mot({"v": (truth, said)}).figures()["IDSW"] == 0


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (side((0, 7, "A", ""), (1, 8, "A", ""), (2, 8, "A", "")), {"DetA": 1, "AssA": 5 / 9, "HOTA": 0.7453559925}),
        (side((0, 7, "A", ""), (1, 7, "A", ""), (2, 7, "A", "")), {"DetA": 1, "AssA": 1, "HOTA": 1, "LocA": 1}),
    ],
)
def test_hota_of_one_track(said, wanted):
    figures = hota({"v": (side(*[(f, 1, "A", "") for f in range(3)]), said)}).figures()
    assert {name: figures[name] for name in wanted} == pytest.approx(wanted)


def test_perfect_and_empty():
    truth, _ = random_video(0)
    nothing = Detections(np.array([], int), [], np.zeros((0, 4)))
    best, worst = tracking({"v": (truth, truth)}), tracking({"v": (truth, nothing)})
    one = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA", "MOTA", "MOTP", "IDF1", "MTR")
    assert {name: best.figures()[name] for name in one} == pytest.approx(dict.fromkeys(one, 1.0))
    assert best.figures()["IDSW"] == best.figures()["FP"] == best.figures()["FN"] == 0
    figures = worst.figures()
    assert {figures[name] for name in ("HOTA", "DetA", "AssA", "DetRe", "MOTA", "MOTP", "IDF1", "IDR", "MTR")} == {0.0}
    assert figures["FN"] == len(truth) and figures["MLR"] == 1
    assert worst.counts["videos without prediction"] == 1
    # no truth at all: every box is false, and nothing divides by zero
    assert tracking({"v": (nothing, truth)}).figures()["FP"] == len(truth)
    assert all(math.isfinite(value) for value in tracking({"v": (nothing, nothing)}).figures().values())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_and_names_do_not_matter(seed, random):
    truth, said = random_video(seed % 50, frames=13, objects=4)
    figures = tracking({"v": (truth, said)}).figures()
    changed = []
    for one in (truth, said):
        order = list(range(len(one)))
        random.shuffle(order)
        names = list(map(str, range(100)))
        random.shuffle(names)
        frames = one.frames[order] * 3 + 2
        changed.append(Detections(frames, [names[one.ids[row]] for row in order], one.boxes[order]))
    assert tracking({"v": (changed[0], changed[1])}).figures() == pytest.approx(figures, abs=1e-12)


def test_blocks_do_not_change_results(monkeypatch):
    pair = random_video(3)
    whole = hota({"v": pair}).figures()
    monkeypatch.setattr(tracks, "_BLOCK", 50)
    assert hota({"v": pair}).figures() == whole


def test_intervals_hold_the_figure_and_weights_are_repeated_videos():
    videos = {f"v{seed}": random_video(seed) for seed in range(5)}
    result = tracking(videos)
    low, high = result.intervals(resamples=200)["HOTA"]
    assert low < result.figures()["HOTA"] < high
    twice = {**videos, "again": videos["v1"]}
    assert result.figures(np.array([1, 2, 1, 1, 1])) == pytest.approx(tracking(twice).figures())


BOX = {"frame": 1, "id": 3, "box": [0, 0, 5, 5]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"box": [0, 0, math.nan, 5]}, "box 1: box"),
        ({"box": [5, 0, 0, 5]}, "box 1: box: .*x1 <= x2"),
        ({"box": [1, 2, 3]}, "box 1: box"),
        ({"frame": 1.5}, "box 1: frame 1.5"),
        ({"frame": math.inf}, "box 1: frame"),
        ({"id": None}, "box 1: id None"),
        ({"id": [1]}, r"box 1: id \[1\]"),
        ({"score": "high"}, "box 1: score"),
        ({"caption": 3}, "box 1: caption 3"),
        ({}, "identity 3 has two boxes on frame 1"),
    ],
)
def test_a_bad_box_is_named(change, told):
    with pytest.raises(InputError, match=told):
        Detections.from_records([BOX, BOX | change])


def test_bad_sets_are_refused():
    truth = side(*two_tracks())
    with pytest.raises(InputError, match="no video"):
        hota({})
    with pytest.raises(InputError, match="video 'v'"):
        hota({"v": truth})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="threshold 0"):
        clear_mot({"v": (truth, truth)}, threshold=0)
    with pytest.raises(InputError, match="columns of"):
        Detections(np.array([1, 2]), [1], np.zeros((2, 4)))


def test_mot_files_name_line_and_leave_out_what_does_not_count(tmp_path):
    truth, said = tmp_path / "gt", tmp_path / "pred"
    (truth / "a" / "gt").mkdir(parents=True)
    said.mkdir()
    (truth / "a" / "gt" / "gt.txt").write_text("1,1,0,0,10,10,1,-1,-1,-1\n1,2,50,0,10,10,0,-1,-1,-1\n")
    (said / "a.txt").write_text("1,9,0,0,10,10,0.5,-1,-1,-1\n")
    videos = read_mot(truth, said)
    assert list(videos) == ["a"] and len(videos["a"][0]) == 1
    assert tracking(videos).figures()["HOTA"] == 1.0
    assert score_files("tracking", [truth], said, ["HOTA", "IDF1"])[1] == {"HOTA": 1.0, "IDF1": 1.0}
    (said / "a.txt").write_text("1,9,0,0,10,10,0.5,-1,-1,-1\n2,9,0,nan,10,10,0.5,-1,-1,-1\n")
    with pytest.raises(InputError, match=r"a\.txt: line 2"):
        read_mot(truth, said)
    (said / "b.txt").write_text("")
    with pytest.raises(InputError, match="video 'b'"):
        read_mot(truth, said)
    with pytest.raises(InputError, match="two files or two folders"):
        read_mot(truth, said / "a.txt")
