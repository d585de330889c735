"""Words for what is in a scene and what happens in it: phrases that fit one object only, sentences for actions.

All words follow from the scene's state. A source of chance (``random.Random``) picks among equally good wordings;
without one the first is taken.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import Event
from whenwhere.worlds.scene import Action, Scene

TENSES = ("present", "past", "progressive")
SYNONYMS = {
    "sphere": ("sphere", "ball"),
    "cube": ("cube", "block"),
    "large": ("large", "big"),
    "metal": ("metal", "shiny"),
    "rubber": ("rubber", "matte"),
}
"""Other words for the world's own; all are understood as equals."""
_ATTRIBUTES = ("colour", "size", "material")  # in the order in which they are tried
_SPOKEN = ("size", "colour", "material")  # in the order in which they are said
_RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "in front of": (0, -1), "behind": (0, 1)}
_MARGIN = 0.4  # by how much one object is left of another to be called so
_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
# kind -> wordings, each in the present, the past and the progressive
_TEMPLATES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "slide": (
        ("{actor} slides {way}", "{actor} slid {way}", "{actor} is sliding {way}"),
        ("{actor} moves {way}", "{actor} moved {way}", "{actor} is moving {way}"),
        ("{actor} glides {way}", "{actor} glided {way}", "{actor} is gliding {way}"),
    ),
    "rotate": (
        ("{actor} tumbles", "{actor} tumbled", "{actor} is tumbling"),
        ("{actor} rotates in place", "{actor} rotated in place", "{actor} is rotating in place"),
        ("{actor} turns over", "{actor} turned over", "{actor} is turning over"),
    ),
    "pick_place": (
        (
            "{actor} is picked up and placed {way}",
            "{actor} was picked up and placed {way}",
            "{actor} is being picked up and placed {way}",
        ),
        (
            "{actor} is lifted and put down {way}",
            "{actor} was lifted and put down {way}",
            "{actor} is being lifted and put down {way}",
        ),
    ),
    "uncover": (
        (
            "{actor} is lifted off {other} and placed {way}",
            "{actor} was lifted off {other} and placed {way}",
            "{actor} is being lifted off {other} and placed {way}",
        ),
        (
            "{actor} uncovers {other} and moves {way}",
            "{actor} uncovered {other} and moved {way}",
            "{actor} is uncovering {other} and moving {way}",
        ),
    ),
    "contain": (
        ("{actor} covers {other}", "{actor} covered {other}", "{actor} is covering {other}"),
        ("{actor} is placed over {other}", "{actor} was placed over {other}", "{actor} is being placed over {other}"),
        (
            "{actor} comes down over {other} and contains it",
            "{actor} came down over {other} and contained it",
            "{actor} is coming down over {other} to contain it",
        ),
    ),
}


def refer(scene: Scene, number: int, time: float, chance: random.Random | None = None) -> str:
    """Return a shortest phrase that fits one object of the scene only, such as "the small red cube".

    As few attributes as will do; where all of them fit several objects, the place at that time: "the sphere left of the
    red cube", or the order from the left.

    Args:
        scene: hidden objects count too, so that the phrase stays right when they appear.
        number: of the object.
        time: seconds; of places.
        chance: picks among phrases of one length.
    """
    found = _by_attributes(scene, number)
    if found:
        return f"the {_noun(scene, number, _pick(found, chance), chance)}"
    found_near = _by_relation(scene, number, time)
    if found_near:
        attributes, relation, anchor, anchored = _pick(found_near, chance)
        mark = _noun(scene, anchor, anchored, chance)
        return f"the {_noun(scene, number, attributes, chance)} {relation} the {mark}"
    return _by_order(scene, number, time, chance)


def name(scene: Scene, number: int, chance: random.Random | None = None) -> str:
    """Return all that can be said of an object itself, without an article: "large red metal cube"."""
    return _noun(scene, number, _SPOKEN, chance)


def indefinite(noun: str) -> str:
    """Return a noun phrase with its article, "a red cube" or "an object"."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def inventory(scene: Scene, numbers: Sequence[int], chance: random.Random | None = None) -> str:
    """Return a sentence that lists objects, equal ones together: "There are two small blue rubber cones and a snitch."

    Raises:
        InputError: there are no numbers.
    """
    if not numbers:
        raise InputError("no objects", "at least one to name")
    names = [name(scene, number, chance) for number in numbers]
    parts = []
    for noun in dict.fromkeys(names):
        count = names.count(noun)
        parts.append(indefinite(noun) if count == 1 else f"{_COUNTS.get(count, str(count))} {noun}s")
    one = len(names) == 1 or names.count(names[0]) == 1
    return f"There {'is' if one else 'are'} {listed(parts)}."


def listed(parts: Sequence[str]) -> str:
    """Join phrases: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def clause(scene: Scene, action: Action, chance: random.Random | None = None, tense: str = "present") -> str:
    """Return what happens in an action, without capital and full stop: "the red cone slides to the left".

    Raises:
        InputError: the tense is not one of `TENSES`.
    """
    actor = refer(scene, action.actor, action.start, chance)
    return f"{actor} {predicate(scene, action, chance, tense)}"


