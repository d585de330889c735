"""QVHighlights: moments and highlights of a query, by the convention of its authors.

* Moments: R1 takes the window that is listed first; average precision of a query takes the ten listed first, by falling
  score. Both over all queries, and over those that have true windows of a length: only these windows are then true.
* Highlights: each of three annotators rates clips of two seconds from 0 to 4; clips that an annotator rates at least 2
  ("Fair"), 3 ("Good") or 4 ("VeryGood") are true. Average precision is the mean of the best precision at recall r or
  more, over the places of the ranking where recall changes; mean over queries and annotators. Hit1 asks whether the
  clip that scores highest is true for some annotator. Clips without a score get 0.

Source: Lei, Berg and Bansal, "QVHighlights: Detecting Moments and Highlights in Videos via Natural Language Queries",
NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.average_precision import every_point, greedy_hits
from whenwhere.metrics.moments import interval_iou, ranking
from whenwhere.metrics.records import by_id, field_of, numbers, place_of, same_ids, windows_of
from whenwhere.metrics.result import Figures, Result, ratio, weighted_mean

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
LENGTHS = {"full": (0.0, np.inf), "short": (0.0, 10.0), "middle": (10.0, 30.0), "long": (30.0, 150.0)}  # (above, up to]
LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}  # the least rating
_LISTED = 10
_CLIP = 2.0  # seconds
_ANNOTATORS = 3
_LONGEST = 1e6  # seconds: eleven days

CONVENTION = (
    "QVHighlights, as its authors score it: R1 by the window listed first, IoU >= m with the true window that fits "
    "best; mAP per query over the ten windows listed first; highlights against three annotators, mean over queries"
)


def qvhighlights(predictions: Sequence[Mapping[str, Any]], truths: Sequence[Mapping[str, Any]]) -> Result:
    """Score a submission.

    Args:
        predictions: ``{"qid", "pred_relevant_windows": [[start, end, score], ...]}`` for every query, seconds, and for
            highlights ``"pred_saliency_scores": [score of each clip]``. No window at all is a miss.
        truths: ``{"qid", "relevant_windows": [[start, end], ...]}``, and for highlights ``"duration"``,
            ``"relevant_clip_ids"`` and ``"saliency_scores": [[rating of each of three annotators], ...]``.

    Returns:
        Result with one item per query, figures in 0..1: ``MR-full-R1@0.5``, ``MR-full-mAP@0.5``, ``MR-full-mAP``,
        ``MR-short-...``, ``MR-full-mIoU``, ``HL-min-Fair-mAP``, ``HL-min-Fair-Hit1``, ... The NaN of a length that no
        true window has is left out. :func:`published` gives the authors' form.

    Raises:
        InputError: naming the record, with file and line if it has them, or the query ids that do not agree.
    """
    wanted, found = by_id(truths, "qid", "query"), by_id(predictions, "qid", "prediction")
    ids = same_ids(found, wanted, "query")
    grid = np.full((len(ids), len(LENGTHS), 2, len(THRESHOLDS)), np.nan)  # R1 and AP
    overlap = np.zeros(len(ids))  # of the window listed first
    windowless = 0
    for row, query in enumerate(ids):
        true = _true_windows(wanted[query], query)
        place = place_of(found[query], f"query {query}")
        listed = windows_of(
            field_of(found[query], "pred_relevant_windows", place), f"{place}: pred_relevant_windows", 3
        )
        windowless += len(listed) == 0
        for column, name in enumerate(LENGTHS):
            if len(some := _of_length(true, name)):
                grid[row, column] = _moments_of(listed, some)
        overlap[row] = interval_iou(listed[:1, :2], true).max(initial=0.0)
    light, without = _highlights(ids, wanted, found)

    def compute(weights: np.ndarray) -> Figures:
        figures: Figures = {}
        for name, (recall, precision) in zip(LENGTHS, weighted_mean(grid, weights)):
            figures |= {f"MR-{name}-R1@{limit:g}": float(value) for limit, value in zip(THRESHOLDS, recall)}
            figures[f"MR-{name}-mAP"] = float(precision.mean())
            figures |= {f"MR-{name}-mAP@{limit:g}": float(value) for limit, value in zip(THRESHOLDS, precision)}
        figures["MR-full-mIoU"] = float(weighted_mean(overlap, weights))
        if light is not None:
            for level, (precision, hit) in zip(LEVELS, weighted_mean(light, weights)):
                figures[f"HL-min-{level}-mAP"], figures[f"HL-min-{level}-Hit1"] = float(precision), float(hit)
        return figures

    scored = (~np.isnan(grid[:, :, 0, 0])).sum(axis=0)
    counts = {
        "queries": len(ids),
        **{f"queries with {name} windows": int(number) for name, number in list(zip(LENGTHS, scored))[1:]},
        "queries without predicted windows, which count as misses": windowless,
    }
    items = {"moments": grid, "top_iou": overlap, **({} if light is None else {"highlights": light})}
    left_out = {f"MR-{name}": "no true window is of this length" for name, number in zip(LENGTHS, scored) if not number}
    return Result(CONVENTION, ids, items, counts, compute, left_out | ({"HL": without} if without else {}))


def published(figures: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Figures in the form of the authors' files: nested, in percent, rounded to two decimals.

    Args:
        figures: of a result of :func:`qvhighlights`.
    """
    percent = {name: float(f"{100 * value:.2f}") for name, value in figures.items()}
    form: dict[str, dict[str, Any]] = {}
    for name in LENGTHS:
        if f"MR-{name}-mAP" in percent:
            mean = {"average": percent[f"MR-{name}-mAP"]}
            form[name] = {
                "MR-mAP": {f"{limit:g}": percent[f"MR-{name}-mAP@{limit:g}"] for limit in THRESHOLDS} | mean,
                "MR-R1": {f"{limit:g}": percent[f"MR-{name}-R1@{limit:g}"] for limit in THRESHOLDS},
            }
    for level in LEVELS:
        if f"HL-min-{level}-mAP" in percent:
            form[f"HL-min-{level}"] = {f"HL-{part}": percent[f"HL-min-{level}-{part}"] for part in ("mAP", "Hit1")}
    brief = ["MR-full-R1@0.5", "MR-full-R1@0.7", "MR-full-mAP", "MR-full-mAP@0.5", "MR-full-mAP@0.75"]
    brief += [f"MR-{name}-mAP" for name in ("long", "middle", "short")]
    brief += [f"HL-min-{level}-{part}" for level in LEVELS for part in ("mAP", "Hit1")]
    return {"brief": {name: percent[name] for name in brief if name in percent}, **form}


