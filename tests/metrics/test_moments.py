"""Moment retrieval: worked numbers, the authors' figures for QVHighlights, what must hold, bad records."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.metrics.actions import action_detection
from whenwhere.metrics.average_precision import every_point, hundred_levels
from whenwhere.metrics.moments import interval_iou, moments
from whenwhere.metrics.qvhighlights import published, qvhighlights

TRUE = {"a": [[0, 10]], "b": [[20, 40], [60, 70]]}


def lines(path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def recorded(shared_data) -> tuple[list[dict], list[dict], dict]:
    folder = shared_data / "scorers" / "qvhighlights"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return lines(folder / "preds.jsonl.gz"), lines(folder / "highlight_val_release.jsonl.gz"), expected


@pytest.fixture(scope="module")
def scored(recorded):
    return qvhighlights(recorded[0], recorded[1])


def test_the_authors_figures_all_of_them(recorded, scored):
    assert published(scored.figures()) == recorded[2]
    assert scored.counts["queries"] == len(scored.ids) == len(recorded[1])
    assert "authors" in scored.convention and not scored.left_out


def test_the_order_of_records_does_not_matter(recorded, scored):
    shuffled = [random.Random(seed).sample(records, len(records)) for seed, records in enumerate(recorded[:2])]
    assert qvhighlights(*shuffled).figures() == scored.figures()


def test_weights_are_repeats(recorded):
    predictions, truths, _ = recorded
    found, told = predictions[:12], truths[:12]
    by_id = {record["qid"]: record for record in found}
    times = [3, 0, 1, 2, 0, 1, 1, 0, 4, 1, 1, 0]
    order = sorted(told, key=lambda record: str(record["qid"]))
    again = [{**record, "qid": f"{record['qid']}/{copy}"} for record, n in zip(order, times) for copy in range(n)]
    said = [{**by_id[int(record["qid"].split("/")[0])], "qid": record["qid"]} for record in again]
    weighted = qvhighlights(found, told).figures(np.array(times))
    repeated = qvhighlights(said, again).figures()
    for name, value in repeated.items():
        assert weighted[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_perfect_and_empty_submissions(recorded):
    truths = recorded[1][:60]
    perfect, empty = [], []
    for record in truths:
        clips = [0.0] * int(record["duration"] / 2)
        for clip, ratings in zip(record["relevant_clip_ids"], record["saliency_scores"]):
            clips[clip] = float(sum(ratings))
        windows = [[*window, 1.0] for window in record["relevant_windows"]]
        perfect.append({"qid": record["qid"], "pred_relevant_windows": windows, "pred_saliency_scores": clips})
        empty.append({"qid": record["qid"], "pred_relevant_windows": [], "pred_saliency_scores": []})
    best, worst = qvhighlights(perfect, truths), qvhighlights(empty, truths)
    few = [record["qid"] for record in truths if len(record["relevant_windows"]) > 10]
    assert not few
    figures = best.figures()
    assert all(figures[f"MR-full-{name}"] == pytest.approx(1) for name in ("mAP", "mAP@0.95"))
    assert figures["HL-min-Fair-Hit1"] == pytest.approx(1)
    assert {value for name, value in worst.figures().items() if name.startswith("MR")} <= {0.0, np.nan}
    assert worst.figures()["HL-min-Fair-Hit1"] == 0.0
    assert worst.counts["queries without predicted windows, which count as misses"] == 60


def test_without_saliency_the_highlights_are_left_out_with_the_reason():
    truth, guess = {"qid": 1, "relevant_windows": [[0, 10]]}, {"qid": 1, "pred_relevant_windows": [[0, 10, 1]]}
    found = qvhighlights([guess], [truth])
    assert "no record has saliency_scores" in found.left_out["HL"]
    assert not [name for name in found.figures() if name.startswith("HL")]
    assert found.figures()["MR-short-mAP"] == 1.0 and np.isnan(found.figures()["MR-long-mAP"])


def qvh(**changes) -> tuple[dict, dict]:
    truth = {
        "qid": 7,
        "duration": 10,
        "relevant_windows": [[0, 4]],
        "relevant_clip_ids": [0, 1],
        "saliency_scores": [[4, 4, 0], [4, 1, 0]],
    }
    guess = {"qid": 7, "pred_relevant_windows": [[0, 4, 0.5]], "pred_saliency_scores": [0.5, 0.1, 0, 0, 0]}
    for name, value in changes.items():
        (guess if name.startswith("pred") else truth)[name] = value
    return guess, truth


def test_worked_highlights():
    """Annotator 1 likes both clips, annotator 2 the first, annotator 3 none; the ranking has the second clip third."""
    guess, truth = qvh(pred_saliency_scores=[0.5, 0.1, 0.3, 0, 0])
    figures = qvhighlights([guess], [truth]).figures()
    assert figures["HL-min-VeryGood-mAP"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 0) / 3)
    assert figures["HL-min-VeryGood-Hit1"] == 1.0
    guess, truth = qvh(pred_saliency_scores=[0, 0, 0, 0, 0, 9])  # a score beyond the video
    assert qvhighlights([guess], [truth]).figures()["HL-min-Fair-Hit1"] == 0.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pred_relevant_windows": [[0, 4]]}, "pred_relevant_windows: .* n x 3 finite numbers"),
        ({"pred_relevant_windows": [[0, float("nan"), 1]]}, "pred_relevant_windows: .* finite"),
        ({"pred_relevant_windows": [[5, 4, 1]]}, "from 5 to 4"),
        ({"pred_relevant_windows": [["0", "4", "1"]]}, "pred_relevant_windows: .* finite"),
        ({"pred_relevant_windows": None}, "pred_relevant_windows: None"),
        ({"pred_saliency_scores": [1, None]}, "pred_saliency_scores"),
        ({"relevant_windows": []}, "no relevant window"),
        ({"relevant_clip_ids": [0]}, "1 relevant_clip_ids and 2 saliency_scores"),
        ({"relevant_clip_ids": [0, 5]}, "clips 0..4"),
        ({"saliency_scores": [[1, 2], [1, 2]]}, "saliency_scores: .* n x 3"),
        ({"duration": 1e30}, "duration 1e[+]30"),
        ({"qid": True}, "qid True"),
    ],
)
def test_names_the_bad_query(changes, told):
    guess, truth = qvh(**changes)
    with pytest.raises(InputError, match=told):
        qvhighlights([guess], [truth])


def test_ids_have_to_agree():
    guess, truth = qvh()
    with pytest.raises(InputError, match="no prediction for 1 of 1 ids, such as query '7'"):
        qvhighlights([], [truth])
    with pytest.raises(InputError, match="predictions for 1 ids that the truth does not have"):
        qvhighlights([guess, {**guess, "qid": 8}], [truth])
    with pytest.raises(InputError, match="qid 7 for the second time"):
        qvhighlights([guess, guess], [truth])
    with pytest.raises(InputError, match="no query to score"):
        qvhighlights([], [])


def test_worked_recall():
    said = {"a": [[5, 15, 0.2], [0, 8, 0.1], [0, 10, 0.05]], "b": [[20, 30, 0.9]]}
    found = moments(said, TRUE, ks=(1, 2, 3), thresholds=(0.3, 0.5, 0.7, 1.0))
    figures = found.figures()
    assert figures["mIoU"] == pytest.approx((5 / 15 + 0.5) / 2)
    assert [figures[f"R1@{m}"] for m in (0.3, 0.5, 0.7)] == [1.0, 0.5, 0.0]
    assert [figures[f"R2@{m}"] for m in (0.5, 0.7, 1)] == [1.0, 0.5, 0.0]
    assert figures["R3@1"] == 0.5
    assert found.figures(np.array([3, 1]))["mIoU"] == pytest.approx((3 * 5 / 15 + 0.5) / 4)


def test_charades_sta_as_it_lies_there(shared_data):
    records = lines(shared_data / "annotations" / "charades_sta_test.qvh.jsonl.gz")
    truths = {str(record["qid"]): record["relevant_windows"] for record in records}
    durations = {str(record["qid"]): record["duration"] for record in records}
    perfect = moments({query: [[*w, 1.0] for w in windows] for query, windows in truths.items()}, truths).figures()
    assert set(perfect.values()) == {1.0}
    whole = moments({query: [[0, max(end, 1), 1.0]] for query, end in durations.items()}, truths).figures()
    assert 0.05 < whole["R1@0.3"] < 0.5 and whole["R1@0.7"] < whole["R1@0.5"] < whole["R1@0.3"]


windows = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(0, 3)), max_size=6).map(
    lambda rows: [[start, start + length, score] for start, length, score in rows]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(windows, windows.filter(bool)), min_size=1))
def test_recall_grows_with_k_and_falls_with_the_threshold(queries):
    said, true = ({query: pair[side] for query, pair in queries.items()} for side in (0, 1))
    true = {query: [window[:2] for window in rows] for query, rows in true.items()}
    figures = moments(said, true).figures()
    for limit in (0.3, 0.5, 0.7):
        assert figures[f"R1@{limit}"] <= figures[f"R5@{limit}"]
    assert figures["R5@0.7"] <= figures["R5@0.5"] <= figures["R5@0.3"]
    assert moments(dict(reversed(said.items())), dict(reversed(true.items()))).figures() == figures
    perfect = moments({query: [[*row, 1] for row in rows] for query, rows in true.items()}, true).figures()
    assert set(perfect.values()) == {1.0}
    assert set(moments({}, true).figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("said", "true", "told"),
    [
        ({"a": [[0, 1]]}, TRUE, "query 'a', predictions"),
        ({"a": [[0, 1, float("inf")]]}, TRUE, "query 'a', predictions"),
        ({"z": [[0, 1, 1]]}, TRUE, "a prediction for query 'z'"),
        ({}, {"a": []}, "query 'a' without a true window"),
        ({}, {"a": [[3, 1]]}, "query 'a', true windows: from 3 to 1"),
        ({}, {}, "no query"),
    ],
)
def test_names_the_bad_window(said, true, told):
    with pytest.raises(InputError, match=told):
        moments(said, true)


def test_interval_iou():
    left, right = np.array([[0.0, 10], [5, 5]]), np.array([[0.0, 10], [10, 20], [5, 15], [2, 4], [5, 5]])
    assert interval_iou(left, right).tolist() == [[1.0, 0.0, 5 / 15, 0.2, 0.0], [0.0] * 5]


@pytest.mark.parametrize(("hits", "area"), [([1, 0, 1], 0.8333), ([0, 1], 0.25), ([1, 1], 1.0), ([], 0.0)])
def test_worked_average_precision(hits, area):
    assert every_point(np.array(hits, dtype=bool), 2) == pytest.approx(area, abs=5e-5)


def test_average_precision_of_repeated_items():
    hits, times = np.array([1, 0, 1, 0, 1], dtype=bool), np.array([2, 3, 0, 1, 2])
    many = np.repeat(hits, times)
    for area in (every_point, hundred_levels):
        assert area(hits, 6, times) == pytest.approx(float(area(many, 6)))
        assert np.isnan(area(hits, 0))


ACTIONS = {"v": [{"label": "jump", "segment": [0, 10]}, {"label": "jump", "segment": [20, 40]}]}
GUESSES = {
    "v": [
        {"label": "jump", "segment": segment, "score": score}
        for segment, score in (([0, 9], 0.9), ([20, 30], 0.8), ([21, 41], 0.7))
    ]
}


def test_worked_action_detection():
    figures = action_detection(GUESSES, ACTIONS).figures()
    assert figures["mAP@0.5"] == 1.0
    assert [figures[f"mAP@{limit}"] for limit in (0.55, 0.7, 0.85)] == pytest.approx([0.8333] * 3, abs=5e-5)
    assert figures["mAP@0.95"] == 0.0
    assert figures["mAP"] == pytest.approx(0.7667, abs=5e-5)


def test_action_detection_across_videos_and_classes():
    true = {**ACTIONS, "w": [{"label": "run", "segment": [0, 5]}], "quiet": []}
    alarm = {"label": "jump", "segment": [0, 5], "score": 1.0}
    found = action_detection({**GUESSES, "w": [alarm], "unknown": [{**alarm, "label": "fly"}]}, true)
    assert found.figures()["mAP@0.5"] == pytest.approx((2 / 3 + 0) / 2)  # jump: 0, 1, 1; run: nothing found
    assert found.counts["predictions skipped because no true segment has their class"] == 1
    without_w = found.figures(np.array([float(video != "w") for video in found.ids]))
    assert without_w["mAP@0.5"] == 1.0  # no run left, and the alarm is gone
    backwards = {video: records[::-1] for video, records in reversed(true.items())}
    assert action_detection(GUESSES, backwards).figures() == action_detection(GUESSES, true).figures()
    perfect = {video: [{**record, "score": 1} for record in records] for video, records in true.items()}
    assert set(action_detection(perfect, true).figures().values()) == {1.0}
    assert set(action_detection({}, true).figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"segment": [3, 1]}, "video 'v', prediction 0: segment: from 3 to 1"),
        ({"score": float("nan")}, "video 'v', prediction 0: score"),
        ({"label": 3}, "video 'v', prediction 0: label 3"),
    ],
)
def test_names_the_bad_action(change, told):
    with pytest.raises(InputError, match=told):
        action_detection({"v": [{"label": "jump", "segment": [0, 1], "score": 1, **change}]}, ACTIONS)
    with pytest.raises(InputError, match="no true segment"):
        action_detection({}, {"v": []})
