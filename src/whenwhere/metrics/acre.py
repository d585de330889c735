"""Which objects make the machine light up? Accuracy on ACRE, one regime (I.I.D., compositional, systematic) at a time.

Source: Zhang et al., "ACRE: Abstract Causal REasoning Beyond Covariation", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import same_ids
from whenwhere.metrics.result import Figures, Result, weighted_mean

QUERIES = 4  # of a problem
# What the answers to a type of query can be: 0 off, 1 undetermined, 2 on. The paper calls "potential" backward-blocking.
ANSWERS = {"direct": (0, 2), "indirect": (2,), "screen_off": (0,), "potential": (1,)}


def acre(predictions: Mapping[str, Sequence[int]], truths: Mapping[str, Sequence[tuple[int, str]]]) -> Result:
    """Accuracy of answers.

    Args:
        predictions: by problem, the answers to its four queries: 0 off, 1 undetermined, 2 on.
        truths: by the same problems, answer and type of each query.

    Returns:
        Result with one item per problem, in 0..1: ``query`` (right answers / queries), ``problem`` (problems with four
        right answers), and by type ``direct``, ``indirect``, ``screen_off``, ``potential``; a type that no query has is
        left out.

    Raises:
        InputError: naming the problem and the query that cannot be scored, or whose answer does not go with its type.
    """
    ids = same_ids(predictions, truths, "problem")
    right = np.zeros((len(ids), QUERIES))
    table = np.zeros((len(ids), len(ANSWERS), 2))  # right answers and queries of each type
    kinds = list(ANSWERS)
    for row, name in enumerate(ids):
        said, told = _four(predictions[name], f"problem {name!r}, answers"), _four(truths[name], f"problem {name!r}")
        for place, (guess, pair) in enumerate(zip(said, told)):
            answer, kind = _answer(pair, f"problem {name!r}, query {place}")
            if not isinstance(guess, (int, np.integer)) or isinstance(guess, bool) or guess not in (0, 1, 2):
                raise InputError(f"problem {name!r}, answer {place}: {guess!r}", "0 (off), 1 (undetermined) or 2 (on)")
            right[row, place] = guess == answer
            table[row, kinds.index(kind)] += guess == answer, 1
    absent = [kind for column, kind in enumerate(kinds) if not table[:, column, 1].any()]

    def compute(weights: np.ndarray) -> Figures:
        figures = {
            "query": float(weighted_mean(right.mean(axis=1), weights)),
            "problem": float(weighted_mean(right.all(axis=1).astype(np.float64), weights)),
        }
        for kind, (found, asked) in zip(kinds, np.tensordot(weights, table, axes=1)):
            if kind not in absent:
                figures[kind] = float(found / asked) if asked else float("nan")
        return figures

    return Result(
        "ACRE, one regime: right answers / queries, problems with four right answers, accuracy by type of query "
        "(potential is backward-blocking)",
        ids,
        {"right": right, "types": table},
        {"problems": len(ids), "queries": right.size},
        compute,
        dict.fromkeys(absent, "no query of this type"),
    )


def _four(answers: Any, what: str) -> Sequence[Any]:
    if isinstance(answers, (str, Mapping)) or not hasattr(answers, "__len__") or len(answers) != QUERIES:
        raise InputError(f"{what}: {str(answers)[:60]}", f"a list of {QUERIES}, one for each query")
    return answers


def _answer(pair: Any, what: str) -> tuple[int, str]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or pair[1] not in ANSWERS:
        raise InputError(f"{what}: {pair!r}", f"(answer, type), the type one of {', '.join(ANSWERS)}")
    answer, kind = pair
    if answer not in ANSWERS[kind]:
        possible = " or ".join(map(str, ANSWERS[kind]))
        raise InputError(
            f"{what}: the answer {answer!r} to a query of type {kind}", possible, "the file was read wrongly"
        )
    return answer, kind
