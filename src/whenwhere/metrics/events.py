"""Events of dense video captioning as scorers read them, and the temporal IoU they share.

Predictions are the ``results`` of an ActivityNet Captions submission, ``{video: [{"timestamp": [start, end],
"sentence": text}, ...]}``; in place of an entry an object with ``start``, ``end`` and ``text`` will do
(:class:`whenwhere.results.Event`). References are one mapping per annotator, ``{video: {"timestamps": [[start, end],
...], "sentences": [text, ...]}}``. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import numbers

Predictions = Mapping[str, Sequence[Any]]
References = Sequence[Mapping[str, Mapping[str, Any]]]
Missing = Literal["zero", "skip"]

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
MAX_PREDICTIONS = 1000  # of a video, as in the ActivityNet challenge; the rest is not looked at


class Moments(NamedTuple):
    """The events of one video.

    Attributes:
        times: float64 ``(n, 2)``, start and end in seconds.
        sentences: their texts.
    """

    times: np.ndarray
    sentences: tuple[str, ...]


def tiou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Temporal IoU of every pair of intervals, as the dense captioning scorers compute it.

    Args:
        left: ``(n, 2)``, start and end in seconds.
        right: ``(m, 2)``.

    Returns:
        float64 ``(n, m)`` in 0..1; a hair below 1 for equal intervals, 0 for empty ones.
    """
    first, second = (np.asarray(times, dtype=np.float64).reshape(-1, 2) for times in (left, right))
    start, end = first[:, None, 0], first[:, None, 1]  # (n, 1)
    overlap = np.maximum(0.0, np.minimum(end, second[:, 1]) - np.maximum(start, second[:, 0]))
    hull = np.maximum(end, second[:, 1]) - np.minimum(start, second[:, 0])
    together = (end - start) + (second[:, 1] - second[:, 0])
    return overlap / (np.minimum(hull, together) + 1e-8)


def read_predictions(predictions: Predictions, video: str) -> Moments:
    """The predicted events of one video, at most the first 1000.

    Raises:
        InputError: naming the video and the prediction that is not an event.
    """
    entries = predictions.get(video, ())
    if isinstance(entries, (str, Mapping)):
        raise InputError(f"predictions of video {video!r} are a {type(entries).__name__}", "a list of events")
    times, sentences = [], []
    for index, entry in enumerate(entries[:MAX_PREDICTIONS]):
        record = f"video {video!r}, prediction {index}"
        if isinstance(entry, Mapping):
            if absent := {"timestamp", "sentence"} - entry.keys():
                raise InputError(f"{record} without {' and '.join(sorted(absent))}", "timestamp and sentence")
            span, text = entry["timestamp"], entry["sentence"]
        elif all(hasattr(entry, name) for name in ("start", "end", "text")):
            span, text = (entry.start, entry.end), entry.text
        else:
            raise InputError(f"{record} is a {type(entry).__name__}", "a mapping or an Event")
        times.append(_span(span, record))
        sentences.append(_text(text, record))
    return Moments(np.array(times, dtype=np.float64).reshape(-1, 2), tuple(sentences))


def read_references(references: References, video: str) -> list[Moments]:
    """The events of one video by every annotator who has it.

    Raises:
        InputError: naming the video, the annotator and the event that cannot be read, or a video without events.
    """
    found = []
    for annotator, annotation in enumerate(references):
        if video not in annotation:
            continue
        record = f"video {video!r}, annotator {annotator}"
        entry = annotation[video]
        if not isinstance(entry, Mapping) or {"timestamps", "sentences"} - entry.keys():
            raise InputError(f"{record} is {str(entry)[:60]!r}", "a mapping with timestamps and sentences")
        spans, texts = entry["timestamps"], entry["sentences"]
        if len(spans) != len(texts):
            raise InputError(f"{record} has {len(spans)} timestamps and {len(texts)} sentences", "as many of each")
        if len(spans) == 0:
            raise InputError(f"{record} has no events", "at least one", "leave the video out of the references")
        times = [_span(span, f"{record}, event {index}") for index, span in enumerate(spans)]
        sentences = [_text(text, f"{record}, event {index}") for index, text in enumerate(texts)]
        found.append(Moments(np.array(times, dtype=np.float64), tuple(sentences)))
    return found


def scored_videos(predictions: Predictions, references: References, missing: Missing) -> tuple[str, ...]:
    """The videos a score is the mean of: those that any annotator has, in sorted order.

    Args:
        predictions: events by video; videos that no annotator has are not scored.
        references: one mapping per annotator.
        missing: "zero" keeps a reference video without predictions (it scores 0), "skip" leaves it out.

    Raises:
        InputError: if the records have the wrong form or no video is left.
    """
    if missing not in get_args(Missing):
        raise InputError(f"missing={missing!r}", " or ".join(map(repr, get_args(Missing))))
    if not isinstance(predictions, Mapping):
        raise InputError(f"predictions are a {type(predictions).__name__}", "a mapping from video to its events")
    if isinstance(references, Mapping) or not all(isinstance(annotation, Mapping) for annotation in references):
        raise InputError("references that are no list of mappings", "one mapping per annotator", "wrap it in a list")
    videos = {video for annotation in references for video in annotation}
    if missing == "skip":
        videos &= predictions.keys()
    if not videos:
        raise InputError("no video to score", "references, and with missing='skip' predictions for some of them")
    return tuple(sorted(videos))


def _span(span: Any, record: str) -> tuple[float, float]:
    try:
        start, end = numbers(span, record, (2,)).tolist()
    except InputError:
        raise InputError(f"{record}: time {span!r}", "[start, end] in finite seconds") from None
    if start > end:
        raise InputError(f"{record}: time {span!r}", "start <= end", "swap or clip them first")
    return start, end


def _text(text: Any, record: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"{record}: sentence {text!r}", "a string")
    return text
