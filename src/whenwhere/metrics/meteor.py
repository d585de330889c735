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
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, lru_cache

import numpy as np

from whenwhere.errors import MissingDependency
from whenwhere.metrics.meteor_alignment import EXACT, PARAPHRASE, STEM, SYNONYM, Match, align
from whenwhere.metrics.meteor_tables import LanguageTables, language_tables
from whenwhere.metrics.meteor_text import normalise
from whenwhere.metrics.records import Scores, check_captions

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase
_BLOCK = 512  # items whose captions are looked up together
_KEPT_CAPTIONS, _KEPT_PAIRS = 1 << 13, 1 << 16  # remembered; they are forgotten when there are more

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


def _score(counts: Sequence[float]) -> float:
    """The score of counts (or of their sum over items).

    Args:
        counts: 21: content and function words of candidate and reference (2 x 2), matched words by side, kind and class
            (2 x 4 x 2), chunks (see :meth:`MeteorScorer.counts`).
    """
    totals = [_DELTA * counts[side] + (1 - _DELTA) * counts[side + 1] for side in (0, 2)]
    weighted = [
        sum(
            weight * (_DELTA * counts[first + 2 * kind] + (1 - _DELTA) * counts[first + 2 * kind + 1])
            for kind, weight in enumerate(_WEIGHTS)
        )
        for first in (4, 12)
    ]
    if not (all(totals) and all(weighted)):
        return 0.0
    precision, recall = weighted[0] / totals[0], weighted[1] / totals[1]
    penalty = _GAMMA * (counts[20] / (sum(counts[4:20]) / 2)) ** _BETA
    return float((1 - penalty) * precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall))


