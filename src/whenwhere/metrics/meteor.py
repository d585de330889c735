"""METEOR 1.5 for English: words matched by surface, stem, synonym and paraphrase, and how well their order is kept.

The published figures of captioning papers come from a Java program. This module computes it without Java, from the
program's own language tables (:mod:`whenwhere.metrics.meteor_tables`).

Content words weigh delta = 0.75 and function words 1 - delta; a match weighs 1 (exact), 0.6 (stem), 0.8 (synonym) or
0.6 (paraphrase). With P and R the weighted shares of matched words of candidate and reference, alpha = 0.85,
gamma = 0.6, beta = 0.2, ``ch`` chunks and ``m`` matched words (the mean of both sides)::

    score = (1 - gamma (ch / m)^beta) P R / (alpha P + (1 - alpha) R)

Source: Denkowski and Lavie, "Meteor Universal", WMT 2014; "Meteor 1.3", WMT 2011.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from whenwhere.errors import MissingDependency
from whenwhere.metrics.meteor_alignment import EXACT, PARAPHRASE, STEM, SYNONYM, Match, align
from whenwhere.metrics.meteor_tables import LanguageTables, language_tables
from whenwhere.metrics.meteor_text import normalise
from whenwhere.metrics.records import Scores, check_captions

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase

# WordNet's endings and what takes their place, in the order in which they are tried.
_ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
)


def meteor(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Score captions by METEOR 1.5.

    Args:
        candidates: one tokenised caption per item (:func:`whenwhere.metrics.ptb.tokenize`).
        references: tokenised references of every item; the one that scores best counts.

    Returns:
        Scores in 0..1; ``corpus`` comes from the counts of all items together and is not the mean.

    Raises:
        InputError: naming the item that cannot be scored.
        MissingDependency: if the language tables or a stemmer are not installed; it names the command.
    """
    check_captions(candidates, references)
    return _installed_scorer().score(candidates, references)


def meteor_pair_scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """METEOR as a ``pair_scores`` of :func:`whenwhere.metrics.dense_captions.dense_captions`: the corpus figure.

    Args:
        candidates: tokenised captions of one video.
        references: their tokenised references.

    Returns:
        ``{"METEOR": figure}``.

    Raises:
        MissingDependency: see :func:`meteor`.
    """
    return {"METEOR": meteor(candidates, references).corpus}


def _score(counts: np.ndarray) -> float:
    """The score of counts (or of their sum over items).

    Args:
        counts: float64 ``(21,)``: content and function words of candidate and reference (2 x 2), matched words by side,
            kind and class (2 x 4 x 2), chunks (see :meth:`MeteorScorer.counts`).
    """
    words, matched = counts[:4].reshape(2, 2), counts[4:20].reshape(2, 4, 2)  # (side, class), (side, kind, class)
    classes = np.array([_DELTA, 1 - _DELTA])
    totals = words @ classes  # (side,)
    weighted = _WEIGHTS @ matched @ classes  # (side,)
    if not (totals > 0).all() or not (weighted > 0).all():
        return 0.0
    precision, recall = weighted / totals
    chunks, sides = counts[20], matched.sum(axis=(1, 2))
    penalty = _GAMMA * (chunks / sides.mean()) ** _BETA
    return float((1 - penalty) * precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall))


class _Caption:
    """What matching asks of one caption."""

    def __init__(self, words: Sequence[str], scorer: MeteorScorer) -> None:
        self.words = words
        self.places: dict[str, list[int]] = {}
        self.stems: dict[str, list[int]] = {}
        self.synsets: dict[int, list[int]] = {}
        for place, word in enumerate(words):
            self.places.setdefault(word, []).append(place)
            self.stems.setdefault(scorer.stem(word), []).append(place)
            for synset in scorer.synsets(word):
                self.synsets.setdefault(synset, []).append(place)
        self.phrases = scorer.phrases(words)
        self.rows: dict[int, list[int]] = {}  # where each phrase starts
        self.lengths: dict[int, int] = {}
        for start, length, row in self.phrases:
            self.rows.setdefault(row, []).append(start)
            self.lengths[row] = length
        self.is_function = [word in scorer.tables.function_words for word in words]
        function = sum(self.is_function)
        self.sizes = (len(words) - function, function)


