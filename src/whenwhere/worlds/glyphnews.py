"""Task "glyphnews": news clips whose captions need names that no pixel shows, and a dated collection that tells them.

A clip shows the emblems of two persons who do something with each other on a ground tiled with the emblem of the place.
Who, what and where can be seen by whoever knows the emblems; the organisation and the topic are in the story's article
only, among articles about other meetings of the same persons at the same place.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from whenwhere.datasets.views import Document, Mention, NewsClip, write_corpus, write_views
from whenwhere.media import write_image, write_video
from whenwhere.results.files import write_text
from whenwhere.worlds.articles import article, encyclopedia
from whenwhere.worlds.emblems import chart
from whenwhere.worlds.job import Job
from whenwhere.worlds.names import KINDS, recognise, world
from whenwhere.worlds.show import sheet
from whenwhere.worlds.stories import Story, distractors, split_of, story
from whenwhere.worlds.story_frames import check_size, drawn, frames, strip

_MOST_ON_SHEET = 24


def check(job: Job) -> None:
    """Raise an InputError where the seed is of no split, or emblems could not be read in pictures of the size."""
    split_of(job.seed)
    check_size(job.size)
    job.check_clip()


def write(job: Job) -> None:
    """Write clips, ``views.jsonl``, ``corpus.jsonl``, ``gallery.jsonl``, ``stories.jsonl``, and sheets for people.

    Raises:
        InputError: see `check`.
    """
    check(job)
    stories = [story(job.seed, index) for index in range(job.count)]
    rows = []
    for index, told in enumerate(stories):
        pixels = frames(told, job.frames, job.size)
        write_video(job.out / f"{job.name(index)}.mp4", pixels, job.rate, reproducible=True)
        if index < _MOST_ON_SHEET:
            rows.append(strip(pixels, told))
        if job.show:
            pictures = drawn(told, pixels)
            write_video(job.out / f"{job.name(index)}.show.mp4", pictures, job.rate, reproducible=True)
            write_image(job.out / f"{job.name(index)}.show.png", sheet(pictures))
    write_image(job.out / "sheet.png", np.concatenate(rows))
    write_views(job.out / "views.jsonl", [clip(told, f"{job.name(i)}.mp4") for i, told in enumerate(stories)])
    write_corpus(job.out / "corpus.jsonl", collection(stories))
    write_text(job.out / "stories.jsonl", "".join(f"{json.dumps(facts(told))}\n" for told in stories))
    write_gallery(job.out)


def clip(told: Story, video: str) -> NewsClip:
    """Return the line of ``views.jsonl`` of a story.

    Args:
        told: the story.
        video: name of its file.
    """
    found = recognise(told.caption)
    return NewsClip(
        told.id,
        video,
        split_of(told.id),
        caption=told.caption,
        published=told.date,
        lang="en",
        entities=tuple(Mention(one.text, one.type, one.start, one.end, one.entity.id) for one in found),
        article_ids=(told.id,),
    )


def collection(stories: list[Story]) -> list[Document]:
    """Return the entries of the encyclopedia, and for each story its article and those of its distractors."""
    return encyclopedia() + [article(one) for told in stories for one in (told, *distractors(told))]


def facts(told: Story) -> dict[str, object]:
    """Return what is true of a story, as plain JSON data, with what its distractors share with it."""
    first, second, place, organisation, topic = (entity.id for entity in told.cast)
    return {
        "id": told.id,
        "verb": told.encounter.verb,
        "first": first,
        "second": second,
        "place": place,
        "organisation": organisation,
        "topic": topic,
        "published": told.date.isoformat(),
        "distractors": {one.id: list(one.shares) for one in distractors(told)},
    }


def write_gallery(out: Path) -> None:
    """Write ``gallery.jsonl``, which emblem is whose, and ``gallery.png`` for people.

    Each line has ``kb_id``, ``name``, ``type``, ``rows`` (eight strings of eight, # for the first colour) and
    ``colours`` (two, RGB).
    """
    owners = [entity for entity in world().all if entity.emblem is not None]
    lines, drawings = [], []
    for entity in owners:
        assert entity.emblem is not None
        rows = ["".join(".#"[cell] for cell in row) for row in entity.emblem.cells.astype(int).tolist()]
        row = {"kb_id": entity.id, "name": entity.name, "type": KINDS[entity.kind], "rows": rows}
        lines.append(json.dumps({**row, "colours": entity.emblem.colours}) + "\n")
        drawings.append(entity.emblem)
    write_text(out / "gallery.jsonl", "".join(lines))
    write_image(out / "gallery.png", chart(drawings, [entity.name for entity in owners]))
