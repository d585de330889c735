"""VIEWS: news clips with captions full of names, and the dated documents in which the names can be looked up.

The task is that of Ayyubi et al., "VIEWS: Entity-Aware News Video Captioning", arXiv:2312.02188. No file format of it
was found; this is one of our own. Both files are JSON Lines, an object on each line; keys that are null count as
missing, other keys are passed over. ``views.jsonl`` has the fields of `NewsClip`, ``corpus.jsonl`` those of `Document`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from whenwhere.errors import InputError
from whenwhere.results import checks
from whenwhere.results.files import read_text, write_text

SPLITS = ("train", "val", "test")
KINDS = ("news", "encyclopedia", "user")
T = TypeVar("T")


@dataclass(frozen=True)
class Mention:
    """A name in a caption.

    Args:
        text: ``caption[start:end]``.
        type: such as "PERSON", "ORG", "GPE".
        start: first character.
        end: one after the last character.
        kb_id: of the entry of a knowledge base, if known.
    """

    text: str
    type: str
    start: int
    end: int
    kb_id: str | None = None


@dataclass(frozen=True)
class NewsClip:
    """A line of ``views.jsonl``.

    Args:
        video_id: each once.
        video: path, relative to the folder of the file, or address.
        split: one of `SPLITS`.
        start: seconds; None for the whole video.
        end: seconds, after the start.
        caption: needed for training and scoring.
        published: day of publication.
        source: who published it.
        url: its page.
        title: of the page.
        lang: language of the caption.
        entities: names in the caption; None if nobody looked for them.
        article_ids: documents about the same event, for a run that is given them and to keep a video's own page out.
    """

    video_id: str
    video: str
    split: str
    start: float | None = None
    end: float | None = None
    caption: str | None = None
    published: datetime.date | None = None
    source: str | None = None
    url: str | None = None
    title: str | None = None
    lang: str | None = None
    entities: tuple[Mention, ...] | None = None
    article_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A line of ``corpus.jsonl``.

    Args:
        doc_id: each once.
        title: may be empty.
        text: the whole text.
        published: day of publication; None for background without a date.
        url: its page.
        lang: language.
        kind: one of `KINDS`.
    """

    doc_id: str
    title: str
    text: str
    published: datetime.date | None = None
    url: str | None = None
    lang: str | None = None
    kind: str = "news"


def read_views(
    path: str | os.PathLike[str], *, split: str | None = None, keys: Mapping[str, str] | None = None
) -> list[NewsClip]:
    """Read clips.

    Args:
        path: of ``views.jsonl``.
        split: only these; None for all.
        keys: field of `NewsClip` to what the file calls it, where that differs.

    Returns:
        Clips in the order of the file.

    Raises:
        InputError: the file cannot be read, or a line is malformed; names file, line and field.
    """
    if split not in (None, *SPLITS):
        raise InputError(f"split {split!r}", f"one of {', '.join(SPLITS)}")
    clips = _unique(path, "video_id", _read(path, "list of clips", _clip, NewsClip, keys))
    return [clip for clip in clips if split in (None, clip.split)]


def read_corpus(*paths: str | os.PathLike[str], keys: Mapping[str, str] | None = None) -> list[Document]:
    """Read the documents of one or several files; one that is in several, word for word, counts once.

    Args:
        paths: of ``corpus.jsonl`` files.
        keys: field of `Document` to what the files call it, where that differs.

    Returns:
        Documents in the order of the files.

    Raises:
        InputError: a file cannot be read, a line is malformed, or one id stands for two documents.
    """
    found: dict[str, Document] = {}
    for path in paths:
        for document in _unique(path, "doc_id", _read(path, "collection", _document, Document, keys)):
            if found.setdefault(document.doc_id, document) != document:
                raise InputError(
                    f"{path} has another document {document.doc_id!r} than a file before", "one of each id"
                )
    return list(found.values())


def write_views(path: str | os.PathLike[str], clips: Iterable[NewsClip]) -> None:
    """Write clips; `read_views` gives them back equal."""
    _write(path, clips)


def write_corpus(path: str | os.PathLike[str], documents: Iterable[Document]) -> None:
    """Write documents; `read_corpus` gives them back equal."""
    _write(path, documents)


def _write(path: str | os.PathLike[str], rows: Iterable[Any]) -> None:
    def lines() -> Iterator[str]:
        for row in rows:
            given = {name: value for name, value in dataclasses.asdict(row).items() if value is not None}
            yield json.dumps(given, ensure_ascii=False, default=str) + "\n"  # a date as 2020-01-31

    write_text(path, "".join(lines()))


