"""J&F: recorded figures of DAVIS, hand cases, invariants."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from whenwhere.errors import InputError
from whenwhere.metrics.video_objects import contour, contour_accuracy, region_similarity, video_objects


def square(left: int, top: int, size: int = 20, canvas: int = 100) -> np.ndarray:
    mask = np.zeros((canvas, canvas), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def test_recorded_figures(shared_data):
    expected = json.loads((shared_data / "scorers" / "vos" / "car-shadow_expected.json").read_text(encoding="utf-8"))
    folders = (
        shared_data / "scorers" / "vos" / "car-shadow",
        shared_data / "davis_mini" / "Annotations" / "480p" / "car-shadow",
    )
    said, truth = (np.stack([np.asarray(Image.open(file)) > 0 for file in sorted(d.glob("*.png"))]) for d in folders)
    figures = video_objects({"car": said}, {"car": truth}).figures()
    assert figures == pytest.approx(expected["trackeval"], abs=1e-9)
    each = [region_similarity(*pair) for pair in zip(said, truth)]
    assert each == pytest.approx(expected["iou_per_frame"], abs=1e-12)


def test_contour_is_the_change_to_the_right_below_and_right_below():
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = True
    assert np.argwhere(contour(mask)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert not contour(np.ones((4, 4), bool)).any()


def test_contours_within_the_tolerance_agree_and_beyond_do_not():
    truth = square(40, 40)
    # the diagonal is 141.4 pixels, so that 0.008 of it is 2 pixels
    assert contour_accuracy(square(42, 40), truth) == 1.0
    assert 0 < contour_accuracy(square(43, 40), truth) < 1.0
    assert contour_accuracy(square(43, 40), truth, tolerance=0.02) == 1.0
    assert contour_accuracy(square(0, 0, 10), truth) == 0.0
    assert region_similarity(square(50, 40), truth) == pytest.approx(200 / 600)


def test_perfect_empty_and_without_object():
    truth = np.stack([square(10 + f, 20) for f in range(5)])
    best, worst = (video_objects(said, {"v": truth}).figures() for said in ({"v": truth}, {}))
    assert {best[name] for name in ("J&F", "J-Mean", "F-Mean", "J-Recall", "F-Recall")} == {1.0}
    assert {worst[name] for name in ("J&F", "J-Mean", "F-Mean", "J-Recall", "F-Recall")} == {0.0}
    nothing = np.zeros((9, 9), bool)
    assert region_similarity(nothing, nothing) == contour_accuracy(nothing, nothing) == 1.0


def test_objects_are_items_and_their_numbers_are_names():
    one, two = square(10, 10), square(60, 60)
    truth = np.stack([one * 1 + two * 2] * 4)
    said = np.stack([one * 1 + square(62, 60) * 2] * 4)
    result = video_objects({"v": said}, {"v": truth})
    assert result.ids == ("v/1", "v/2")
    renamed = np.array([0, 9, 4])
    assert video_objects({"v": renamed[said]}, {"v": renamed[truth]}).figures() == result.figures()
    assert result.figures(np.array([2, 0]))["J&F"] == 1.0
    said[0, 90, 90] = 7
    assert video_objects({"v": said}, {"v": truth}).counts["predicted objects that the truth does not have"] == 1


def test_ends_may_be_left_out_and_decay_is_first_quarter_less_last():
    truth = np.stack([square(20, 20)] * 8)
    said = truth.copy()
    said[0] = said[7] = False
    assert video_objects({"v": said}, {"v": truth}, skip_ends=True).figures()["J&F"] == 1.0
    said[0] = truth[0]
    figures = video_objects({"v": said}, {"v": truth}).figures()
    assert figures["J-Mean"] == pytest.approx(7 / 8)
    assert figures["J-Decay"] == pytest.approx(1 / 3)  # quarters share their ends: frames 0..2 and 5..7


def test_bad_masks_are_refused():
    truth = np.stack([square(20, 20)] * 3)
    for said, told in (
        ({"v": truth[:2]}, "video 'v': masks"),
        ({"w": truth}, "video 'w'"),
        ({"v": truth * 0.5}, "video 'v', prediction: float64"),
    ):
        with pytest.raises(InputError, match=told):
            video_objects(said, {"v": truth})
    with pytest.raises(InputError, match="no object"):
        video_objects({}, {"v": truth * False})
    with pytest.raises(InputError, match="two bool masks"):
        contour_accuracy(truth[0] * 1, truth[0])
