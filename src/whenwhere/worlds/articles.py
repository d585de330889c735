"""What is written about stories and names: an article each, in other words than the caption's and another order."""

from __future__ import annotations

import random

from whenwhere.datasets.views import Document
from whenwhere.worlds.names import Entity, world
from whenwhere.worlds.stories import Story

# A caption goes: first, verb, second, place, topic, organisation. An article names the organisation before the topic
# and the second before the first, so the longest common subsequence of the two stays short.
_TITLES = ("{topic}: {org} on {b} and {a} at {place}", "{org} and {topic}: {place} saw {b} and {a}")
_MATTER = (
    "{org} issued a statement about {topic} on {date}.",
    "According to {org}, the dispute about {topic} reached a new stage on {date}.",
    "A spokesman of {org} described the state of {topic} on {date}.",
    "{org} published new figures on {topic} on {date}.",
)
_PLACE = (
    "The events took place at {place}.",
    "All eyes were on {place} that day.",
    "Crowds had gathered at {place} since the morning.",
    "{place} was the scene of it all.",
)
_EVENT = (
    "{second} was {passive} by {first}.",
    "Witnesses saw how {second} was {passive} by {first}.",
    "There {second} was {passive} by {first} before noon.",
)
_AGAIN = (
    "{a}, a {role_a}, {active} {b} for the first time this year.",
    "It is not the first time that {a} {active} {b}.",
    "The {role_a} {a} would not explain why {a} {active} {b}.",
)
_MORE = (
    "{b}, a {role_b} by profession, left without a comment.",
    "The {role_b} {b} comes from {home_b}.",
    "Neither side wanted to speak about money.",
    "A vote is expected within the month.",
    "Observers call the matter far from settled.",
)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def article(story: Story) -> Document:
    """Return the article about a story: four to six sentences, of the story's day; the same for the same story."""
    chance = random.Random(f"articles/{story.id}")
    first, second, place, organisation, topic = story.cast
    words = {
        "org": organisation.name,
        "topic": topic.name,
        "place": place.name,
        "first": first.name,
        "second": second.name,
        "a": first.short,
        "b": second.short,
        "role_a": first.role,
        "role_b": second.role,
        "home_b": _home(second),
        "active": chance.choice(story.encounter.active),
        "passive": chance.choice(story.encounter.passive),
        "date": f"{story.date.day} {_MONTHS[story.date.month - 1]} {story.date.year}",
    }
    scene = [chance.choice(_PLACE), chance.choice(_EVENT)]
    matter = chance.choice(_MATTER)
    body = [matter, *scene] if chance.random() < 0.5 else [*scene, matter]
    body += [chance.choice(_AGAIN), *chance.sample(_MORE, chance.randint(0, 2))]
    return Document(
        story.id,
        _upper(chance.choice(_TITLES).format(**words)),
        " ".join(_upper(sentence.format(**words)) for sentence in body),
        published=story.date,
        lang="en",
        kind="news",
    )


def encyclopedia() -> list[Document]:
    """Return an entry without a date for every person, organisation, place and topic."""
    return [
        Document(entity.id, _upper(entity.name), _entry(entity), lang="en", kind="encyclopedia")
        for entity in world().all
    ]


def _entry(entity: Entity) -> str:
    if entity.kind == "person":
        return f"{entity.name} is a {entity.role} from {_home(entity)}."
    if entity.kind == "organisation":
        return f"{entity.name} is an organisation that comments on current affairs."
    if entity.kind == "place":
        people = [person for person in world().persons if _home(person) == entity.name]
        known = f" {people[0].name} was born there." if people else ""
        return f"{entity.name} is a town.{known}"
    return f"{_upper(entity.name)}: for years a matter of public debate."


def _home(person: Entity) -> str:
    assert person.home is not None
    return world().places[person.home].name


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
