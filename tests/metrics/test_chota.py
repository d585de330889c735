"""CHOTA: the worked cases of its specification (captions of two tracks in four frames), and its files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tracking_cases import BIKE, DOG, random_video, side, two_tracks

from whenwhere.errors import InputError
from whenwhere.metrics.chota import chota, pair_cider
from whenwhere.metrics.cider import cider
from whenwhere.metrics.dense_voc import score_dense_voc
from whenwhere.metrics.hota import hota
from whenwhere.metrics.records import Scores
from whenwhere.metrics.track_files import read_dense_voc
from whenwhere.metrics.tracks import Detections


def exact(said, wanted):
    """A caption scorer that knows only right and wrong."""
    return np.array([float(one == other) for one, other in zip(said, wanted)])


BOTH = two_tracks()
SWAPPED = [(f, 3 - number if f >= 2 else number, place, text) for f, number, place, text in BOTH]
CASES = {
    "the same": (side(*BOTH), side(*BOTH), 1, 1, 1, 10),
    "one sentence": (side(*BOTH[:6:2]), side(*BOTH[:6:2]), 1, 1, 1, 0),
    "a track in two": (
        side(*BOTH[:6:2]),
        side(*[(f, 7 if f == 0 else 8, "A", DOG) for f in range(3)]),
        *(1, 5 / 9, 0.7454, 0),
    ),
    "names swapped half way": (side(*BOTH), side(*SWAPPED), 1, 1 / 3, 0.5774, 10),
    "B not predicted": (side(*BOTH), side(*BOTH[::2]), 0.5, 1, 0.7071, 0),
    "a false track": (
        side(*BOTH),
        side(
            *BOTH,
            *[(f, 8, "C", "x") for f in range(4)],
            *[(f, 9, "B", "x") for f in (8, 9)],
            scores=[1.0] * 12 + [0.5] * 2,
        ),
        *(0.6667, 1, 0.8165, 10),
    ),
    "B without a caption": (side(*two_tracks((DOG, ""))), side(*BOTH), 1, 1, 1, 0),
    "captions exchanged": (side(*BOTH), side(*two_tracks((BIKE, DOG))), 1, 1, 1, 0),
    "nothing predicted": (side(*BOTH), side(), 0, 0, 0, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_worked_cases_at_one_half(case):
    truth, said, det, ass, both, told = CASES[case]
    result = chota({"v": (truth, said)})
    figures = result.figures()
    wanted = {"DetA@0.5": det, "AssA@0.5": ass, "HOTA@0.5": both, "CapA[CIDEr]@0.5": told}
    assert {name: figures[name] for name in wanted} == pytest.approx(wanted, abs=5e-5)
    assert figures["CHOTA[CIDEr]@0.5"] == pytest.approx(np.cbrt(det * ass * told), abs=1e-4)
    if case == "B without a caption":
        assert result.items["captioned"][0, 9] == 4
    if case == "a false track":
        assert result.counts["predicted boxes left out with score <= 0.5"] == 2


def test_a_box_that_is_off_in_both_conventions():
    moved = side(*BOTH[::2], shift=10.0)  # IoU 30 / 50
    told = Detections(
        np.concatenate([moved.frames, side(*BOTH[1::2]).frames]),
        [1] * 4 + [2] * 4,
        np.concatenate([moved.boxes, side(*BOTH[1::2]).boxes]),
        [DOG] * 4 + [BIKE] * 4,
    )
    figures = chota({"v": (side(*BOTH), told)}, {"CIDEr": pair_cider, "exact": exact}).figures()
    half = {"DetA@0.5": 1, "AssA@0.5": 1, "HOTA@0.5": 1, "CapA[CIDEr]@0.5": 10, "CapA[exact]@0.5": 1}
    mean = {"DetA": 0.7544, "AssA": 1, "HOTA": 0.8443, "CapA[CIDEr]": 6.316, "CapA[exact]": 1}
    assert {name: figures[name] for name in half} == pytest.approx(half)
    assert {name: figures[name] for name in mean} == pytest.approx(mean, abs=5e-4)


def test_two_videos_weigh_by_captioned_matches():
    small = side(*[(f, 1, "A", DOG) for f in range(2)])
    result = chota({"two": (side(*BOTH), side(*BOTH)), "one": (small, small)})
    figures = result.figures()
    assert figures["CapA[CIDEr]@0.5"] == pytest.approx(8.0)
    assert figures["DetA@0.5"] == figures["AssA@0.5"] == figures["HOTA@0.5"] == 1.0
    assert figures["CHOTA[CIDEr]@0.5"] == pytest.approx(2.0)
    assert "CHOTA" in result.left_out and "METEOR, SPICE" in result.left_out["CHOTA"]


def test_the_name_is_given_only_with_all_three_scorers():
    scorers = {"CIDEr": pair_cider, "METEOR": exact, "SPICE": exact}
    figures = chota({"v": (side(*BOTH), side(*BOTH))}, scorers).figures()
    assert figures["CHOTA@0.5"] == pytest.approx(1.587, abs=5e-4)
    assert figures["CHOTA"] == pytest.approx(1.587, abs=5e-4)
    assert figures["CapA"] == pytest.approx(4.0)


def test_without_captions_it_is_hota():
    truth, said = random_video(5)
    blank = [Detections(one.frames, one.ids, one.boxes, [""] * len(one)) for one in (truth, said)]
    figures, wanted = chota({"v": (blank[0], blank[1])}).figures(), hota({"v": (truth, said)}).figures()
    assert {name: figures[name] for name in ("HOTA", "DetA", "AssA")} == {
        name: wanted[name] for name in ("HOTA", "DetA", "AssA")
    }


def test_weighted_cider_is_cider_of_all_pairs():
    said = [DOG, BIKE, "a dog on grass", DOG, "a man", DOG]
    wanted = [DOG, DOG, DOG, BIKE, BIKE, "two cats sleep on a red sofa"]
    assert pair_cider(said, wanted) == pytest.approx(cider(said, [[text] for text in wanted]).items)


def test_boxes_without_captions_and_bad_scorers_are_refused():
    truth, said = random_video(5)
    with pytest.raises(InputError, match="video 'v': truth without captions"):
        chota({"v": (truth, said)})
    with pytest.raises(InputError, match="video 'v': short"):
        chota({"v": (side(*BOTH), side(*BOTH))}, {"short": lambda said, wanted: np.zeros(1)})
    with pytest.raises(InputError, match="no caption scorer"):
        chota({"v": (side(*BOTH), side(*BOTH))}, {})


def test_files(tmp_path):
    images = [{"id": number, "video_id": number // 10} for number in (10, 11, 20)]
    box = {"bbox": [0, 0, 40, 40], "caption": DOG}
    annotations = [box | {"image_id": number, "track_id": 5} for number in (10, 11)]
    said = [box | {"image_id": number, "track_id": 0, "score": 0.9} for number in (10, 11, 20)]
    said.append({"image_id": 10, "track_id": 0, "score": 0.9, "bbox": [90, 90, 9, 9]})
    truth, guesses = tmp_path / "truth.json", tmp_path / "guesses.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations}))
    guesses.write_text(json.dumps(said))
    result = chota(read_dense_voc(truth, guesses))
    assert result.ids == ("1", "2")
    assert result.counts["predicted identities"] == 4  # a box without a track is a track of its own
    assert result.figures()["DetA@0.5"] == 0.5
    assert result.figures()["AssA@0.5"] == 0.5
    guesses.write_text(json.dumps([said[0], said[1] | {"bbox": [0, 0, -1, 3]}]))
    with pytest.raises(InputError, match=r"guesses\.json, record 1: bbox is -1 x 3"):
        read_dense_voc(truth, guesses)
    guesses.write_text("[\n" + json.dumps(said[0]) + ",\n" + json.dumps(said[0]).replace("0.9", "NaN") + "]")
    with pytest.raises(InputError, match=r"guesses\.json, line 3: NaN"):
        read_dense_voc(truth, guesses)
    guesses.write_text(json.dumps([said[0] | {"image_id": 99}]))
    with pytest.raises(InputError, match="image_id 99"):
        read_dense_voc(truth, guesses)


def same_words(said, wanted) -> Scores:
    """1 for a caption that is its one reference, word for word."""
    items = np.array([float([one] == list(group)) for one, group in zip(said, wanted)])
    return Scores(items.mean(), items)


def test_average_precision_of_frames(tmp_path):
    """Two videos of two frames with a box each: by falling score right, wrong words, elsewhere; one frame without."""
    box = {"bbox": [0, 0, 40, 40], "caption": DOG, "track_id": 1}
    truth, guesses = tmp_path / "truth.json", tmp_path / "guesses.json"
    images = [{"id": number, "video_id": number // 10} for number in (10, 11, 20, 21)]
    told = [box | {"image_id": image["id"]} for image in images]
    said = [
        box | {"image_id": 10, "score": 0.9},
        box | {"image_id": 11, "score": 0.8, "caption": BIKE},
        box | {"image_id": 20, "score": 0.3, "bbox": [90, 90, 9, 9]},
    ]
    truth.write_text(json.dumps({"images": images, "annotations": told}))
    guesses.write_text(json.dumps(said))
    result = score_dense_voc([truth], guesses, same_words)
    figures = result.figures()
    # recall 1/4 with precision 1 covers the levels 0.00 to 0.25; the boxes alone reach 2/4
    assert figures["AP_M"] == pytest.approx(0.26) and figures["detection_mAP"] == pytest.approx(0.51)
    assert "all predictions, frames as images" in result.convention
    assert result.figures(np.array([1, 0]))["AP_M"] == pytest.approx(0.51)  # the first video alone: recall 1/2
    assert result.figures(np.array([0, 3]))["AP_M"] == 0.0
    without = score_dense_voc([truth], guesses)
    assert "AP_M" not in without.figures() and without.figures()["detection_mAP"] == pytest.approx(0.51)
    assert without.left_out["AP_M"] == "needs METEOR"
    told[0]["caption"] = told[2]["caption"] = ""  # a place without words asks for the box alone
    truth.write_text(json.dumps({"images": images, "annotations": told}))
    assert score_dense_voc([truth], guesses, same_words).figures()["AP_M"] == pytest.approx(0.26)
    truth.write_text(json.dumps({"images": images, "annotations": [one | {"caption": " "} for one in told]}))
    blank = score_dense_voc([truth], guesses, same_words)
    assert "AP_M" not in blank.figures() and blank.left_out["AP_M"] == "no true box has a caption"
