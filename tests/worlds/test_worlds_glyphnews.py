"""The files of GlyphNews: complete, readable, the same bytes from the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.cli import main
from whenwhere.datasets.views import read_corpus, read_views
from whenwhere.media import open_video, read_image
from whenwhere.worlds.articles import encyclopedia
from whenwhere.worlds.glyphnews import clip, collection, write
from whenwhere.worlds.job import Job
from whenwhere.worlds.names import world
from whenwhere.worlds.stories import story
from whenwhere.worlds.story_frames import frames

SMALL = {"size": (64, 64), "rate": 4.0, "seconds": 2.0, "count": 2, "show": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("glyphnews")
    write(Job(out, "test", **SMALL))
    return out


def test_all_files_are_there_and_the_same_again(folder, tmp_path):
    write(Job(tmp_path, "test", **SMALL))
    one, two = ({path.name: path.read_bytes() for path in place.iterdir()} for place in (folder, tmp_path))
    assert one == two
    clips = {f"0000{number}{end}" for number in (0, 1) for end in (".mp4", ".show.mp4", ".show.png")}
    assert set(one) == clips | {
        *("views.jsonl", "corpus.jsonl", "stories.jsonl", "gallery.jsonl", "gallery.png", "sheet.png"),
    }


def test_clips_and_collection_are_read_back_as_they_were(folder):
    stories = [story("test", index) for index in range(2)]
    clips = read_views(folder / "views.jsonl")
    assert clips == [clip(told, f"0000{number}.mp4") for number, told in enumerate(stories)]
    documents = read_corpus(folder / "corpus.jsonl")
    assert documents == collection(stories) and len(documents) == len(encyclopedia()) + 2 * 5
    ids = {document.doc_id for document in documents}
    for told, one in zip(stories, clips, strict=True):
        assert one.split == "test" and one.caption == told.caption and one.published == told.date
        assert {mention.kb_id for mention in one.entities or ()} | set(one.article_ids) <= ids


def test_videos_hold_the_frames(folder):
    for index in range(2):
        with open_video(folder / f"0000{index}.mp4") as video:
            seen = np.stack([frame.pixels for frame in video.frames(None)])
        assert seen.shape == (8, 64, 64, 3)
        luma = (0.299, 0.587, 0.114)  # colours are halved by the format, brightness is not
        assert np.abs(seen @ luma - frames(story("test", index)) @ luma).mean() < 10


def test_the_gallery_knows_every_emblem(folder):
    rows = [json.loads(line) for line in (folder / "gallery.jsonl").read_text().splitlines()]
    owners = [entity for entity in world().all if entity.emblem]
    assert [row["kb_id"] for row in rows] == [entity.id for entity in owners]
    for row, entity in zip(rows, owners, strict=True):
        cells = np.array([[cell == "#" for cell in line] for line in row["rows"]])
        picture = np.where(cells[..., None], *np.array(row["colours"], np.uint8))
        assert np.array_equal(picture, entity.emblem.rgb) and row["name"] == entity.name
        assert row["type"] in ("PERSON", "GPE")
    assert read_image(folder / "gallery.png").shape == (26 * 92, 10 * 124, 3)


def test_facts_of_a_story(folder):
    row = json.loads((folder / "stories.jsonl").read_text().splitlines()[1])
    told = story("test", 1)
    assert row["id"] == told.id and row["verb"] in told.caption and row["topic"] == told.cast[4].id
    assert list(row["distractors"]) == [f"{told.id}-d{number}" for number in range(4)]


@pytest.mark.parametrize(("option", "said"), [(["--seed", "demo"], "'demo'"), (["--height", "48"], "64 pixels")])
def test_mistakes_are_one_line(option, said, tmp_path, capsys):
    assert main(["world", "glyphnews", "--out", str(tmp_path / "g"), *option]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
