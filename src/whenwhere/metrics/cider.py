"""CIDEr and CIDEr-D: agreement of a caption with what people wrote, n-grams weighted by how rare they are.

What the COCO caption scorer and the papers that use it call CIDEr is the variant CIDEr-D without stemming; it is the
default here. The plain cosine of the paper's equation 2 is there under its own name.

An n-gram weighs ``count * idf``, where ``idf = log(documents) - log(max(1, document frequency))`` and a document is the
set of references of one item. For each order 1..4 the cosine of the weights of candidate and reference is taken; the
mean over orders and references, times ten, is the score. CIDEr-D clips the candidate's weights at the reference's and
multiplies by a Gaussian of the difference in length. With one document every idf is 0, and so is every score.

Source: Vedantam, Zitnick and Parikh, "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Literal, NamedTuple, get_args

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import Scores, check_captions, check_references, check_strings

Gram = tuple[str, ...]
Variant = Literal["CIDEr-D", "CIDEr"]

_ORDERS = 4
_SIGMA = 6.0  # words
_SCALE = 10.0
_BLOCK = 2_000_000  # n-gram meetings worked on at once: bounds memory, does not change results


def cider(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    frequencies: Mapping[Gram, float] | None = None,
    documents: float | None = None,
    variant: Variant = "CIDEr-D",
) -> Scores:
    """Score one caption per item against the references of that item.

    Args:
        candidates: one tokenised caption per item (:func:`whenwhere.metrics.ptb.tokenize`).
        references: tokenised references of every item.
        frequencies, documents, variant: see :class:`CiderScorer`.

    Returns:
        Scores in 0..10; ``corpus`` is the mean over items.

    Raises:
        InputError: naming the item that cannot be scored.
    """
    check_captions(candidates, references)
    scorer = CiderScorer(references, frequencies=frequencies, documents=documents, variant=variant)
    return scorer.score(candidates)


def document_frequencies(references: Sequence[Sequence[str]]) -> dict[Gram, int]:
    """In how many items an n-gram occurs.

    Args:
        references: tokenised references of every item.

    Returns:
        The number of items for every n-gram of 1 to 4 words; the number of documents that goes with it is
        ``len(references)``.

    Raises:
        InputError: naming the item without references.
    """
    check_references(references)
    found: Counter[Gram] = Counter()
    for group in references:
        found.update({gram for reference in group for gram in _grams(reference)})
    return dict(found)


class CiderScorer:
    """Reference captions, counted once, against which any number of candidates can be scored.

    A scorer does not change after construction, so threads may share it.

    Args:
        references: tokenised references of every item.
        frequencies: in how many documents of a larger corpus an n-gram occurs; counted in ``references`` if not given.
        documents: how many documents that corpus has; with ``frequencies`` and only then.
        variant: "CIDEr-D" (clipped, with the length penalty; the COCO scorer's "CIDEr") or "CIDEr" (plain cosine).

    Raises:
        InputError: if an item has no reference, or the frequencies do not fit the number of documents.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        *,
        frequencies: Mapping[Gram, float] | None = None,
        documents: float | None = None,
        variant: Variant = "CIDEr-D",
    ) -> None:
        check_references(references)
        if variant not in get_args(Variant):
            raise InputError(f"CIDEr variant {variant!r}", " or ".join(map(repr, get_args(Variant))))
        self.variant = variant
        self.num_items = len(references)
        counted = [_grams(reference) for group in references for reference in group]
        self._item = np.repeat(np.arange(self.num_items), [len(group) for group in references])  # (references,)
        self._numbers: dict[Gram, int] = {}
        gram = np.array(
            [self._numbers.setdefault(key, len(self._numbers)) for grams in counted for key in grams], dtype=np.int64
        )
        self._frequencies = frequencies if frequencies is not None else {}
        self._log_documents = math.log(_documents(frequencies, documents, self.num_items))
        if frequencies is None:
            item = np.repeat(self._item, [len(grams) for grams in counted])
            pairs = np.sort(item * len(self._numbers) + gram)
            once = pairs[np.diff(pairs, prepend=-1) > 0]  # an n-gram counts once per item
            found = np.bincount(once % max(1, len(self._numbers)), minlength=len(self._numbers))
        else:
            found = np.array([frequencies.get(key, 0) for key in self._numbers])
        self._idf = self._log_documents - np.log(np.maximum(1.0, found))
        self._references = _pack(counted, gram, self._idf)

    def score(self, candidates: Sequence[str]) -> Scores:
        """Score one candidate per item against that item's references.

        Args:
            candidates: tokenised captions, as many as there are items.

        Returns:
            Scores in 0..10; ``corpus`` is the mean over items.

        Raises:
            InputError: if the number of candidates is wrong or one is not a string.
        """
        check_strings(candidates, "candidate")
        if len(candidates) != self.num_items or self.num_items == 0:
            raise InputError(
                f"{len(candidates)} candidates for {self.num_items} items",
                "one candidate for every item, at least one item",
                "use similarity() to compare captions freely",
            )
        theirs, ours = self._encode(candidates, {}), self._references
        known = np.flatnonzero(theirs.gram < len(self._numbers))  # other n-grams meet nothing here
        keys = theirs.row[known] * len(self._numbers) + theirs.gram[known]
        sums = np.zeros((len(self._item), _ORDERS))
        for left, right in _meetings(keys, self._by_item):
            self._add(sums, ours.row[right], theirs, known[left], ours, right)
        values = self._finish(sums, theirs, self._item, ours, np.arange(len(self._item)))
        items = np.bincount(self._item, weights=values) / np.bincount(self._item)
        return Scores(float(items.mean()), items)

    def similarity(self, candidates: Sequence[str], references: Sequence[str] | None = None) -> np.ndarray:
        """Compare every candidate with every reference, with the idf of this scorer.

        Args:
            candidates: tokenised captions, any number.
            references: tokenised captions to compare with; all references of the scorer, item after item, if not given.

        Returns:
            float64 ``(candidates, references)`` in 0..10.

        Raises:
            InputError: naming the caption that is not a string.
        """
        check_strings(candidates, "candidate")
        extra: dict[Gram, int] = {}
        if references is None:
            ours, index = self._references, self._by_gram
        else:
            check_strings(references, "reference")
            ours = self._encode(references, extra)
            index = _index(ours.gram)
        columns = len(ours.length)
        table = np.zeros((len(candidates), columns))
        step = max(1, _BLOCK // max(1, columns))
        for start in range(0, len(candidates), step):
            theirs = self._encode(candidates[start : start + step], extra)
            rows = len(theirs.length)
            sums = np.zeros((rows * columns, _ORDERS))
            for left, right in _meetings(theirs.gram, index):
                self._add(sums, theirs.row[left] * columns + ours.row[right], theirs, left, ours, right)
            row, column = np.divmod(np.arange(rows * columns), max(1, columns))
            table[start : start + rows] = self._finish(sums, theirs, row, ours, column).reshape(rows, columns)
        return table

    def consensus(
        self, candidates: Sequence[str], references: Sequence[str] | None = None, weights: Sequence[float] | None = None
    ) -> np.ndarray:
        """The weighted mean similarity of each candidate to a set of captions: what consensus decoding maximises.

        Args:
            candidates: tokenised captions.
            references: tokenised captions to agree with; all references of the scorer if not given.
            weights: of the references, >= 0 and not all 0; equal if not given.

        Returns:
            float64 ``(candidates,)`` in 0..10.

        Raises:
            InputError: if the weights do not fit the references.

        Source: Devlin et al., "Exploring Nearest Neighbor Approaches for Image Captioning", 2015.
        """
        table = self.similarity(candidates, references)
        shares = np.ones(table.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
        if shares.shape != table.shape[1:] or not (np.isfinite(shares).all() and (shares >= 0).all() and shares.any()):
            raise InputError(
                f"weights of shape {shares.shape} for {table.shape[1]} references",
                "one finite weight >= 0 for each reference, at least one of them above 0",
            )
        return table @ (shares / shares.sum())

    @cached_property
    def _by_item(self) -> _Index:
        ours = self._references
        return _index(self._item[ours.row] * len(self._numbers) + ours.gram)

    @cached_property
    def _by_gram(self) -> _Index:
        return _index(self._references.gram)

    def _encode(self, captions: Sequence[str], extra: dict[Gram, int]) -> _Vectors:
        """Vectors of captions; n-grams that no reference holds get the next numbers, which ``extra`` remembers."""
        counted = [_grams(caption) for caption in captions]
        known, start = self._numbers, len(self._numbers)
        gram = np.array(
            [
                known[key] if key in known else extra.setdefault(key, start + len(extra))
                for grams in counted
                for key in grams
            ],
            dtype=np.int64,
        )
        found = np.array([self._frequencies.get(key, 0) for key in extra])
        idf = np.concatenate([self._idf, self._log_documents - np.log(np.maximum(1.0, found))])
        return _pack(counted, gram, idf)

    def _add(
        self, sums: np.ndarray, pair: np.ndarray, theirs: _Vectors, left: np.ndarray, ours: _Vectors, right: np.ndarray
    ) -> None:
        """Add the products of meeting n-grams to ``sums`` ``(pairs, orders)``."""
        ours_weight = ours.weight[right]
        theirs_weight = theirs.weight[left]
        if self.variant == "CIDEr-D":
            theirs_weight = np.minimum(theirs_weight, ours_weight)
        cells = pair * _ORDERS + ours.order[right]
        sums += np.bincount(cells, weights=theirs_weight * ours_weight, minlength=sums.size).reshape(sums.shape)

    def _finish(
        self, sums: np.ndarray, theirs: _Vectors, row: np.ndarray, ours: _Vectors, column: np.ndarray
    ) -> np.ndarray:
        """Turn summed products ``(pairs, orders)`` of captions ``row`` and ``column`` into scores ``(pairs,)``."""
        norms = theirs.norm[row] * ours.norm[column]
        cosines = np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0)
        values = _SCALE * cosines.mean(axis=1)
        if self.variant == "CIDEr-D":
            values *= np.exp(-((theirs.length[row] - ours.length[column]) ** 2) / (2 * _SIGMA**2))
        return values


class _Vectors(NamedTuple):
    """The weighted n-grams of captions, flat: one entry per caption and distinct n-gram, captions in order.

    Attributes:
        row: int64 ``(entries,)``, the caption.
        gram: int64 ``(entries,)``, number of the n-gram.
        order: int64 ``(entries,)``, 0 for words, 1 for pairs, ...
        weight: float64 ``(entries,)``, count times idf, >= 0.
        norm: float64 ``(captions, orders)``.
        length: float64 ``(captions,)``, the number of word pairs: what the original compares as length.
    """

    row: np.ndarray
    gram: np.ndarray
    order: np.ndarray
    weight: np.ndarray
    norm: np.ndarray
    length: np.ndarray


class _Index(NamedTuple):
    """Sorted keys and the entries they belong to."""

    keys: np.ndarray
    entries: np.ndarray


def _pack(counted: Sequence[Mapping[Gram, int]], gram: np.ndarray, idf: np.ndarray) -> _Vectors:
    row = np.repeat(np.arange(len(counted)), [len(grams) for grams in counted])
    order = np.array([len(key) - 1 for grams in counted for key in grams], dtype=np.int64)
    count = np.array([value for grams in counted for value in grams.values()], dtype=np.float64)
    weight = count * idf[gram]
    norm = np.sqrt(np.bincount(row * _ORDERS + order, weights=weight**2, minlength=len(counted) * _ORDERS))
    length = np.bincount(row[order == 1], weights=count[order == 1], minlength=len(counted))
    return _Vectors(row, gram, order, weight, norm.reshape(-1, _ORDERS), length)


def _index(keys: np.ndarray) -> _Index:
    entries = np.argsort(keys, kind="stable")
    return _Index(keys[entries], entries)


def _meetings(keys: np.ndarray, index: _Index) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of an entry of ``keys`` and an indexed entry with the same key, in blocks of bounded size."""
    first = np.searchsorted(index.keys, keys, side="left")
    number = np.searchsorted(index.keys, keys, side="right") - first
    ends = np.cumsum(number)
    start = 0
    while start < len(keys):
        before = ends[start] - number[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        left = np.repeat(np.arange(start, stop), number[start:stop])
        within = np.arange(len(left)) - np.repeat(ends[start:stop] - number[start:stop] - before, number[start:stop])
        yield left, index.entries[first[left] + within]
        start = stop


def _grams(caption: str) -> Counter[Gram]:
    words = caption.split()
    shifted = [words[start:] for start in range(_ORDERS)]
    return Counter(chain.from_iterable(zip(*shifted[:order]) for order in range(1, _ORDERS + 1)))


def _documents(frequencies: Mapping[Gram, float] | None, documents: float | None, num_items: int) -> float:
    """The number of documents behind the idf, checked against the frequencies."""
    if (frequencies is None) != (documents is None):
        missing = "documents" if documents is None else "frequencies"
        raise InputError(f"CIDEr without {missing}", "frequencies and documents together, or neither")
    if frequencies is None or documents is None:
        return max(1, num_items)
    for key in frequencies:
        if not isinstance(key, tuple):
            raise InputError(f"document frequency of {key!r}", "n-grams as tuples of words", "split the key at spaces")
    highest = max(frequencies.values(), default=0)
    if not documents >= max(1, highest):
        raise InputError(f"an n-gram in {highest} of {documents} documents", "at least that many documents")
    return documents
