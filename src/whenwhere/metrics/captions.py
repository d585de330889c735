"""Captions of images or clips, scored as the COCO caption scorer does, from the text as people write it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.errors import InputError, WhenwhereError
from whenwhere.metrics.bleu import bleu
from whenwhere.metrics.cider import cider
from whenwhere.metrics.meteor import meteor
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.records import check_captions
from whenwhere.metrics.rouge import rouge_l


@dataclass(frozen=True)
class CaptionScores:
    """Figures by metric name: "CIDEr", "ROUGE_L", "Bleu_1" .. "Bleu_4", and "METEOR" where it was asked for.

    Attributes:
        corpus: the figure of the whole set.
        items: float64 ``(items,)`` for every metric.
    """

    corpus: dict[str, float]
    items: dict[str, np.ndarray]


def captions(
    candidates: Sequence[str], references: Sequence[Sequence[str]], *, with_meteor: bool = False
) -> CaptionScores:
    """Tokenise captions and score them with CIDEr, ROUGE-L and BLEU, and with METEOR on request.

    Args:
        candidates: one caption per item, as written.
        references: for every item the captions of people, as written.
        with_meteor: also METEOR, which needs the extra ``meteor``.

    Returns:
        CaptionScores.

    Raises:
        InputError: naming the item that cannot be scored.
        MissingDependency: METEOR is asked for and not installed.
    """
    check_captions(candidates, references)
    said = [tokenize(candidate) for candidate in candidates]
    wanted = [[tokenize(reference) for reference in group] for group in references]
    agreement, overlap, precision = cider(said, wanted), rouge_l(said, wanted), bleu(said, wanted)
    corpus = {"CIDEr": agreement.corpus, "ROUGE_L": overlap.corpus}
    items = {"CIDEr": agreement.items, "ROUGE_L": overlap.items}
    for order in range(4):
        corpus[f"Bleu_{order + 1}"] = float(precision.corpus[order])
        items[f"Bleu_{order + 1}"] = precision.items[:, order]
    if with_meteor:
        corpus["METEOR"], items["METEOR"] = meteor(said, wanted)
    return CaptionScores(corpus, items)


def main(arguments: Sequence[str]) -> int:
    """Score a file: ``python -m whenwhere.metrics.captions [--meteor] FILE.jsonl`` prints the corpus figures as JSON.

    Every line is ``{"candidate": text, "references": [text, ...]}``.
    """
    with_meteor = "--meteor" in arguments
    arguments = [argument for argument in arguments if argument != "--meteor"]
    if len(arguments) != 1:
        print(main.__doc__, file=sys.stderr)
        return 2
    try:
        lines = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
        for index, record in enumerate(records):
            if not isinstance(record, dict) or {"candidate", "references"} - record.keys():
                raise InputError(f"record {index} of {arguments[0]}", '{"candidate": text, "references": [text, ...]}')
        scores = captions(
            [record["candidate"] for record in records],
            [record["references"] for record in records],
            with_meteor=with_meteor,
        )
    except (WhenwhereError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(scores.corpus, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