def _true_windows(record: Any, query: str) -> np.ndarray:
    place = place_of(record, f"query {query}")
    true = windows_of(field_of(record, "relevant_windows", place), f"{place}: relevant_windows")
    if len(true) == 0:
        raise InputError(f"{place}: no relevant window", "at least one", "leave the query out")
    return true


def _of_length(true: np.ndarray, name: str) -> np.ndarray:
    above, up_to = LENGTHS[name]
    length = true[:, 1] - true[:, 0]
    return true if name == "full" else true[(length > above) & (length <= up_to)]


def _moments_of(listed: np.ndarray, true: np.ndarray) -> np.ndarray:
    """R1 and average precision of one query at every threshold: ``(2, thresholds)``."""
    first = interval_iou(listed[:1, :2], true).max(initial=0.0)
    overlap = interval_iou(ranking(listed[:_LISTED])[:, :2], true)  # (n, m)
    precision = every_point(greedy_hits(overlap, THRESHOLDS), len(true))
    return np.stack([first >= np.array(THRESHOLDS), precision])


def _highlights(
    ids: Sequence[str], wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> tuple[np.ndarray | None, str]:
    """Average precision and Hit1 of every query ``(queries, levels, 2)``, or why there are none."""
    for name, records in (("saliency_scores", wanted), ("pred_saliency_scores", found)):
        without = [query for query in ids if name not in records[query]]
        if len(without) == len(ids):
            return None, f"no record has {name}"
        if without:
            place = place_of(records[without[0]], f"query {without[0]}")
            raise InputError(f"{place}: no {name}, which other records have", "it in all records or in none")
    table = np.zeros((len(ids), len(LEVELS), 2))
    for row, query in enumerate(ids):
        ratings = _ratings(wanted[query], query)  # (clips, annotators)
        place = place_of(found[query], f"query {query}")
        said = numbers(found[query]["pred_saliency_scores"], f"{place}: pred_saliency_scores", (None,))
        best = int(said.argmax()) if len(said) else len(ratings)
        said = np.append(said, np.zeros(max(0, len(ratings) - len(said))))[: len(ratings)]
        true = ratings[:, None, :] >= np.array(list(LEVELS.values()))[:, None]  # (clips, levels, annotators)
        table[row, :, 0] = _clip_precision(true, said).mean(axis=1)
        table[row, :, 1] = true[best].any(axis=1) if best < len(true) else 0.0
    return table, ""


def _ratings(record: Any, query: str) -> np.ndarray:
    place = place_of(record, f"query {query}")
    duration = float(numbers(field_of(record, "duration", place), f"{place}: duration"))
    clips = numbers(field_of(record, "relevant_clip_ids", place), f"{place}: relevant_clip_ids", (None,))
    told = numbers(record["saliency_scores"], f"{place}: saliency_scores", (None, _ANNOTATORS))
    if not _CLIP <= duration <= _LONGEST:
        raise InputError(f"{place}: duration {duration:g}", f"{_CLIP:g} to {_LONGEST:g} seconds")
    number = int(duration / _CLIP)
    if len(clips) != len(told):
        raise InputError(f"{place}: {len(clips)} relevant_clip_ids and {len(told)} saliency_scores", "as many of each")
    if ((clips % 1 != 0) | (clips < 0) | (clips >= number)).any():
        raise InputError(f"{place}: relevant_clip_ids {clips.min():g} to {clips.max():g}", f"clips 0..{number - 1}")
    ratings = np.zeros((number, _ANNOTATORS))
    ratings[clips.astype(np.int64)] = told
    return ratings


def _clip_precision(true: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean, over the scores at which recall grows, of the best precision at that recall or more; 0 without true clips.

    Args:
        true: bool ``(clips, ...)``.
        scores: ``(clips,)``.

    Returns:
        float64 ``(...)``.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # clips of one score enter together
    found = np.cumsum(true[order], axis=0)[last].reshape(len(last), -1)
    precision = np.maximum.accumulate((found / (last[:, None] + 1))[::-1])[::-1]
    grows = found > np.concatenate([np.zeros_like(found[:1]), found[:-1]])
    return ratio((precision * grows).sum(axis=0), grows.sum(axis=0)).reshape(true.shape[1:])
