"""``whenwhere score``: recorded files as they lie there, and one clear sentence for everything that is wrong."""

from __future__ import annotations

import gzip
import json
import random
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from score_cases import CASES, write
from whenwhere.cli import main
from whenwhere.metrics.tasks import TASKS

PAIRS = {
    "captions": ("captions.json", "guesses.json"),
    "dense-captions": ("events.json", "submission.json"),
    "moments": ("moments.jsonl", "windows.jsonl"),
    "actions": ("activities.json", "actions.json"),
    "referring": ("expressions.jsonl", "boxes.jsonl"),
    "names": ("names.jsonl", "names.jsonl"),
    "mot": ("gt.txt", "tracks.txt"),
    "dense-voc": ("truth.json", "tracks.json"),
    "tubes": ("tubes.jsonl", "found.jsonl"),
    "boxes": ("instances.json", "detections.json"),
    "vos": ("DAVIS/Annotations/480p", "masks"),
    "segmentation": ("VOC/SegmentationClass", "labels"),
    "words": ("narratives.jsonl", "points.jsonl"),
    "region-captions": ("visual_genome", "regions.json"),
    "segments": ("frames.json", "steps.json"),
    "acre": ("iid/config/test.json", "answers.jsonl"),
    "cater": ("lists/localize/val.txt", "cells.jsonl"),
}
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("score.md", "metrics_tracking.md")


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Run the command in an empty folder: exit code, what it printed, what it complained of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments) -> tuple[int, str, str]:
        code = main(["score", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """Small files of every task, in the forms that people have."""
    captions = [{"image_id": 1, "caption": "a dog runs"}, {"image_id": 2, "caption": "a red bus on a street"}]
    more = [{"image_id": 1, "caption": "the dog is running"}, {"image_id": 2, "caption": "a bus"}]
    events = {"v": {"timestamps": [[0, 10], [10, 30]], "sentences": ["a dog runs", "it sleeps"]}}
    said = [{"timestamp": [0, 9], "sentence": "a dog runs"}]
    moment = {"qid": 3, "query": "a dog runs", "duration": 20, "vid": "v", "relevant_windows": [[0, 10]]}
    contents = {
        "captions.json": {"annotations": captions + more, "images": []},
        "guesses.json": captions,
        "events.json": events,
        "submission.json": {"version": "1", "results": {"v": said}},
        "moments.jsonl": moment,
        "windows.jsonl": {"qid": 3, "pred_relevant_windows": [[0, 8, 0.9], [5, 20, 0.1]]},
        "activities.json": {"database": {"v": {"annotations": [{"label": "jump", "segment": [0, 10]}]}}},
        "actions.json": {"results": {"v": [{"label": "jump", "segment": [0, 9], "score": 0.9}]}},
        "expressions.jsonl": {"id": 1, "bbox": [10, 10, 20, 30]},
        "boxes.jsonl": {"id": 1, "bbox": [10, 10, 20, 20]},
        "names.jsonl": {
            "id": "a",
            "caption_entities": [{"text": "Rome", "label": "GPE"}],
            "generated_entities": [{"text": "Rome", "label": "GPE"}, {"text": "Ann", "label": "PERSON"}],
        },
    }
    contents |= {
        "truth.json": {
            "images": [{"id": 1, "video_id": 1}],
            "annotations": [{"id": 1, "image_id": 1, "track_id": 1, "bbox": [10, 10, 20, 30], "caption": "a dog runs"}],
        },
        "tracks.json": [{"image_id": 1, "track_id": 4, "bbox": [10, 10, 20, 30], "score": 0.9, "caption": "a dog"}],
        "tubes.jsonl": {"id": "a", "span": [0, 2], "boxes": {"0": [0, 0, 9, 9], "1": [0, 0, 9, 9]}},
        "found.jsonl": {"id": "a", "span": [0, 1], "boxes": {"0": [0, 0, 9, 9]}},
        "instances.json": {
            "images": [{"id": 1, "width": 99, "height": 99}],
            "categories": [{"id": 1, "name": "dog"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 9, 9], "area": 81, "iscrowd": 0}],
        },
        "detections.json": [{"image_id": 1, "category_id": 1, "bbox": [9, 9, 9, 9], "score": 0.9}],
    }
    box = "1,1,10,10,20,30,1,-1,-1,-1\n2,1,12,10,20,30,1,-1,-1,-1\n"
    for name in ("gt.txt", "tracks.txt", "mot17/train/one/gt/gt.txt", "results/mytracker/one.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(box, encoding="utf-8")
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content) + "\n", encoding="utf-8")
    for task in list(PAIRS)[-7:]:
        case = CASES[task](random.Random(0))
        for (where, place), part in zip(
            ((case.gt, PAIRS[task][0]), (case.pred, PAIRS[task][1])), (case.truth, case.perfect)
        ):
            write(tmp_path, {place + path.removeprefix(where): content for path, content in part.items()})
    return {name: tmp_path / name for name in (*contents, "gt.txt", "tracks.txt")}


