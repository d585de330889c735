"""Scores of files of records, for ``whenwhere score``: names, boxes of referring expressions, actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whenwhere.errors import InputError
from whenwhere.metrics.actions import action_detection
from whenwhere.metrics.entities import Entity, entities
from whenwhere.metrics.files import read_json, read_records, reading
from whenwhere.metrics.records import Record, by_id, field_of, numbers, same_ids
from whenwhere.metrics.referring import referring_boxes
from whenwhere.metrics.result import Result


def score_names(gt: Sequence[Path], pred: Path) -> Result:
    """Score the named entities of captions.

    Args:
        gt: one file of records ``{"id", "caption_entities": [{"text", "label"}, ...]}``.
        pred: records ``{"id", "generated_entities": [{"text", "label"}, ...]}``; it may be the same file.

    Returns:
        See :func:`whenwhere.metrics.entities.entities`.

    Raises:
        InputError: naming the file and the record, or the captions that do not agree.
    """
    wanted, said = by_id(read_records(gt[0]), "id", "caption"), by_id(read_records(pred), "id", "caption")
    ids = same_ids(said, wanted, "caption")
    true = {name: _entities(wanted[name], "caption_entities") for name in ids}
    return entities({name: _entities(said[name], "generated_entities") for name in ids}, true)


def score_referring(gt: Sequence[Path], pred: Path) -> Result:
    """Score the boxes of referring expressions.

    Args:
        gt: one file of records ``{"id", "bbox": [x, y, width, height]}``, one for each expression.
        pred: the same; ``"bbox": null`` where nothing was found.

    Returns:
        See :func:`whenwhere.metrics.referring.referring_boxes`.

    Raises:
        InputError: naming the file and the record, or the expressions that do not agree.
    """
    found, wanted = (by_id(read_records(path, "annotations"), "id", "expression") for path in (pred, gt[0]))
    same_ids(found, wanted, "expression")
    said = {name: None if record.get("bbox", 0) is None else _corners(record) for name, record in found.items()}
    return referring_boxes(said, {name: _corners(record) for name, record in wanted.items()})


def score_actions(gt: Sequence[Path], pred: Path) -> Result:
    """Score the action segments of videos.

    Args:
        gt: one file in the form of ActivityNet, ``{"database": {video: {"annotations": [{"label", "segment"}, ...]}}}``
            with the videos that are scored and no others.
        pred: ``{"results": {video: [{"label", "segment", "score"}, ...]}}`` for the same videos.

    Returns:
        See :func:`whenwhere.metrics.actions.action_detection`.

    Raises:
        InputError: naming the file, the video and the segment, or the videos that do not agree.
    """
    database = _mapping(read_json(gt[0]), "database", gt[0])
    said = _mapping(read_json(pred), "results", pred)
    with reading(gt[0]):
        wanted = {name: field_of(entry, "annotations", f"video {name!r}") for name, entry in database.items()}
    same_ids(said, wanted, "video")
    predictions = {name: _placed(records, f"{pred}: video {name!r}, prediction") for name, records in said.items()}
    truths = {name: _placed(records, f"{gt[0]}: video {name!r}, segment") for name, records in wanted.items()}
    return action_detection(predictions, truths)


def _entities(record: Record, name: str) -> list[Entity]:
    found = field_of(record, name, record.place)
    if not isinstance(found, list):
        raise InputError(f"{record.place}: {name} {str(found)[:40]!r}", "a list of objects with text and label")
    pairs = []
    for index, entity in enumerate(found):
        place = f"{record.place}: {name} {index}"
        text, label = field_of(entity, "text", place), field_of(entity, "label", place)
        if not isinstance(text, str) or not isinstance(label, str):
            raise InputError(f"{place}: {text!r}, {label!r}", "strings")
        pairs.append((text, label))
    return pairs


def _corners(record: Record) -> list[float]:
    left, top, width, height = numbers(field_of(record, "bbox", record.place), f"{record.place}: bbox", (4,)).tolist()
    if width < 0 or height < 0:
        raise InputError(f"{record.place}: a box of {width:g} x {height:g}", "x, y, width and height, none negative")
    return [left, top, left + width, top + height]


def _placed(records: Any, what: str) -> list[Any]:
    """Records that know their file, if they are any."""
    if not isinstance(records, list):
        raise InputError(f"{what}s that are a {type(records).__name__}", "a list of objects")
    found = []
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise InputError(f"{what} {index}: {str(record)[:40]!r}", "an object")
        found.append(Record(record))
        found[-1].place = f"{what} {index}"
    return found


def _mapping(found: Any, name: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(found, dict) or not isinstance(found.get(name), dict):
        raise InputError(f"{path}: no {name}", f'an object {{"{name}": {{video: ...}}}}')
    return found[name]
