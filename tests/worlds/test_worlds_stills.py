"""Narratives, referring phrases, region captions, segmentation: labels agree with the pixels, and files read back."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from whenwhere.datasets import localized_narratives, refcoco, visual_genome, voc
from whenwhere.errors import InputError
from whenwhere.media import read_image
from whenwhere.results import MediaRef
from whenwhere.worlds import grammar, narratives, referring, region_captions, segmentation, stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.scenes import generator

SIZE = (120, 160)
COUNT = 5  # one more than have a picture for people in any case
MEDIA = MediaRef("a.jpg", None, 160, 120)
PLAIN = {other: word for word, others in grammar.SYNONYMS.items() for other in others}
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "in front of": (0, -1), "behind": (0, 1)}
ORDER = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@cache
def picture(index):
    scene = stills.still("stills", index)
    return scene, stills.look(scene, SIZE)


def fitting(scene, noun):
    """Objects that a noun with adjectives is true of."""
    words = {PLAIN.get(word, word) for word in noun.split()}
    return {
        number
        for number, thing in enumerate(scene.objects)
        if words <= {thing.shape, thing.colour, thing.material, thing.size}
    }


def meant(scene, phrase):
    """Objects that a phrase is true of, read word by word, and not as it was made."""
    right, _, forward = scene.camera.frames([0.0])[1][0]
    floor = scene.positions([0.0])[0][:, :2]
    places = np.stack([floor @ right[:2], floor @ forward[:2]], axis=1)
    if found := re.fullmatch(r"the (leftmost|rightmost) (.+)", phrase):
        ends = sorted(fitting(scene, found[2]), key=lambda number: places[number, 0])
        return {ends[0 if found[1] == "leftmost" else -1]}
    if found := re.fullmatch(rf"the ({'|'.join(ORDER)}) (.+) from the left", phrase):
        return {sorted(fitting(scene, found[2]), key=lambda number: places[number, 0])[1 + ORDER.index(found[1])]}
    if found := re.fullmatch(rf"the (.+) ({'|'.join(RELATIONS)}) the (.+)", phrase):
        (anchor,) = fitting(scene, found[3])
        way = RELATIONS[found[2]]
        return {n for n in fitting(scene, found[1]) if (places[n] - places[anchor]) @ way > 0 and n != anchor}
    return fitting(scene, phrase.removeprefix("the "))


def test_a_phrase_is_true_of_one_object_only():
    for index in range(20):
        scene, seen = picture(index)
        for item in referring.label(scene, seen, MEDIA, index, generator("words", index)):
            assert meant(scene, item.region.text) == {item.object_id - 100 * index}


def test_phrases_by_place_are_true_of_one_object_only():
    by_place = 0
    for index in range(200):
        scene = stills.still("phrases", index)
        for number in range(len(scene.objects)):
            phrase = grammar.refer(scene, number, 0.0, generator("words", index))
            assert meant(scene, phrase) == {number}
            by_place += " of the " in phrase
    assert by_place > 5


def around(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_masks_and_boxes_agree():
    for index in range(20):
        scene, seen = picture(index)
        for item in referring.label(scene, seen, MEDIA, index):
            assert item.region.box.tolist() == around(item.region.mask)
            assert np.array_equal(item.region.mask, seen.masks[0] == item.object_id - 100 * index)
            assert item.region.mask.sum() >= stills.LEAST_PIXELS and item.span == (0, len(item.region.text))
        for item in segmentation.segments(seen):
            assert item.box.tolist() == around(item.mask)


def test_region_captions():
    pairs = 0
    for index in range(20):
        scene, seen = picture(index)
        spoken = stills.spoken(seen)
        regions = region_captions.label(scene, seen, generator("words", index))
        for number, item in zip(spoken, regions):
            assert number in fitting(scene, item.text.split(" ", 1)[1])
            assert item.box.tolist() == seen.boxes[0, number].tolist()
        for item in regions[len(spoken) :]:
            near, far = (fitting(scene, part.split(" ", 1)[1]) for part in item.text.split(" in front of "))
            fits = [
                (one, two)
                for one in near
                for two in far
                if one != two
                and seen.centres[0, one, 2] < seen.centres[0, two, 2]
                and item.box.tolist() == around(np.isin(seen.masks[0], [one, two]))
            ]
            assert fits
            pairs += 1
    assert pairs > 10


def test_the_mouse_is_in_the_object_while_its_words_are_said():
    said = 0
    for index in range(20):
        scene, seen = picture(index)
        item, about = narratives.tell(scene, seen, generator("words", index), "a")
        assert item.caption == " ".join(word.text for word in item.words)
        assert {number for number in about if number is not None} == set(stills.spoken(seen))
        assert all(one.end == two.start for one, two in zip(item.words, item.words[1:]))
        paths = item.paths(64) * (SIZE[1], SIZE[0])
        for path, number in zip(paths, about, strict=True):
            if number is not None:
                columns, rows = path.astype(int).T
                assert (seen.masks[0][rows, columns] == number).all()
                said += 1
        for number in set(about) - {None}:
            words = [w.text.strip(".") for w, other in zip(item.words, about, strict=True) if other == number]
            assert number in fitting(scene, " ".join(words[1:]))
    assert said > 100


def test_the_side_of_an_object_is_told_right():
    scene, seen = picture(3)
    item, about = narratives.tell(scene, seen, generator("words", 3), "a")
    for place, number in enumerate(about):
        if number is not None and about[place - 1] is None:
            text = " ".join(word.text for word in item.words[:place])
            side = re.findall("left|middle|right", text)[-1]
            x, _ = narratives.middle(stills.mask(seen, number))
            assert side == ("left", "middle", "right")[int(3 * x / SIZE[1])]


def test_class_maps_have_the_visible_classes_and_no_other():
    for index in range(20):
        scene, seen = picture(index)
        labels = segmentation.label(scene, seen)
        shown = {segmentation.classes(scene)[number] for number in np.flatnonzero(seen.visible[0])}
        assert {labels.names[number] for number in np.unique(labels.labels)} == shown | {"background"}
        for number in np.flatnonzero(seen.visible[0]):
            (name,) = {labels.names[label] for label in np.unique(labels.labels[stills.mask(seen, number)])}
            assert name == segmentation.classes(scene)[number]
        assert (labels.labels == 0).sum() == (seen.masks[0] == -1).sum()


@pytest.mark.parametrize("task", [narratives, referring, region_captions, segmentation])
def test_the_files_read_back_equal_and_are_the_same_again(task, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        task.write(Job(tmp_path / name, "stills", count=COUNT, size=SIZE, show=name == "one"))
    one, two = (
        {p.relative_to(tmp_path / n).as_posix(): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
        for n in ("one", "two")
    )
    assert two == {name: content for name, content in one.items() if name in two}
    shown = sorted(name for name in one if name.endswith(".show.png"))
    assert len(shown) == COUNT and sorted(one.keys() - two.keys()) == shown[stills.FIRST :]
    check = {
        narratives: check_narratives,
        referring: check_referring,
        region_captions: check_regions,
        segmentation: check_segmentation,
    }
    check[task](tmp_path / "one")


def check_narratives(out):
    wanted = []
    for index in range(COUNT):
        scene, seen = picture(index)
        chance = generator("stills/words", index)
        wanted.append(narratives.tell(scene, seen, chance, f"{index:05d}", "world_stills")[0])
        assert read_image(out / f"{index:05d}.jpg").shape == (*SIZE, 3)
    assert localized_narratives.read(out / "narratives.jsonl") == wanted


def check_referring(out):
    wanted = []
    for index in range(COUNT):
        scene, seen = picture(index)
        media = MediaRef(f"{index:05d}.jpg", None, 160, 120)
        wanted += referring.label(scene, seen, media, index, generator("stills/words", index), "world_stills")
    assert refcoco.read(out / "referring.json") == wanted


def check_regions(out):
    found = visual_genome.read(out)
    for index, item in enumerate(found):
        scene, seen = picture(index)
        assert list(item.regions) == region_captions.label(scene, seen, generator("stills/words", index))
        assert read_image(out / item.image.path).shape == (*SIZE, 3)
    ids = [number for item in found for number in item.ids]
    assert len(found) == COUNT and ids == list(range(1, len(ids) + 1))


def check_segmentation(out):
    found = voc.VocSet(out, "stills")
    assert len(found) == COUNT and found.names == segmentation.NAMES
    for index in range(COUNT):
        scene, seen = picture(index)
        assert found.labels(index) == segmentation.label(scene, seen)
        assert found.segments(index) == segmentation.segments(seen)
        assert np.abs(read_image(found[index].image).astype(int) - seen.rgb[0]).mean() < 6


def test_a_list_cannot_leave_its_folder(tmp_path):
    with pytest.raises(InputError, match=r"\.\./x"):
        segmentation.write(Job(tmp_path, "../x", count=1, size=SIZE))