@pytest.mark.parametrize("name", ["human_vs_human", "degenerate_150"])
def test_recorded_captions(run, shared_data, name):
    file = shared_data / "scorers" / "captions" / f"{name}.json"
    code, out, _ = run("captions", "--gt", file, "--pred", file, "--json", "-")
    assert code == 0
    report, expected = json.loads(out), json.loads(file.read_text(encoding="utf-8"))["corpus"]
    for metric in expected.keys() - report["left_out"].keys():
        assert report["figures"][metric] == pytest.approx(expected[metric], abs=1e-6), metric
    assert {"CIDEr", "ROUGE_L", "Bleu_4"} <= report["figures"].keys()
    assert "METEOR" in report["figures"] or "METEOR" in report["left_out"]


def test_recorded_dense_captions(run, shared_data):
    folder = shared_data / "scorers" / "dense_captions"
    code, out, _ = run("dense-captions", "--gt", folder / "gt.json", "--pred", folder / "pred.json", "--json", "-")
    assert code == 0
    figures, expected = json.loads(out)["figures"], json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    names = {
        "CIDEr": "CIDEr",
        "Rouge-L": "ROUGE_L",
        "Bleu_4": "Bleu_4",
        "Precision": "precision",
        "Recall@3s": "recall@3s",
    }
    for theirs, ours in names.items():
        assert figures[ours] == pytest.approx(expected[theirs], abs=1e-6), ours
    if find_spec("pycocoevalcap") is None or find_spec("snowballstemmer") is None:
        pytest.skip("the other figures need METEOR's tables: pycocoevalcap and snowballstemmer are not installed")
    assert figures["SODA_c"] == pytest.approx(expected["soda_c"], abs=1e-6)
    # letters drawn anew stand for the partners of unmatched predictions, and METEOR counts the letters
    assert figures["METEOR"] == pytest.approx(expected["METEOR"], abs=2e-4)


def test_meteor_of_files(run, files):
    """The tables as installed, through the command: equal captions have 1, and each task knows the figure."""
    if find_spec("pycocoevalcap") is None or find_spec("snowballstemmer") is None:
        pytest.skip("METEOR's tables are not installed: pycocoevalcap and snowballstemmer")

    def figures(task, said, wanted) -> dict[str, float]:
        code, out, _ = run(task, "--gt", wanted, "--pred", said, "--json", "-")
        assert code == 0
        return json.loads(out)["figures"]

    wanted, said = files["captions.json"], files["guesses.json"]
    assert figures("captions", said, wanted)["METEOR"] == 1.0
    said.write_text(said.read_text().replace("a dog runs", "a hound runs"))  # "dog" and "hound" share a synset
    assert figures("captions", said, wanted)["METEOR_mean"] == pytest.approx((0.9142857142857143 + 1) / 2, abs=1e-9)

    events, tracks = figures("dense-captions", files["submission.json"], files["events.json"]), files["tracks.json"]
    assert events["METEOR"] == pytest.approx(0.75)  # the one prediction is right, except at the threshold of 0.9
    assert events["SODA_c"] == pytest.approx(2 * 0.9 * 0.45 / 1.35)  # of 1 prediction and 2 events, IoU 0.9
    assert events["paragraph_METEOR"] == pytest.approx(0.3488928308275991, abs=1e-9)
    found = figures("dense-voc", tracks, files["truth.json"])
    assert found["CapA[METEOR]"] == pytest.approx(0.29170666383042776, abs=1e-9)
    assert found["CHOTA[CIDEr+METEOR]"] == pytest.approx((0.29170666383042776 / 2) ** (1 / 3), abs=1e-9)


