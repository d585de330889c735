"""GIT checkpoints: the same logits as transformers' own GIT, and clear refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_captioners import PIECES
from transformers import GitConfig, GitForCausalLM

from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.time_features import TimeFeatures
from whenwhere.systems.git_weights import load_git
from whenwhere.systems.streaming_dvc import StreamingDVC, preset

V = len(PIECES)


def write_checkpoint(folder, frames=3, tie=False) -> GitForCausalLM:
    """A tiny random GIT as transformers saves it."""
    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    config = GitConfig(
        vision_config=vision,
        vocab_size=V,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=32,
        bos_token_id=2,
        eos_token_id=3,
        num_image_with_embedding=frames,
        tie_word_embeddings=tie,
    )
    git = GitForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in git.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    git.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return git


TEXT = torch.tensor([[2, 5, 6, 9, 14, 15, 16, 3], [2, 5, 7, 10, 3, 0, 0, 0]])


@pytest.mark.parametrize("tie", [False, True])
@torch.no_grad()
def test_same_logits_on_the_same_image_and_text(tmp_path, tie):
    git = write_checkpoint(tmp_path, tie=tie)
    model, vision = load_git(tmp_path)
    pixels = torch.randn(2, 3, 32, 32)
    expected = git(input_ids=TEXT, pixel_values=pixels).logits[:, -TEXT.shape[1] :]
    found = model.decoder(vision.tokens(pixels), TEXT)
    torch.testing.assert_close(found[..., :V], expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1 and found.shape[-1] == V + 64


@torch.no_grad()
def test_same_logits_on_the_same_frames_with_temporal_embeddings(tmp_path):
    git = write_checkpoint(tmp_path)
    model, vision = load_git(tmp_path, temporal=True)
    pixels = torch.randn(2, 3, 3, 32, 32)
    expected = git(input_ids=TEXT, pixel_values=pixels).logits[:, -TEXT.shape[1] :]
    tokens = model.frame_tokens(vision.tokens(pixels.flatten(0, 1)).unflatten(0, (2, 3)), torch.arange(3.0))
    found = model.decoder(tokens.flatten(1, 2), TEXT)
    torch.testing.assert_close(found[..., :V], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_time_features_start_without_effect(tmp_path):
    git = write_checkpoint(tmp_path)
    model, vision = load_git(tmp_path, replace(preset("small"), time=TimeFeatures(frequencies=4)))
    pixels = torch.randn(2, 3, 32, 32)
    tokens = model.visual(model.frame_tokens(vision.tokens(pixels)[:, None], torch.tensor([7.0]))[:, 0])
    assert tokens.shape[-1] == 32 + 8
    expected = git(input_ids=TEXT, pixel_values=pixels).logits[:, -TEXT.shape[1] :]
    torch.testing.assert_close(model.decoder(tokens, TEXT)[..., :V], expected, atol=1e-4, rtol=1e-4)


def test_checkpoint_decides_the_shape_and_the_base_the_rest(tmp_path):
    write_checkpoint(tmp_path)
    base = preset("paper")
    model, vision = load_git(tmp_path, base)
    config = model.config
    assert (config.token_width, config.tokens_per_frame, config.memory.size, config.words) == (32, 17, 34, V)
    assert (config.decoder.width, config.decoder.depth, config.temporal) == (24, 3, 0)
    assert (config.axis, config.points) == (base.axis, base.points) and config.stream.prefix_tokens == 32
    assert (vision.width, vision.depth, vision.size, vision.grid, vision.prefix_tokens) == (32, 2, 32, (4, 4), 1)
    assert not any(p.requires_grad for p in vision.parameters())


def test_new_rows_for_time_tokens_are_small_and_random(tmp_path):
    write_checkpoint(tmp_path)
    decoder = load_git(tmp_path)[0].decoder
    for rows in (decoder.words.weight[V:], decoder.output_weight[V:]):
        assert rows.shape == (64, 24) and rows.std().item() == pytest.approx(0.02, rel=0.15)
    assert not decoder.output_bias[V:].any() and decoder.output_bias[:V].any()


def test_it_streams_and_is_saved_as_any_other(tmp_path):
    (tmp_path / "git").mkdir()
    write_checkpoint(tmp_path / "git")
    model, vision = load_git(tmp_path / "git")
    pixels = torch.randn(4, 3, 32, 32)
    options = replace(model.config.stream, interval=2, max_tokens=12)
    events = model.predict(vision.tokens(pixels), 4.0, options)
    again = StreamingDVC.load(model.save(tmp_path / "saved"))
    assert again.predict(vision.tokens(pixels), 4.0, options) == events


@torch.no_grad()
def test_vision_tower_follows_the_contract(tmp_path):
    git = write_checkpoint(tmp_path)
    vision = load_git(tmp_path)[1]
    images = [torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy() for _ in range(2)]
    pixels = vision.preprocess(images)
    tokens = vision.tokens(pixels)
    assert torch.equal(tokens, git.git.image_encoder(pixels).last_hidden_state)
    assert torch.equal(vision.pooled(pixels), tokens[:, 0])
    last = vision.states(pixels, [1])[0]
    torch.testing.assert_close(git.git.image_encoder.vision_model.post_layernorm(last), tokens)


def test_older_files_with_counters_load_too(tmp_path):
    write_checkpoint(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["git.embeddings.position_ids"] = torch.arange(32)[None]
    tensors["git.image_encoder.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    load_git(tmp_path)


def test_other_checkpoints_are_refused(tmp_path):
    git = write_checkpoint(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for name, message in (
        ("git.encoder.layer.1.attention.self.key.weight", "attention of layer 1"),
        ("git.encoder.layer.2.output.dense.bias", "lacks decoder.layers.2.fc2.bias"),
        ("git.image_encoder.vision_model.post_layernorm.weight", "lacks vision_model.post_layernorm.weight"),
    ):
        save_file({n: t for n, t in tensors.items() if n != name}, tmp_path / "model.safetensors")
        with pytest.raises(WeightsError, match=message):
            load_git(tmp_path)
    save_file({**tensors, "git.extra": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"unknown decoder\.git\.extra"):
        load_git(tmp_path)
    save_file({**tensors, "output.weight": torch.zeros(V + 1, 24)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="decoder.output_weight"):
        load_git(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(git.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pytorch_model.bin.*save_pretrained"):
        load_git(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model_type": "bert"}, "'bert'"), ({"hidden_act": "relu"}, "'relu'"), ({"hidden_size": "x"}, "not a GIT")],
)
def test_other_configurations_are_refused(tmp_path, change, message):
    write_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=message):
        load_git(tmp_path)


def test_a_vocabulary_is_needed(tmp_path):
    write_checkpoint(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES[:-1]) + "\n")
    with pytest.raises(InputError, match="17 words"):
        load_git(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(InputError, match="no vocabulary"):
        load_git(tmp_path)
