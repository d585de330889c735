"""Readers of moments and actions: the public files, what they write, and files that are broken."""

from __future__ import annotations

import gzip
import json

import pytest

from whenwhere.datasets import activitynet, charades_sta, coin, qvhighlights
from whenwhere.errors import InputError
from whenwhere.results import Event

QUERY = {"qid": 7, "query": "A dog runs.", "duration": 10, "vid": "a_0_10", "relevant_windows": [[2, 4], [8, 6]]}


def opened(path, name, tmp_path):
    target = tmp_path / name
    target.write_bytes(gzip.decompress(path.read_bytes()))
    return target


def refused(path, text, read, *words):
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read(path)
    for word in (str(path), *words):
        assert word in str(error.value)


def test_qvhighlights_as_published(shared_data, tmp_path):
    file = opened(shared_data / "annotations" / "qvhighlights_train.jsonl.gz", "train.jsonl", tmp_path)
    queries = qvhighlights.read(file)
    assert len(queries) == 7218 and queries[0].qid == 9769 and queries[0].saliency[0] == (4, 3, 2)
    assert all(len(item.clips) == len(item.saliency) for item in queries)
    first = queries[0].events[0]
    assert (first.start, first.end, first.id) == (72.0, 82.0, 9769)
    qvhighlights.write(tmp_path / "again.jsonl", queries[:200])
    assert qvhighlights.read(tmp_path / "again.jsonl") == queries[:200]


def test_charades_in_the_form_of_qvhighlights(shared_data, tmp_path):
    file = opened(shared_data / "annotations" / "charades_sta_test.qvh.jsonl.gz", "test.jsonl", tmp_path)
    queries = qvhighlights.read(file)
    assert len(queries) == 3720 and queries[0].windows == ((24.3, 30.4),) and queries[0].clips is None


def test_captions_as_published(shared_data, tmp_path):
    file = opened(shared_data / "annotations" / "youcook2_captions_train.json.gz", "train.json", tmp_path)
    videos = activitynet.read_captions(file)
    assert len(videos) == 1333 and sum(len(item.events) for item in videos) == 10337
    assert videos[0].events[0] == Event(90, 102, "spread margarine on two slices of white bread", id=0)
    activitynet.write_captions(tmp_path / "again.json", videos[:50])
    assert activitynet.read_captions(tmp_path / "again.json") == videos[:50]


def test_swapped_ends_are_put_in_order_and_clipped(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({**QUERY, "relevant_windows": [[8, 6], [9, 12.5], [-1, 3]]}) + "\n\n")
    assert qvhighlights.read(file)[0].windows == ((6, 8), (9, 10), (0, 3))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"qid": "x"}, "qid"),
        ({"duration": 0}, "duration"),
        ({"relevant_windows": [[1]]}, "relevant_windows[0]"),
        ({"relevant_clip_ids": [1], "saliency_scores": [[1, 2, 5]]}, "saliency_scores[0][2]"),
        ({"relevant_clip_ids": [1, 2], "saliency_scores": [[1, 2, 3]]}, "saliency_scores"),
    ],
)
def test_a_broken_query_is_named_by_its_line(change, word, tmp_path):
    lines = [json.dumps(QUERY), json.dumps({**QUERY, "qid": 8, **change})]
    refused(tmp_path / "a.jsonl", "\n".join(lines), qvhighlights.read, "line 2", word)


def test_lines_that_are_no_json_or_come_twice(tmp_path):
    file = tmp_path / "a.jsonl"
    refused(file, json.dumps(QUERY) + "\n{", qvhighlights.read, "line 2", "JSON")
    refused(file, "\n\n{" + '"qid": NaN}', qvhighlights.read, "line 3", "NaN")
    refused(file, f"{json.dumps(QUERY)}\n{json.dumps(QUERY)}", qvhighlights.read, "line 2", "twice")
    refused(file, "[" * 100000, qvhighlights.read, "line 1")
    with pytest.raises(InputError, match="nowhere"):
        qvhighlights.read(tmp_path / "nowhere.jsonl")