def test_recorded_moments(run, shared_data, tmp_path):
    folder = shared_data / "scorers" / "qvhighlights"
    truth, guess = folder / "highlight_val_release.jsonl.gz", folder / "preds.jsonl.gz"
    code, out, _ = run("moments", "--gt", truth, "--pred", guess, "--json", "out.json")
    assert code == 0 and "MR-full-R1@0.5" in out and "QVHighlights" in out
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["published_form"] == json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    assert report["counts"]["queries"] == len(gzip.decompress(guess.read_bytes()).splitlines())


@pytest.mark.parametrize(
    ("task", "gt", "pred", "expected"),
    [
        ("mot", "mot/TUD-Campus/gt.txt", "mot/TUD-Campus/test.txt", "mot/TUD-Campus/expected.json"),
        ("vos", "../davis_mini/Annotations/480p/car-shadow", "vos/car-shadow", "vos/car-shadow_expected.json"),
        ("boxes", "../coco_mini/val/instances.json", "detection/yolox_nano_preds.json", "detection/expected.json"),
    ],
)
def test_recorded_places(run, shared_data, task, gt, pred, expected):
    folder = shared_data / "scorers"
    code, out, err = run(task, "--gt", folder / gt, "--pred", folder / pred, "--json", "-")
    assert code == 0, err
    figures, recorded = json.loads(out)["figures"], json.loads((folder / expected).read_text(encoding="utf-8"))
    wanted = recorded["summary" if task == "boxes" else "trackeval"]
    shared = figures.keys() & wanted.keys()
    assert len(shared) >= 7
    assert [figures[name] for name in shared] == pytest.approx([wanted[name] for name in shared], abs=1e-6)


def test_intervals_hold_the_figures(run, files):
    common = ("captions", "--gt", files["captions.json"], "--pred", files["guesses.json"], "--ci", "--json", "-")
    code, out, _ = run(*common)
    report = json.loads(out)
    assert code == 0 and report["intervals"].keys() == report["figures"].keys() - {"METEOR"}
    for name, (low, high) in report["intervals"].items():
        assert low <= report["figures"][name] + 1e-9 and report["figures"][name] <= high + 1e-9, name
    assert json.loads(run(*common)[1]) == report
    if "METEOR" in report["figures"]:
        assert report["left_out"]["intervals"].startswith("none for METEOR,") and "METEOR of" in report["convention"]
    else:
        assert "intervals" not in report["left_out"] and "METEOR" not in report["convention"]


def test_one_item_has_no_interval(run, files):
    common = ("moments", "--gt", files["moments.jsonl"], "--pred", files["windows.jsonl"], "--ci")
    code, out, _ = run(*common, "--json", "-")
    report = json.loads(out)
    assert code == 0 and report["intervals"] == {} and report["figures"]["MR-full-R1@0.7"] == 1.0
    assert report["left_out"]["intervals"] == "an interval of one item is not defined; it takes two or more"
    assert report["figures"]["MR-long-mAP"] is None
    assert report["left_out"]["MR-long"] == "no true window is of this length"
    assert "no record has saliency_scores" in report["left_out"]["HL"]
    code, out, _ = run(*common)
    assert code == 0 and "left out: intervals: an interval of one item is not defined" in out


def test_every_command_on_the_page_runs(run, files):
    text = "\n".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    commands = re.findall(r"^whenwhere score (.*)$", text, re.MULTILINE)
    assert {command.split()[0] for command in commands} == TASKS.keys()
    for command in commands:
        code, out, err = run(*shlex.split(command, comments=True))
        assert code == 0 and out, err


@pytest.mark.parametrize(
    ("task", "figures"),
    [
        ("actions", {"mAP@0.9": 1.0, "mAP@0.95": 0.0, "mAP": 0.9}),
        ("referring", {"P@0.5": 1.0, "mIoU": 2 / 3}),
        ("names", {"precision": 0.5, "recall": 1.0, "GPE_f1": 1.0, "PERSON_precision": 0.0}),
    ],
)
def test_figures_of_small_files(run, files, task, figures):
    truth, guess = (files[name] for name in PAIRS[task])
    code, out, _ = run(task, "--gt", truth, "--pred", guess, "--json", "-")
    assert code == 0 and json.loads(out)["figures"] == pytest.approx({**json.loads(out)["figures"], **figures})


