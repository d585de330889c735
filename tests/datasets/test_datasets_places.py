"""Readers of words, phrases and classes with places in pictures: hand-made files, the public ones, broken ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.datasets import localized_narratives, refcoco, video_narratives, visual_genome, voc
from whenwhere.errors import InputError
from whenwhere.media import write_image
from whenwhere.media.indexed import palette, read_indices, write_indices

NARRATIVE = {
    "dataset_id": "d",
    "image_id": "12",
    "annotator_id": 3,
    "caption": "a dog",
    "timed_caption": [
        {"utterance": "a", "start_time": 0.0, "end_time": 1.0},
        {"utterance": "dog", "start_time": 1.0, "end_time": 3.0},
    ],
    "traces": [[{"x": 0.0, "y": 0.5, "t": 0.0}, {"x": 0.5, "y": 0.5, "t": 2.0}]],
}


def test_the_place_of_a_word_is_the_mean_of_the_path(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(NARRATIVE))
    (item,) = localized_narratives.read(tmp_path / "a.jsonl")
    a, dog = item.placed(100, 40)
    assert (a.x, a.y, a.start, a.end) == pytest.approx((12.5, 20, 0, 1))
    assert dog.x == pytest.approx(50)  # the path goes on straight, from 25 at 1 s to 75 at 3 s
    paths = item.paths()
    assert paths.shape == (2, 16, 2) and paths[1, :, 0].max() == pytest.approx(0.75)
    localized_narratives.write(tmp_path / "b.jsonl", [item])
    assert localized_narratives.read(tmp_path / "b.jsonl") == [item]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image_id": 12}, "image_id"),
        ({"timed_caption": [{"utterance": "a", "start_time": 2, "end_time": 1}]}, "timed_caption[0].end_time"),
        ({"traces": [[{"x": 0, "y": "0", "t": 0}]]}, "traces[0][0].y"),
    ],
)
def test_a_broken_narrative_is_named_by_its_line(change, word, tmp_path):
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(NARRATIVE)}\n{json.dumps({**NARRATIVE, **change})}\n")
    with pytest.raises(InputError, match="a.jsonl, line 2") as error:
        localized_narratives.read(tmp_path / "a.jsonl")
    assert word in str(error.value)


def test_a_trace_of_one_point_has_no_places(tmp_path):
    one = {**NARRATIVE, "traces": [[{"x": 0.1, "y": 0.5, "t": 0.0}], []]}
    (tmp_path / "a.jsonl").write_text(json.dumps(one))
    with pytest.raises(InputError, match="1 times"):
        localized_narratives.read(tmp_path / "a.jsonl")[0].placed(10, 10)


def test_video_narratives_as_published(shared_data, tmp_path):
    file = shared_data / "vidln_mini" / "narratives.jsonl"
    videos = video_narratives.read(file)
    assert len(videos) == 4 and sum(len(item.actors) for item in videos) == 14
    tiger = videos[0].actors[0]
    assert tiger.actor == "Tiger one" and tiger.keyframes[:2] == (5, 6)
    assert (tiger.words[0].start, tiger.words[0].end) == (4.0, 4.18)
    assert tiger.strokes[0][0].time == pytest.approx(1646374105131 / 1e3 - 1646374102359 / 1e3)
    for actor in (actor for video in videos for actor in video.actors):
        for word, (first, last) in zip(actor.words, actor.places, strict=True):
            assert word.text in actor.caption[first:last]
    line = json.loads(file.read_text().splitlines()[0])
    line["actor_narratives"][0]["traces"][0][1]["kf_idx"] = 10
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match=r"line 1: actor_narratives\[0\].traces\[0\]\[1\].kf_idx"):
        video_narratives.read(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="line 1"):
        localized_narratives.read(file)  # the other form


def mdetr():
    image = {"id": 0, "file_name": "a.jpg", "height": 4, "width": 6, "original_id": 9, "caption": "the red cube"}
    box = {"id": 0, "image_id": 0, "original_id": 5, "bbox": [1, 1, 3, 2], "category_id": 2}
    box |= {"tokens_positive": [[0, 3], [4, 12]], "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}
    return {"images": [image], "annotations": [box]}


def test_a_phrase_with_a_polygon(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(mdetr()))
    (item,) = refcoco.read(tmp_path / "a.json")
    assert (item.image_id, item.object_id, item.category, item.span) == (9, 5, 2, (0, 12))
    assert item.region.box.tolist() == [1, 1, 4, 3] and item.region.text == "the red cube"
    assert item.region.mask.sum() == 6 and item.region.mask[1:3, 1:4].all()
    refcoco.write(tmp_path / "b.json", [item], ["sphere", "cube"])
    assert refcoco.read(tmp_path / "b.json") == [item]


@pytest.mark.parametrize(
    ("where", "change", "word"),
    [
        ("annotations", {"bbox": [0, 0, -1, 2]}, "annotations[0].bbox"),
        ("annotations", {"segmentation": {"size": [5, 6], "counts": [30]}}, "annotations[0].segmentation"),
        ("annotations", {"segmentation": {"size": [4, 6], "counts": [3]}}, "annotations[0].segmentation"),
        ("annotations", {"tokens_positive": [[0, 99]]}, "annotations[0].tokens_positive[0][1]"),
        ("annotations", {"image_id": 1}, "has no object"),
        ("images", {"caption": None}, "images[0].caption"),
    ],
)
def test_broken_phrases(where, change, word, tmp_path):
    data = mdetr()
    data[where][0] |= change
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"a\.json") as error:
        refcoco.read(tmp_path / "a.json")
    assert word in str(error.value)


def test_a_phrase_has_one_object(tmp_path):
    data = mdetr()
    data["annotations"] *= 2
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="two objects"):
        refcoco.read(tmp_path / "a.json")


def test_visual_genome(tmp_path):
    sizes = [{"image_id": 3, "width": 50, "height": 40, "coco_id": None, "url": ""}]
    region = {"region_id": 8, "image_id": 3, "phrase": " a dog ", "x": -2, "y": 5, "width": 20, "height": 50}
    (tmp_path / "image_data.json").write_text(json.dumps(sizes))
    regions = tmp_path / "region_descriptions.json"
    regions.write_text(json.dumps([{"id": 3, "regions": [region]}]))
    (item,) = visual_genome.read(tmp_path)
    assert item.regions[0].box.tolist() == [0, 5, 18, 40] and item.regions[0].text == "a dog"
    assert (item.ids, item.coco, item.image.width) == ((8,), None, 50)
    visual_genome.write(tmp_path, [item])
    assert visual_genome.read(tmp_path) == [item]
    for rows, word in (
        ([{"id": 4, "regions": []}], "image 4"),
        ([{"id": 3, "regions": [{**region, "width": -1}]}], "[0].regions[0].width"),
        ([{"id": 3, "regions": [{**region, "phrase": 1}]}], "[0].regions[0].phrase"),
    ):
        regions.write_text(json.dumps(rows))
        with pytest.raises(InputError, match="region_descriptions.json") as error:
            visual_genome.read(tmp_path)
        assert word in str(error.value)


def test_the_palette_of_voc():
    colours = palette()
    wanted = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128)}
    assert all(tuple(colours[number]) == colour for number, colour in wanted.items())
    assert tuple(colours[20]) == (0, 64, 128) and tuple(colours[255]) == (224, 224, 192)
    assert len({tuple(colour) for colour in colours}) == 256


def test_pictures_of_indices(tmp_path):
    indices = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_indices(tmp_path / "a.png", indices)
    assert np.array_equal(read_indices(tmp_path / "a.png"), indices)
    write_image(tmp_path / "b.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "c.png").write_bytes(b"no picture")
    for name in ("b.png", "c.png", "d.png"):
        with pytest.raises(InputError, match=name):
            read_indices(tmp_path / name)


def voc_set(root, indices):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    write_image(root / "JPEGImages" / "x.jpg", np.zeros((2, 3, 3), np.uint8))
    write_indices(root / "SegmentationClass" / "x.png", np.array(indices, np.uint8))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("x\n")


def test_voc_with_and_without_background(tmp_path):
    voc_set(tmp_path, [[0, 1, 20], [255, 0, 15]])
    found = voc.VocSet(tmp_path, "val")
    assert found.labels(0).labels.tolist() == [[0, 1, 20], [-1, 0, 15]] and found.labels(0).names[15] == "person"
    plain = found.labels(0, background=False)
    assert plain.labels.tolist() == [[-1, 0, 19], [-1, -1, 14]] and plain.names[14] == "person"
    with pytest.raises(InputError, match="SegmentationObject"):
        found.segments(0)


def test_a_broken_voc_set(tmp_path):
    voc_set(tmp_path, [[0, 21, 0], [0, 0, 0]])
    with pytest.raises(InputError, match="index 21 in row 0, column 1"):
        voc.VocSet(tmp_path, "val").labels(0)
    with pytest.raises(InputError, match="train.txt"):
        voc.VocSet(tmp_path, "train")
    for line, word in (("y", "there is no file"), ("../x", "no path")):
        (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text(f"x\n{line}\n")
        with pytest.raises(InputError, match=f"val.txt, line 2.*{word}"):
            voc.VocSet(tmp_path, "val")
    (tmp_path / "classes.txt").write_text("one\none\n")
    with pytest.raises(InputError, match="classes.txt, line 2"):
        voc.VocSet(tmp_path, "val")
