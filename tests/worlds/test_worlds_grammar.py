"""Words: every phrase fits one object only, found by a reader that knows the words and not the writer."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.worlds import grammar
from whenwhere.worlds.camera import Camera
from whenwhere.worlds.paths import Trajectory
from whenwhere.worlds.scene import Object, Scene
from whenwhere.worlds.scenes import SceneOptions, make

WORDS = {word: canonical for canonical, words in grammar.SYNONYMS.items() for word in words}
RELATION = re.compile(r" (left of|right of|in front of|behind) ")


def thing(shape: str, colour: str, size: str, x: float, y: float, material: str = "metal") -> Object:
    made = Object(shape, colour, material, size, Trajectory.still((0, 0, 0)))
    return made.at(Trajectory.still((x, y, made.rest_height)))


def scene_of(*objects: Object) -> Scene:
    # from the front: right is +x, away is +y
    return Scene(objects, Camera(Trajectory.still((0, -9, 5))), (), 5.0)


def fits(made: Object, noun: str) -> bool:
    words = [WORDS.get(word, word) for word in noun.split()]
    return set(words) <= {made.shape, made.colour, made.size, made.material} and made.shape in words


def resolve(scene: Scene, phrase: str, time: float) -> list[int]:
    """The objects that a phrase fits, by an own reading of it."""
    parts = RELATION.split(phrase)
    head = re.fullmatch(r"the (leftmost |rightmost |\w+th |second |third )?(.+?)( from the left)?", parts[0])
    assert head, phrase
    found = [number for number, made in enumerate(scene.objects) if fits(made, head[2])]
    if head[1]:
        # the order on the floor, as the camera's axes see it
        right = scene.camera.frames([time])[1][0][0][:2]
        order = sorted(found, key=lambda number: scene.positions([time])[0, number, :2] @ right)
        rank = {"leftmost": 0, "rightmost": -1, "second": 1, "third": 2, "fourth": 3, "fifth": 4}[head[1].strip()]
        return [order[rank]]
    if len(parts) == 1:
        return found
    (anchor,) = [number for number, made in enumerate(scene.objects) if fits(made, parts[2].removeprefix("the "))]
    axes = scene.camera.frames([time])[1][0]
    ahead = np.array([axes[2, 0], axes[2, 1]])
    moved = scene.positions([time])[0][:, :2] - scene.positions([time])[0][anchor, :2]
    along = {"left of": -moved @ axes[0, :2], "right of": moved @ axes[0, :2]}
    along |= {"in front of": -moved @ ahead, "behind": moved @ ahead}
    return [number for number in found if along[parts[1]][number] > 0]


def test_every_phrase_fits_one_object_only():
    forms = set()
    for index in range(45):
        options = SceneOptions(objects=(6, 9), snitch=index % 2 == 0)
        scene = make("words", index, options)
        doubles = (*scene.objects, scene.objects[-1].at(Trajectory.still((5.0, 5.0, 0.5))))
        if index % 3 == 0:
            scene = Scene(doubles, scene.camera, scene.lights, scene.seconds)
        for number in range(len(scene.objects)):
            for chance in (None, random.Random(index)):
                phrase = grammar.refer(scene, number, 0.0, chance)
                assert resolve(scene, phrase, 0.0) == [number], phrase
                forms.add("relation" if RELATION.search(phrase) else "order" if "most " in phrase else "attributes")
    assert {"relation", "attributes"} <= forms


def test_a_phrase_is_as_short_as_can_be():
    scene = scene_of(
        thing("cube", "red", "large", 0, 0),
        thing("cube", "blue", "large", 2, 0),
        thing("cube", "blue", "small", -2, 0),
        thing("cone", "blue", "small", 0, 2),
    )
    said = [grammar.refer(scene, number, 0.0) for number in range(4)]
    assert said[0] == "the red cube" and said[2] == "the small cube" and said[3] == "the cone"
    assert said[1] == "the large blue cube"
    assert grammar.name(scene, 1) == "large blue metal cube"


def test_equals_are_told_apart_by_place():
    twins = [thing("sphere", "green", "small", x, y) for x, y in ((-2, 0), (2, 0))]
    with_mark = scene_of(*twins, thing("cube", "red", "large", 0, 0))
    assert grammar.refer(with_mark, 0, 0.0) == "the sphere left of the cube"
    assert grammar.refer(with_mark, 1, 0.0) == "the sphere right of the cube"
    deep = scene_of(
        thing("sphere", "green", "small", 0, 2), thing("sphere", "green", "small", 0.1, -2), with_mark.objects[2]
    )
    assert grammar.refer(deep, 0, 0.0) == "the sphere behind the cube"
    assert grammar.refer(deep, 1, 0.0) == "the sphere in front of the cube"
    only = scene_of(*twins, thing("sphere", "green", "small", 0, 1))
    said = [grammar.refer(only, number, 0.0).split(" small")[0] for number in range(3)]
    assert said == ["the leftmost", "the rightmost", "the second"]


def test_sentences_tell_what_the_paths_do():
    seen = set()
    for index in range(60):
        scene = make("sentences", index)
        right = scene.camera.frames([0.0])[1][0][0]
        for action, event in zip(scene.actions, grammar.events(scene), strict=True):
            assert (event.start, event.end) == (action.start, action.end)
            assert event.text[0] == "T" and event.text.endswith(".") and "{" not in event.text
            actor = scene.objects[action.actor]
            move = np.subtract(actor.path.position(action.end), actor.path.position(action.start)) @ right
            if "to the left" in event.text or "to the right" in event.text:
                assert ("left" in event.text.split("to the ")[-1]) == (move < 0), event.text
            seen.add(action.kind)
            if action.kind == "contain":
                assert " covers " in event.text
            under = [i for i in scene.containments if i.outer == action.actor and i.start <= action.start < i.end]
            if action.kind == "slide":
                assert ("under it" in event.text) == bool(under), event.text
    assert seen == {"slide", "rotate", "pick_place", "contain"}


def test_tenses_and_wordings():
    scene = next(s for s in (make("tense", i) for i in range(50)) if any(a.kind == "contain" for a in s.actions))
    action = next(a for a in scene.actions if a.kind == "contain")
    said = [grammar.predicate(scene, action, tense=tense).split()[0:2] for tense in grammar.TENSES]
    assert said == [["covers", "the"], ["covered", "the"], ["is", "covering"]]
    wordings = {grammar.clause(scene, action, random.Random(seed)) for seed in range(30)}
    assert len(wordings) > 3
    assert grammar.clause(scene, action, random.Random(1)) == grammar.clause(scene, action, random.Random(1))
    with pytest.raises(InputError, match="future"):
        grammar.clause(scene, action, tense="future")


def test_lists_and_articles():
    scene = scene_of(thing("cube", "red", "large", 0, 0), *[thing("sphere", "blue", "small", x, 1) for x in (-1, 1)])
    assert grammar.inventory(scene, [0]) == "There is a large red metal cube."
    assert grammar.inventory(scene, [1, 2]) == "There are two small blue metal spheres."
    assert grammar.inventory(scene, [0, 1, 2]) == "There is a large red metal cube and two small blue metal spheres."
    assert grammar.indefinite("object") == "an object" and grammar.listed(["a", "b", "c"]) == "a, b and c"
    with pytest.raises(InputError):
        grammar.inventory(scene, [])
