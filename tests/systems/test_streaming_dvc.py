"""The GIT-form streaming captioner: sizes, loss, causality, streaming, learning, and files."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_captioners import PIECES, build, live_config, random_tokens, small_config
from torch import nn

from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.memory import MemoryConfig
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.systems.decoding_points import DecodingPoints
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig, VideoBatch, preset

EVENTS = [
    [Event(0, 2.5, "a cat sleeps on the mat ."), Event(3, 7, "the dog runs ."), Event(1, 9.9, "a bird sings .")],
    [Event(4, 6, "a cat jumps ."), Event(5, 12, "the dog sleeps on the mat .")],
]


def batch(seed=0, length=16):
    return VideoBatch(random_tokens(seed, 2, length, 3, 12), EVENTS, [10.0, 10.0], [1, 2])


@pytest.fixture(params=[small_config, live_config], ids=["paper form", "live form"])
def config(request) -> StreamingDVCConfig:
    return request.param()


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def decoder_parameters(visual, vocab, width, depth, mlp, positions=1024, tie=False):
    """Counted from the layout, not from the code."""
    projection = visual * width + width + 2 * width
    embedding = vocab * width + positions * width + 2 * width
    layer = 4 * (width * width + width) + 2 * width + (width * mlp + mlp) + (mlp * width + width) + 2 * width
    output = (0 if tie else vocab * width) + vocab
    return projection + embedding + depth * layer + output


def test_paper_size_on_the_meta_device():
    config = preset("paper")
    assert (config.memory.size, config.tokens_per_frame, config.token_width) == (514, 257, 1024)
    assert (config.decoder.depth, config.decoder.width, config.decoder.vocab_size) == (6, 768, 30522 + 64)
    with torch.device("meta"):
        model = StreamingDVC(config)
    assert all(p.is_meta for p in model.parameters())
    assert parameters(model) == decoder_parameters(1024, 30586, 768, 6, 3072) == 91_114_618


@pytest.mark.parametrize(("name", "visual"), [("paper", (1024, 24, 16, 4096, 14)), ("small", (768, 12, 12, 3072, 16))])
def test_decoder_is_gits_by_its_own_count(name, visual):
    """The text part of transformers' GIT with as many output rows has as many parameters as ours."""
    from transformers import GitConfig, GitForCausalLM

    width, depth, heads, mlp, patch = visual
    vision = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "patch_size": patch,
    }
    with torch.device("meta"):
        git = GitForCausalLM(GitConfig(vision_config=vision, vocab_size=30586))
        ours = StreamingDVC(preset(name))
    assert parameters(ours) == parameters(git) - parameters(git.git.image_encoder)
    assert preset(name).tokens_per_frame == git.git.image_encoder.vision_model.embeddings.num_positions


def test_tiny_size():
    config = preset("tiny", words=7000)
    with torch.device("meta"):
        model = StreamingDVC(config)
    expected = decoder_parameters(384 + 16, 7128, 384, 4, 1536, 256, tie=True) + 400  # and the end token
    assert parameters(model) == expected == 10_096_360


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_trained_rate_is_a_rate(rate):
    with pytest.raises(InputError, match="trained rate"):
        replace(preset("tiny"), trained_rate=rate)


def test_unknown_preset():
    with pytest.raises(InputError, match="one of tiny, small, paper"):
        preset("huge")


def test_loss_of_an_untrained_model_is_that_of_guessing():
    """Mean over words plus half the mean over times: about 1.5 ln(V + n_bins)."""
    config = replace(preset("paper"), token_width=8, tokens_per_frame=2, memory=MemoryConfig(size=4))
    config = replace(config, decoder=replace(config.decoder, width=192, depth=2, mlp_width=384))
    assert config.decoder.vocab_size == 30586
    pieces = [*PIECES, *(f"word{i}" for i in range(30522 - len(PIECES)))]
    torch.manual_seed(0)
    model = StreamingDVC(config, Vocab.wordpiece(pieces, 64))
    parts = model.loss(VideoBatch(random_tokens(0, 2, 64, 2, 8), EVENTS, [10.0, 10.0], [0, 1]))
    assert parts["loss"].item() == pytest.approx(1.5 * math.log(30586), abs=0.2) == pytest.approx(15.5, abs=0.3)
    assert parts["word_loss"].item() == pytest.approx(math.log(30586), abs=0.2)


