"""Beam search against trying everything, and sampling against the distribution it draws from."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from whenwhere.errors import InputError
from whenwhere.layers.beam import NoRepeatNgram, beam_search, length_penalty, sample
from whenwhere.layers.text_decoder import TextDecoder, TextDecoderConfig

BOS, EOS = 1, 2


class TableStepper:
    """A decoder whose next-token probabilities depend on the whole text, by a hash of it."""

    def __init__(self, batch, vocab, seed=0, sharpness=2.0):
        self.batch, self.vocab, self.seed, self.sharpness = batch, vocab, seed, sharpness
        self.texts = None

    def row(self, example, text):
        generator = torch.Generator().manual_seed(hash((self.seed, example, *text)) % 2**31)
        return (self.sharpness * torch.randn(self.vocab, generator=generator)).log_softmax(-1)

    def step(self, tokens):
        old = self.texts or [[() for _ in range(tokens.shape[1])] for _ in range(self.batch)]
        self.texts = [[(*text, int(t)) for text, t in zip(*pair)] for pair in zip(old, tokens)]
        return torch.stack([torch.stack([self.row(b, t) for t in texts]) for b, texts in enumerate(self.texts)])

    def reorder(self, parents):
        self.texts = [[texts[p] for p in row] for texts, row in zip(self.texts, parents.tolist())]


def all_texts(stepper, example, max_length, allowed=lambda text: True):
    """(score without penalty, tokens) of every text that ends within ``max_length``."""
    found = []
    for length in range(1, max_length + 1):
        others = [t for t in range(stepper.vocab) if t != EOS]
        for words in itertools.product(others, repeat=length - 1):
            text = (*words, EOS)
            if allowed(text):
                logprobs = [stepper.row(example, (BOS, *text[:i]))[text[i]].item() for i in range(length)]
                found.append((sum(logprobs), text, logprobs))
    return found


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_wide_search_equals_trying_everything(seed, alpha):
    stepper = TableStepper(batch=2, vocab=4, seed=seed)
    found = beam_search(stepper, bos=BOS, eos=EOS, beam=200, n_best=5, max_length=4, alpha=alpha)
    for example, texts in enumerate(found):
        everything = all_texts(TableStepper(2, 4, seed), example, 4)
        best = sorted(((s / length_penalty(len(t), alpha), t, p) for s, t, p in everything), reverse=True)[:5]
        assert [text.tokens for text in texts] == [t for _, t, _ in best]
        assert [text.score for text in texts] == pytest.approx([s for s, _, _ in best], abs=1e-5)
        assert texts[0].logprobs == pytest.approx(best[0][2], abs=1e-5)


def test_one_beam_is_never_worse_than_greedy():
    found = beam_search(TableStepper(6, 4), bos=BOS, eos=EOS, beam=1, max_length=40, alpha=0.0)
    table = TableStepper(6, 4)
    for example, (text,) in enumerate(found):
        greedy, score = (BOS,), 0.0
        while greedy[-1] != EOS:
            best = table.row(example, greedy).max(dim=0)
            greedy, score = (*greedy, int(best.indices)), score + float(best.values)
        assert len(greedy) <= 41 and text.tokens[-1] == EOS and text.score >= score - 1e-5


def test_search_over_the_real_decoder_equals_trying_everything():
    torch.manual_seed(0)
    config = TextDecoderConfig(
        visual_width=4, vocab_size=5, width=16, depth=2, num_heads=2, mlp_width=16, max_positions=8
    )
    decoder = TextDecoder(config).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        context = decoder.encode(torch.randn(2, 3, 4), torch.tensor([[1, 2], [3, 0]]))
        found = beam_search(decoder.stepper(context), bos=BOS, eos=EOS, beam=64, n_best=3, max_length=4)
        texts = [(*w, EOS) for n in range(4) for w in itertools.product((0, 1, 3, 4), repeat=n)]
        for example, best in enumerate(found):
            scores = {}
            for text in texts:
                ids = torch.tensor([[BOS, *text[:-1]]])
                one = type(context)(
                    tuple((k[example : example + 1], v[example : example + 1]) for k, v in context.layers),
                    context.keep[example : example + 1],
                )
                rows = decoder.logits(decoder.decode(one, ids)).log_softmax(-1)[0]
                scores[text] = rows[range(len(text)), list(text)].sum().item() / length_penalty(len(text), 0.6)
            expected = sorted(scores, key=scores.__getitem__, reverse=True)[:3]
            assert [text.tokens for text in best] == expected
            assert [text.score for text in best] == pytest.approx([scores[t] for t in expected], abs=1e-4)


def test_examples_do_not_disturb_each_other():
    together = beam_search(TableStepper(3, 6), bos=BOS, eos=EOS, beam=3, n_best=3, max_length=7)
    for example in range(3):

        class One(TableStepper):
            def row(self, _, text, example=example):
                return super().row(example, text)

        (alone,) = beam_search(One(1, 6), bos=BOS, eos=EOS, beam=3, n_best=3, max_length=7)
        assert alone == together[example]


def test_texts_that_never_end_are_cut():
    class Endless(TableStepper):
        def row(self, example, text):
            return super().row(example, text).masked_fill(torch.arange(self.vocab) == EOS, -math.inf).log_softmax(-1)

    (texts,) = beam_search(Endless(1, 5), bos=BOS, eos=EOS, beam=4, n_best=2, max_length=6)
    assert [len(t.tokens) for t in texts] == [6, 6] and all(EOS not in t.tokens for t in texts)
    assert texts[0].score >= texts[1].score


def test_constraints_hold_and_the_search_stays_right_under_them():
    def even_first(tokens):
        allowed = torch.ones(*tokens.shape[:2], 4, dtype=torch.bool)
        if tokens.shape[-1] == 1:
            allowed[..., [1, 3]] = False
        return allowed

    found = beam_search(
        TableStepper(1, 4), bos=BOS, eos=EOS, beam=100, n_best=3, max_length=4, constraints=[even_first]
    )
    everything = all_texts(TableStepper(1, 4), 0, 4, lambda text: text[0] % 2 == 0)
    best = sorted(((s / length_penalty(len(t), 0.6), t) for s, t, _ in everything), reverse=True)[:3]
    assert [text.tokens for text in found[0]] == [t for _, t in best]


def test_a_dead_end_gives_no_text():
    nothing = [lambda tokens: torch.zeros(*tokens.shape[:2], 4, dtype=torch.bool)]
    assert beam_search(TableStepper(2, 4), bos=BOS, eos=EOS, constraints=nothing) == [[], []]


def test_no_repeated_ngrams():
    guard = NoRepeatNgram(2, 10, exempt_from=8)
    texts = torch.tensor([[[1, 5, 6, 5], [1, 5, 8, 5], [1, 8, 6, 8]]])
    allowed = guard(texts)[0]
    assert allowed.logical_not().nonzero().tolist() == [[0, 6]]  # 5 6 was there; 5 8 and 8 6 are not words only
    assert NoRepeatNgram(1, 10)(torch.tensor([[[1, 5]]]))[0, 0].logical_not().nonzero().flatten().tolist() == [1, 5]
    (texts,) = beam_search(
        TableStepper(1, 5, sharpness=0.1), bos=BOS, eos=EOS, max_length=12, constraints=[NoRepeatNgram(2, 5)]
    )
    pairs = list(itertools.pairwise((BOS, *texts[0].tokens)))
    assert len(pairs) == len(set(pairs))


def test_samples_follow_the_nucleus():
    class Fixed(TableStepper):
        def row(self, example, text):
            return torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05]).log()

    generator = torch.Generator().manual_seed(0)
    (texts,) = sample(Fixed(1, 5), bos=BOS, eos=EOS, count=4000, max_length=1, top_p=0.8, generator=generator)
    drawn = torch.tensor([t.tokens[0] for t in texts])
    shares = torch.bincount(drawn, minlength=5) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.625, 0, 0.375, 0, 0]), atol=0.03, rtol=0)
    generator.manual_seed(0)
    (cold,) = sample(Fixed(1, 5), bos=BOS, eos=EOS, count=50, max_length=1, temperature=0.01, generator=generator)
    assert {t.tokens for t in cold} == {(0,)}


def test_samples_are_scored_by_the_model_and_end_where_they_end():
    def draw():
        stepper, generator = TableStepper(2, 6), torch.Generator().manual_seed(1)
        return sample(stepper, bos=BOS, eos=EOS, count=20, max_length=5, top_p=0.95, generator=generator)

    found = draw()
    assert found == draw()
    assert len({t.tokens for t in found[0]}) > 3
    table = TableStepper(2, 6)
    for example, texts in enumerate(found):
        for text in texts:
            assert EOS not in text.tokens[:-1] and (text.tokens[-1] == EOS or len(text.tokens) == 5)
            rows = [table.row(example, (BOS, *text.tokens[:i])) for i in range(len(text.tokens))]
            assert text.logprobs == pytest.approx([r[t].item() for r, t in zip(rows, text.tokens)], abs=1e-5)
            assert text.score == pytest.approx(sum(text.logprobs))


def test_bad_numbers_are_refused():
    for options in ({"beam": 2, "n_best": 3}, {"max_length": 0}):
        with pytest.raises(InputError):
            beam_search(TableStepper(1, 4), bos=BOS, eos=EOS, **options)
    for options in ({"count": 0}, {"count": 1, "top_p": 0.0}, {"count": 1, "temperature": 0.0}):
        with pytest.raises(InputError):
            sample(TableStepper(1, 4), bos=BOS, eos=EOS, **options)
    with pytest.raises(InputError):
        NoRepeatNgram(0, 4)