def test_an_expression_without_a_box_is_a_miss(run, files):
    files["boxes.jsonl"].write_text('{"id": 1, "bbox": null}\n', encoding="utf-8")
    out = run("referring", "--gt", files["expressions.jsonl"], "--pred", files["boxes.jsonl"], "--json", "-")[1]
    assert json.loads(out)["figures"] == {"P@0.5": 0.0, "mIoU": 0.0}


def test_a_table_of_what_was_asked_for(run, files):
    common = ("captions", "--gt", files["captions.json"], "--pred", files["guesses.json"])
    code, out, _ = run(*common, "--metrics", "CIDEr", "ROUGE_L")
    assert code == 0 and "CIDEr" in out and "Bleu_1" not in out
    code, _, err = run(*common, "--metrics", "cider")
    assert code == 2 and "unknown figure 'cider' of captions; expected one of CIDEr, " in err


def test_news_captions_and_swapped_files(run, files):
    truth, guess = files["captions.json"], files["guesses.json"]
    code, out, _ = run("captions", "--gt", truth, "--pred", guess, "--news")
    assert code == 0 and "News captions: case kept" in out and "CIDEr_plain" in out and "CIDEr-D" in out
    code, _, err = run("captions", "--gt", guess, "--pred", truth)
    assert code == 2 and "image_id 1 for the second time" in err and "are --gt and --pred swapped?" in err
    code, _, err = run("names", "--gt", files["names.jsonl"], "--pred", files["names.jsonl"], "--news")
    assert code == 2 and "--news for names; expected it with captions" in err


def test_one_is_not_counted_as_many(run, files):
    code, out, _ = run("dense-captions", "--gt", files["events.json"], "--pred", files["submission.json"])
    assert code == 0 and "1 video, 1 annotator, 1 predicted event" in out
    files["submission.json"].write_text('{"results": {"v": []}}', encoding="utf-8")
    out = run("dense-captions", "--gt", files["events.json"], "--pred", files["submission.json"])[1]
    assert "1 video without predictions, which counts as 0" in out
    if find_spec("pycocoevalcap") is not None and find_spec("snowballstemmer") is not None:
        assert "SODA_c: temporal IoU times METEOR" in out
    out = run("boxes", "--gt", files["instances.json"], "--pred", files["detections.json"])[1]
    assert "1 image, 1 true box, 1 predicted box" in out


def test_several_annotators(run, files):
    common = ("--pred", files["submission.json"], "--json", "-")
    code, out, _ = run("dense-captions", "--gt", files["events.json"], files["events.json"], *common)
    assert code == 0 and json.loads(out)["counts"]["annotators"] == 2
    code, _, err = run(
        "moments", "--gt", files["moments.jsonl"], files["moments.jsonl"], "--pred", files["windows.jsonl"]
    )
    assert code == 2 and "2 files of truth; expected one for moments" in err


@pytest.mark.parametrize("arguments", [("spice",), ("captions", "--metrics", "SPICE")])
def test_spice_cannot_be_had(run, arguments):
    code, out, err = run(*arguments)
    assert code == 2 and not out and "SPICE needs a Java program" in err and "cannot be had offline" in err


