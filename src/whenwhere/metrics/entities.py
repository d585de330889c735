"""Are the names in a caption the right ones? Precision, recall and F1 of named entities.

An entity is a text with a type, such as ("Angela Merkel", "PERSON"), as a recogniser found it in the raw caption; both
sides have to come from the same recogniser. Counts are summed over the set before anything is divided.

* strict: text and type equal, to the letter.
* lenient: the type equal, the text in lower case without possessive and leading article, or both texts of one entry of a
  knowledge base.

Source: the entity scores of Tran, Mathews and Xie, "Transform and Tell: Entity-Aware News Image Captioning", CVPR 2020;
the lenient form is an addition of this project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import same_ids
from whenwhere.metrics.result import Figures, Result, ratio

Entity = tuple[str, str]

TYPES = ("PERSON", "ORG", "GPE", "DATE")


def entities(
    predictions: Mapping[str, Sequence[Entity]],
    truths: Mapping[str, Sequence[Entity]],
    *,
    types: Sequence[str] = TYPES,
    aliases: Mapping[str, str] | None = None,
) -> Result:
    """Precision, recall and F1 over all captions together.

    A predicted entity is right if it occurs among the true ones of its caption, a true one is found if it occurs among
    the predicted ones; repeats count each time.

    Args:
        predictions: by caption, text and type of each entity in the generated caption, with repeats.
        truths: by the same captions, those of the reference.
        types: types that get figures of their own (strict).
        aliases: text to the id of a knowledge base entry, for the lenient form; texts are compared as it compares them.

    Returns:
        Result with one item per caption, in 0..1: ``precision``, ``recall``, ``f1``, ``lenient_precision``, ...,
        ``PERSON_precision``, ...; a type that neither side has is left out.

    Raises:
        InputError: naming the caption and the entity that is no text with a type.
    """
    ids = same_ids(predictions, truths, "caption")
    kinds = ["", "lenient_", *(f"{kind}_" for kind in types)]
    known = {_plain(text): entry for text, entry in (aliases or {}).items()}
    table = np.zeros((len(ids), len(kinds), 4))  # right, predicted, found, true
    for row, name in enumerate(ids):
        said = _entities(predictions[name], f"caption {name!r}, predicted entity")
        true = _entities(truths[name], f"caption {name!r}, true entity")
        table[row, 0] = _hits(said, true)
        table[row, 1] = _hits(*([(known.get(_plain(t), _plain(t)), kind) for t, kind in side] for side in (said, true)))
        for column, kind in enumerate(types, 2):
            table[row, column] = _hits([e for e in said if e[1] == kind], [e for e in true if e[1] == kind])
    absent = [kind for column, kind in enumerate(types, 2) if not table[:, column].any()]

    def compute(weights: np.ndarray) -> Figures:
        figures: Figures = {}
        for column, (kind, sums) in enumerate(zip(kinds, np.tensordot(weights, table, axes=1))):
            if column >= 2 and types[column - 2] in absent:
                continue
            precision, recall = ratio(sums[0], sums[1]), ratio(sums[2], sums[3])
            figures[f"{kind}precision"], figures[f"{kind}recall"] = float(precision), float(recall)
            figures[f"{kind}f1"] = float(ratio(2 * precision * recall, precision + recall))
        return figures

    silent = int((table[:, 0, 1] == 0).sum())
    return Result(
        "named entities: strict (text and type equal, case matters) unless called lenient (lower case, without possessive "
        f"and article{', or one knowledge base entry' if aliases else ''}, type equal); micro average over captions",
        ids,
        {"counts": table},
        {
            "captions": len(ids),
            "true entities": int(table[:, 0, 3].sum()),
            "predicted entities": int(table[:, 0, 1].sum()),
            "captions without a predicted entity": silent,
        },
        compute,
        dict.fromkeys(absent, "no entity of this type on either side"),
    )


def _hits(said: Sequence[Entity], true: Sequence[Entity]) -> tuple[int, int, int, int]:
    ours, theirs = set(true), set(said)
    return sum(one in ours for one in said), len(said), sum(one in theirs for one in true), len(true)


def _plain(text: str) -> str:
    lower = " ".join(text.lower().replace("’", "'").split())
    return re.sub(r"^(?:the|a|an) ", "", re.sub(r"(?:'s|(?<=s)')$", "", lower))


def _entities(found: Any, what: str) -> list[Entity]:
    if isinstance(found, (str, Mapping)):
        raise InputError(f"{what}: a {type(found).__name__}", "a list of (text, type)")
    for index, entity in enumerate(found):
        pair = isinstance(entity, (tuple, list)) and len(entity) == 2
        if not pair or not all(isinstance(part, str) for part in entity):
            raise InputError(f"{what} {index}: {str(entity)[:60]}", "(text, type)")
    return [(text, kind) for text, kind in found]
