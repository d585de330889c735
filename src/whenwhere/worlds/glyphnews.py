"""Task "glyphnews": news clips whose captions need names that no pixel shows, and a dated collection that tells them.

A clip shows the emblems of two persons who do something with each other on a ground tiled with the emblem of the place.
Who, what and where can be seen by whoever knows the emblems; the organisation and the topic are in the story's article
only, among articles about other meetings of the same persons at the same place.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from whenwhere.datasets.views import Document, Mention, NewsClip, write_corpus, write_views
from whenwhere.errors import InputError
from whenwhere.media import annotate, write_image, write_video
from whenwhere.results.files import write_text
from whenwhere.worlds.articles import article, encyclopedia
from whenwhere.worlds.emblems import Canvas, chart
from whenwhere.worlds.names import KINDS, recognise, world
from whenwhere.worlds.show import Job, sheet
from whenwhere.worlds.stories import Story, distractors, split_of, story

NOISE = 0.05
"""Every value of a picture is off by up to this part of the range."""
JITTER = 0.4
"""Every emblem is off by up to this many units in every frame."""
_DIM = 0.4  # strength of the ground
_MOST_ON_SHEET = 24


def write(job: Job) -> None:
    """Write clips, ``views.jsonl``, ``corpus.jsonl``, ``gallery.jsonl``, ``stories.jsonl``, and sheets for people.

    Raises:
        InputError: the job's seed is not of train, val or test.
    """
    split_of(job.seed)
    stories = [story(job.seed, index) for index in range(job.count)]
    rows = []
    for index, told in enumerate(stories):
        pixels = frames(told, job.frames, job.size)
        write_video(job.out / f"{job.name(index)}.mp4", pixels, job.rate, reproducible=True)
        if index < _MOST_ON_SHEET:
            rows.append(_strip(pixels, told))
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


def places(told: Story, count: int) -> np.ndarray:
    """Return where the two persons are in each of the clip's frames: (count, 2, 2), column and row in units."""
    chance = random.Random(f"motions/{told.id}")
    found = told.encounter.at(np.arange(count) / max(1, count - 1))
    if chance.random() < 0.5:
        found[:, :, 0] = Canvas.UNITS - found[:, :, 0]
    noise = [chance.uniform(-JITTER, JITTER) for _ in range(found.size)]
    return found + np.array(noise).reshape(found.shape)


def frames(told: Story, count: int = 8, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Draw a clip.

    Args:
        told: the story.
        count: number of frames, spread over all of it.
        size: height and width in pixels; the stage is the square in the middle.

    Returns:
        uint8 (count, H, W, 3), the same for the same arguments.

    Raises:
        InputError: no frames, or a side below 64 pixels, in which emblems cannot be read.
    """
    if count < 1 or min(size) < Canvas.UNITS:
        raise InputError(f"{count} frames of {size[0]} x {size[1]}", "at least one, each side at least 64 pixels")
    chance = random.Random(f"pixels/{told.id}")
    canvas = Canvas(size)
    cast = [entity.emblem for entity in told.cast[:3]]
    assert cast[0] and cast[1] and cast[2]
    light = chance.uniform(0.85, 1.0)
    ground = canvas.tiled(cast[2], _DIM, (chance.uniform(0, 16), chance.uniform(0, 16)))
    pixels = np.empty((count, *size, 3), np.uint8)
    most = round(NOISE * 255)
    for number, spots in enumerate(places(told, count).tolist()):
        picture = ground.copy()
        for emblem, (x, y), side in zip(cast, spots, told.encounter.sides):
            canvas.draw(picture, emblem, x, y, side)
        # Python's own bytes and integers: the same on every machine and with every version of numpy
        noise = np.frombuffer(chance.randbytes(picture.size), np.uint8).reshape(picture.shape).astype(np.int64)
        picture = picture * (light * chance.uniform(0.95, 1.05)) + (noise * (2 * most + 1) // 256 - most)
        pixels[number] = np.rint(picture).clip(0, 255).astype(np.uint8)
    return pixels


def drawn(told: Story, pixels: np.ndarray) -> list[np.ndarray]:
    """Return the frames with boxes, names and the caption, uint8 (H, W, 3) each."""
    canvas = Canvas((pixels.shape[1], pixels.shape[2]))
    names = [entity.name for entity in told.cast[:2]]
    left, right = told.caption.split(" over ")
    found = []
    for picture, spots in zip(pixels, places(told, len(pixels)).tolist(), strict=True):
        boxes = [canvas.box(x, y, side) for (x, y), side in zip(spots, told.encounter.sides, strict=True)]
        found.append(annotate(picture, boxes, names, note=f"{told.date}\n{left}\nover {right}"))
    return found


def _strip(pixels: np.ndarray, told: Story) -> np.ndarray:
    """Return four frames of a clip side by side, above its caption."""
    chosen = pixels[np.rint(np.linspace(0, len(pixels) - 1, 4)).astype(int)]
    larger = max(1, 160 // pixels.shape[1])
    row = np.concatenate(list(chosen.repeat(larger, 1).repeat(larger, 2)), axis=1)
    ground = np.full((row.shape[0] + 18, row.shape[1], 3), 20, np.uint8)
    ground[: row.shape[0]] = row
    return annotate(ground, note=f"{told.date}  {told.caption}")
