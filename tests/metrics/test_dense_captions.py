"""Dense captioning scorers: recorded figures, worked numbers, conventions by name, bad records."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.dense_captions import dense_captions, main
from whenwhere.metrics.events import read_predictions, tiou
from whenwhere.metrics.localisation import localisation, start_localisation
from whenwhere.results import Event

TOLERANCE = 1e-6
TOY_TIMES = [[0, 10], [10, 30], [40, 60]]
TOY_GUESSES = [[0, 10], [12, 30], [35, 70], [0, 60]]


def annotation(times, sentences=None) -> dict:
    return {"timestamps": times, "sentences": sentences or [f"event number {index}" for index in range(len(times))]}


def submission(times, sentences=None) -> list[dict]:
    told = annotation(times, sentences)
    return [
        {"timestamp": span, "sentence": text} for span, text in zip(told["timestamps"], told["sentences"], strict=True)
    ]


@pytest.fixture(scope="module")
def recorded(shared_data) -> tuple[dict, dict, dict]:
    folder = shared_data / "scorers" / "dense_captions"
    truth, guess, figures = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("gt", "pred", "expected")
    )
    return guess["results"], truth, figures


@pytest.mark.parametrize(
    "theirs, ours", [("CIDEr", "CIDEr"), ("Rouge-L", "ROUGE_L")] + [(f"Bleu_{n}",) * 2 for n in range(1, 5)]
)
def test_recorded_caption_figures(recorded, theirs, ours):
    predictions, truth, figures = recorded
    assert dense_captions(predictions, [truth]).figures()[ours] == pytest.approx(figures[theirs], abs=TOLERANCE)


def test_recorded_localisation_figures(recorded):
    predictions, truth, figures = recorded
    found = localisation(predictions, [truth]).figures()
    found |= {
        name: value for name, value in start_localisation(predictions, [truth]).figures("s").items() if "@" in name
    }
    names = {name: name.lower() for name in figures if "@" in name}
    names |= {"Precision": "precision", "Recall": "recall", "F1": "f1_per_threshold"}
    assert len(names) == 33
    for theirs, ours in names.items():
        assert found[ours] == pytest.approx(figures[theirs], abs=TOLERANCE), theirs


def test_worked_localisation():
    table = tiou(np.array(TOY_GUESSES), np.array(TOY_TIMES))
    assert table.max(axis=1) == pytest.approx([1, 0.9, 20 / 35, 1 / 3], abs=1e-6)
    found = localisation({"v": submission(TOY_GUESSES)}, [{"v": annotation(TOY_TIMES)}])
    assert found.precision[0] == pytest.approx([1, 0.75, 0.5, 0.25])
    assert found.recall[0] == pytest.approx([1, 1, 2 / 3, 1 / 3])  # 18/20 is not strictly above 0.9
    assert found.mean_precision == pytest.approx(0.625)
    assert found.mean_recall == pytest.approx(0.75)
    assert found.f1_per_video == pytest.approx(0.6818, abs=5e-5)
    assert found.f1_per_threshold == pytest.approx(0.6786, abs=5e-5)
    assert found.figures()["recall@0.7"] == pytest.approx(2 / 3)


def test_the_two_f1_differ_over_videos_too():
    truth = {"v": annotation([[0, 10]]), "w": annotation([[0, 10]])}
    found = localisation({"v": submission([[0, 10]]), "w": submission([[50, 60]])}, [truth])
    assert found.f1_per_video == found.f1_per_threshold == pytest.approx(0.5)
    found = localisation({"v": submission([[0, 10]]), "w": submission([[0, 10], [50, 60], [70, 80]])}, [truth])
    assert found.f1_per_video == pytest.approx((1 + 0.5) / 2)  # w: P 1/3, R 1
    assert found.f1_per_threshold == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))


def test_covered_is_strictly_above_and_paired_is_at_least():
    """At threshold 0 events apart are not covered, but their sentences are compared."""
    truth, guess = [{"v": annotation([[0, 10]], ["a dog"])}], {"v": submission([[20, 30]], ["a dog"])}
    assert localisation(guess, truth, thresholds=(0.0,)).mean_recall == 0.0
    assert dense_captions(guess, truth, thresholds=(0.0, 0.1)).values["ROUGE_L"].tolist() == [[1.0, 0.0]]


def test_tiou_of_disjoint_touching_nested_and_empty_intervals():
    left = np.array([[0.0, 10], [5, 5]])
    right = np.array([[10.0, 20], [30, 40], [2, 4], [0, 10]])
    assert tiou(left, right)[0] == pytest.approx([0, 0, 0.2, 1], abs=1e-6)
    assert tiou(left, right)[1] == pytest.approx([0, 0, 0, 0])
    assert tiou(np.zeros((0, 2)), right).shape == (0, 4)


def test_the_reference_itself():
    """Disjoint events with nothing in common: everything is found, CIDEr is 10; with one sentence it is 0."""
    sentences = ["the cook cuts some onions", "two people taste a soup", "guests leave after their meal"]
    truth = {"v": annotation(TOY_TIMES, sentences)}
    predictions = {"v": submission(TOY_TIMES, sentences)}
    found = localisation(predictions, [truth])
    assert (found.mean_precision, found.mean_recall, found.f1_per_video, found.f1_per_threshold) == (1, 1, 1, 1)
    figures = dense_captions(predictions, [truth]).figures()
    assert figures["CIDEr"] == pytest.approx(10.0)
    assert figures["ROUGE_L"] == pytest.approx(1.0)
    alone = dense_captions({"v": predictions["v"][:1]}, [{"v": annotation(TOY_TIMES[:1], sentences[:1])}])
    assert alone.figures()["CIDEr"] == 0.0


def test_two_annotators_take_the_best_of_each():
    one, two = {"v": annotation([[0, 10]])}, {"v": annotation([[0, 10], [20, 30], [40, 50]])}
    found = localisation({"v": submission([[0, 10], [20, 30]])}, [one, two])
    assert found.precision[0] == pytest.approx([1] * 4)  # by the second annotator
    assert found.recall[0] == pytest.approx([1] * 4)  # by the first
    only_second = localisation({"w": submission([[0, 10]])}, [{}, {"w": annotation([[0, 10]])}])
    assert only_second.videos == ("w",) and only_second.mean_recall == 1.0


def test_missing_videos_score_zero_or_are_skipped():
    sentences = ["the cook cuts some onions", "two people taste a soup", "guests leave after their meal"]
    truth = {"v": annotation(TOY_TIMES, sentences), "w": annotation([[0, 10]])}
    predictions = {"v": submission(TOY_TIMES, sentences), "unknown": submission([[0, 1]])}
    for score, name in ((localisation, "precision"), (dense_captions, "CIDEr")):
        zero, skip = score(predictions, [truth]), score(predictions, [truth], missing="skip")
        assert (zero.videos, skip.videos) == (("v", "w"), ("v",))
        assert zero.figures()[name] == pytest.approx(skip.figures()[name] / 2)
    # a video with an empty list is there, with nothing found
    assert localisation({"v": []}, [truth], missing="skip").mean_precision == 0.0
    assert set(dense_captions({}, [truth]).figures().values()) == {0.0}


def test_unmatched_predictions_lower_the_score_and_the_letters_do_not_matter(recorded):
    predictions, truth, _ = recorded
    few = {video: predictions[video] for video in sorted(predictions)[:6]}
    first = dense_captions(few, [truth], missing="skip", seed=0)
    other = dense_captions(few, [truth], missing="skip", seed=99)
    for metric, table in first.values.items():
        np.testing.assert_allclose(other.values[metric], table, rtol=0, atol=1e-12)
    astray = {video: [*events, *submission([[9000, 9001]] * 5)] for video, events in few.items()}
    assert dense_captions(astray, [truth], missing="skip").figures()["ROUGE_L"] < first.figures()["ROUGE_L"]


def test_a_video_scores_the_same_alone(recorded):
    predictions, truth, _ = recorded
    together = dense_captions(predictions, [truth])
    video = together.videos[3]
    alone = dense_captions({video: predictions[video]}, [{video: truth[video]}])
    for metric, table in alone.values.items():
        np.testing.assert_array_equal(table[0], together.values[metric][3])


def test_own_pair_scores_are_asked_with_tokens():
    seen = []

    def count(candidates, references):
        seen.append((list(candidates), [list(group) for group in references]))
        return {"pairs": len(candidates)}

    truth = {"v": annotation([[0, 10], [2, 10]], ["A dog RUNS.", "It's caf\u00e9"])}
    found = dense_captions(
        {"v": submission([[0, 10]], ["The dog, running!"])}, [truth], thresholds=(0.5, 0.9), pair_scores=count
    )
    assert found.values["pairs"].tolist() == [[2, 1]]
    assert seen[0] == (["the dog running"] * 2, [["a dog runs"], ["it 's caf"]])


def test_events_and_the_challenge_limit():
    moments = read_predictions({"v": [Event(1.0, 2.0, "a dog"), *submission([[3, 4]], ["a cat"])]}, "v")
    assert moments.times.tolist() == [[1, 2], [3, 4]] and moments.sentences == ("a dog", "a cat")
    assert len(read_predictions({"v": submission([[0, 1]] * 1200)}, "v").sentences) == 1000


GOOD = {"v": annotation([[0, 10]])}


@pytest.mark.parametrize("score", [localisation, dense_captions, start_localisation])
@pytest.mark.parametrize(
    "predictions, references, told",
    [
        ({"v": [{"sentence": "a"}]}, [GOOD], "video 'v', prediction 0 without timestamp"),
        ({"v": submission([[5, 3]])}, [GOOD], r"video 'v', prediction 0: time \[5, 3\]"),
        ({"v": submission([[0, float("nan")]])}, [GOOD], "video 'v', prediction 0: time"),
        ({"v": submission([[0, 1], [0]])}, [GOOD], "video 'v', prediction 1: time"),
        ({"v": submission([["now", "then"]])}, [GOOD], "video 'v', prediction 0: time"),
        ({"v": [{"timestamp": [0, 1], "sentence": None}]}, [GOOD], "video 'v', prediction 0: sentence None"),
        ({"v": ["text"]}, [GOOD], "video 'v', prediction 0 is a str"),
        ({"v": {"timestamp": [0, 1]}}, [GOOD], "predictions of video 'v' are a dict"),
        ([], [GOOD], "predictions are a list"),
        ({}, GOOD, "references that are no list of mappings"),
        ({}, [{"v": annotation([])}], "video 'v', annotator 0 has no events"),
        ({}, [GOOD, {"v": {"timestamps": [[0, 1]]}}], "video 'v', annotator 1 is"),
        ({}, [{"v": {"timestamps": [[0, 1]], "sentences": []}}], "1 timestamps and 0 sentences"),
        ({}, [{"v": annotation([[0, 1], [9, 1]])}], "video 'v', annotator 0, event 1: time"),
        ({}, [{}], "no video to score"),
    ],
)
def test_names_the_bad_record(score, predictions, references, told):
    with pytest.raises(InputError, match=told):
        score(predictions, references)


def test_names_the_bad_option():
    with pytest.raises(InputError, match="missing='drop'"):
        localisation({}, [GOOD], missing="drop")


def test_file_scorer(tmp_path, capsys):
    guess, truth = tmp_path / "guess.json", tmp_path / "truth.json"
    truth.write_text(json.dumps({"v": annotation(TOY_TIMES)}), encoding="utf-8")
    guess.write_text(json.dumps({"version": "1", "results": {"v": submission(TOY_GUESSES)}}), encoding="utf-8")
    assert main([str(guess), str(truth)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["f1_per_video"] == pytest.approx(0.6818, abs=5e-5)
    assert {"CIDEr", "Bleu_4", "ROUGE_L", "recall@0.9", "precision@3s", "f1_per_threshold"} <= figures.keys()

    guess.write_text("{}", encoding="utf-8")
    assert main([str(guess), str(truth)]) == 2
    assert "without results" in capsys.readouterr().err
    assert main([str(guess)]) == 2
