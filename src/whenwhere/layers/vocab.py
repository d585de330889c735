"""Words and times as token ids: a word vocabulary of V pieces, followed by one token for each time bin."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whenwhere.errors import InputError
from whenwhere.layers.event_stream import (
    ReversedSpans,
    TimedTokens,
    UntimedWords,
    join_wordpieces,
    parse_events,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, CLASSIFY, SEPARATE = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
WORDPIECE_FILE, TOKENIZER_FILE = "vocab.txt", "tokenizer.json"
_REDUCED_SPECIALS = (PAD, UNKNOWN, CLASSIFY, SEPARATE, "[MASK]")


class Vocab:
    """Turns captions and time bins into ids and back.

    Ids 0 .. V-1 are words, V .. V+n_bins-1 are time bins 0 .. n_bins-1. Two kinds of word vocabulary are known: BERT's
    uncased WordPiece (begin [CLS], end [SEP]) and T5's (begin with the padding token 0, end with ``</s>``). Build one
    with :meth:`wordpiece`, :meth:`from_file` or :meth:`from_texts`.

    Attributes:
        words: V.
        n_bins: time tokens.
        pad, bos, eos, unknown: ids of padding, begin, end and the unknown word.
    """

    def __init__(
        self, tokenizer: Tokenizer, n_bins: int, *, pieces: Sequence[str] | None = None, words: int | None = None
    ) -> None:
        self._tokenizer, self._pieces = tokenizer, None if pieces is None else tuple(pieces)
        known = tokenizer.get_vocab_size()
        self.words = known if words is None else words
        self.n_bins = n_bins
        if self.words < known or n_bins < 0:
            raise InputError(f"{self.words} words and {n_bins} bins", f"at least {known} words and no negative bins")
        names = ("<pad>", "<pad>", "</s>", "<unk>") if pieces is None else (PAD, CLASSIFY, SEPARATE, UNKNOWN)
        ids = [i for name in names if (i := tokenizer.token_to_id(name)) is not None]
        if len(ids) < len(names):
            raise InputError("a vocabulary that lacks a special token", ", ".join(names))
        self.pad, self.bos, self.eos, self.unknown = ids
        if self.pad != 0:
            raise InputError(f"a vocabulary whose padding token has id {self.pad}", "id 0")

    @classmethod
    def wordpiece(cls, pieces: Sequence[str], n_bins: int) -> Vocab:
        """Build an uncased BERT vocabulary from its pieces in id order.

        Raises:
            InputError: a piece is given twice, or a special token is missing.
        """
        from tokenizers import Tokenizer, normalizers, pre_tokenizers
        from tokenizers.models import WordPiece

        ids = {piece: i for i, piece in enumerate(pieces)}
        if len(ids) != len(pieces):
            twice = next(piece for piece, count in Counter(pieces).items() if count > 1)
            raise InputError(f"a vocabulary that holds {twice!r} twice", "each piece once")
        tokenizer = Tokenizer(WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return cls(tokenizer, n_bins, pieces=pieces)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], n_bins: int, *, words: int | None = None) -> Vocab:
        """Read a vocabulary from a file, or from the one in a folder.

        Args:
            path: ``vocab.txt`` (one WordPiece a line), a ``tokenizer.json`` of the tokenizers library, or a folder that
                holds one of them.
            n_bins: time tokens to add.
            words: V if it is more than the file has, such as 32128 for T5, whose file has 32100.

        Raises:
            InputError: no such file, or not a vocabulary of a known kind.
        """
        path = Path(path)
        if path.is_dir():
            found = [path / name for name in (WORDPIECE_FILE, TOKENIZER_FILE) if (path / name).is_file()]
            if not found:
                raise InputError(f"{path} has no vocabulary", f"{WORDPIECE_FILE} or {TOKENIZER_FILE} in it")
            path = found[0]
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the vocabulary {path}: {error}") from None
        if path.suffix == ".txt":
            return cls.wordpiece(text.removesuffix("\n").split("\n"), n_bins)
        return cls._from_json(text, str(path), n_bins, words)

    @classmethod
    def _from_json(cls, text: str, name: str, n_bins: int, words: int | None) -> Vocab:
        from tokenizers import Tokenizer

        try:
            data = json.loads(text)
            model, normalizer = data["model"], data.get("normalizer") or {}
            if model.get("type") == "WordPiece" or model.get("continuing_subword_prefix") == "##":
                if not normalizer.get("lowercase", True):
                    raise InputError(f"the vocabulary {name} tells capitals apart", "an uncased WordPiece vocabulary")
                ids = model["vocab"]
                pieces = sorted(ids, key=ids.__getitem__)
                if [ids[piece] for piece in pieces] != list(range(len(pieces))):
                    raise InputError(f"the vocabulary {name} has holes in its ids", "ids 0, 1, 2, ...")
                return cls.wordpiece(pieces, n_bins)
            return cls(Tokenizer.from_str(text), n_bins, words=words)
        except InputError:
            raise
        except Exception as error:  # the tokenizers library raises bare Exception for a bad file
            raise InputError(f"{name} is not a tokenizer file: {error}", "a tokenizer.json") from None

    @classmethod
    def from_texts(cls, texts: Iterable[str], base: Vocab, n_bins: int | None = None, *, least: int = 1) -> Vocab:
        """Keep only the WordPieces of ``base`` that occur in ``texts``: a small softmax for a small model.

        Texts are split as ``base`` splits them, and all single ASCII characters stay, so other words can be spelled.

        Args:
            texts: captions.
            base: a WordPiece vocabulary.
            n_bins: time tokens; as many as ``base`` has if ``None``.
            least: occurrences a piece needs to stay.

        Raises:
            InputError: ``base`` is not a WordPiece vocabulary.
        """
        if base._pieces is None:
            raise InputError("a reduced vocabulary of a tokenizer that is not WordPiece", "an uncased BERT vocabulary")
        counts = Counter(i for text in texts for i in base._tokenizer.encode(text, add_special_tokens=False).ids)
        single = [p for p in base._pieces if len(p.removeprefix("##")) == 1 and p.isascii()]
        kept = {base._pieces[i] for i, count in counts.items() if count >= least} | set(single)
        ordered = [p for p in base._pieces if p in kept and p not in _REDUCED_SPECIALS]
        return cls.wordpiece([*_REDUCED_SPECIALS, *ordered], base.n_bins if n_bins is None else n_bins)

    def __len__(self) -> int:
        """V + n_bins, rows of the embedding and of the softmax."""
        return self.words + self.n_bins

    @property
    def specials(self) -> frozenset[int]:
        """Ids that are no part of a caption: padding, begin and end."""
        return frozenset((self.pad, self.bos, self.eos))

    @property
    def unspeakable(self) -> tuple[int, ...]:
        """Word ids that a caption must never hold: specials, the unknown word, and bracketed or unused entries."""
        if self._pieces is None:
            return tuple(sorted({*self.specials, self.unknown, *range(self._tokenizer.get_vocab_size(), self.words)}))
        bracketed = (i for i, p in enumerate(self._pieces) if len(p) > 2 and p[0] == "[" and p[-1] == "]")
        return tuple(sorted({*self.specials, self.unknown, *bracketed}))

    @property
    def continuations(self) -> tuple[int, ...]:
        """Ids of pieces that only go on with a word (``##...``); empty for other tokenizers."""
        return tuple(i for i, p in enumerate(self._pieces or ()) if p.startswith("##"))

    def encode(self, text: str, limit: int | None = None) -> list[int]:
        """Return the word ids of a caption, without begin and end, cut to ``limit`` tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids[:limit])

    def decode(self, ids: Iterable[int], *, capitalize: bool = False) -> str:
        """Return the text of word ids; special and time tokens are left out."""
        words = [i for i in ids if i < self.words and i not in self.specials]
        if self._pieces is not None:
            return join_wordpieces([self._pieces[i] for i in words], capitalize=capitalize)
        text = self._tokenizer.decode(words, skip_special_tokens=True).strip()
        return text[:1].upper() + text[1:] if capitalize else text

    def time(self, time_bin: int) -> int:
        """Return the id of a time bin.

        Raises:
            InputError: there is no such bin.
        """
        if not 0 <= time_bin < self.n_bins:
            raise InputError(f"time bin {time_bin}", f"0..{self.n_bins - 1}")
        return self.words + time_bin

    def event(self, start: int, end: int, words: Sequence[int]) -> list[int]:
        """Return ``[start][end] words``."""
        return [self.time(start), self.time(end), *words]

    def sequence(self, parts: Iterable[Sequence[int]], limit: int | None = None) -> list[int]:
        """Return ``BOS part part ... EOS``, cut to ``limit`` tokens (then without EOS)."""
        return [self.bos, *(token for part in parts for token in part), self.eos][:limit]

    def parse(
        self,
        tokens: Sequence[int],
        *,
        reversed_spans: ReversedSpans = "keep",
        untimed: UntimedWords = "keep",
    ) -> list[TimedTokens]:
        """Split a decoder's output into events; see :func:`whenwhere.layers.event_stream.parse_events`."""
        return parse_events(tokens, self.words, self.specials, reversed_spans=reversed_spans, untimed=untimed)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``vocab.txt`` (WordPiece) or ``tokenizer.json`` (others) into an existing folder; return its path."""
        if self._pieces is not None:
            path, text = Path(folder) / WORDPIECE_FILE, "".join(piece + "\n" for piece in self._pieces)
        else:
            path, text = Path(folder) / TOKENIZER_FILE, self._tokenizer.to_str()
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
        return path