def slow_loss(model: StreamingDVC, videos: VideoBatch) -> float:
    """The loss, one row at a time: memory from the first frame, decoder over one unpadded text."""
    nats: dict[bool, list[torch.Tensor]] = {False: [], True: []}
    rows, config = model.rows(videos), model.config
    for r in range(len(rows)):
        state = model.empty_memory()
        for t in range(rows.frame[r] + 1):
            state = model.remember(state, videos.tokens[rows.video[r], t], float(t))
        prefix = rows.prefix[r][rows.prefix[r] != 0]
        text = rows.text[r][rows.text[r] != 0]
        visual = model.visual(state.tokens, rows.ended[r])
        logprobs = model.decoder(visual, text[None, :-1], prefix[None]).log_softmax(-1)[0]
        for row, target in zip(logprobs, text[1:].tolist()):
            wanted = torch.full_like(row, config.smoothing / (len(row) - 1))
            wanted[target] = 1 - config.smoothing
            nats[target >= config.words].append(-(wanted * row).sum())
    return float(torch.stack(nats[False]).mean() + config.time_weight * torch.stack(nats[True]).mean())


@torch.no_grad()
def test_loss_equals_one_row_at_a_time(config):
    model = build(config)
    parts = model.loss(batch())
    assert parts["loss"].item() == pytest.approx(slow_loss(model, batch()), abs=1e-4)
    rows = model.rows(batch())
    assert (parts["words"], parts["times"]) == (rows.words, rows.times) and rows.times > 0


@torch.no_grad()
@pytest.mark.parametrize("kind", ["temporal_pool", "spatial_pool", "ema", "adjacent_merge", "none"])
def test_loss_over_the_other_memories(kind):
    model = build(small_config(memory=MemoryConfig(kind=kind, size=7)))
    assert model.loss(batch())["loss"].item() == pytest.approx(slow_loss(model, batch()), abs=1e-4)


@torch.no_grad()
def test_losses_of_two_halves_sum_to_the_loss_of_the_whole(config):
    model, whole = build(config), batch()
    totals = (model.rows(whole).words, model.rows(whole).times)
    halves = [VideoBatch(whole.tokens[i : i + 1], EVENTS[i : i + 1], [10.0], whole.seeds[i : i + 1]) for i in (0, 1)]
    parts = [model(half, totals)["loss"] for half in halves]
    torch.testing.assert_close(sum(parts), model(whole)["loss"], atol=1e-5, rtol=0)


def test_a_batch_with_nothing_to_say_costs_nothing_and_still_has_a_graph():
    model = build(small_config()).train()
    parts = model.loss(VideoBatch(random_tokens(0, 1, 16, 3, 12), [[]], [10.0], [0]))
    parts["loss"].backward()
    assert parts["loss"].item() == 0 and parts["words"].item() == 0
    assert all(p.grad is not None for p in model.parameters())  # or data-parallel training would wait for ever


def test_a_step_without_an_end_still_reaches_the_end_token():
    rarely = replace(live_config().points, end_probability=1e-12)
    model, videos = build(live_config(points=rarely)).train(), batch()
    assert not any(model.rows(videos).ended)
    model.loss(videos)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_short_videos_train_the_window_form():
    model = build(live_config())
    short = model.rows(batch(length=8))
    assert max(short.frame) == 7 and model.loss(batch(length=8))["loss"].isfinite()


