"""Are the events told as people told them? Caption scores of the predictions that overlap a reference event.

Source: densevid_eval of Krishna et al., "Dense-Captioning Events in Videos", ICCV 2017, in its later versions.
"""

from __future__ import annotations

import json
import random
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.errors import InputError, WhenwhereError
from whenwhere.metrics.bleu import bleu
from whenwhere.metrics.cider import cider
from whenwhere.metrics.events import (
    THRESHOLDS,
    Missing,
    Predictions,
    References,
    read_predictions,
    read_references,
    scored_videos,
    tiou,
)
from whenwhere.metrics.localisation import localisation, start_localisation
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.rouge import rouge_l

PairScorer = Callable[[Sequence[str], Sequence[Sequence[str]]], Mapping[str, float]]


@dataclass(frozen=True)
class DenseCaptionScores:
    """Caption scores of matched pairs, per video and threshold.

    Attributes:
        videos: names, sorted.
        thresholds: of temporal IoU.
        values: for every metric float64 ``(videos, thresholds)``.
    """

    videos: tuple[str, ...]
    thresholds: tuple[float, ...]
    values: Mapping[str, np.ndarray]

    def figures(self) -> dict[str, float]:
        """The mean over videos and thresholds of every metric."""
        return {metric: float(table.mean()) for metric, table in self.values.items()}


def coco_pair_scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """CIDEr, ROUGE-L and BLEU-1..4 of tokenised pairs: what one video at one threshold is scored with."""
    order = bleu(candidates, references).corpus
    return {
        "CIDEr": cider(candidates, references).corpus,
        "ROUGE_L": rouge_l(candidates, references).corpus,
        **{f"Bleu_{n + 1}": float(order[n]) for n in range(4)},
    }


def dense_captions(
    predictions: Predictions,
    references: References,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    missing: Missing = "zero",
    seed: int = 0,
    pair_scores: PairScorer = coco_pair_scores,
) -> DenseCaptionScores:
    """Score the sentences of predictions that lie where the references lie.

    For one video at one threshold, every prediction and every reference event (of every annotator) whose temporal IoU
    is at least the threshold make a pair; a prediction without such an event is paired with random letters, so it
    scores about 0. The pairs of the video are scored as a set of their own: CIDEr's document frequencies are counted
    over these pairs alone, so a video with one pair has CIDEr 0.

    Args:
        predictions: events by video; of more than 1000 in a video the first 1000 count.
        references: one mapping per annotator; the videos scored are those that any of them holds.
        thresholds: of temporal IoU.
        missing: what becomes of a reference video without predictions.
        seed: of the random letters. They are drawn per video and prediction, so a video's score does not depend on the
            others. Which letters they are does not change CIDEr, ROUGE-L or BLEU, and METEOR by about 1e-3.
        pair_scores: scores tokenised candidates and references of one video: metric names to figures.

    Returns:
        DenseCaptionScores.

    Raises:
        InputError: naming the video and event that cannot be scored.
    """
    videos = scored_videos(predictions, references, missing)
    tables: dict[str, np.ndarray] = {}
    for row, video in enumerate(videos):
        found = read_predictions(predictions, video)
        told = read_references(references, video)
        overlaps = np.concatenate([tiou(found.times, moments.times) for moments in told], axis=1)
        said = [_tokens(sentence) for sentence in found.sentences]
        wanted = [_tokens(sentence) for moments in told for sentence in moments.sentences]
        letters = [_random_letters(f"{seed}/{video}/{index}") for index in range(len(said))]
        for column, limit in enumerate(thresholds):
            candidates, others = _pairs(overlaps >= limit, said, wanted, letters)
            for metric, value in (pair_scores(candidates, others) if candidates else {}).items():
                tables.setdefault(metric, np.zeros((len(videos), len(thresholds))))[row, column] = value
    if not tables:  # nothing was predicted anywhere: the figures are zeros, under the names they would have had
        tables = {metric: np.zeros((len(videos), len(thresholds))) for metric in pair_scores(["a"], [["b"]])}
    return DenseCaptionScores(videos, tuple(thresholds), tables)


def _pairs(
    matches: np.ndarray, said: Sequence[str], wanted: Sequence[str], letters: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Candidate and reference of every pair; ``matches`` is ``(predictions, events)``."""
    candidates, others = [], []
    for row, sentence in enumerate(said):
        partners = [wanted[column] for column in np.flatnonzero(matches[row]).tolist()] or [letters[row]]
        candidates += [sentence] * len(partners)
        others += [[partner] for partner in partners]
    return candidates, others


def _tokens(sentence: str) -> str:
    """Tokens of a sentence; this scorer, unlike the caption scorers, sees a space for every character beyond ASCII."""
    return tokenize("".join(char if ord(char) < 128 else " " for char in sentence))


def _random_letters(seed: str) -> str:
    draw = random.Random(seed)
    return "".join(draw.choices(string.ascii_lowercase, k=draw.randint(10, 20)))


def main(arguments: Sequence[str]) -> int:
    """Score files: ``python -m whenwhere.metrics.dense_captions SUBMISSION ANNOTATOR [ANNOTATOR ...]`` prints JSON.

    Both are in the form of ActivityNet Captions: a submission with ``results``, and the events of each annotator.
    """
    if len(arguments) < 2:
        print(main.__doc__, file=sys.stderr)
        return 2
    try:
        submission, *references = [json.loads(Path(path).read_text(encoding="utf-8")) for path in arguments]
        if not isinstance(submission, dict) or "results" not in submission:
            raise InputError(f"{arguments[0]} without results", '{"results": {video: [...]}}')
        predictions = submission["results"]
        figures = {
            **dense_captions(predictions, references).figures(),
            **localisation(predictions, references).figures(),
            **{
                name: value
                for name, value in start_localisation(predictions, references).figures("s").items()
                if "@" in name
            },
        }
    except (WhenwhereError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