def _read(
    path: str | os.PathLike[str],
    what: str,
    make: Callable[[dict[str, Any], str], T],
    kind: type[T],
    keys: Mapping[str, str] | None,
) -> Iterator[tuple[int, T]]:
    """Yield the line number and the record of each line that is not empty."""
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if wrong := set(keys or {}) - fields:
        raise InputError(f"keys for {', '.join(sorted(wrong))}", f"fields of {kind.__name__}")
    called = {name: (keys or {}).get(name, name) for name in fields}
    for number, line in enumerate(read_text(path, what).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{place}: not JSON ({getattr(error, 'msg', 'nested too deeply')})", "an object") from None
        except ValueError:  # an integer of thousands of digits
            raise InputError(f"{place}: a number with too many digits", "an object") from None
        if not isinstance(row, dict):
            raise InputError(f"{place} is {checks.short(row)}", "an object")
        given = {name: row[key] for name, key in called.items() if row.get(key) is not None}
        yield number, make(given, place)


def _unique(path: str | os.PathLike[str], key: str, rows: Iterable[tuple[int, T]]) -> list[T]:
    seen: dict[str, int] = {}
    found = []
    for number, row in rows:
        name = getattr(row, key)
        if name in seen:
            raise InputError(f"{path}, line {number}: {key} {name!r} again, as in line {seen[name]}", "each once")
        seen[name] = number
        found.append(row)
    return found


def _clip(row: dict[str, Any], place: str) -> NewsClip:
    _need(row, ("video_id", "video", "split"), place)
    for name in ("video_id", "video", "split", "caption", "source", "url", "title", "lang"):
        if name in row:
            checks.string(f"{place}: {name}", row[name])
    if row["split"] not in SPLITS:
        raise InputError(f"{place}: split is {checks.short(row['split'])}", f"one of {', '.join(SPLITS)}")
    for name in ("start", "end"):
        if name in row:
            row[name] = checks.number(f"{place}: {name}", row[name], least=0.0)
    if "end" in row and row["end"] <= row.get("start", 0.0):
        raise InputError(f"{place}: end is {row['end']:g}", "a time after the start")
    if "published" in row:
        row["published"] = _date(row["published"], place)
    if "entities" in row:
        rows = enumerate(_list(row["entities"], f"{place}: entities"))
        row["entities"] = tuple(_mention(one, row.get("caption"), f"{place}: entities[{n}]") for n, one in rows)
    if "article_ids" in row:
        rows = enumerate(_list(row["article_ids"], f"{place}: article_ids"))
        row["article_ids"] = tuple(checks.string(f"{place}: article_ids[{n}]", one) for n, one in rows)
    return NewsClip(**row)


def _document(row: dict[str, Any], place: str) -> Document:
    _need(row, ("doc_id", "title", "text"), place)
    for name in ("doc_id", "title", "text", "url", "lang", "kind"):
        if name in row:
            checks.string(f"{place}: {name}", row[name])
    if row.get("kind", "news") not in KINDS:
        raise InputError(f"{place}: kind is {checks.short(row['kind'])}", f"one of {', '.join(KINDS)}")
    if "published" in row:
        row["published"] = _date(row["published"], place)
    return Document(**row)


def _mention(row: Any, caption: str | None, place: str) -> Mention:
    if not isinstance(row, dict):
        raise InputError(f"{place} is {checks.short(row)}", "an object")
    _need(row, ("text", "type", "start", "end"), place)
    given = {field.name: row[field.name] for field in dataclasses.fields(Mention) if row.get(field.name) is not None}
    for name in ("text", "type", "kb_id"):
        if name in given:
            checks.string(f"{place}.{name}", given[name])
    for name in ("start", "end"):
        checks.integer(f"{place}.{name}", given[name], least=0)
    mention = Mention(**given)
    if caption is None or caption[mention.start : mention.end] != mention.text:
        raise InputError(f"{place} is {checks.short(mention.text)} at {mention.start}", "caption[start:end]")
    return mention


def _need(row: Mapping[str, Any], names: Iterable[str], place: str) -> None:
    for name in names:
        if row.get(name) is None:
            raise InputError(f"{place} has no {name!r}", f"an object with {', '.join(names)}")


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{place} is {checks.short(value)}", "a list")
    return value


def _date(value: Any, place: str) -> datetime.date:
    """Read a day; a time of day after it is passed over."""
    text = checks.string(f"{place}: published", value)
    try:
        if not re.match(r"\d{4}-\d\d-\d\d(?:$|[T ])", text, re.ASCII):
            raise ValueError
        return datetime.date.fromisoformat(text[:10])
    except ValueError:
        raise InputError(f"{place}: published is {checks.short(value)}", "a day such as 2024-05-31") from None
