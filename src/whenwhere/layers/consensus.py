"""Choosing one text of many by agreement: minimum Bayes risk under an n-gram similarity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import Tensor

_LONGEST = 4
_LENGTH_SPREAD = 6.0  # tokens; CIDEr's Gaussian penalty


def consensus(texts: Sequence[Sequence[int]], idf: Tensor, weights: Sequence[float] | None = None) -> int:
    """Index of the text that is most similar to all others.

    Similarity is CIDEr's (Vedantam et al. 2015) in form: the mean over n = 1..4 of cosines of weighted n-gram counts,
    times a Gaussian of the difference in length. An n-gram's weight is the sum of its tokens' idf, since a table of
    n-gram frequencies would be larger than the model.

    Args:
        texts: token ids, without BOS and EOS; empty texts are never chosen unless all are.
        idf: (V,) weight of each token, >= 0.
        weights: of each text as a witness; equal if not given.

    Returns:
        Index into ``texts``; the first of equals.
    """
    table = idf.tolist()
    lengths = np.array([len(text) for text in texts], dtype=float)
    total = np.exp(-((lengths[:, None] - lengths[None]) ** 2) / (2 * _LENGTH_SPREAD**2))
    agreement = np.zeros_like(total)
    for n in range(1, _LONGEST + 1):
        vectors = [_vector(text, n, table) for text in texts]
        index = {gram: column for column, gram in enumerate(sorted(set().union(*vectors)))}
        if not index:
            continue
        matrix = np.zeros((len(texts), len(index)))
        for row, vector in enumerate(vectors):
            for gram, value in vector.items():
                matrix[row, index[gram]] = value
        matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
        agreement += matrix @ matrix.T / _LONGEST
    np.fill_diagonal(agreement, 0.0)
    witness = np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=float)
    scores = (agreement * total) @ witness
    scores[lengths == 0] = -1.0
    return int(scores.argmax())


def _vector(text: Sequence[int], n: int, idf: Sequence[float]) -> dict[tuple[int, ...], float]:
    counts = Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
    return {gram: count * sum(idf[token] for token in gram) for gram, count in counts.items()}
