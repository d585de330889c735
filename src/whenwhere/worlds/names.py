"""A world of names: 200 persons, 40 organisations, 60 places, 30 topics, and what ties them. It is always the same."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from whenwhere.worlds.emblems import Emblem, emblems

SEED = "glyphnews 2"
PERSONS, ORGANISATIONS, PLACES = 200, 40, 60
NEWCOMERS = 40
"""The last persons: they are in no video of train and val, only in those of test, in the collection and the gallery."""
FAVOURITES = 3
"""Organisations and topics that a person prefers."""
TOPICS = (
    *("water rights", "fishing quotas", "night trains", "bread prices", "school meals", "river dams", "forest fires"),
    *("road tolls", "wind farms", "bee keeping", "tax reform", "flood relief", "grain exports", "harbour fees"),
    *("land reform", "bus fares", "clean air", "salt mining", "old bridges", "street lights", "rent control"),
    *("milk prices", "rail strikes", "museum loans", "border checks", "space flights", "sheep grazing"),
    *("phone masts", "postal delays", "sea walls"),
)
SUFFIXES = ("Corp", "Council", "Union", "Institute", "Press", "Agency", "Party", "Society")
ROLES = (
    *("minister", "surgeon", "engineer", "singer", "judge", "farmer"),
    *("captain", "painter", "banker", "teacher", "boxer", "chemist"),
)
KINDS = {"person": "PERSON", "organisation": "ORG", "place": "GPE", "topic": "TOPIC"}
"""Type of the names of each kind; a topic is no name."""


@dataclass(frozen=True)
class Entity:
    """Someone or something that news are about.

    Args:
        id: kind and number, such as "person-017".
        name: as texts have it.
        emblem: of persons and places.
        home: number of the place a person comes from.
        role: of a person.
        organisations: numbers of those a person prefers.
        topics: numbers of those a person prefers.
    """

    id: str
    name: str
    emblem: Emblem | None = None
    home: int | None = None
    role: str = ""
    organisations: tuple[int, ...] = ()
    topics: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.id.split("-")[0]

    @property
    def short(self) -> str:
        """The last word of the name, by which texts call a person again."""
        return self.name.split()[-1]


@dataclass(frozen=True)
class Names:
    """All entities, by kind and number."""

    persons: tuple[Entity, ...]
    organisations: tuple[Entity, ...]
    places: tuple[Entity, ...]
    topics: tuple[Entity, ...]

    @property
    def all(self) -> tuple[Entity, ...]:
        """Persons, organisations, places, topics."""
        return self.persons + self.organisations + self.places + self.topics


@dataclass(frozen=True)
class Found:
    """A name in a text: ``text[start:end]``."""

    entity: Entity
    start: int
    end: int

    @property
    def text(self) -> str:
        """The name."""
        return self.entity.name

    @property
    def type(self) -> str:
        """PERSON, ORG, GPE or TOPIC."""
        return KINDS[self.entity.kind]


@cache
def world() -> Names:
    """Return the world of names."""
    chance = random.Random(SEED)
    words = _words(chance, 2 * PERSONS + ORGANISATIONS + PLACES)
    drawn = emblems(chance, PERSONS + PLACES)
    persons = tuple(
        Entity(
            f"person-{number:03d}",
            f"{words.pop()} {words.pop()}",
            drawn.pop(),
            chance.randrange(PLACES),
            chance.choice(ROLES),
            tuple(chance.sample(range(ORGANISATIONS), FAVOURITES)),
            tuple(chance.sample(range(len(TOPICS)), FAVOURITES)),
        )
        for number in range(PERSONS)
    )
    organisations = tuple(
        Entity(f"organisation-{number:03d}", f"{words.pop()} {chance.choice(SUFFIXES)}")
        for number in range(ORGANISATIONS)
    )
    places = tuple(Entity(f"place-{number:03d}", words.pop(), drawn.pop()) for number in range(PLACES))
    topics = tuple(Entity(f"topic-{number:03d}", topic) for number, topic in enumerate(TOPICS))
    return Names(persons, organisations, places, topics)


def recognise(text: str, types: tuple[str, ...] = ("PERSON", "ORG", "GPE")) -> list[Found]:
    """Find the names of the world in a text, by looking them up; only whole words in their own case count.

    Args:
        text: any.
        types: which to return; "TOPIC" may be one.

    Returns:
        The names in the order of the text.
    """
    table, pattern = _dictionary()
    found = [Found(table[match[0]], match.start(), match.end()) for match in pattern.finditer(text)]
    return [one for one in found if one.type in types]


@cache
def _dictionary() -> tuple[dict[str, Entity], re.Pattern[str]]:
    table = {entity.name: entity for entity in world().all}
    return table, re.compile(rf"\b(?:{'|'.join(map(re.escape, table))})\b")


def _words(chance: random.Random, count: int) -> list[str]:
    """Return distinct words that can be spoken, capitalised; no word begins another."""
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = chance.choice((2, 2, 3))
        word = "".join(chance.choice("bdklmnrstvz") + chance.choice("aeiou") for _ in range(syllables))
        word = (word + chance.choice(("", "n", "r", "l", "s"))).capitalize()
        if not any(word.startswith(other) or other.startswith(word) for other in found):
            found[word] = None
    return list(found)
