"""The files behind ``whenwhere score``: as worlds and data sets write them, with figures worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from whenwhere.datasets import coin, localized_narratives, visual_genome
from whenwhere.datasets.coin import CoinVideo
from whenwhere.datasets.localized_narratives import Narrative
from whenwhere.errors import InputError
from whenwhere.media.indexed import read_indices
from whenwhere.metrics.mask_files import score_segmentation, score_vos
from whenwhere.metrics.place_files import score_regions, score_words
from whenwhere.metrics.reasoning_files import score_cater
from whenwhere.metrics.rouge import rouge_l
from whenwhere.metrics.segment_files import score_segments
from whenwhere.metrics.tasks import score_files
from whenwhere.results import Event, Word
from whenwhere.worlds import narratives, region_captions, segmentation
from whenwhere.worlds.job import Job

SMALL = {"seed": "val", "count": 2, "size": (48, 64)}


def masks(folder, *pictures, mode="L") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame, picture in enumerate(pictures):
        Image.fromarray(np.array(picture, np.uint8)).convert(mode).save(folder / f"{frame:05d}.png")


def records(path, *rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


ONE = [[0, 255, 255, 0]] * 3
HALF = [[0, 255, 0, 0]] * 3


def test_single_bits_and_gray_are_one_object(tmp_path):
    masks(tmp_path / "gt", ONE, ONE)
    masks(tmp_path / "bits", ONE, HALF, mode="1")
    masks(tmp_path / "ones", np.array(ONE) // 255, np.array(HALF) // 255)
    for folder in ("bits", "ones"):
        found = score_vos([tmp_path / "gt"], tmp_path / folder)
        assert found.figures()["J-Mean"] == pytest.approx((1 + 0.5) / 2) and found.ids == ("gt/1",)


def test_objects_have_the_numbers_of_the_files(tmp_path):
    two = np.array([[0, 1, 2, 2]] * 3)
    masks(tmp_path / "gt" / "a", two, two)
    masks(tmp_path / "gt" / "b", two, two)
    masks(tmp_path / "pred" / "a", two, np.where(two == 1, 3, two), two)
    found = score_vos([tmp_path / "gt"], tmp_path / "pred")
    assert found.ids == ("a/1", "a/2", "b/1", "b/2") and found.items["J-Mean"].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert found.counts["videos without prediction"] == 1
    assert found.counts["predicted objects that the truth does not have"] == 1
    assert found.counts["predicted frames that the truth does not have"] == 1
    assert score_vos([tmp_path / "gt" / "a"], tmp_path / "pred" / "a").figures()["J-Mean"] == 0.75


def test_the_ends_of_a_video_may_be_left_out(tmp_path):
    masks(tmp_path / "gt", ONE, ONE, ONE)
    masks(tmp_path / "pred", ONE, HALF, ONE)
    assert score_files("vos", [tmp_path / "gt"], tmp_path / "pred")[1]["J-Mean"] == pytest.approx(2.5 / 3)
    assert score_files("vos", [tmp_path / "gt"], tmp_path / "pred", (), {"skip_ends": True})[1]["J-Mean"] == 0.5
    with pytest.raises(InputError, match="--skip-ends for words; expected it with vos"):
        score_files("words", [tmp_path / "gt"], tmp_path / "pred", (), {"skip_ends": True})


def test_masks_that_do_not_go_together_are_told(tmp_path):
    masks(tmp_path / "gt" / "a", [[0, 1, 2]], [[0, 1, 2]])
    masks(tmp_path / "pred" / "a", [[0, 1, 2]])
    with pytest.raises(InputError, match=r"no mask 00001\.png for video 'a'"):
        score_vos([tmp_path / "gt"], tmp_path / "pred")
    masks(tmp_path / "pred" / "a", [[0, 255, 0]], [[0, 1, 2]])
    with pytest.raises(InputError, match=r"00000\.png: index 255 among objects"):
        score_vos([tmp_path / "gt"], tmp_path / "pred")
    with pytest.raises(InputError, match="two folders of masks, or two"):
        score_vos([tmp_path / "gt"], tmp_path / "pred" / "a")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no PNG file in"):
        score_vos([tmp_path / "none"], tmp_path / "pred")
    with pytest.raises(InputError, match="is no folder"):
        score_vos([tmp_path / "absent"], tmp_path / "pred")
    masks(tmp_path / "pred" / "b", [[0, 1, 2]])
    with pytest.raises(InputError, match="masks for video 'b'"):
        score_vos([tmp_path / "gt"], tmp_path / "pred")


TRUE, SAID = [[0, 0, 1, 1, 2, 255]], [[0, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("background", "classes", "figures"),
    [
        # 0: 1 of 2 true and 2 predicted, 1: 2 of 2 and 3, 2: none of 1
        ("class", 0, {"IoU/0": 1 / 3, "IoU/1": 2 / 3, "IoU/2": 0.0, "mIoU": 1 / 3}),
        ("none", 3, {"IoU/0": 1 / 3, "IoU/1": 2 / 3, "IoU/2": 0.0, "pixel_accuracy": 3 / 5}),
        # the two pixels of true 0 are out
        ("ignored", 0, {"IoU/1": 1.0, "IoU/2": 0.0, "mIoU": 0.5}),
        # the last class is 2, and nothing is said above it
        ("folded", 3, {"IoU/0": 1 / 3, "mIoU": 1 / 3}),
    ],
)
def test_conventions_of_background(tmp_path, background, classes, figures):
    masks(tmp_path / "gt", TRUE)
    masks(tmp_path / "pred", SAID)
    found = score_segmentation([tmp_path / "gt"], tmp_path / "pred", background=background, classes=classes)
    assert {name: found.figures()[name] for name in figures} == pytest.approx(figures)
    assert "background" in found.convention
    if background == "ignored":
        assert "IoU/0" not in found.figures() and found.counts["pixels ignored"] == 3
        assert found.counts["pixels that count and are predicted as background, which are wrong"] == 1
        assert found.counts["classes skipped because the truth does not have them"] == 0


def test_labels_above_the_last_class_fold_into_it(tmp_path):
    masks(tmp_path / "gt", [[0, 1, 1, 1]])
    masks(tmp_path / "pred", [[0, 1, 5, 9]])
    for background, told in (("none", "predicted label 9; expected 0..1"), ("folded", "")):
        options = {"background": background, "classes": 2}
        if told:
            with pytest.raises(InputError, match=f"image '00000': {told}"):
                score_segmentation([tmp_path / "gt"], tmp_path / "pred", **options)
        else:
            assert score_segmentation([tmp_path / "gt"], tmp_path / "pred", **options).figures()["mIoU"] == 1.0
    with pytest.raises(InputError, match="folded without --classes"):
        score_segmentation([tmp_path / "gt"], tmp_path / "pred", background="folded")
    for given in ("", "black"):
        with pytest.raises(InputError, match="--background none, ignored, class, folded"):
            score_segmentation([tmp_path / "gt"], tmp_path / "pred", background=given)


def test_the_split_of_a_made_set(tmp_path):
    segmentation.write(Job(tmp_path, **SMALL))
    labels = tmp_path / "SegmentationClass"
    split = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    found = score_segmentation([split], labels, background="class")
    assert found.figures()["mIoU"] == 1.0 and found.counts["images"] == 2
    known = {int(label) for file in labels.glob("*.png") for label in np.unique(read_indices(file))} - {255}
    assert found.counts["classes skipped because the truth does not have them"] == 1 + 33 - len(known)
    with pytest.raises(InputError, match=r"expected a folder of PNG files, or ImageSets"):
        score_segmentation([tmp_path / "classes.txt"], labels, background="class")


def narrative(image: str, annotator: int, *places: tuple[float, float]) -> Narrative:
    words = tuple(Word(f"w{t}", start=float(t), end=t + 1.0) for t in range(len(places) - 1))
    path = tuple((x, y, float(t)) for t, (x, y) in enumerate(places))
    return Narrative("d", image, annotator, "w", words, (path,))


def test_words_of_several_annotators(tmp_path):
    """A path from (0.2, 0.4) to (0.4, 0.4): a point in the middle is 0.1 / 2 from both corners."""
    truth, said = tmp_path / "gt.jsonl", tmp_path / "pred.jsonl"
    still = narrative("8", 0, (0.5, 0.5))
    localized_narratives.write(
        truth, [narrative("7", 1, (0.2, 0.4), (0.4, 0.4)), narrative("7", 2, (0.5, 0.5), (0.5, 0.9)), still]
    )
    middle = {"image_id": 7, "annotator_id": 1, "size": [200, 100], "words": [{"x": 60, "y": 40}]}
    low = {"image_id": 7, "annotator_id": 2, "size": [200, 100], "words": [{"points": [[100, 90], [100, 70]]}]}
    none = {"image_id": "8", "size": [10, 10], "words": []}
    records(said, middle, low, none)
    found = score_words([truth], said)
    assert found.ids == ("7/1", "7/2")
    assert found.items["point_l1"].tolist() == pytest.approx([0.05, (0 + 0.1) / 2])
    assert found.counts["images skipped because no word has a place"] == 1
    records(said, middle, {key: value for key, value in low.items() if key != "annotator_id"}, none)
    with pytest.raises(InputError, match=r"pred\.jsonl, line 2: a record without 'annotator_id'"):
        score_words([truth], said)
    records(said, middle, {**low, "words": [{"points": []}]}, none)
    with pytest.raises(InputError, match=r"pred\.jsonl, line 2: word 0: no point"):
        score_words([truth], said)


def test_words_of_made_narratives(tmp_path):
    narratives.write(Job(tmp_path, **SMALL))
    (truth,) = tmp_path.glob("*.jsonl")
    items = localized_narratives.read(truth)
    rows = [
        {
            "image_id": item.image,
            "annotator_id": item.annotator,
            "size": [64, 48],
            "words": [{"x": word.x, "y": word.y} for word in item.placed(64, 48)],
        }
        for item in items
    ]
    records(tmp_path / "pred.jsonl", *rows)
    found = score_words([truth], tmp_path / "pred.jsonl").figures()
    assert found["hit_rate"] == 1.0 and 0 < found["point_l1"] < 0.1  # the mean of a path is no corner of it


def test_regions_of_a_made_set(tmp_path):
    region_captions.write(Job(tmp_path, **SMALL))
    rows = []
    for item in visual_genome.read(tmp_path):
        for number, region in zip(item.ids, item.regions):
            x1, y1, x2, y2 = region.box.tolist()
            bbox = [x1, y1, x2 - x1, y2 - y1]
            rows.append({"image_id": item.number, "bbox": bbox, "score": 1 / (1 + number), "caption": region.text})
    (tmp_path / "pred.json").write_text(json.dumps(rows))
    boxes = score_regions([tmp_path], tmp_path / "pred.json")
    assert boxes.figures().keys() == {"detection_mAP"}
    told = score_regions([tmp_path], tmp_path / "pred.json", rouge_l).figures()  # any scorer of tokens fits
    assert told["detection_mAP"] == boxes.figures()["detection_mAP"] > 0
    (tmp_path / "pred.json").write_text(json.dumps([{**row, "caption": "nothing of it"} for row in rows]))
    assert score_regions([tmp_path], tmp_path / "pred.json", rouge_l).figures()["mAP"] < told["mAP"]
    (tmp_path / "pred.json").write_text(json.dumps([{**rows[0], "image_id": "other"}]))
    with pytest.raises(InputError, match=r"pred\.json, record 0: image_id 'other'"):
        score_regions([tmp_path], tmp_path / "pred.json")


def test_steps_of_coin(tmp_path):
    """4 s at 2 frames a second: frames at 0, 0.5, ..., 3.5; step 5 holds 0.5 to 2, step 6 from 1.5."""
    steps = (Event(0.5, 2.0, "cut", id=5), Event(1.5, 3.0, "glue", id=6))
    coin.write(tmp_path / "COIN.json", [CoinVideo("v", 4.0, "repair", "testing", 0.0, 4.0, steps, 1)])
    said, path = [None, 5, 5, 5, 6, 6, None, 5], tmp_path / "pred.json"
    path.write_text(json.dumps({"rate": 2, "results": {"v": said}}))
    figures = score_segments([tmp_path / "COIN.json"], path).figures()
    # true: nothing 5 5 6 6 6 nothing nothing
    assert figures["accuracy"] == 6 / 8 and figures["accuracy_steps"] == 4 / 5
    assert figures["edit"] == pytest.approx(1 - 1 / 3) and figures["F1@50"] == pytest.approx(2 * 2 / 5)
    path.write_text(json.dumps({"rate": 2, "results": {"v": said[:-1]}}))
    with pytest.raises(InputError, match=r"pred\.json: video 'v': 7 labels; expected 8, one for a frame"):
        score_segments([tmp_path / "COIN.json"], path)
    for rate in (0, "2", 1e6):
        path.write_text(json.dumps({"rate": rate, "results": {"v": said}}))
        with pytest.raises(InputError, match=r"pred\.json: rate"):
            score_segments([tmp_path / "COIN.json"], path)


def test_folders_of_labels(tmp_path):
    for side, text in (("gt", "SIL\ncut\ncut\nglue\n"), ("pred", "SIL\ncut\nSIL\nglue\n\n")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "v.txt").write_text(text)
    found = score_segments([tmp_path / "gt"], tmp_path / "pred", background="SIL").figures()
    assert found["accuracy"] == 0.75 and found["accuracy_steps"] == pytest.approx(2 / 3) and found["edit"] == 1.0
    (tmp_path / "pred" / "v.txt").write_text("SIL\n\nSIL\nglue\n")
    with pytest.raises(InputError, match=r"v\.txt, line 2: no label"):
        score_segments([tmp_path / "gt"], tmp_path / "pred")
    with pytest.raises(InputError, match="two folders or two files"):
        score_segments([tmp_path / "gt"], tmp_path / "pred" / "v.txt")


def test_background_may_be_a_number(tmp_path):
    for side, labels in (("gt", [0, 1, 1, 0]), ("pred", [1, 1, 1, 0])):
        (tmp_path / f"{side}.json").write_text(json.dumps({"v": labels}))
    found = score_segments([tmp_path / "gt.json"], tmp_path / "pred.json", background="0").figures()
    assert found["accuracy_steps"] == 1.0 and found["accuracy"] == 0.75


@pytest.mark.parametrize("grid", [4, 6, 8])
def test_the_grid_is_told_by_the_number_of_scores(tmp_path, grid):
    last = grid * grid - 1
    (tmp_path / "val.txt").write_text(f"a.avi {last}\nb.avi 0\n")
    scores = [float(cell == last) for cell in range(grid * grid)]
    records(tmp_path / "pred.jsonl", {"id": "a", "scores": scores}, {"id": "b", "scores": scores})
    found = score_cater([tmp_path / "val.txt"], tmp_path / "pred.jsonl")
    assert found.figures()["top1"] == 0.5 and found.figures()["L1"] == grid - 1
    records(tmp_path / "pred.jsonl", {"id": "a", "scores": scores}, {"id": "b", "scores": scores[1:]})
    with pytest.raises(InputError, match=rf"line 2: {last} scores; expected {last + 1}, as before"):
        score_cater([tmp_path / "val.txt"], tmp_path / "pred.jsonl")


def test_true_boxes_of_confidence_0_are_told(tmp_path):
    (tmp_path / "gt.txt").write_text("1,1,0,0,10,10,1,-1,-1,-1\n1,2,50,0,10,10,0,-1,-1,-1\n2,2,50,0,10,10,0,-1,-1,-1\n")
    (tmp_path / "said.txt").write_text("1,9,0,0,10,10,0.5,-1,-1,-1\n")
    for task in ("mot", "tracking"):
        found = score_files(task, [tmp_path / "gt.txt"], tmp_path / "said.txt")[0]
        assert found.figures()["MOTA"] == 1.0 and found.counts["true boxes"] == 1
        assert found.counts["true boxes of confidence 0, which do not count"] == 2