def test_charades_lines(tmp_path):
    file, lengths = tmp_path / "a.txt", tmp_path / "a.csv"
    file.write_text("AO8RW 0.0 6.9##a person is putting a book on a shelf.\nAO8RW 30.1 99##again ## twice.\n")
    lengths.write_text('id,subject,length\nAO8RW,"x, y",33.67\n')
    one, two = charades_sta.read(file, charades_sta.read_durations(lengths))
    assert one.event == Event(0.0, 6.9, "a person is putting a book on a shelf.", id=0) and one.duration == 33.67
    assert (two.event.start, two.event.end, two.event.text) == (30.1, 33.67, "again ## twice.")
    assert charades_sta.read(file)[1].event.end == 99 and charades_sta.read(file)[1].duration is None
    with pytest.raises(InputError):
        charades_sta.write(tmp_path / "b.txt", [charades_sta.CharadesMoment("a b", one.event)])


def test_broken_charades_lines(tmp_path):
    file = tmp_path / "a.txt"
    good = "V 0 1##Yes.\n"
    for bad in ("V 0 1 no mark", "V 0##no end", "V a 1##no number", "V nan 1##nan", "V -1 1##before", "0 1##no name"):
        refused(file, good + bad, charades_sta.read, "line 2")
    refused(file, good, lambda path: charades_sta.read(path, {"W": 3.0}), "line 1", "V")
    refused(file, "id,len\nV,3\n", charades_sta.read_durations, "line 1", "length")
    refused(file, "id,length\nV,3\nW,\n", charades_sta.read_durations, "line 3")
    refused(file, "id,length\nV,0\n", charades_sta.read_durations, "line 2")


def test_captions_that_are_broken(tmp_path):
    file = tmp_path / "a.json"
    entry = {"duration": 5, "timestamps": [[4, 9], [2, 1]], "sentences": [" Yes. ", "No."]}
    file.write_text(json.dumps({"v": entry}))
    (video,) = activitynet.read_captions(file)
    assert video.events == (Event(4, 5, "Yes.", id=0), Event(1, 2, "No.", id=1))
    refused(file, json.dumps({"v": {**entry, "sentences": ["one"]}}), activitynet.read_captions, "v.sentences")
    refused(file, json.dumps({"v": {**entry, "duration": -1}}), activitynet.read_captions, "v.duration")
    refused(file, '{"v":\n{"duration": }}', activitynet.read_captions, "line 2")


def test_activitynet_segments(tmp_path):
    file = tmp_path / "a.json"
    node = {"nodeId": 1, "nodeName": "Polo", "parentId": 0, "parentName": "Root"}
    root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
    entry = {"duration": 9.5, "subset": "validation", "resolution": "320x240", "url": "u"}
    entry["annotations"] = [{"segment": [1, 10], "label": "Polo"}]
    data = {"version": "VERSION 1.3", "taxonomy": [root, node], "database": {"a": entry}}
    file.write_text(json.dumps(data))
    found = activitynet.read(file)
    assert found.labels == ("Polo",) and found.taxonomy[0].parent is None
    assert found.videos[0].events == (Event(1, 9.5, "Polo"),) and found.videos[0].resolution == "320x240"
    activitynet.write(tmp_path / "b.json", found)
    assert activitynet.read(tmp_path / "b.json") == found
    entry["annotations"][0]["label"] = "Pool"
    refused(file, json.dumps(data), activitynet.read, "database.a.annotations[0].label")


def test_coin_steps(tmp_path):
    file = tmp_path / "a.json"
    step = {"id": "12", "segment": [2.0, 4.5], "label": "take out the lamp"}
    entry = {"duration": 60.0, "class": "ReplaceBulb", "subset": "validation", "recipe_type": 3, "start": 1, "end": 70}
    data = {"database": {"a": {**entry, "annotation": [step]}}}
    file.write_text(json.dumps(data))
    (video,) = coin.read(file)
    assert video.steps == (Event(2, 4.5, "take out the lamp", id=12),) and video.end == 60 and video.recipe == 3
    for change in ({"id": "x"}, {"segment": [1]}, {"label": None}):
        broken = {"database": {"a": {**entry, "annotation": [{**step, **change}]}}}
        refused(file, json.dumps(broken), coin.read, f"database.a.annotation[0].{next(iter(change))}")
    two = {"database": {"a": {**entry, "annotation": [step, {**step, "label": "other"}]}}}
    refused(file, json.dumps(two), coin.read, "annotation[1].label", "step 12")
    with pytest.raises(InputError):
        coin.write(file, [coin.CoinVideo("a", 5.0, "t", "training", 0, 5, (Event(0, 1, "no number"),), 1)])
