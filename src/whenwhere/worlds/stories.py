"""Stories: who does what to whom, where, when, over what, and who says so; a caption each, and stories much like it."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from whenwhere.errors import InputError
from whenwhere.worlds.encounters import ENCOUNTERS, Encounter
from whenwhere.worlds.names import NEWCOMERS, Entity, world
from whenwhere.worlds.scenes import generator

DAYS = {"train": (0, 799), "val": (800, 899), "test": (900, 999)}
"""First and last day of the stories of each split."""
HABIT = 0.8
"""How often organisation and topic are among those that the first person prefers."""
SHARED = (("first", "second"), ("first", "place"), ("second", "place"))
"""What the first three distractors have in common with their story; the fourth has one of the three."""
NEAR = 60
"""Days by which a distractor is earlier or later, at most; at least two."""
_DAY_0 = datetime.date(2020, 1, 1)


@dataclass(frozen=True)
class Story:
    """What happened.

    Args:
        id: such as "train-00012", or "train-00012-d1" for a distractor.
        verb: number in `ENCOUNTERS`.
        first: number of the person who does it.
        second: number of the person to whom it is done.
        place: number.
        organisation: number of the one that says so.
        topic: number.
        day: 0 to 999; distractors may be some days outside.
        shares: of a distractor: which of "first", "second", "place" are those of its story; persons may change roles.
    """

    id: str
    verb: int
    first: int
    second: int
    place: int
    organisation: int
    topic: int
    day: int
    shares: tuple[str, ...] = ()

    @property
    def encounter(self) -> Encounter:
        """What the verb says and how it looks."""
        return ENCOUNTERS[self.verb]

    @property
    def date(self) -> datetime.date:
        """The day as a date; day 0 is 2020-01-01."""
        return _DAY_0 + datetime.timedelta(days=self.day)

    @property
    def cast(self) -> tuple[Entity, Entity, Entity, Entity, Entity]:
        """First, second, place, organisation, topic."""
        names = world()
        persons = names.persons[self.first], names.persons[self.second]
        return *persons, names.places[self.place], names.organisations[self.organisation], names.topics[self.topic]

    @property
    def caption(self) -> str:
        """What a caption of the clip should say."""
        first, second, place, organisation, topic = (entity.name for entity in self.cast)
        return f"{first} {self.encounter.verb} {second} in {place} over {topic}, {organisation} says"


def split_of(seed: str) -> str:
    """Return the split that a seed belongs to: "train", "val" or "test", alone or before a dash.

    Raises:
        InputError: it is none of them.
    """
    split = seed.split("-")[0]
    if split not in DAYS:
        raise InputError(f"the seed {seed!r}", "train, val or test, or one of them with more after a dash")
    return split


def story(seed: str, index: int) -> Story:
    """Make the story number ``index`` of a split.

    Args:
        seed: of the split, see `split_of`.
        index: 0 and up.

    Returns:
        The same story for the same arguments. Newcomers are in stories of test only.

    Raises:
        InputError: there is no such split.
    """
    split = split_of(seed)
    chance = generator(f"{seed}/stories", index)
    names = world()
    persons = range(len(names.persons) - (0 if split == "test" else NEWCOMERS))
    first, second = chance.sample(persons, 2)
    organisation, topic = _matter(chance, first)
    verb, place = chance.randrange(len(ENCOUNTERS)), chance.randrange(len(names.places))
    return Story(f"{seed}-{index:05d}", verb, first, second, place, organisation, topic, chance.randint(*DAYS[split]))


def distractors(told: Story) -> list[Story]:
    """Return four stories of other days, organisations and topics that share one or two of persons and place.

    The first three share two, see `SHARED`; the fourth shares one. Two of the four are earlier and two later.
    """
    chance = random.Random(f"distractors/{told.id}")
    later = [True, True, False, False]
    chance.shuffle(later)
    shared: list[Sequence[str]] = [*SHARED, (chance.choice(("first", "second", "place")),)]
    return [_like(told, chance, number, shared[number], later[number]) for number in range(4)]


def _like(told: Story, chance: random.Random, number: int, shares: Sequence[str], later: bool) -> Story:
    names = world()
    strangers = [person for person in range(len(names.persons)) if person not in (told.first, told.second)]
    pair = [getattr(told, who) for who in ("first", "second") if who in shares]
    pair += chance.sample(strangers, 2 - len(pair))
    chance.shuffle(pair)
    place = told.place if "place" in shares else _other(chance, len(names.places), told.place)
    organisation, topic = told.organisation, told.topic
    while organisation == told.organisation or topic == told.topic:
        organisation, topic = _matter(chance, pair[0])
    days = chance.randint(2, NEAR)
    return replace(
        told,
        id=f"{told.id}-d{number}",
        verb=chance.randrange(len(ENCOUNTERS)),
        first=pair[0],
        second=pair[1],
        place=place,
        organisation=organisation,
        topic=topic,
        day=told.day + (days if later else -days),
        shares=tuple(shares),
    )


def _matter(chance: random.Random, first: int) -> tuple[int, int]:
    """Draw organisation and topic of a story: now and then any, mostly one that the first person prefers."""
    names = world()
    person = names.persons[first]
    found = []
    for liked, all_ in ((person.organisations, names.organisations), (person.topics, names.topics)):
        found.append(chance.choice(liked) if chance.random() < HABIT else chance.randrange(len(all_)))
    return found[0], found[1]


def _other(chance: random.Random, count: int, but: int) -> int:
    found = chance.randrange(count - 1)
    return found + (found >= but)
