"""The GIT-form decoder, against a plain transformer with an explicit mask over one sequence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from whenwhere.errors import InputError
from whenwhere.layers.text_decoder import TextDecoder, TextDecoderConfig

CONFIG = TextDecoderConfig(
    visual_width=10, vocab_size=30, width=24, depth=3, num_heads=4, mlp_width=40, max_positions=12
)
K, P, L = 5, 6, 7


def decoder(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    model = TextDecoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # also biases and norms away from 0 and 1
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def inputs(seed=1, batch=3):
    generator = torch.Generator().manual_seed(seed)
    visual = torch.randn(batch, K, 10, generator=generator)
    prefix = torch.randint(1, 30, (batch, P), generator=generator)
    prefix[0, 4:] = 0
    prefix[1:2, 2:] = 0
    text = torch.randint(1, 30, (batch, L), generator=generator)
    return visual, prefix, text


def table(prefix):
    """The mask of the paper's table: who (rows) sees whom (columns), for one example."""
    kinds = ["visual"] * K + ["prefix"] * P + ["text"] * L
    places = [*range(K), *range(P), *range(L)]
    mask = torch.zeros(K + P + L, K + P + L, dtype=torch.bool)
    for q, (query, i) in enumerate(zip(kinds, places)):
        for k, (key, j) in enumerate(zip(kinds, places)):
            sees = key == "visual" or key == "prefix" or (query == "text" and j <= i)
            mask[q, k] = sees and not (key == "prefix" and prefix[j] == 0)
    return mask


