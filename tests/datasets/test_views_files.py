"""VIEWS files: what is written is read back equal; a malformed line is named."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.datasets.views import (
    Document,
    Mention,
    NewsClip,
    read_corpus,
    read_views,
    write_corpus,
    write_views,
)
from whenwhere.errors import InputError

DAY = datetime.date(2024, 2, 29)
CAPTION = "Zoë “Z” O'Brien, jr. meets C++\u2028Corp"
CLIPS = [
    NewsClip("a", "a.mp4", "train"),
    NewsClip(
        "b",
        "https://example.org/b.mp4",
        "test",
        start=1.5,
        end=4.0,
        caption=CAPTION,
        published=DAY,
        source="s",
        url="u",
        title="",
        lang="en",
        entities=(Mention(CAPTION[:16], "PERSON", 0, 16, "p-1"), Mention("C++", "ORG", 27, 30)),
        article_ids=("d1", "d2"),
    ),
    NewsClip("c", "c.mp4", "val", caption="none", entities=()),
]
DOCUMENTS = [
    Document("d1", 'AND "or" NEAR', "O'Brien, C++.\nA second line.\u2029", DAY, "u", "en", "news"),
    Document("d2", "", "", kind="encyclopedia"),
]
ROW = {"video_id": "a", "video": "a.mp4", "split": "train", "caption": "Ann meets Bo"}
ENTRY = {"doc_id": "d", "title": "t", "text": "x"}


def test_clips_and_documents_come_back_equal(tmp_path):
    write_views(tmp_path / "v.jsonl", CLIPS)
    write_corpus(tmp_path / "c.jsonl", DOCUMENTS)
    assert read_views(tmp_path / "v.jsonl") == CLIPS
    assert read_views(tmp_path / "v.jsonl", split="val") == CLIPS[2:]
    assert read_corpus(tmp_path / "c.jsonl", tmp_path / "c.jsonl") == DOCUMENTS


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2))
def test_any_text_survives(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "c.jsonl"
    documents = [Document("d", *texts)]
    write_corpus(path, documents)
    assert read_corpus(path) == documents


def test_other_names_of_keys_and_what_is_passed_over(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text(
        '{"id": "a", "clip": "a.mp4", "split": "val", "published": "2024-02-29T10:00:00Z", "more": 1, "end": null}\n\n'
    )
    (clip,) = read_views(path, keys={"video_id": "id", "video": "clip"})
    assert clip == NewsClip("a", "a.mp4", "val", published=DAY)
    with pytest.raises(InputError, match="keys for vidio"):
        read_views(path, keys={"vidio": "clip"})
    with pytest.raises(InputError, match="one of train, val, test"):
        read_views(path, split="dev")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"video": None}, "has no 'video'"),
        ({"split": "dev"}, "split is 'dev'"),
        ({"caption": 3}, "caption is 3"),
        ({"caption": "\ud800"}, "surrogates"),
        ({"start": -1}, "start is -1"),
        ({"end": "1"}, "end is '1'"),
        ({"start": float("nan")}, "start is nan"),
        ({"start": 2, "end": 2}, "after the start"),
        ({"published": "20240229"}, "published is '20240229'"),
        ({"published": "2023-02-29"}, "published is '2023-02-29'"),
        ({"article_ids": "d1"}, "article_ids is 'd1'"),
        ({"article_ids": ["d1", 2]}, r"article_ids\[1\] is 2"),
        ({"entities": [7]}, r"entities\[0\] is 7"),
        ({"entities": [{"text": "Ann", "type": "PERSON", "start": 0}]}, r"entities\[0\] has no 'end'"),
        ({"entities": [{"text": "Ann", "type": "PERSON", "start": 0, "end": 3.0}]}, r"entities\[0\].end is 3.0"),
        ({"entities": [{"text": "Bo", "type": "PERSON", "start": 0, "end": 2}]}, r"'Bo' at 0"),
    ],
)
def test_a_malformed_clip_is_named(changes, said, tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ({**ROW, "video_id": "b"}, {**ROW, **changes})))
    with pytest.raises(InputError, match=rf"v\.jsonl, line 2.*{said}"):
        read_views(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (json.dumps({"doc_id": "d", "title": "t"}), "has no 'text'"),
        (json.dumps({**ENTRY, "kind": "blog"}), "kind is 'blog'"),
        (json.dumps(ENTRY), "doc_id 'd' again, as in line 1"),
        ('{"doc_id": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"doc_id": ' + "1" * 5000 + "}", "digits"),
        ("[]", r"is \[\]"),
    ],
)
def test_a_malformed_document_is_named(line, said, tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(f"{json.dumps(ENTRY)}\n{line}\n")
    with pytest.raises(InputError, match=rf"c\.jsonl, line 2.*{said}"):
        read_corpus(path)


def test_one_id_is_one_document_in_all_files(tmp_path):
    for name, text in (("one", "x"), ("two", "y")):
        write_corpus(tmp_path / name, [Document("d", "t", text)])
    with pytest.raises(InputError, match=r"two has another document 'd'"):
        read_corpus(tmp_path / "one", tmp_path / "two")
    with pytest.raises(InputError, match="cannot read the collection"):
        read_corpus(tmp_path / "three")
