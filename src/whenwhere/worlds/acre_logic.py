"""Problems of ACRE without pictures: which objects are where, when the machine is lit, and what is asked.

The rules are those of the published generator (Zhang et al., "ACRE", CVPR 2021), written from their description.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from whenwhere.datasets.acre import Panel, Problem, vocabulary
from whenwhere.worlds.scenes import generator

_LABELS = {"off": 0, "open": 1, "on": 2}


class _Facts(NamedTuple):
    """What a context tells: answer and type of each object, and the sets that are sure only together."""

    panels: list[Panel]
    answers: dict[int, int]
    kinds: dict[int, str]
    joint: list[tuple[int, ...]]


def problem(regime: str, split: str, index: int) -> Problem:
    """Make a problem.

    Args:
        regime: "iid", "comp" or "sys".
        split: "train" has the rules of training, every other name those of the tests.
        index: 0 and up; of 2 i and 2 i + 1 one is of each family where a split has both.

    Raises:
        InputError: the regime is not known.
    """
    words = vocabulary(regime, split)
    chance = generator(f"acre/{regime}/{split}", index)
    if regime == "sys":
        three_lit = split == "train"
    else:
        swapped = generator(f"acre/{regime}/{split}/families", index // 2).random() < 0.5
        three_lit = (index % 2 == 0) != swapped
    spare = 2 if regime == "comp" else 3 if regime == "sys" and split == "train" else 1
    potential = chance.randint(2, 3) if three_lit else chance.randint(2, 4)
    idle = chance.randint(3, 5) if three_lit else chance.randint(3, 4)
    drawn = chance.sample(range(len(words)), potential + idle)
    facts = _context(drawn[:potential], drawn[potential:], three_lit, chance)
    queries = [*_alone(facts, spare, chance), *_added(facts, drawn, chance)]
    return Problem(split, index, (*facts.panels, *queries))


def _context(potential: list[int], idle: list[int], three_lit: bool, chance: random.Random) -> _Facts:
    cause, bystander = potential[0], idle[0]
    asked, quiet = potential[1:], idle[1:]
    habit = [_shown([cause], "on"), _shown([bystander], "off"), _shown([cause, bystander], "on")]
    if three_lit:
        parts = [asked]
        evidence = [_shown(part, "off") for part in _cover(quiet, chance)]
    else:
        parts = _cover(asked, chance)
        evidence = [_shown(quiet, "off")]
    for part in parts:
        noise = chance.sample(quiet, chance.randint(0, len(quiet)))
        evidence.append(_shown([*part, *noise], "on"))
    chance.shuffle(habit)
    chance.shuffle(evidence)
    panels = [*habit, *evidence]
    known = {cause} | {part[0] for part in parts if len(part) == 1}
    open_sets = {frozenset(part) for part in parts if not known & set(part)}
    joint = [tuple(sorted(part)) for part in open_sets if not any(other < part for other in open_sets)]
    lit = [panel.objects for panel in panels if panel.light == "on"]
    kinds, answers = {}, {}
    for thing in potential:
        answers[thing] = _LABELS["on" if thing in known else "open"]
        kinds[thing] = ("direct" if (thing,) in lit else "indirect") if thing in known else "potential"
    for thing in idle:
        answers[thing] = _LABELS["off"]
        kinds[thing] = "screen_off" if any(thing in objects for objects in lit) else "direct"
    return _Facts(panels, answers, kinds, sorted(joint))


def _shown(objects: Sequence[int], light: str) -> Panel:
    return Panel(tuple(objects), light)


def _cover(things: list[int], chance: random.Random) -> list[list[int]]:
    """Two sets, neither empty, that have all the things between them."""
    first = chance.sample(things, chance.randint(1, len(things)))
    rest = [thing for thing in things if thing not in first]
    again = chance.sample(first, chance.randint(0 if rest else 1, len(first)))
    return [first, [*rest, *again]]


def _alone(facts: _Facts, spare: int, chance: random.Random) -> list[Panel]:
    """Two queries of one object each."""
    by_kind = {kind: [thing for thing, its in facts.kinds.items() if its == kind] for kind in _KINDS}
    asked = [chance.choice(by_kind["potential"])] if by_kind["potential"] else []
    left = 2 - len(asked)
    most = max(len(by_kind["screen_off"]) - spare, 0)
    while True:
        direct = chance.randint(0, min(len(by_kind["direct"]), left))
        indirect = chance.randint(0, min(len(by_kind["indirect"]), left - direct))
        screened = left - direct - indirect
        if screened <= most:
            break
    for kind, count in (("direct", direct), ("indirect", indirect), ("screen_off", screened)):
        asked += chance.sample(by_kind[kind], count)
    chance.shuffle(asked)
    return [Panel((thing,), "no", facts.answers[thing], facts.kinds[thing]) for thing in asked]


def _added(facts: _Facts, drawn: list[int], chance: random.Random) -> list[Panel]:
    """Two queries that add an object or a joint set to a panel that is off."""
    ref = chance.choice([number for number, panel in enumerate(facts.panels) if panel.light == "off"])
    base = facts.panels[ref].objects
    single = [(thing,) for thing in drawn if thing not in base]
    doubled = [one for one in single if facts.kinds[one[0]] == "potential"]
    found = []
    for added in chance.sample([*single, *facts.joint, *doubled], 2):
        together = len(added) > 1
        label = _LABELS["on"] if together else facts.answers[added[0]]
        found.append(Panel((*base, *added), "no", label, "indirect" if together else facts.kinds[added[0]], ref))
    return found


_KINDS = ("direct", "indirect", "screen_off", "potential")
