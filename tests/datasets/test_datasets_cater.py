"""CATER's files: what a world writes is read back, and what is malformed is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.datasets.cater import CaterSet, read_list, read_scene, to_json, write_scene
from whenwhere.errors import InputError
from whenwhere.worlds.cater import make


@pytest.fixture(scope="module")
def known():
    return make("files", 0).known


def test_a_scene_is_read_back_unchanged(known, tmp_path):
    write_scene(tmp_path / "a.json", known)
    again = read_scene(tmp_path / "a.json")
    assert to_json(again) == to_json(known)
    for one, other in zip(again.objects, known.objects, strict=True):
        assert np.array_equal(one.locations, other.locations) and one.movements == other.movements
    assert (again.covers, again.depths.tolist()) == (known.covers, known.depths.tolist())
    assert again.last_frame == 300 and again.objects[0].shape == "spl"


def test_relations_go_by_the_directions(known):
    found, places = to_json(known)["relationships"], [thing.locations[0] for thing in known.objects]
    assert set(found) == {"left", "right", "front", "behind"}
    for number, others in enumerate(found["left"]):
        for other in others:
            assert (places[other] - places[number]) @ np.array(known.directions["left"]) > 0
            assert number in found["right"][other]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data["objects"][2].pop("sized"), r"objects\[2\] has no 'sized'"),
        (lambda data: data["objects"][1].update(shape="ball"), r"objects\[1\].shape is 'ball'; expected one of spl"),
        (lambda data: data["objects"][1]["locations"].pop("7"), r"objects\[1\].locations has no frame 7"),
        (lambda data: data["objects"][1]["locations"].update({"7": [1, 2]}), r"locations.7 is .*a list of 3"),
        (lambda data: data["objects"][1]["locations"].update({"7": [1, 2, "x"]}), r"locations.7\[2\] is 'x'"),
        (lambda data: data["objects"].pop(0), r"objects\[0\].shape is 'cone'; expected 'spl'"),
        (lambda data: data.pop("movements"), "has no 'movements'"),
        (lambda data: data["movements"].update(Snitch_0=[["_fly", None, 0, 5]]), r"Snitch_0\[0\]\[0\] is '_fly'"),
        (lambda data: data["movements"].update(Snitch_0=[["_slide", None, 9, 5]]), r"Snitch_0\[0\]\[3\]"),
        (lambda data: data["movements"].update(Snitch_0=[["_slide", None, 9, 999]]), "Snitch_0 ends after frame 300"),
        (lambda data: data["movements"].update(Cone_1=[["_contain", "Ghost", 0, 5]]), "Ghost"),
        (lambda data: data["objects"][1].update(instance="Snitch_0"), "each once"),
        (lambda data: data.update(objects=[]), "at least the snitch"),
    ],
)
def test_a_malformed_scene_names_the_field(known, tmp_path, change, named):
    data = json.loads(json.dumps(to_json(known)))
    change(data)
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=named) as error:
        read_scene(tmp_path / "a.json")
    assert "a.json" in str(error.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [("{\n\n 'a'}", "line 3: not JSON"), ('{\n"a": NaN}', "line 2: NaN"), ("[]", "expected an object with 'objects'")],
)
def test_what_is_no_scene_names_the_line(tmp_path, text, named):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=named):
        read_scene(tmp_path / "a.json")


def test_lists(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("videos/CATER_new_000123.avi 21\n\nCLEVR_new_000004.avi\t35\n")
    assert read_list(path) == [("CATER_new_000123", (21,)), ("CLEVR_new_000004", (35,))]
    path.write_text("a.avi 1,5,13\n")
    assert read_list(path, None) == [("a", (1, 5, 13))]


@pytest.mark.parametrize("line", ["a.avi", "a.avi 36", "a.avi 1,2", "a.avi -1", "a.avi x"])
def test_a_malformed_list_names_the_line(tmp_path, line):
    (tmp_path / "train.txt").write_text(f"b.avi 3\n{line}\n")
    with pytest.raises(InputError, match="train.txt, line 2"):
        read_list(tmp_path / "train.txt")


def test_a_set_needs_its_videos(tmp_path):
    (tmp_path / "lists" / "localize").mkdir(parents=True)
    (tmp_path / "videos").mkdir()
    (tmp_path / "lists" / "localize" / "val.txt").write_text("a.avi 3\n")
    with pytest.raises(InputError, match=r"val.txt, line 1: no video a"):
        CaterSet(tmp_path, "val")
    (tmp_path / "videos" / "a.avi").write_bytes(b"")
    (clip,) = list(CaterSet(tmp_path, "val"))
    assert (clip.name, clip.labels, clip.scene) == ("a", (3,), tmp_path / "scenes" / "a.json")
    with pytest.raises(InputError, match="task 'count'"):
        CaterSet(tmp_path, "val", "count")
