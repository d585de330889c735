"""Scores of caption files and of dense caption files, for ``whenwhere score``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.bleu import bleu, bleu_of_counts
from whenwhere.metrics.cider import cider
from whenwhere.metrics.dense_captions import coco_pair_scores, dense_captions
from whenwhere.metrics.events import Moments, Predictions, read_predictions, read_references
from whenwhere.metrics.files import read_json, read_records, reading
from whenwhere.metrics.localisation import Localisation, localisation, start_localisation
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.records import by_id, check_captions, field_of, same_ids
from whenwhere.metrics.result import Figures, Result, weighted_mean
from whenwhere.metrics.rouge import rouge_l
from whenwhere.metrics.soda import Meteor, soda_c

_ID = "image_id"
_SODA = (
    "; SODA_c: temporal IoU times METEOR of pairs in order, predictions by start, F1 of each video with its best "
    "annotator, mean over videos"
)


def score_captions(gt: Sequence[Path], pred: Path, meteor: Meteor | None = None, *, news: bool = False) -> Result:
    """Score captions of images or clips.

    Args:
        gt: one file of records with ``image_id`` and ``caption`` (several records for an image), or with ``image_id``
            and ``references`` or ``captions`` (a list); a list, JSON lines, or an object with ``annotations`` or
            ``items``.
        pred: records with ``image_id`` and ``caption`` or ``candidate``, one for each image of the truth.
        meteor: how METEOR is computed; it is left out if not given.
        news: words as news captioning has them (:func:`news_words`), not Penn Treebank tokens.

    Returns:
        Result with one item per image: ``CIDEr``, ``CIDEr-D`` and ``CIDEr_plain`` in 0..10, ``ROUGE_L`` and ``Bleu_1``
        .. ``Bleu_4`` in 0..1; see :func:`caption_result`.

    Raises:
        InputError: naming the file and the record, or the images that do not agree.
    """
    (truth,) = gt
    wanted = _references(truth)
    try:
        said = by_id(read_records(pred, "items", "annotations"), _ID, "caption")
    except InputError as error:
        if "second time" in error.given and all(len(group) == 1 for group in wanted.values()):
            raise InputError(error.given, error.expected, "are --gt and --pred swapped?") from None
        raise
    ids = same_ids(said, wanted, "image")
    candidates = [_caption(said[image], "candidate", "caption") for image in ids]
    words = news_words if news else tokenize
    return caption_result(ids, candidates, [wanted[image] for image in ids], meteor, words)


def news_words(caption: str) -> str:
    """The words of a news caption: case is kept, and only letters, digits and underscores are.

    Source: the evaluation of Tran, Mathews and Xie, "Transform and Tell: Entity-Aware News Image Captioning", CVPR
    2020.
    """
    return " ".join(re.sub(r"[^\w\s]", "", caption).split())


def caption_result(
    ids: Sequence[str],
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    meteor: Meteor | None = None,
    words: Callable[[str], str] = tokenize,
) -> Result:
    """The figures of :func:`whenwhere.metrics.captions.captions`, for any resample of the items.

    Args:
        ids: the items.
        candidates: one caption per item, as written.
        references: for every item the captions of people, as written.
        meteor: see :func:`score_captions`.
        words: from a caption to its words, a blank between them: PTB tokens or :func:`news_words`.

    Returns:
        Result; ``CIDEr`` is what the COCO scorer prints under that name, which is CIDEr-D and is there as ``CIDEr-D``
        too; ``CIDEr_plain`` is the cosine of the paper's equation 2, not clipped and without the length penalty. With
        ``meteor``, ``METEOR`` (of the set, for unweighted items alone) and ``METEOR_mean`` (of the items).

    Raises:
        InputError: naming the item that cannot be scored.
    """
    check_captions(candidates, references)
    said = [words(candidate) for candidate in candidates]
    wanted = [[words(reference) for reference in group] for group in references]
    clipped, plain = cider(said, wanted).items, cider(said, wanted, variant="CIDEr").items
    items = {"CIDEr": clipped, "CIDEr-D": clipped, "CIDEr_plain": plain, "ROUGE_L": rouge_l(said, wanted).items}
    counts = bleu(said, wanted).counts
    whole = None if meteor is None else meteor(said, wanted)
    if whole is not None:
        items["METEOR_mean"] = whole.items

    def compute(weights: np.ndarray) -> Figures:
        figures = {name: float(weighted_mean(values, weights)) for name, values in items.items()}
        figures |= {
            f"Bleu_{n + 1}": float(value) for n, value in enumerate(bleu_of_counts((weights @ counts)[None])[0])
        }
        if whole is not None and (weights == 1).all():
            figures["METEOR"] = whole.corpus
        return figures

    of_meteor = "" if whole is None else "; METEOR of the counts of all items together, METEOR_mean of the items"
    return Result(
        ("News captions: case kept, punctuation taken out" if words is news_words else "COCO captions: PTB tokens")
        + "; CIDEr is CIDEr-D, as the COCO scorer has it, CIDEr_plain the cosine alone, document frequencies of these "
        f"references; ROUGE-L beta 1.2; corpus BLEU with the closest reference length{of_meteor}",
        tuple(ids),
        {**items, "bleu_counts": counts},
        {"images": len(ids), "references": sum(map(len, references))},
        compute,
    )


def score_dense_captions(gt: Sequence[Path], pred: Path, meteor: Meteor | None = None) -> Result:
    """Score timed captions of videos.

    Args:
        gt: a file for each annotator, in the form of ActivityNet Captions: ``{video: {"timestamps": [[start, end],
            ...], "sentences": [text, ...]}}``.
        pred: a submission, ``{"results": {video: [{"timestamp": [start, end], "sentence": text}, ...]}}``, for the
            videos of the truth; an empty list where nothing was found.
        meteor: see :func:`score_captions`.

    Returns:
        Result with one item per video: the caption figures of matched events; ``paragraph_CIDEr`` and others of whole
        videos (all sentences in the order of their starts against those of each annotator); with ``meteor``,
        ``SODA_c``; ``precision@0.3``, ... , ``recall@3s``, ...

    Raises:
        InputError: naming the file, the video and the event, or the videos that do not agree.
    """
    references = [_videos(read_json(path), path) for path in gt]
    predictions = _submission(read_json(pred), pred)
    ids = same_ids(predictions, {video for annotation in references for video in annotation}, "video")
    for path, annotation in zip(gt, references):
        with reading(path):
            for video in annotation:
                read_references([annotation], video)
    with reading(pred):
        events = sum(len(read_predictions(predictions, video).times) for video in ids)

    def pair_scores(candidates: Sequence[str], others: Sequence[Sequence[str]]) -> Mapping[str, float]:
        more = {} if meteor is None else {"METEOR": meteor(candidates, others).corpus}
        return {**more, **coco_pair_scores(candidates, others)}

    told = dense_captions(predictions, references, pair_scores=pair_scores)
    found, starts = localisation(predictions, references), start_localisation(predictions, references)
    whole = caption_result(
        ids,
        [_paragraph(read_predictions(predictions, video)) for video in ids],
        [[_paragraph(moments) for moments in read_references(references, video)] for video in ids],
        meteor,
    )
    story = {} if meteor is None else {"SODA_c": soda_c(predictions, references, meteor)}

    def compute(weights: np.ndarray) -> Figures:
        figures = {name: float(weighted_mean(table, weights).mean()) for name, table in told.values.items()}
        figures |= {name: float(weighted_mean(values, weights)) for name, values in story.items()}
        figures |= {f"paragraph_{name}": value for name, value in whole.figures(weights).items()}
        figures |= _weighted(found, weights).figures()
        seconds = _weighted(starts, weights).figures("s")
        return figures | {name: value for name, value in seconds.items() if "@" in name}

    return Result(
        "densevid_eval: captions of pairs with temporal IoU >= 0.3, 0.5, 0.7, 0.9, mean over videos and thresholds; a "
        "prediction without a pair meets random letters; precision and recall strictly above the threshold; paragraphs "
        "are the sentences of a video by start, scored as captions" + ("" if meteor is None else _SODA),
        ids,
        {**told.values, **story, "precision": found.precision, "recall": found.recall},
        {
            "videos": len(ids),
            "annotators": len(references),
            "predicted events": events,
            "videos without predictions, which count as 0": sum(len(predictions[video]) == 0 for video in ids),
        },
        compute,
        {} if meteor else {"SODA_c": "needs METEOR"},
    )


def _paragraph(moments: Moments) -> str:
    """All sentences of a video, in the order of their starts."""
    order = np.argsort(moments.times[:, 0], kind="stable")
    return " ".join(moments.sentences[place] for place in order)


def _references(path: Path) -> dict[str, list[str]]:
    """The captions of every image."""
    found: dict[str, list[str]] = {}
    for record in read_records(path, "annotations", "items"):
        image = next(iter(by_id([record], _ID, "record")))
        name = next((name for name in ("references", "captions") if name in record), None)
        captions = [_caption(record, "caption")] if name is None else record[name]
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions) or not captions:
            raise InputError(f"{record.place}: {name} {str(captions)[:40]!r}", "a list of strings, at least one")
        if name is not None and image in found:
            raise InputError(f"{record.place}: {_ID} {image!r} for the second time", "every image once")
        found.setdefault(image, []).extend(captions)
    return found


def _caption(record: Any, *names: str) -> str:
    name = next((name for name in names if name in record), names[-1])
    text = field_of(record, name, record.place)
    if not isinstance(text, str):
        raise InputError(f"{record.place}: {name} {str(text)[:40]!r} of type {type(text).__name__}", "a string")
    return text


def _videos(found: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise InputError(f"{path}: a {type(found).__name__}", "an object: video to timestamps and sentences")
    return found


def _submission(found: Any, path: Path) -> Predictions:
    if not isinstance(found, dict) or not isinstance(found.get("results"), dict):
        raise InputError(f"{path}: no results", 'an object {"results": {video: [{"timestamp", "sentence"}, ...]}}')
    for video, events in found["results"].items():
        if not isinstance(events, list):
            raise InputError(f"{path}: video {video!r}: a {type(events).__name__}", "a list of events")
    return found["results"]


def _weighted(found: Localisation, weights: np.ndarray) -> Localisation:
    rows = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
    return Localisation(
        tuple(found.videos[row] for row in rows), found.thresholds, found.precision[rows], found.recall[rows]
    )