class _Caption:
    """What matching asks of one caption."""

    def __init__(self, words: Sequence[str], phrases: Sequence[tuple[int, int, int]], scorer: MeteorScorer) -> None:
        self.words = words
        known = [scorer.word(word) for word in words]
        self.stemmed = [stem for stem, _, _ in known]
        self.meanings = [synsets for _, synsets, _ in known]
        self.is_function = [function for _, _, function in known]
        self.places: dict[str, list[int]] = {}
        self.stems: dict[str, list[int]] = {}
        for place, (word, stem) in enumerate(zip(words, self.stemmed)):
            self.places.setdefault(word, []).append(place)
            self.stems.setdefault(stem, []).append(place)
        self.synsets = frozenset[int]().union(*self.meanings)
        self.phrases = phrases  # start, length, row
        self.starts: dict[int, list[int]] = {}  # of each row
        self.lengths: dict[int, int] = {}
        for start, length, row in phrases:
            self.starts.setdefault(row, []).append(start)
            self.lengths[row] = length
        self.rows = frozenset(self.starts)
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
        self._stem = stem
        self.word = cache(self._word)
        self._paraphrases = lru_cache(1 << 16)(lambda row: frozenset(tables.paraphrases.values(row).tolist()))
        self._captions: dict[str, _Caption] = {}
        self._pairs: dict[tuple[str, str], list[int]] = {}

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
        """See :func:`meteor`.

        Raises:
            InputError: naming the item that cannot be scored.
        """
        check_captions(candidates, references)
        total, items = np.zeros(21), []
        for start in range(0, len(candidates), _BLOCK):
            block = list(zip(candidates[start : start + _BLOCK], references[start : start + _BLOCK]))
            self._prepare({text for candidate, group in block for text in (candidate, *group)})
            for candidate, group in block:
                best, counts = -1.0, [0]
                for reference in group:
                    tried = self.counts(candidate, reference)
                    score = _score(tried)
                    if score > best:  # of equal ones the first
                        best, counts = score, tried
                items.append(best)
                total += counts
        return Scores(_score(total.tolist()), np.array(items))

    def counts(self, candidate: str, reference: str) -> list[int]:
        """Words, matched words and chunks of one pair, 21 in the order that ``_score`` reads.

        One chunk that covers both captions is not counted: such a pair has no penalty, and adds none to the corpus.
        """
        known = self._pairs.get((candidate, reference))
        if known is not None:
            return known
        self._prepare({candidate, reference})
        ours, theirs = self._captions[candidate], self._captions[reference]
        chosen, chunks = align(list(self._matches(ours, theirs)), len(ours.words), len(theirs.words))
        counts = [*ours.sizes, *theirs.sizes, *[0] * 16, chunks]
        for start, length, other, other_length, kind in chosen:
            for is_function in ours.is_function[start : start + length]:
                counts[4 + 2 * kind + is_function] += 1
            for is_function in theirs.is_function[other : other + other_length]:
                counts[12 + 2 * kind + is_function] += 1
        if chunks == 1 and [sum(counts[4:12]), sum(counts[12:20])] == [len(ours.words), len(theirs.words)]:
            counts[20] = 0
        if len(self._pairs) >= _KEPT_PAIRS:
            self._pairs.clear()
        self._pairs[candidate, reference] = counts
        return counts

    def _prepare(self, texts: set[str]) -> None:
        """Look up all that these captions hold, at once."""
        if texts <= self._captions.keys():
            return
        if len(self._captions) >= _KEPT_CAPTIONS:
            self._captions.clear()
        new = [text for text in texts if text not in self._captions]
        words = [normalise(text.replace("|||", ""), self.tables.prefixes) for text in new]
        spans = [span for caption, known in enumerate(words) for span in self._spans(caption, known)]
        rows = self.tables.paraphrases.find([span[3] for span in spans])
        phrases: list[list[tuple[int, int, int]]] = [[] for _ in new]
        for place in np.flatnonzero(rows >= 0).tolist():
            caption, start, length, _ = spans[place]
            phrases[caption].append((start, length, int(rows[place])))
        for text, known, found in zip(new, words, phrases):
            self._captions[text] = _Caption(known, found, self)

    def _spans(self, caption: int, words: Sequence[str]) -> Iterator[tuple[int, int, int, str]]:
        """Caption, start, length and text of all that may be a phrase of the table of paraphrases."""
        for start, text in enumerate(words):
            yield caption, start, 1, text
            for end in range(start + 1, min(start + self.tables.longest, len(words))):
                text = f"{text} {words[end]}"
                yield caption, start, end - start + 1, text

    def _matches(self, ours: _Caption, theirs: _Caption) -> Iterator[Match]:
        """All matches, in the order in which the alignment tries them: by kind, then by words of the candidate."""
        for place, word in enumerate(ours.words):
            for other in theirs.places.get(word, ()):
                yield Match(place, 1, other, 1, EXACT)
        if ours.words == theirs.words:
            return
        for place, stem in enumerate(ours.stemmed):
            for other in theirs.stems.get(stem, ()):
                if theirs.words[other] != ours.words[place]:
                    yield Match(place, 1, other, 1, STEM)
        for place, meanings in enumerate(ours.meanings):
            if shared := meanings & theirs.synsets:
                for other, others in enumerate(theirs.meanings):
                    if theirs.words[other] != ours.words[place] and not shared.isdisjoint(others):
                        yield Match(place, 1, other, 1, SYNONYM)
        # Each direction of the table for itself: a pair that is listed both ways gives two matches.
        for other, other_length, start, length in self._listed(theirs, ours):
            yield Match(start, length, other, other_length, PARAPHRASE)
        for start, length, other, other_length in self._listed(ours, theirs):
            yield Match(start, length, other, other_length, PARAPHRASE)

    def _listed(self, left: _Caption, right: _Caption) -> Iterator[tuple[int, int, int, int]]:
        """Phrases of the left caption with a paraphrase of theirs in the right one: start and length of both."""
        for start, length, row in left.phrases:
            meanings: Collection[int] = self._paraphrases(row) & right.rows
            if len(meanings) > 1:
                meanings = [value for value in self.tables.paraphrases.values(row).tolist() if value in meanings]
            for meaning in meanings:
                for other in right.starts[meaning]:
                    yield start, length, other, right.lengths[meaning]

    def _word(self, word: str) -> tuple[str, frozenset[int], bool]:
        """Stem, synsets of the word and of the word it is a form of, and if it is a function word."""
        forms = [word, *self.tables.base_forms.get(word, ())]
        bases = []
        if len(forms) == 1 and len(word) > 2 and not word.endswith("ss"):
            bases = [word.removesuffix(ending) + base for ending, base in _ENDINGS if word.endswith(ending)]
        rows = self.tables.synsets.find(forms + bases).tolist()
        rows, others = rows[: len(forms)], rows[len(forms) :]
        rows += [row for row in others if row >= 0][:1]  # the first that is a word
        found = {synset for row in rows if row >= 0 for synset in self.tables.synsets.values(row).tolist()}
        return self._stem(word), frozenset(found), word in self.tables.function_words


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
