"""Words and times as ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import Unigram

from whenwhere.errors import InputError
from whenwhere.layers.vocab import Vocab

PIECES = [
    *("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "b", "##b", "##s", "dog", "##gy", "rides", "horse", ".", "'", "s"),
]


@pytest.fixture
def vocab() -> Vocab:
    return Vocab.wordpiece(PIECES, 8)


def t5_tokenizer() -> Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁dog", -2.0), ("▁runs", -2.0), ("s", -3.0)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return tokenizer


def test_ids_are_words_then_times(vocab):
    assert len(vocab) == len(PIECES) + 8 and vocab.words == len(PIECES)
    assert (vocab.pad, vocab.unknown, vocab.bos, vocab.eos) == (0, 2, 3, 4)
    assert vocab.encode("A DOGGY rides") == [6, 10, 11, 12]
    assert vocab.encode("a zebra") == [6, 2]
    assert vocab.encode("a dog rides a horse", 3) == [6, 10, 12]
    assert vocab.event(0, 7, [6, 10]) == [17, 24, 6, 10]
    assert vocab.sequence([[6], [10, 12]]) == [3, 6, 10, 12, 4]
    assert vocab.sequence([[6], [10, 12]], limit=3) == [3, 6, 10]
    with pytest.raises(InputError, match=r"time bin 8.*0\.\.7"):
        vocab.time(8)


def test_text_comes_back(vocab):
    ids = [3, 17, 24, 6, 10, 11, 15, 16, 12, 14, 4, 0]
    assert vocab.decode(ids) == "a doggy's rides." and vocab.decode(ids, capitalize=True) == "A doggy's rides."
    assert [(e.start, e.end, vocab.decode(e.words)) for e in vocab.parse(ids)] == [(0, 7, "a doggy's rides.")]


def test_what_a_caption_must_never_hold(vocab):
    assert vocab.unspeakable == (0, 1, 2, 3, 4, 5)
    assert vocab.continuations == (8, 9, 11)


def test_files(vocab, tmp_path):
    path = vocab.save(tmp_path)
    assert path.read_text(encoding="utf-8").splitlines() == PIECES
    for source in (tmp_path, path):
        again = Vocab.from_file(source, 8)
        assert len(again) == len(vocab) and again.encode("a doggy's horse.") == vocab.encode("a doggy's horse.")


def test_tokenizer_json_of_the_same_vocabulary(vocab, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(vocab._tokenizer.to_str(), encoding="utf-8")
    assert Vocab.from_file(path, 8).encode("a doggy's horse.") == vocab.encode("a doggy's horse.")
    data = json.loads(path.read_text(encoding="utf-8"))
    data["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError, match="tells capitals apart"):
        Vocab.from_file(path, 8)
    data["normalizer"]["lowercase"] = True
    data["model"]["vocab"]["extra"] = 99
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError, match="holes"):
        Vocab.from_file(path, 8)


def test_t5_form(tmp_path):
    vocab = Vocab(t5_tokenizer(), 4, words=16)
    assert (vocab.words, len(vocab), vocab.pad, vocab.bos, vocab.eos) == (16, 20, 0, 0, 1)
    assert vocab.encode("a dog runs") == [3, 4, 5]
    assert vocab.decode([0, 16, 19, 3, 4, 5, 1]) == "a dog runs"
    assert vocab.unspeakable == (0, 1, 2, *range(7, 16))
    vocab.save(tmp_path)
    assert Vocab.from_file(tmp_path, 4, words=16).encode("a dog runs") == [3, 4, 5]


def test_reduced_vocabulary_splits_its_texts_as_the_full_one_does(vocab):
    texts = ["a doggy rides.", "A dog's"]
    small = Vocab.from_texts(texts, vocab)
    assert small._pieces[5:] == ("a", "b", "##b", "##s", "dog", "##gy", "rides", ".", "'", "s")  # no horse
    for text in texts:
        assert [small._pieces[i] for i in small.encode(text)] == [PIECES[i] for i in vocab.encode(text)]
    assert (small.pad, small.unknown, small.bos, small.eos) == (0, 1, 2, 3) and small.n_bins == 8
    assert small.encode("horse") == [small.unknown]
    with pytest.raises(InputError, match="not WordPiece"):
        Vocab.from_texts(texts, Vocab(t5_tokenizer(), 4))


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "dog", "doggy", "rides", "horse"]), min_size=1, max_size=8)


@settings(deadline=None)
@given(WORDS)
def test_words_make_the_round_trip(words):
    vocab = Vocab.wordpiece(PIECES, 8)
    assert vocab.decode(vocab.encode(" ".join(words))) == " ".join(words)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_encodes_and_decodes(text):
    vocab = Vocab.wordpiece(PIECES, 8)
    ids = vocab.encode(text)
    assert all(0 <= i < vocab.words for i in ids)
    assert vocab.decode(ids).isascii()


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "a"], "lacks a special token"),
        (["[UNK]", "[PAD]", "[CLS]", "[SEP]"], "padding token has id 1"),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "a"], "holds 'a' twice"),
    ],
)
def test_bad_vocabularies_are_refused(pieces, message):
    with pytest.raises(InputError, match=message):
        Vocab.wordpiece(pieces, 8)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no vocabulary"):
        Vocab.from_file(tmp_path, 8)
    with pytest.raises(InputError, match="cannot read"):
        Vocab.from_file(tmp_path / "vocab.txt", 8)
    for content in ("{", "[]", '{"model": {"type": "Nonsense"}}'):
        (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="not a tokenizer file"):
            Vocab.from_file(tmp_path, 8)
