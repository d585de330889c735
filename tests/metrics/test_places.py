"""Scorers of places: referring expressions, label maps, words, regions. Worked numbers, what must hold, bad records."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.metrics.referring import box_iou, referring_areas, referring_boxes, referring_masks
from whenwhere.metrics.region_captions import dense_region_captions, merge_boxes
from whenwhere.metrics.semantic import semantic_segmentation
from whenwhere.metrics.word_grounding import word_grounding

BOX = [0, 0, 10, 10]


def ltwh(left, top, width, height) -> list[float]:
    return [left, top, left + width, top + height]


def test_worked_referring_boxes():
    said = {"one": BOX, "two": [5, 0, 15, 10], "three": [0, 0, 10, 5]}
    found = referring_boxes(said, dict.fromkeys(said, BOX))
    assert sorted(found.items["iou"]) == pytest.approx([1 / 3, 0.5, 1.0])
    assert found.figures()["P@0.5"] == pytest.approx(1 / 3)  # an IoU of 0.5 is a miss
    assert found.figures()["mIoU"] == pytest.approx((1 + 1 / 3 + 0.5) / 3)
    nothing = referring_boxes(dict.fromkeys(said), dict.fromkeys(said, BOX))
    assert set(nothing.figures().values()) == {0.0}
    assert nothing.counts["expressions without a box, which count as misses"] == 3


def test_worked_referring_areas():
    areas = {"a": (90, 100), "b": (10, 40), "c": (400, 800)}
    figures = referring_areas(areas).figures()
    assert figures["cIoU"] == pytest.approx(0.5319, abs=5e-5)
    assert figures["mIoU"] == pytest.approx(0.55)
    assert figures["P@0.5"] == pytest.approx(1 / 3)
    assert referring_areas(dict(reversed(areas.items()))).figures() == figures
    assert referring_areas(areas).figures(np.array([1, 0, 0]))["cIoU"] == 0.9


def test_referring_masks():
    true = np.zeros((4, 6), dtype=bool)
    true[:2, :3] = True
    half = true.copy()
    half[0] = False
    masks = {"whole": true, "half": half, "none": np.zeros_like(true)}
    found = referring_masks(masks, dict.fromkeys(masks, true))
    assert found.figures()["cIoU"] == pytest.approx((6 + 3 + 0) / 18)
    assert found.figures()["mIoU"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert set(referring_masks({"a": true}, {"a": true}).figures().values()) == {1.0}
    assert set(referring_masks({"a": ~true}, {"a": true}).figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: referring_boxes({"a": [5, 0, 1, 1]}, {"a": BOX}), "expression 'a', predicted box: .*x1 <= x2"),
        (lambda: referring_boxes({"a": [0, 0, float("nan"), 1]}, {"a": BOX}), "expression 'a', predicted box"),
        (lambda: referring_boxes({"a": BOX}, {"a": BOX, "b": BOX}), "no prediction for 1 of 2 ids"),
        (lambda: referring_areas({"a": (5, 4)}), "expression 'a'"),
        (lambda: referring_areas({"a": (0, 0)}), "expression 'a'"),
        (lambda: referring_areas({}), "no expression"),
        (lambda: referring_masks({"a": np.ones((2, 2), bool)}, {"a": np.zeros((2, 2), bool)}), "empty true mask"),
        (lambda: referring_masks({"a": np.ones((2, 2))}, {"a": np.ones((2, 2), bool)}), "two bool masks"),
        (lambda: referring_masks({"a": np.ones((2, 3), bool)}, {"a": np.ones((2, 2), bool)}), "two bool masks"),
    ],
)
def test_names_the_bad_expression(call, told):
    with pytest.raises(InputError, match=told):
        call()


LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, 255], [2, 2, 1, 255]])
GUESS = np.array([[0, 0, 1, 1], [0, 1, 1, 3], [2, 2, 2, 3]])


def test_worked_label_map():
    found = semantic_segmentation({"a": GUESS}, {"a": LABELS}, classes=4, background="ignored")
    figures = found.figures()
    assert [figures[f"IoU/{label}"] for label in range(3)] == pytest.approx([0.75, 0.6, 0.6667], abs=5e-5)
    assert figures["mIoU"] == pytest.approx(0.6722, abs=5e-5)
    assert figures["pixel_accuracy"] == pytest.approx(0.8)
    assert figures["mean_accuracy"] == pytest.approx((0.75 + 0.75 + 1) / 3)
    assert figures["fwIoU"] == pytest.approx((4 * 0.75 + 4 * 0.6 + 2 * 2 / 3) / 10)
    assert found.counts == {"images": 1, "pixels ignored": 2, "classes skipped because the truth does not have them": 1}
    assert "background pixels are ignored" in found.convention


def test_one_confusion_matrix_of_the_set():
    """Halves of an image score what the whole does, and not the mean of the halves."""
    whole = semantic_segmentation({"a": GUESS}, {"a": LABELS}, classes=4, background="none").figures()
    halves = [{"top": table[:2], "low": table[2:]} for table in (GUESS, LABELS)]
    found = semantic_segmentation(*halves, classes=4, background="none")
    assert found.figures() == whole
    assert found.figures(np.array([0, 2]))["mIoU"] != whole["mIoU"]


def test_a_class_that_the_truth_lacks_hurts_the_others_only():
    said, true = np.array([[0, 3, 1, 1]]), np.array([[0, 0, 1, 1]])
    figures = semantic_segmentation({"a": said}, {"a": true}, classes=4, background="none").figures()
    assert figures["mIoU"] == pytest.approx((0.5 + 1) / 2) and "IoU/3" not in figures


def test_folded_background():
    said, true = np.array([[0, 7, 40, 1]]), np.array([[0, 2, 2, 2]])
    found = semantic_segmentation({"a": said}, {"a": true}, classes=3, background="folded")
    assert found.figures()["mIoU"] == pytest.approx((1 + 2 / 3) / 2)
    with pytest.raises(InputError, match="image 'a': predicted label 40"):
        semantic_segmentation({"a": said}, {"a": true}, classes=3, background="class")


maps = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), maps, min_size=1))
def test_label_maps_in_any_order(images):
    said, true = (
        {name: np.array([[pair[side] for pair in pixels]]) for name, pixels in images.items()} for side in (0, 1)
    )
    options = {"classes": 3, "background": "ignored"}
    figures = semantic_segmentation(said, true, **options).figures()
    again = semantic_segmentation(dict(reversed(said.items())), dict(reversed(true.items())), **options).figures()
    assert again == pytest.approx(figures, nan_ok=True)
    right = {name: np.where(table == 255, 1, table) for name, table in true.items()}
    wrong = {name: (table + 1) % 3 for name, table in right.items()}
    if not np.isnan(figures["mIoU"]):
        assert set(semantic_segmentation(right, true, **options).figures().values()) == {1.0}
        assert set(semantic_segmentation(wrong, true, **options).figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("said", "true", "changes", "told"),
    [
        (GUESS, np.where(LABELS == 2, 9, LABELS), {}, "image 'a': true label 9; expected 0..3"),
        (GUESS - 1, LABELS, {}, "image 'a': predicted label -1"),
        (GUESS[:2], LABELS, {}, "image 'a': label maps"),
        (GUESS.astype(float), LABELS, {}, "image 'a': label maps float64"),
        (GUESS, LABELS, {"ignore": None}, "true label 255"),
        (GUESS, LABELS, {"background": "black"}, "background='black'"),
        (GUESS, LABELS, {"classes": 0}, "0 classes"),
    ],
)
def test_names_the_bad_map(said, true, changes, told):
    with pytest.raises(InputError, match=told):
        semantic_segmentation({"a": said}, {"a": true}, **{"classes": 4, "background": "none", **changes})


def words(*pairs, name="1", size=(100, 50)) -> dict:
    return {"id": name, "size": list(size), "words": [{"predicted": said, "true": true} for said, true in pairs]}


def test_worked_word_grounding():
    """Two predicted points: the nearer true point counts for each; a word that is nowhere does not count."""
    pair = ([[10, 10], [30, 40]], [[12, 10], [30, 35]])
    found = word_grounding([words(pair, ([[5, 5]], [[0, 0], [0, 0]]), ([[1, 1]], []))])
    assert found.figures()["point_l1"] == pytest.approx(((0.02 + 0) / 2 + (0 + 0.1) / 2) / 2)
    assert found.counts["words skipped because they have no true point"] == 2
    assert found.figures()["centre_distance"] == pytest.approx(np.hypot(1, 2.5) / np.hypot(100, 50))
    assert found.figures()["hit_rate"] == 1.0


def test_word_grounding_is_a_mean_over_images_and_a_rate_over_words():
    far, near = ([[90, 40]], [[10, 10]]), ([[10, 10]], [[10, 10]])
    images = [words(near, near, near, name="a"), words(far, name="b"), words(([[1, 1]], []), name="c")]
    found = word_grounding(images)
    error = (0.8 + 0.6) / 2
    assert found.figures()["point_l1"] == pytest.approx(error / 2)
    assert found.figures()["hit_rate"] == 0.75
    assert found.counts["images skipped because no word has a place"] == 1
    assert word_grounding(images[::-1]).figures() == pytest.approx(found.figures())
    assert found.figures(np.array([1, 0]))["point_l1"] == found.figures(np.array([1, 0]))["centre_distance"] == 0.0
    edge = word_grounding([words(([[15.1, 10]], [[10, 10]]), ([[14.9, 10]], [[10, 10]]))])
    assert edge.figures()["hit_rate"] == 0.5  # the margin is 5 % of the width


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([words(([], [[1, 1]]))], "image 0, word 0 without a predicted point"),
        ([words(([[1]], [[1, 1]]))], "image 0, word 0: predicted"),
        ([words(([[1, float("nan")]], [[1, 1]]))], "image 0, word 0: predicted"),
        ([words(([[1, 1]], [[1, 1]]), size=(0, 5))], "image 0: size"),
        ([words(([[1, 1]], [[1, 1]]))] * 2, "id '1' for the second time"),
        ([words()], "no word with a place"),
        ([{"id": 1}], "image 0: a record without 'size'"),
    ],
)
def test_names_the_bad_word(images, told):
    with pytest.raises(InputError, match=told):
        word_grounding(images)


def regions(*entries) -> list[dict]:
    return [dict(zip(("box", "score", "caption"), (ltwh(*box), *rest))) for box, *rest in entries]


def true_regions(*boxes, captions=None) -> list[dict]:
    return [
        {"box": ltwh(*box), "caption": text} for box, text in zip(boxes, captions or [f"thing {b[0]}" for b in boxes])
    ]


def by_word(candidates, references):
    """A similarity that is written in the sentence: what comes out is the arithmetic of the scorer."""
    return [float(text) for text in candidates]


TRUTH = {"i": true_regions((0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10))}
SAID = {
    "i": regions(
        ((0, 0, 10, 10), 0.9, "0.5"),
        ((1, 0, 10, 10), 0.8, "0.5"),
        ((20, 0, 10, 12), 0.7, "0.1"),
        ((41, 0, 10, 10), 0.6, "0.3"),
    )
}


def test_worked_dense_captions_of_regions():
    figures = dense_region_captions(SAID, TRUTH, by_word).figures()
    for overlap in (0.3, 0.5, 0.7):
        cells = [figures[f"AP@{overlap:g}/{limit:g}"] for limit in (0, 0.05, 0.1, 0.15, 0.2, 0.25)]
        assert cells == pytest.approx([0.835, 0.835, 0.505, 0.505, 0.505, 0.505])
    assert figures["mAP"] == pytest.approx(0.615)
    assert figures["detection_mAP"] == pytest.approx(0.835)


def test_the_order_of_regions_does_not_matter():
    truth = {"i": TRUTH["i"], "j": true_regions((0, 0, 4, 4), (1, 0, 4, 4), (2, 0, 4, 4), (30, 30, 5, 5))}
    said = {**SAID, "j": regions(((0, 0, 4, 4), 0.9, "0.5"), ((2, 0, 4, 4), 0.9, "0.2"), ((30, 30, 5, 5), 0.9, "0.3"))}
    figures = dense_region_captions(said, truth, by_word).figures()
    for seed in range(4):
        draw = random.Random(seed)
        mixed = [
            {image: draw.sample(records, len(records)) for image, records in draw.sample(list(side.items()), 2)}
            for side in (said, truth)
        ]
        assert dense_region_captions(*mixed, by_word).figures() == figures


def test_perfect_and_empty_regions():
    said = {"i": [{**region, "score": 1.0} for region in TRUTH["i"]]}

    def same(candidates, references):
        return [float(text in group) for text, group in zip(candidates, references)]

    assert set(dense_region_captions(said, TRUTH, same).figures().values()) == {1.0}
    assert set(dense_region_captions({}, TRUTH, same).figures().values()) == {0.0}


def test_images_that_one_side_lacks_count():
    figures = dense_region_captions({**SAID, "none": regions(((0, 0, 1, 1), 1.0, "1"))}, TRUTH, by_word)
    assert figures.figures()["detection_mAP"] < 0.835
    assert figures.figures(np.array([1, 0])) == dense_region_captions(SAID, TRUTH, by_word).figures()
    assert dense_region_captions(SAID, {**TRUTH, "unseen": TRUTH["i"]}, by_word).figures()["detection_mAP"] < 0.5


def test_true_boxes_are_merged_and_bring_their_captions():
    boxes = np.array([ltwh(0, 0, 10, 10), ltwh(0, 0, 10, 10), ltwh(0, 0, 10, 6.9)], dtype=float)
    merged, captions = merge_boxes(boxes, ["one", "two", "three"])
    assert merged.tolist() == [[0, 0, 10, 10], [0, 0, 10, 6.9]] and captions == [["one", "two"], ["three"]]
    exactly = np.array([ltwh(0, 0, 10, 10), ltwh(0, 0, 10, 7)], dtype=float)
    assert merge_boxes(exactly, ["a", "b"])[0].tolist() == [[0, 0, 10, 8.5]]
    asked = []

    def keep(candidates, references):
        asked.append((list(candidates), [list(group) for group in references]))
        return [1.0] * len(candidates)

    truth = {"i": true_regions((0, 0, 10, 10), (0, 0, 10, 10), (50, 50, 5, 5), captions=["a dog", "one dog", ""])}
    said = {"i": regions(((0, 0, 10, 10), 0.9, "dog"), ((50, 50, 5, 5), 0.5, "cat"))}
    found = dense_region_captions(said, truth, keep)
    assert asked[0] == (["dog", "nothing"], [["a dog", "one dog"], ["nothing"]])
    assert found.counts["true regions merged into others"] == 1


@pytest.mark.parametrize(
    ("said", "truth", "told"),
    [
        ({"i": [{"box": [0, 0, 1, 1], "caption": "a"}]}, TRUTH, "image 'i', prediction 0: a record without 'score'"),
        ({"i": regions(((0, 0, -1, 1), 1, "a"))}, TRUTH, "image 'i', prediction 0: box"),
        ({"i": regions(((0, 0, 1, 1), float("nan"), "a"))}, TRUTH, "image 'i', prediction 0: score"),
        ({"i": regions(((0, 0, 1, 1), 1, None))}, TRUTH, "image 'i', prediction 0: caption None"),
        ({}, {"i": []}, "no true region"),
    ],
)
def test_names_the_bad_region(said, truth, told):
    with pytest.raises(InputError, match=told):
        dense_region_captions(said, truth, by_word)


def test_a_similarity_that_is_not_a_number_is_refused():
    with pytest.raises(InputError, match="similarities"):
        dense_region_captions(SAID, TRUTH, lambda candidates, references: [float("nan")] * len(candidates))


def test_box_iou():
    left = np.array([BOX, [5, 5, 5, 9]], dtype=float)
    right = np.array([BOX, [10, 0, 20, 10], [0, 0, 5, 10], [5, 5, 5, 9]], dtype=float)
    assert box_iou(left, right).tolist() == [[1.0, 0.0, 0.5, 0.0], [0.0] * 4]