def predicate(scene: Scene, action: Action, chance: random.Random | None = None, tense: str = "present") -> str:
    """Return the same as `clause` without its subject: "slides to the left".

    Raises:
        InputError: the tense is not one of `TENSES`.
    """
    if tense not in TENSES:
        raise InputError(f"tense {tense!r}", f"one of {', '.join(TENSES)}")
    kind, others, tail = action.kind, [] if action.target is None else [action.target], ""
    load = [item.inner for item in scene.containments if item.outer == action.actor and item.start <= action.start]
    if kind == "pick_place":
        others = [n for n in load if _ends(scene, n, action.actor, action.start)]
        kind = "uncover" if others else kind
    elif kind == "slide":
        load = [n for n in load if not _ended(scene, n, action.actor, action.start)]
        tail = f" with {listed([refer(scene, n, action.start, chance) for n in load])} under it" if load else ""
    other = listed([refer(scene, n, action.start, chance) for n in others]) if others else ""
    template = _pick(_TEMPLATES[kind], chance)[TENSES.index(tense)].removeprefix("{actor} ")
    return template.format(other=other, way=_way(scene, action, kind in ("pick_place", "uncover"))) + tail


def sentence(text: str) -> str:
    """Return a clause with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def events(scene: Scene, chance: random.Random | None = None, tense: str = "present") -> list[Event]:
    """Return an event with a sentence for each action, sorted by time."""
    found = []
    for number, action in enumerate(sorted(scene.actions, key=lambda item: (item.start, item.end, item.actor))):
        found.append(Event(action.start, action.end, sentence(clause(scene, action, chance, tense)), id=number))
    return found


_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}


def _pick(options: Sequence, chance: random.Random | None):  # type: ignore[no-untyped-def, type-arg]
    return options[0] if chance is None else chance.choice(options)


def _word(word: str, chance: random.Random | None) -> str:
    return str(_pick(SYNONYMS.get(word, (word,)), chance))


def _noun(scene: Scene, number: int, attributes: Sequence[str], chance: random.Random | None) -> str:
    thing = scene.objects[number]
    if thing.shape == "snitch":  # there is one kind of it
        return "snitch"
    words = [getattr(thing, attribute) for attribute in _SPOKEN if attribute in attributes]
    return " ".join(_word(word, chance) for word in [*words, thing.shape])


def _alike(scene: Scene, number: int, attributes: Sequence[str]) -> list[int]:
    """Objects that share the shape and these attributes, the object among them."""
    wanted = [getattr(scene.objects[number], attribute) for attribute in ("shape", *attributes)]
    return [
        other
        for other, thing in enumerate(scene.objects)
        if [getattr(thing, attribute) for attribute in ("shape", *attributes)] == wanted
    ]


def _subsets() -> list[tuple[str, ...]]:
    return [chosen for count in range(len(_ATTRIBUTES) + 1) for chosen in combinations(_ATTRIBUTES, count)]


def _by_attributes(scene: Scene, number: int) -> list[tuple[str, ...]]:
    """The smallest sets of attributes that with the shape fit one object only."""
    fits = [chosen for chosen in _subsets() if _alike(scene, number, chosen) == [number]]
    return [chosen for chosen in fits if len(chosen) == len(fits[0])]


def _floor_axes(scene: Scene, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors on the floor to the right and away, as the camera sees them."""
    right, _, forward = scene.camera.frames([time])[1][0]
    away = np.array([forward[0], forward[1]])
    return right[:2], away / max(float(np.hypot(*away)), 1e-9)


def _places(scene: Scene, time: float) -> np.ndarray:
    """Places of all objects (N, 2): to the right and away from the camera."""
    return scene.positions([time])[0][:, :2] @ np.stack(_floor_axes(scene, time), axis=1)


def _by_relation(scene: Scene, number: int, time: float) -> list[tuple[tuple[str, ...], str, int, tuple[str, ...]]]:
    """Attributes, relation, anchor and the anchor's attributes that together fit the object only."""
    places, hidden = _places(scene, time), scene.hidden([time])[0]
    found = []
    for chosen in _subsets():
        group = _alike(scene, number, chosen)
        for anchor in range(len(scene.objects)):
            names = _by_attributes(scene, anchor)
            if anchor in group or not names or hidden[anchor]:
                continue
            for relation, way in _RELATIONS.items():
                offsets = (places[group] - places[anchor]) @ np.array(way)
                clear, at_all = offsets > _MARGIN, offsets > 0
                if at_all.sum() == 1 and clear[group.index(number)]:
                    found.append((chosen, relation, anchor, names[0]))
        if found:
            break
    return found


def _by_order(scene: Scene, number: int, time: float, chance: random.Random | None) -> str:
    """Tell an object from its doubles by their order from the left."""
    group = _alike(scene, number, _ATTRIBUTES)
    places = _places(scene, time)
    order = sorted(group, key=lambda other: (places[other, 0], other))
    noun, rank = _noun(scene, number, _ATTRIBUTES, chance), order.index(number)
    if rank == 0:
        return f"the leftmost {noun}"
    if rank == len(order) - 1:
        return f"the rightmost {noun}"
    return f"the {_ORDINALS[rank - 1]} {noun} from the left"


def _way(scene: Scene, action: Action, carried: bool) -> str:
    """Where a motion leads, seen by the camera at its start."""
    path = scene.objects[action.actor].path
    move = (np.array(path.position(action.end)) - np.array(path.position(action.start)))[:2]
    right, away = (float(move @ axis) for axis in _floor_axes(scene, action.start))
    if abs(right) >= abs(away):
        side = "right" if right > 0 else "left"
        return f"farther to the {side}" if carried else f"to the {side}"
    if carried:
        return "farther from the camera" if away > 0 else "closer to the camera"
    return "away from the camera" if away > 0 else "towards the camera"


def _ends(scene: Scene, inner: int, outer: int, time: float) -> bool:
    return any((item.inner, item.outer, item.end) == (inner, outer, time) for item in scene.containments)


def _ended(scene: Scene, inner: int, outer: int, time: float) -> bool:
    """Whether what an object once covered is no longer under it."""
    spans = [item for item in scene.containments if (item.inner, item.outer) == (inner, outer)]
    return not any(item.start <= time < item.end for item in spans)
