"""The grammar of timed captions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.layers.beam import sample
from whenwhere.layers.time_grammar import TimeGrammar
from whenwhere.layers.vocab import Vocab

VOCAB = Vocab.wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##gy"], 4)
A, DOG, GY, EOS = 5, 6, 7, 3
TIMES = [8, 9, 10, 11]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ([], [EOS, *TIMES]),
        ([9], [9, 10, 11]),
        ([9, 10], [A, DOG]),
        ([9, 10, DOG], [EOS, A, DOG, GY, *TIMES]),
        ([9, 10, DOG, 11], [11]),
        ([9, 10, DOG, 11, 11], [A, DOG]),
    ],
)
def test_what_may_follow(text, allowed):
    after = TimeGrammar(VOCAB)(torch.tensor([[[VOCAB.bos, *text]]]))
    assert after[0, 0].nonzero().flatten().tolist() == sorted(allowed)


def test_times_that_have_not_come_yet_are_not_said():
    grammar = TimeGrammar(VOCAB, last_bin=1)
    assert grammar(torch.tensor([[[2]]]))[0, 0].nonzero().flatten().tolist() == [EOS, 8, 9]
    assert grammar(torch.tensor([[[2, 9], [2, 8]]]))[0].int().tolist() == [
        [0] * 9 + [1, 0, 0],
        [0] * 8 + [1, 1, 0, 0],
    ]
    with pytest.raises(InputError, match="last time bin 4"):
        TimeGrammar(VOCAB, 4)


class AnyStepper:
    """All tokens equally likely."""

    batch = 2

    def step(self, tokens):
        return torch.full((*tokens.shape, len(VOCAB)), -2.5)

    def reorder(self, parents):
        pass


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), last_bin=st.integers(0, 3))
def test_whatever_is_drawn_is_well_formed(seed, last_bin):
    generator = torch.Generator().manual_seed(seed)
    grammar = TimeGrammar(VOCAB, last_bin)
    found = sample(
        AnyStepper(), bos=2, eos=3, count=3, max_length=30, top_p=1.0, generator=generator, constraints=[grammar]
    )
    for text in (text for texts in found for text in texts if text.tokens[-1] == EOS):
        events = VOCAB.parse(text.tokens, reversed_spans="drop", untimed="drop")
        rebuilt = VOCAB.sequence([VOCAB.event(e.start, e.end, e.words) for e in events])
        assert rebuilt[1:] == list(text.tokens)  # nothing was lost: it was ([start][end] words)* EOS
        assert all(e.end <= last_bin and e.words[0] != GY for e in events)