def plain_forward(model, visual, prefix, text):
    """One sequence, one mask, matrices written out: logits (L, V) of one example."""
    c = model.config
    rows = F.layer_norm(
        visual @ model.visual_projection.weight.T + model.visual_projection.bias,
        (c.width,),
        model.visual_norm.weight,
        model.visual_norm.bias,
        1e-5,
    )
    for ids in (prefix, text):
        embedded = model.words.weight[ids] + model.positions.weight[: len(ids)]
        embedded = F.layer_norm(embedded, (c.width,), model.norm.weight, model.norm.bias, c.norm_eps)
        rows = torch.cat([rows, embedded])
    mask = table(prefix)
    size = c.width // c.num_heads
    for layer in model.layers:
        q, k, v = (rows @ layer.qkv.weight.T + layer.qkv.bias).split(c.width, dim=-1)
        heads = []
        for h in range(c.num_heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[:, part] @ k[:, part].T / math.sqrt(size)
            heads.append(scores.masked_fill(~mask, -math.inf).softmax(-1) @ v[:, part])
        attended = torch.cat(heads, dim=-1) @ layer.out.weight.T + layer.out.bias
        rows = F.layer_norm(rows + attended, (c.width,), layer.norm1.weight, layer.norm1.bias, c.norm_eps)
        hidden = F.gelu(rows @ layer.fc1.weight.T + layer.fc1.bias) @ layer.fc2.weight.T + layer.fc2.bias
        rows = F.layer_norm(rows + hidden, (c.width,), layer.norm2.weight, layer.norm2.bias, c.norm_eps)
    weight = model.words.weight if c.tie else model.output_weight
    return rows[K + P :] @ weight.T + model.output_bias


@pytest.mark.parametrize("tie", [False, True])
def test_equals_one_sequence_with_the_mask_of_the_table(tie):
    model = decoder(replace(CONFIG, tie=tie))
    visual, prefix, text = inputs()
    with torch.no_grad():
        found = model(visual, text, prefix)
        expected = torch.stack([plain_forward(model, *one) for one in zip(visual, prefix, text)])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_text_does_not_depend_on_later_text_to_the_bit():
    model = decoder()
    visual, prefix, text = inputs()
    logits = model(visual, text, prefix)
    for i in range(1, L):
        changed = text.clone()
        changed[:, i:] = (text[:, i:] + 7) % 29 + 1
        assert torch.equal(model(visual, changed, prefix)[:, :i], logits[:, :i])
        assert not torch.equal(model(visual, changed, prefix)[:, i:], logits[:, i:])


@torch.no_grad()
def test_context_is_made_without_the_text_and_sees_all_of_itself():
    model = decoder()
    visual, prefix, _ = inputs()
    context = model.encode(visual, prefix)
    assert len(context.layers) == 3 and context.layers[0][0].shape == (3, 4, K + P, 6)
    moved = prefix.clone()
    moved[:, 1] = 9  # visual rows see the prefix, from the second layer on
    other = model.encode(visual, moved)
    assert torch.equal(other.layers[0][0][:, :, :K], context.layers[0][0][:, :, :K])
    assert not torch.equal(other.layers[1][0][:, :, :K], context.layers[1][0][:, :, :K])


@torch.no_grad()
def test_padding_changes_nothing():
    model = decoder()
    visual, prefix, text = inputs(batch=1)
    logits = model(visual, text, prefix[:, :4])
    torch.testing.assert_close(model(visual, text, prefix), logits, atol=1e-5, rtol=0)
    padded = torch.cat([visual, 1e3 * torch.ones(1, 2, 10)], dim=1)
    keep = torch.tensor([[True] * K + [False] * 2])
    torch.testing.assert_close(model(padded, text, prefix, keep), logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_visual_tokens_have_no_order_and_prefix_and_text_share_positions_from_zero():
    model = decoder()
    visual, prefix, text = inputs(batch=1)
    shuffled = visual[:, [3, 1, 4, 0, 2]]
    torch.testing.assert_close(model(shuffled, text, prefix), model(visual, text, prefix), atol=1e-5, rtol=0)
    context = model.encode(visual, text)  # the same ids as prefix and as text give the same first-layer keys
    keys = model.stack[0].project(model._embed(text))[1]
    torch.testing.assert_close(context.layers[0][0][:, :, K:], keys)


@torch.no_grad()
@pytest.mark.parametrize("with_padding", [False, True])
def test_word_by_word_equals_all_at_once(with_padding):
    model = decoder()
    visual, prefix, text = inputs()
    context = model.encode(visual, prefix if with_padding else prefix[:, :2])
    expected = model.logits(model.decode(context, text)).log_softmax(-1)
    stepper = model.stepper(context)
    for i in range(L):
        torch.testing.assert_close(stepper.step(text[:, i : i + 1])[:, 0], expected[:, i], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_reordered_groups_equal_texts_decoded_alone():
    model = decoder()
    visual, prefix, _ = inputs()
    context = model.encode(visual, prefix)
    stepper = model.stepper(context)
    generator = torch.Generator().manual_seed(3)
    texts = torch.ones(3, 1, 1, dtype=torch.int64)
    for group in (4, 4, 2, 5):
        stepper.step(texts[:, :, -1])
        parents = torch.randint(0, texts.shape[1], (3, group), generator=generator)
        new = torch.randint(1, 30, (3, group, 1), generator=generator)
        texts = torch.cat([texts.gather(1, parents[..., None].expand(-1, -1, texts.shape[-1])), new], dim=-1)
        stepper.reorder(parents)
    found = stepper.step(texts[:, :, -1])
    for g in range(5):
        alone = model.logits(model.decode(context, texts[:, g]))[:, -1].log_softmax(-1)
        torch.testing.assert_close(found[:, g], alone, atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_a_gradient_and_dropout_acts_in_training_only():
    model = decoder(replace(CONFIG, dropout=0.5, attention_dropout=0.5))
    visual, prefix, text = inputs()
    assert torch.equal(model(visual, text, prefix), model(visual, text, prefix))
    model.train()
    assert not torch.equal(model(visual, text, prefix), model(visual, text, prefix))
    model(visual, text, prefix).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_starting_weights_are_normal_with_deviation_two_hundredths():
    model = TextDecoder(replace(CONFIG, width=96, num_heads=4, vocab_size=500))
    for name in (
        "words.weight",
        "positions.weight",
        "output_weight",
        "layers.0.qkv.weight",
        "visual_projection.weight",
    ):
        assert model.state_dict()[name].std().item() == pytest.approx(0.02, rel=0.1)
    assert not model.output_bias.any() and not model.stack[0].fc1.bias.any()


def test_what_does_not_fit_is_refused():
    model = decoder()
    visual, prefix, _ = inputs()
    with pytest.raises(InputError, match="text of 13 tokens"):
        model(visual, torch.ones(3, 13, dtype=torch.int64), prefix)
    with pytest.raises(InputError, match="heads"):
        replace(CONFIG, num_heads=5)
    with pytest.raises(InputError, match="at least 1"):
        replace(CONFIG, depth=0)