class MeteorScorer:
    """METEOR with given tables; it keeps what it looked up, so scoring more captions gets faster.

    Args:
        tables: of the language.
        stem: gives the stem of a word.
    """

    def __init__(self, tables: LanguageTables, stem: Callable[[str], str]) -> None:
        self.tables = tables
        self.stem = cache(stem)
        self.synsets = cache(self._synsets)
        self._rows: dict[str, int] = {}
        self._paraphrases = cache(lambda row: frozenset(tables.paraphrases.values(row).tolist()))
        self._captions: dict[str, _Caption] = {}

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
        """See :func:`meteor`.

        Raises:
            InputError: naming the item that cannot be scored.
        """
        check_captions(candidates, references)
        counts, items = [], []
        for candidate, group in zip(candidates, references):
            tried = [self.counts(candidate, reference) for reference in group]
            scores = [_score(found) for found in tried]
            best = int(np.argmax(scores))  # of equal ones the first
            counts.append(tried[best])
            items.append(scores[best])
        return Scores(_score(np.sum(counts, axis=0)), np.array(items))

    def counts(self, candidate: str, reference: str) -> np.ndarray:
        """Words, matched words and chunks of one pair, float64 ``(21,)``, in the order that ``_score`` reads.

        One chunk that covers both captions is not counted: such a pair has no penalty, and adds none to the corpus.
        """
        ours, theirs = self._caption(candidate), self._caption(reference)
        matches = list(self._matches(ours, theirs))
        chosen, chunks = align(matches, len(ours.words), len(theirs.words))
        covered = [sum(match.length for match in chosen), sum(match.other_length for match in chosen)]
        if covered == [len(ours.words), len(theirs.words)] and chunks == 1:
            chunks = 0
        counts = [*ours.sizes, *theirs.sizes, *[0] * 16, chunks]
        for match in chosen:
            for place in range(match.start, match.start + match.length):
                counts[4 + 2 * match.kind + ours.is_function[place]] += 1
            for place in range(match.other, match.other + match.other_length):
                counts[12 + 2 * match.kind + theirs.is_function[place]] += 1
        return np.array(counts, dtype=np.float64)

    def phrases(self, words: Sequence[str]) -> list[tuple[int, int, int]]:
        """Start, length and row of every phrase that is in the table of paraphrases."""
        spans = [
            (start, length, " ".join(words[start : start + length]))
            for start in range(len(words))
            for length in range(1, min(self.tables.longest, len(words) - start) + 1)
        ]
        unknown = list({text for _, _, text in spans if text not in self._rows})
        self._rows.update(zip(unknown, self.tables.paraphrases.find(unknown).tolist()))
        return [(start, length, self._rows[text]) for start, length, text in spans if self._rows[text] >= 0]

    def _caption(self, text: str) -> _Caption:
        if text not in self._captions:
            words = normalise(text.replace("|||", ""), self.tables.prefixes)
            self._captions[text] = _Caption(words, self)
        return self._captions[text]

    def _matches(self, ours: _Caption, theirs: _Caption) -> Iterator[Match]:
        """All matches, in the order in which the alignment tries them: by kind, then by words of the candidate."""
        for place, word in enumerate(ours.words):
            for other in theirs.places.get(word, ()):
                yield Match(place, 1, other, 1, EXACT)
        if ours.words == theirs.words:
            return
        for place, word in enumerate(ours.words):
            for other in theirs.stems.get(self.stem(word), ()):
                if theirs.words[other] != word:
                    yield Match(place, 1, other, 1, STEM)
        for place, word in enumerate(ours.words):
            for other in {other for synset in self.synsets(word) for other in theirs.synsets.get(synset, ())}:
                if theirs.words[other] != word:
                    yield Match(place, 1, other, 1, SYNONYM)
        # Each direction of the table for itself: a pair that is listed both ways gives two matches.
        for other, other_length, start, length in self._listed(theirs, ours):
            yield Match(start, length, other, other_length, PARAPHRASE)
        for start, length, other, other_length in self._listed(ours, theirs):
            yield Match(start, length, other, other_length, PARAPHRASE)

    def _listed(self, left: _Caption, right: _Caption) -> Iterator[tuple[int, int, int, int]]:
        """Phrases of the left caption with a paraphrase of theirs in the right one: start and length of both."""
        for start, length, row in left.phrases:
            meanings = list(self._paraphrases(row).intersection(right.rows))
            if len(meanings) > 1:
                meanings = [value for value in self.tables.paraphrases.values(row).tolist() if value in meanings]
            for meaning in meanings:
                for other in right.rows[meaning]:
                    yield start, length, other, right.lengths[meaning]

    def _synsets(self, word: str) -> frozenset[int]:
        """Synsets of the word and of the word it is a form of."""
        table = self.tables.synsets
        rows = table.find([word, *self.tables.base_forms.get(word, ())])
        found = {synset for row in rows if row >= 0 for synset in table.values(row).tolist()}
        if word not in self.tables.base_forms and len(word) > 2 and not word.endswith("ss"):
            bases = [word.removesuffix(ending) + base for ending, base in _ENDINGS if word.endswith(ending)]
            for row in table.find(bases):
                if row >= 0:  # the first that is a word
                    found.update(table.values(row).tolist())
                    break
        return frozenset(found)


@cache
def _installed_scorer() -> MeteorScorer:
    return MeteorScorer(language_tables(), _stemmer())


def _stemmer() -> Callable[[str], str]:
    """The Snowball stemmer for English as it was before its version 3, which stems "evening" and others anew."""
    try:
        version = importlib.metadata.version("snowballstemmer")
        if int(version.split(".")[0]) > 2:
            raise ImportError(f"version {version}")
        from snowballstemmer.english_stemmer import EnglishStemmer
    except ImportError as error:  # a package that is not found is one, too
        raise MissingDependency(
            f"METEOR without its stemmer ({error})",
            "the package snowballstemmer, version 2",
            "run: pip install 'whenwhere[meteor]'",
        ) from None
    return EnglishStemmer().stemWord
