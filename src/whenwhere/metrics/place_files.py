"""Scores of files of places in images, for ``whenwhere score``: words of narratives, regions with captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.caption_files import Meteor
from whenwhere.metrics.files import read_records, reading
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.records import field_of, id_of, numbers, same_ids
from whenwhere.metrics.region_captions import Similarity, dense_region_captions
from whenwhere.metrics.result import Figures, Result
from whenwhere.metrics.word_grounding import word_grounding

if TYPE_CHECKING:
    from whenwhere.datasets.localized_narratives import Narrative

_NOWHERE = 1e-5  # a word whose centre is nearer to a side than that has no place, as in the paper


def score_words(gt: Sequence[Path], pred: Path) -> Result:
    """Score where the words of narratives are.

    The true points of a word are the corners of the box around the path of the mouse while it was said.

    Args:
        gt: one file of Localized Narratives.
        pred: records ``{"image_id", "size": [width, height], "words": [...]}``, one for each narrative (with
            ``"annotator_id"`` where an image has several), with one word for each utterance, in order: ``{"x", "y"}``
            or ``{"points": [[x, y], ...]}`` in pixels.

    Returns:
        See :func:`whenwhere.metrics.word_grounding.word_grounding`; the items are narratives.

    Raises:
        InputError: naming the file and the record, or the narratives that do not agree.
    """
    from whenwhere.datasets.localized_narratives import read

    narratives = read(gt[0])
    often = Counter(item.image for item in narratives)
    wanted = {}
    for item in narratives:
        name = item.image if often[item.image] == 1 else f"{item.image}/{item.annotator}"
        if name in wanted:
            raise InputError(f"{gt[0]}: a second narrative of image {item.image} by annotator {item.annotator}", "one")
        wanted[name] = item
    said: dict[str, Any] = {}
    for record in read_records(pred):
        image = str(id_of(record, "image_id", record.place))
        name = image if often[image] <= 1 else f"{image}/{id_of(record, 'annotator_id', record.place)}"
        if name in said:
            raise InputError(f"{record.place}: image {name!r} for the second time", "every narrative once")
        said[name] = record
    images = []
    for name in same_ids(said, wanted, "image"):
        record, boxes = said[name], _corners(wanted[name])
        size = numbers(field_of(record, "size", record.place), f"{record.place}: size", (2,))
        words = field_of(record, "words", record.place)
        if not isinstance(words, list) or len(words) != len(boxes):
            raise InputError(
                f"{record.place}: {len(words) if isinstance(words, list) else type(words).__name__} words",
                f"a list of {len(boxes)}, one for each utterance",
            )
        places = [_points(word, f"{record.place}: word {index}") for index, word in enumerate(words)]
        pairs = [{"predicted": points, "true": (box * size).tolist()} for points, box in zip(places, boxes)]
        images.append({"id": name, "size": size.tolist(), "words": pairs})
    with reading(pred):
        return word_grounding(images)


def score_regions(gt: Sequence[Path], pred: Path, meteor: Meteor | None = None) -> Result:
    """Score regions with captions.

    Args:
        gt: one folder in the form of Visual Genome: ``region_descriptions.json`` and ``image_data.json``, with the
            scored images alone.
        pred: records ``{"image_id", "bbox": [x, y, width, height], "score", "caption"}``; an image may have none.
        meteor: of tokenised captions; without it ``detection_mAP`` alone is given.

    Returns:
        See :func:`whenwhere.metrics.region_captions.dense_region_captions`.

    Raises:
        InputError: naming the file and the field or record.
    """
    from whenwhere.datasets.visual_genome import read

    truths = {
        str(item.number): [{"box": region.box.tolist(), "caption": region.text} for region in item.regions]
        for item in read(gt[0])
    }
    said: dict[str, list[Mapping[str, Any]]] = {}
    for record in read_records(pred):
        image = str(id_of(record, "image_id", record.place))
        if image not in truths:
            raise InputError(f"{record.place}: image_id {image!r}", f"an image of {gt[0]}")
        x, y, width, height = numbers(field_of(record, "bbox", record.place), f"{record.place}: bbox", (4,)).tolist()
        if width < 0 or height < 0:
            raise InputError(f"{record.place}: bbox is {width:g} x {height:g}", "width and height, none negative")
        score = float(numbers(field_of(record, "score", record.place), f"{record.place}: score"))
        caption = field_of(record, "caption", record.place)
        if not isinstance(caption, str):
            raise InputError(f"{record.place}: caption {caption!r}", "a string")
        region = {"box": [x, y, x + width, y + height], "score": score, "caption": caption}
        said.setdefault(image, []).append(region)

    found = dense_region_captions(said, truths, meteor_similarity(meteor))
    if meteor is not None:
        return found

    def boxes_alone(weights: np.ndarray) -> Figures:
        return {"detection_mAP": found.compute(weights)["detection_mAP"]}

    return replace(found, compute=boxes_alone)


def meteor_similarity(meteor: Meteor | None) -> Similarity:
    """METEOR of captions as written, each pair of a sentence and its references once; 0 if there is no METEOR."""

    def similarity(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> Sequence[float]:
        if meteor is None:
            return [0.0] * len(sentences)
        places: dict[tuple[str, tuple[str, ...]], int] = {}
        which = [places.setdefault((said, tuple(told)), len(places)) for said, told in zip(sentences, references)]
        told = [[tokenize(text) for text in group] for _, group in places]
        return meteor([tokenize(said) for said, _ in places], told).items[which].tolist()

    return similarity


def _corners(narrative: Narrative) -> list[np.ndarray]:
    """The corners ``(2, 2)`` of each word's box in parts of width and height; zeros for a word without a place."""
    nowhere = [np.zeros((2, 2)) for _ in narrative.words]
    if len({time for stroke in narrative.strokes for _, _, time in stroke}) < 2:
        return nowhere
    paths = np.clip(narrative.paths(), 0, 1)
    boxes = np.stack([paths.min(axis=1), paths.max(axis=1)], axis=1)
    places = narrative.placed(1, 1)
    placed = [bool(word.text.strip()) and min(word.x or 0.0, word.y or 0.0) > _NOWHERE for word in places]
    return [box if there else empty for box, there, empty in zip(boxes, placed, nowhere)]


def _points(word: Any, place: str) -> list[list[float]]:
    if isinstance(word, Mapping) and "points" not in word:
        return [[float(numbers(field_of(word, axis, place), f"{place}: {axis}")) for axis in "xy"]]
    found = numbers(field_of(word, "points", place), f"{place}: points", (None, 2)).tolist()
    if not found:
        raise InputError(f"{place}: no point", "at least one", "the middle of the image where nothing is known")
    return found