def test_a_wrong_task_lists_the_right_ones(run):
    code, _, err = run("sonnets")
    assert code == 2 and f"unknown task 'sonnets'; expected one of {', '.join(TASKS)}" in err
    code, out, err = run()
    assert (code, out) == (2, "") and [line.split()[0] for line in err.splitlines()] == list(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_files_says_what_they_look_like(run, task):
    code, _, err = run(task)
    assert code == 2 and TASKS[task].gt in err and TASKS[task].pred in err


def replaced(content: str, old: str, new: str) -> str:
    assert old in content
    return content.replace(old, new)


WRONG = """
captions | guesses.json | "a dog runs" | 7 | guesses.json, record 0: caption '7' of type int
captions | guesses.json | "image_id": 1 | "image_id": 2 | image_id 2 for the second time
captions | guesses.json | "image_id": 1 | "image_id": 5 | no prediction for 1 of 2 ids, such as image '1'
captions | guesses.json | "caption" | "text" | record 0: a record without 'caption'
captions | guesses.json | [ |  | guesses.json, line 1: not JSON
captions | captions.json | "annotations" | "notes" | captions.json, line 1: a record without 'image_id'
dense-captions | submission.json | [0, 9] | [9, 0] | submission.json: video 'v', prediction 0: time [9, 0]
dense-captions | submission.json | [0, 9] | [0, NaN] | submission.json, line 1: NaN
dense-captions | submission.json | "v" | "w" | no prediction for 1 of 1 ids, such as video 'v'
dense-captions | submission.json | "results" | "result" | submission.json: no results
dense-captions | events.json | [10, 30] | [10] | events.json: video 'v', annotator 0, event 1: time [10]
moments | windows.jsonl | 0.9 | NaN | windows.jsonl, line 1: NaN
moments | windows.jsonl | 0.9 | 1e999 | windows.jsonl, line 1: pred_relevant_windows
moments | windows.jsonl | [0, 8, 0.9] | [0, 8] | windows.jsonl, line 1: pred_relevant_windows
moments | windows.jsonl | 3 | 4 | no prediction for 1 of 1 ids, such as query '3'
moments | windows.jsonl | } | }¶¶{"qid": 4 | windows.jsonl, line 3: not JSON
moments | windows.jsonl | "qid": 3 | "qid": 3, "qid": 3 | windows.jsonl, line 1: 'qid' twice
actions | actions.json | [0, 9] | [9, 0] | video 'v', prediction 0: segment: from 9 to 0
actions | actions.json | "v" | "w" | no prediction for 1 of 1 ids, such as video 'v'
actions | activities.json | "annotations" | "notes" | activities.json: video 'v': a record without 'annotations'
actions | activities.json | "database" | "videos" | activities.json: no database
referring | boxes.jsonl | 20, 20 | 20, -20 | boxes.jsonl, line 1: a box of 20 x -20
referring | boxes.jsonl | 20, 20 | 20 | boxes.jsonl, line 1: bbox: [10, 10, 20]
referring | boxes.jsonl | "bbox" | "box" | boxes.jsonl, line 1: a record without 'bbox'
referring | expressions.jsonl | [10, 10, 20, 30] | null | expressions.jsonl, line 1: bbox: None
names | names.jsonl | "Ann" | 5 | names.jsonl, line 1: generated_entities 1: 5, 'PERSON'
names | names.jsonl | "caption_entities" | "entities" | names.jsonl, line 1: a record without 'caption_entities'
moments | moments.jsonl | [[0, 10]] | [] | moments.jsonl, line 1: no relevant window
moments | moments.jsonl | {"qid": 3 | [3]¶{ | moments.jsonl, line 1: '[3]'; expected an object
"""
"""Task, file, what is replaced in it, by what, and what is told; ¶ is the end of a line."""


@pytest.mark.parametrize("row", WRONG.strip().split("\n"))
def test_one_sentence_for_what_is_wrong(run, files, row):
    task, name, old, new, told = row.replace("¶", "\n").split(" | ")
    files[name].write_text(replaced(files[name].read_text(encoding="utf-8"), old, new), encoding="utf-8")
    truth, guess = (files[part] for part in PAIRS[task])
    code, out, err = run(task, "--gt", truth, "--pred", guess)
    assert (code, out) == (2, "") and told in err and len(err.splitlines()) == 1


def test_files_that_are_no_files(run, files, tmp_path):
    common = ("moments", "--gt", files["moments.jsonl"], "--pred")
    whole = gzip.compress(files["windows.jsonl"].read_bytes())
    broken = {
        "cut.jsonl.gz": whole[:-12],
        "plain.jsonl.gz": b"{}",
        "latin.jsonl": b'\n{"qid": "\xe9"}',
        "empty.jsonl": b"",
    }
    told = {
        "cut.jsonl.gz": "damaged",
        "plain.jsonl.gz": "damaged",
        "latin.jsonl": "line 2: not UTF-8",
        "empty.jsonl": "no prediction for 1 of 1 ids",
        "absent.jsonl": "cannot read",
        ".": "cannot read",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    for name, message in {**told, "deep.json": "nested too deeply"}.items():
        code, out, err = run(*common, tmp_path / name)
        assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1, (name, err)
    (tmp_path / "whole.jsonl.gz").write_bytes(whole)
    assert run(*common, tmp_path / "whole.jsonl.gz")[0] == 0


def test_a_report_that_cannot_be_written(run, files):
    common = ("moments", "--gt", files["moments.jsonl"], "--pred", files["windows.jsonl"])
    code, _, err = run(*common, "--json", "no/such/folder.json")
    assert code == 2 and "cannot write" in err
