"""The Vid2Seq-form captioner: stretch, sizes, loss, decoding, streaming, and files."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_captioners import random_tokens
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import Unigram

from whenwhere.errors import InputError
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.training_rows import VideoBatch
from whenwhere.systems.vid2seq import Vid2Seq, Vid2SeqConfig, stretch_index, vid2seq_preset

WORDS = ["a", "cat", "dog", "sleeps", "runs", "on", "the", "mat"]
EVENTS = [[Event(0, 4, "a cat sleeps"), Event(3, 9, "the dog runs on the mat")], [Event(2, 6, "a dog sleeps")]]


def t5_vocab(n_bins=10) -> Vocab:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((f"▁{word}", -1.0) for word in WORDS)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return Vocab(tokenizer, n_bins, words=14)


def small_config(**changes) -> Vid2SeqConfig:
    config = Vid2SeqConfig(
        encoder="none",
        token_width=12,
        words=14,
        axis=TimeAxis(frames=10, n_bins=10),
        points=DecodingPoints(count=4, form="plain"),
        stream=StreamOptions(interval=5, max_tokens=12, prefix_tokens=16, beam=2, alpha=3.0),
        width=16,
        temporal_depth=2,
        temporal_heads=2,
        temporal_mlp=24,
        text_depth=2,
        text_heads=2,
        text_head_width=8,
        text_mlp=24,
    )
    return replace(config, **changes)


@pytest.fixture
def model() -> Vid2Seq:
    torch.manual_seed(0)
    return Vid2Seq(small_config(), t5_vocab()).eval()


def test_stretch():
    assert stretch_index(0, 100).tolist() == [0] * 100
    assert stretch_index(99, 100).tolist() == list(range(100))
    assert stretch_index(4, 5).tolist() == [0, 1, 2, 3, 4]
    assert stretch_index(2, 5).tolist() == [0, 1, 1, 2, 2]  # floor(0.5 + 0, 0.5, 1, 1.5, 2): halves go up
    assert stretch_index(9, 4).tolist() == [0, 3, 6, 9]  # a longer past is thinned out
    long = stretch_index(1000, 100)
    assert long[0] == 0 and long[-1] == 1000 and (long.diff() > 0).all()


def test_paper_size_on_the_meta_device():
    config = vid2seq_preset("paper")
    assert (config.axis.frames, config.axis.n_bins, config.points.count, config.words) == (100, 100, 8, 32128)
    with torch.device("meta"):
        model = Vid2Seq(config)
    width, mlp, rows = 768, 2048, 32128 + 100
    attention, gated = 4 * width * width, 3 * width * mlp  # T5 has no biases
    encoder = 12 * (attention + gated + 2 * width) + width + 32 * 12  # and one table of relative positions
    decoder = 12 * (2 * attention + gated + 3 * width) + width + 32 * 12
    temporal = 12 * (attention + 4 * width + 2 * width * mlp + mlp + width + 4 * width) + 2 * width + 100 * width
    expected = 2 * rows * width + encoder + decoder + temporal
    assert sum(p.numel() for p in model.parameters()) == expected == 313_977_600


def test_output_is_not_tied_to_the_embedding(model):
    assert model.t5.lm_head.weight is not model.t5.shared.weight
    assert model.t5.decoder.embed_tokens.weight is model.t5.shared.weight is model.t5.encoder.embed_tokens.weight


def batch():
    return VideoBatch(random_tokens(0, 2, 10, 1, 12), EVENTS, [10.0, 10.0], [0, 1])


@torch.no_grad()
def test_loss_is_one_mean_over_all_tokens_of_all_points(model):
    nats, rows = [], model.rows(batch())
    assert set(rows.frame) >= {5, 8} and rows.times > 0
    for r in range(len(rows)):
        index = stretch_index(rows.frame[r], 10)
        prefix = [t for t in rows.prefix[r].tolist() if t != 0]  # BOS is T5's padding: masked away as well
        text = torch.tensor([[0, *[t for t in rows.text[r].tolist() if t != 0]]])
        context, mask = model.encode(batch().tokens[rows.video[r], index, 0][None], torch.tensor([prefix]))
        out = model.t5.decoder(input_ids=text[:, :-1], encoder_hidden_states=context, encoder_attention_mask=mask)
        logprobs = model.logits(out.last_hidden_state).log_softmax(-1)[0]
        for row, target in zip(logprobs, text[0, 1:].tolist()):
            wanted = torch.full_like(row, 0.1 / (len(row) - 1))
            wanted[target] = 0.9
            nats.append(-(wanted * row).sum())
    torch.testing.assert_close(model.loss(batch())["loss"], torch.stack(nats).mean(), atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter(model):
    model.train().loss(batch())["loss"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_word_by_word_equals_all_at_once(model):
    context, mask = model.encode(random_tokens(1, 2, 10, 12), torch.tensor([[0, 3, 4, 1], [0, 5, 1, 0]]))
    texts = torch.tensor([[[0, 15, 20, 3, 5]] * 2, [[0, 14, 16, 4, 7]] * 2])  # (B, G, L)
    texts[:, 1, 3:] = 6
    from whenwhere.systems.vid2seq import T5Stepper

    stepper = T5Stepper(model, context, mask)
    stepper.step(texts[:, :1, 0])
    stepper.reorder(torch.zeros(2, 2, dtype=torch.int64))
    for i in range(1, 4):
        stepper.step(texts[:, :, i])
        texts = texts.flip(1)
        stepper.reorder(torch.tensor([[1, 0], [1, 0]]))
    found = stepper.step(texts[:, :, 4])
    for g in range(2):
        out = model.t5.decoder(input_ids=texts[:, g], encoder_hidden_states=context, encoder_attention_mask=mask)
        expected = model.logits(out.last_hidden_state[:, -1]).log_softmax(-1)
        torch.testing.assert_close(found[:, g], expected, atol=1e-5, rtol=1e-5)


def test_what_is_said_depends_on_nothing_later_and_a_saved_stream_goes_on(model):
    tokens = random_tokens(2, 20, 1, 12)

    def run(frames, session=None, start=0):
        session = session or model.session(1.0)
        return [session.push(f, float(start + t)) for t, f in enumerate(frames)], session

    events, whole = run(tokens)
    assert sum(map(len, events)) > 0
    changed = torch.cat([tokens[:10], random_tokens(3, 10, 1, 12)])
    assert run(changed)[0][:10] == events[:10]
    before, session = run(tokens[:7])
    state, later = session.state_dict(), model.session(1.0)
    later.load_state_dict(state)
    after, later = run(tokens[7:], later, 7)
    assert before + after == events and later.finish() == whole.finish()


def test_a_horizon_bounds_what_it_keeps(model):
    session = model.session(1.0, replace(model.config.stream, horizon=10))
    sizes = []
    for t in range(60):
        session.push(random_tokens(t % 5, 1, 12), float(t))
        sizes.append(session.nbytes())
    assert max(sizes) < 15 * (12 * 4 + 8) + 6000


def test_files(model, tmp_path):
    folder = model.save(tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    again = Vid2Seq.load(folder)
    tokens = random_tokens(2, 10, 1, 12)
    assert again.config == model.config and again.predict(tokens, 10.0) == model.predict(tokens, 10.0)
    assert again.t5.encoder.embed_tokens.weight is again.t5.shared.weight


def test_contradictions_are_refused(model):
    for changes in (
        {"tokens_per_frame": 2},
        {"axis": TimeAxis(frames=10, n_bins=10, span="window")},
        {"points": DecodingPoints(end_probability=0.1)},
    ):
        with pytest.raises(InputError, match="1 token a frame"):
            small_config(**changes)
    with pytest.raises(InputError, match=r"\(1, 12\)"):
        model.session(1.0).push(torch.zeros(2, 12), 0.0)
    with pytest.raises(InputError, match="one of tiny, paper"):
        vid2seq_preset("small")