def test_gradients_reach_every_parameter(config):
    model = build(config).train()
    seeds = range(6)  # enough points for one to be an end
    tokens = random_tokens(0, 6, 16, 3, 12)
    model.loss(VideoBatch(tokens, [EVENTS[0]] * 6, [10.0] * 6, seeds))["loss"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_temporal_embeddings_are_learned_through_the_memory():
    model = build(small_config(temporal=16)).train()
    model.loss(batch())["loss"].backward()
    assert model.temporal.grad.abs().sum(dim=1).count_nonzero() == 16
    with pytest.raises(InputError, match="16 frame embeddings"):
        model.predict(random_tokens(0, 17, 3, 12), 10.0)


# Streaming -----------------------------------------------------------------------------------------------------------


def run(model, tokens, rate=2.0, session=None, start=0):
    """Push frames; return the events of every frame."""
    session = session or model.session(rate)
    return [session.push(frame, (start + t) / rate) for t, frame in enumerate(tokens)], session


def test_what_is_said_depends_on_nothing_later_to_the_bit(config):
    model = build(config)
    tokens = random_tokens(1, 24, 3, 12)
    events, _ = run(model, tokens)
    assert sum(map(len, events)) >= 3
    for cut in (4, 8, 16):
        changed = torch.cat([tokens[:cut], random_tokens(2, 24 - cut, 3, 12)])
        assert run(model, changed)[0][:cut] == events[:cut]
    assert run(model, torch.cat([tokens[:4], -tokens[4:]]))[0] != events


def test_a_saved_stream_goes_on_to_the_bit(config, tmp_path):
    model = build(config)
    tokens = random_tokens(1, 24, 3, 12)
    events, whole = run(model, tokens)
    for cut in (1, 6, 17):
        before, session = run(model, tokens[:cut])
        session.save(tmp_path / "state")
        session = model.session(2.0)
        session.load(tmp_path / "state")
        after, session = run(model, tokens[cut:], session=session, start=cut)
        assert before + after == events
        one, other = session.state_dict(), whole.state_dict()
        assert one["plain"] == other["plain"]
        assert all(torch.equal(one["tensors"][name], tensor) for name, tensor in other["tensors"].items())
    assert whole.finish() == session.finish()


def test_streamed_memory_is_the_memory_of_training():
    model = build(small_config())
    tokens = random_tokens(1, 16, 3, 12)
    _, session = run(model, tokens)
    marked = model.frame_tokens(tokens[None], torch.arange(16.0))
    assert torch.equal(session.state_dict()["tensors"]["memory.0.tokens"], model.memory.run(marked)[15].tokens)


def test_the_state_of_an_endless_stream_does_not_grow():
    model = build(live_config())
    session, sizes = model.session(2.0), []
    for t in range(160):
        session.push(random_tokens(t % 7, 3, 12), t / 2)
        sizes.append(session.nbytes())
    tokens, width = 6, 12 + 16
    assert max(sizes) < 2 * (tokens * width * 4 + tokens * 8) + 6000  # two memories, and a few kB of captions
    assert max(sizes[80:]) <= max(sizes[32:80]) + 500


def test_whole_clips():
    model = build(small_config())
    tokens = random_tokens(1, 16, 3, 12)
    events = model.predict(tokens, 10.0)
    assert events and events == sorted(events, key=lambda e: (e.start, e.end))
    assert all(0 <= e.start <= e.end <= 10 and e.emitted_at in (2.5, 5.0, 7.5, 10.0) for e in events)
    two_points = model.predict(tokens, 10.0, replace(model.config.stream, interval=8))
    assert {e.emitted_at for e in two_points} <= {5.0, 10.0}


def test_one_decoding_point_at_test_is_ordinary_dense_captioning():
    model = build(small_config())
    tokens = random_tokens(1, 16, 3, 12)
    options = replace(model.config.stream, interval=16)
    state = model.memory.run(model.frame_tokens(tokens[None], torch.arange(16.0)))[15]
    text = model.generate(state, [model.vocab.bos, model.vocab.eos], options)
    spoken = [model.vocab.decode(e.words) for e in model.vocab.parse(text.tokens)]
    assert sorted(e.text for e in model.predict(tokens, 10.0, options)) == sorted(s for s in spoken if s)


def test_inference_refuses_dropout():
    model = build(small_config())
    session = model.session(1.0)
    model.train()
    with pytest.raises(InputError, match=r"call \.eval\(\)"):
        run(model, random_tokens(0, 4, 3, 12), session=session)
    assert not model.session(1.0).system.training  # opening a stream ends training


def test_frames_of_another_width_are_refused():
    with pytest.raises(InputError, match=r"\(N_f, 12\)"):
        build(small_config()).session(1.0).push(torch.zeros(3, 13), 0.0)


def test_learns_to_say_what_happens_when():
    """From noise to the right captions within a bin, live, on videos that it was trained on."""
    config = live_config(
        points=DecodingPoints(count=4, plain_probability=0.5, train_empty=True, end_probability=0.2, order="end"),
        decoder=TextDecoderConfig(
            width=48, depth=2, num_heads=4, mlp_width=96, max_positions=40, tie=True, dropout=0.0, attention_dropout=0.0
        ),
        smoothing=0.0,
    )
    torch.manual_seed(0)
    model = StreamingDVC(config, Vocab.wordpiece(PIECES, 16))
    things = random_tokens(3, 3, 12)
    names = ["a cat sleeps", "the dog runs", "a bird sings"]
    videos, events = [], []
    for shift in range(3):  # the order tells which of three videos it is
        order = [(k + shift) % 3 for k in range(3)]
        videos.append(torch.cat([things[k].expand(n, 3, 12) for k, n in zip(order, (5, 6, 5))]))
        spans = [(0.0, 2.5), (2.5, 5.5), (5.5, 8.0)]
        events.append([Event(s, e, names[k]) for k, (s, e) in zip(order, spans)])
    videos = torch.stack(videos) + 0.05 * random_tokens(4, 3, 16, 3, 12)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    first = last = 0.0
    for step in range(150):
        seeds = [3 * step + k for k in range(3)]
        loss = model.train().loss(VideoBatch(videos, events, [8.0] * 3, seeds))["loss"]
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        first, last = first or loss.item(), loss.item()
    assert last < 0.2 * first
    for video, truth in zip(videos, events):
        session = model.session(2.0, duration=8.0)
        said = [event for t, frame in enumerate(video) for event in session.push(frame, t / 2)]
        said += session.finish()
        assert [e.text.lower() for e in said] == [e.text for e in truth]
        for found, true in zip(said, truth):
            assert abs(found.start - true.start) <= 0.6 and abs(found.end - true.end) <= 0.6  # a bin is 0.53 s
        assert said[0].emitted_at == 4.0 and said[2].emitted_at == 8.0


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_files(config, tmp_path, dtype):
    model = build(config)
    folder = model.save(tmp_path / "model", dtype)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    again = StreamingDVC.load(folder)
    assert again.config == config and not again.training
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.to(dtype).float())
    if dtype == torch.float32:
        tokens = random_tokens(1, 16, 3, 12)
        assert again.predict(tokens, 10.0) == model.predict(tokens, 10.0)


def test_damaged_files_are_refused(tmp_path):
    folder = build(small_config()).save(tmp_path)
    build(small_config(memory=MemoryConfig(size=9), end_token=True)).save(tmp_path / "other")
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="unknown end"):
        StreamingDVC.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match="does not exist"):
        StreamingDVC.load(folder)
    (tmp_path / "other" / "vocab.txt").write_text("\n".join(PIECES[:-1]) + "\n")
    with pytest.raises(InputError, match="17 words and 16 time bins"):
        StreamingDVC.load(tmp_path / "other")


def test_contradictions_are_refused():
    for changes, message in (
        ({"points": DecodingPoints(end_probability=0.1)}, "end_token"),
        ({"axis": replace(small_config().axis, span="window")}, "carry no time"),
        ({"stream": replace(small_config().stream, max_tokens=41)}, "41 tokens"),
        ({"token_width": 0}, "at least 1"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"temporal": -1}, "temporal"),
    ):
        with pytest.raises(InputError, match=message):
            small_config(**changes)
    with pytest.raises(InputError, match="built with one"):
        _ = StreamingDVC(small_config()).vocab
