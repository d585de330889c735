"""CHOTA: HOTA with captions, for Dense Video Object Captioning: are objects found, followed and told?

Source: Zhou et al., "Dense Video Object Captioning from Disjoint Supervision", ICLR 2025.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.cider import Gram, cider, document_frequencies
from whenwhere.metrics.hota import ALPHAS, Matches, count_boxes, match, per_alpha, statistics
from whenwhere.metrics.meteor import meteor
from whenwhere.metrics.records import numbers
from whenwhere.metrics.result import Figures, Result, ratio
from whenwhere.metrics.tracks import Detections, Overlaps, overlaps, read_pairs

CaptionScorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]

PUBLISHED = ("CIDEr", "METEOR", "SPICE")  # the scorers whose mean may be called CHOTA
_HALF = int(np.argmin(np.abs(ALPHAS - 0.5)))


def pair_cider(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """CIDEr-D of captions with one reference each, split at blanks; every pair is a document.

    Args:
        candidates: captions.
        references: what should have been said, one for each.

    Returns:
        float64 ``(n,)`` in 0..10. All are 0 if all references are the same sentence.
    """
    documents: Counter[Gram] = Counter()
    for reference, times in Counter(references).items():
        for gram in document_frequencies([[reference]]):
            documents[gram] += times
    places: dict[tuple[str, str], int] = {}
    which = [places.setdefault(pair, len(places)) for pair in zip(candidates, references)]
    if not which:
        return np.empty(0)
    distinct = cider(
        [said for said, _ in places], [[wanted] for _, wanted in places], frequencies=documents, documents=len(which)
    )
    return distinct.items[which]


def pair_meteor(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """METEOR 1.5 of captions with one reference each.

    Args:
        candidates: captions.
        references: what should have been said, one for each.

    Returns:
        float64 ``(n,)`` in 0..1.

    Raises:
        MissingDependency: see :func:`whenwhere.metrics.meteor.meteor`.
    """
    places: dict[tuple[str, str], int] = {}
    which = [places.setdefault(pair, len(places)) for pair in zip(candidates, references)]
    if not which:
        return np.empty(0)
    return meteor([said for said, _ in places], [[wanted] for _, wanted in places]).items[which]


def chota(
    sequences: Mapping[str, tuple[Detections, Detections]],
    scorers: Mapping[str, CaptionScorer] | None = None,
    *,
    min_score: float = 0.5,
) -> Result:
    """Caption-aware HOTA: the cube root of detection, association and caption accuracy.

    At a threshold alpha every match with IoU >= alpha whose true caption is not empty is a pair of captions. Each
    scorer is called once per video and set of pairs, so what it counts over pairs (CIDEr's document frequencies) stays
    within the video. A scorer's figure is the mean over all pairs of all videos, and CapA the mean over scorers.

    Captions are scored as they stand; no tokeniser is applied. CapA may exceed 1, because CIDEr goes up to 10.

    Args:
        sequences: by video, ``(truth, prediction)`` with captions.
        scorers: by name, from captions and their single references to a score for each pair; CIDEr alone if not given.
            Only CIDEr, METEOR and SPICE together make the published figure; with others the names of figures carry
            those of the scorers, such as ``CHOTA[CIDEr]``.
        min_score: predictions with a score that is not above this are left out; those without scores all count.

    Returns:
        Result with one item per video. ``CHOTA``, ``HOTA``, ``DetA``, ``AssA``, ``CapA`` and ``CapA[<scorer>]``, each
        in two conventions: ``...@0.5`` at the one threshold 0.5 (the reference's default), and the mean over alpha
        0.05, 0.10, ..., 0.95 (HOTA's).

    Raises:
        InputError: if a side has boxes without captions, or a scorer does not give a number for each pair.
    """
    names = read_pairs(sequences)
    scorers = {"CIDEr": pair_cider} if scorers is None else dict(scorers)
    if not scorers:
        raise InputError("no caption scorer", "at least one, or none given for CIDEr", "use hota without captions")
    mark = "" if set(scorers) == set(PUBLISHED) else f"[{'+'.join(sorted(scorers))}]"
    kept: dict[str, tuple[Detections, Detections]] = {}
    rows = []
    for name in names:
        truth, prediction = sequences[name]
        for side, what in ((truth, "truth"), (prediction, "prediction")):
            if len(side) and side.captions is None:
                raise InputError(f"video {name!r}: {what} without captions", "a caption for each box, perhaps empty")
        if prediction.scores is not None:
            prediction = prediction.keep(prediction.scores > min_score)
        kept[name] = truth, prediction
        pairs = overlaps(truth, prediction)
        matches = match(pairs)
        captions = _captions(truth, prediction, pairs, matches)
        rows.append(statistics(pairs, matches) | _score(captions, scorers, name))
    items = {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def compute(weights: np.ndarray) -> Figures:
        sums = {key: np.tensordot(weights, value, axes=1) for key, value in items.items()}
        at = per_alpha(sums)
        each = {f"CapA[{name}]": ratio(sums[f"CapA[{name}]"], sums["captioned"]) for name in scorers}
        captions = np.mean(list(each.values()), axis=0)  # (19,)
        curves = {
            f"CHOTA{mark}": np.cbrt(at["DetA"] * at["AssA"] * captions),
            **{name: at[name] for name in ("HOTA", "DetA", "AssA")},
            f"CapA{mark}" if len(scorers) > 1 else f"CapA[{next(iter(scorers))}]": captions,
            **each,
        }
        figures: Figures = {}
        for name, values in curves.items():
            figures |= {name: float(values.mean()), f"{name}@0.5": float(values[_HALF])}
        return figures

    left_out = sum(len(sequences[name][1]) - len(kept[name][1]) for name in names)
    captioned = sum(any(text.strip() for text in pair[0].captions or ()) for pair in sequences.values())
    counts = count_boxes(kept) | {
        f"predicted boxes left out with score <= {min_score:g}": left_out,
        "videos with a true caption": captioned,
    }
    missing = [name for name in PUBLISHED if name not in scorers]
    reasons = {"CHOTA": f"needs {', '.join(missing)} besides {', '.join(scorers)}"} if mark else {}
    return Result(
        f"CHOTA with captions scored by {', '.join(scorers)} as they stand, document frequencies of each video; @0.5 "
        "at alpha 0.5, otherwise the mean over alpha 0.05, 0.10, ..., 0.95 of the cube roots",
        names,
        items,
        counts,
        compute,
        reasons,
    )


def _captions(
    truth: Detections, prediction: Detections, pairs: Overlaps, matches: Matches
) -> list[tuple[int, str, str]]:
    """Level, predicted and true caption of every match whose true caption is not empty."""
    said, wanted = prediction.captions or (), truth.captions or ()
    rows = zip(
        matches.levels.tolist(),
        pairs.prediction.rows[matches.predicted].tolist(),
        pairs.truth.rows[matches.true].tolist(),
    )
    found = [(level, said[theirs], wanted[ours]) for level, theirs, ours in rows]
    return [pair for pair in found if pair[2].strip()]


def _score(
    captions: list[tuple[int, str, str]], scorers: Mapping[str, CaptionScorer], video: str
) -> dict[str, np.ndarray]:
    """Sums of the scores of one video at each threshold, ``(19,)``, and how many pairs they are of."""
    sums = {f"CapA[{name}]": np.zeros(len(ALPHAS)) for name in scorers}
    many = np.array([sum(level > place for level, _, _ in captions) for place in range(len(ALPHAS))], dtype=np.float64)
    for place in range(len(ALPHAS)):
        pairs = [(said, wanted) for level, said, wanted in captions if level > place]
        for name, scorer in scorers.items():
            column = sums[f"CapA[{name}]"]
            if place and many[place] == many[place - 1]:
                column[place] = column[place - 1]  # the same pairs
            elif pairs:
                given = scorer([said for said, _ in pairs], [wanted for _, wanted in pairs])
                column[place] = numbers(given, f"video {video!r}: {name}", (len(pairs),)).sum()
    return sums | {"captioned": many}
