"""Image encoders of all three sources, on tiny checkpoints that the tests write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from whenwhere.backbones.vision import vision
from whenwhere.errors import InputError, WeightsError


def _timm_folder(folder, architecture, **args):
    import timm

    torch.manual_seed(0)
    model = timm.create_model(architecture, pretrained=False, num_classes=3, **args)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": architecture, "num_classes": 3, "model_args": args}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _tower(folder, kind):
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    if kind == "dinov2":
        model = transformers.Dinov2Model(transformers.Dinov2Config(**small))
    elif kind == "siglip":
        model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**small, intermediate_size=64))
    else:
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**small, intermediate_size=64))
    model.save_pretrained(folder)
    return folder


VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32, "patch_size": 8}
MAKERS = {
    "timm vit": lambda folder: _timm_folder(folder, "vit_tiny_patch16_224", **VIT),
    "timm cnn": lambda folder: _timm_folder(folder, "resnet10t"),
    "clip": lambda folder: _tower(folder, "clip"),
    "siglip": lambda folder: _tower(folder, "siglip"),
    "dinov2": lambda folder: _tower(folder, "dinov2"),
}


@pytest.fixture(params=MAKERS)
def backbone(request, tmp_path):
    return vision(MAKERS[request.param](tmp_path / "model"))


def _images(count=2):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + 10 * i, 50, 3), dtype=np.uint8) for i in range(count)]


def test_shapes_agree_with_the_contract(backbone):
    pixels = backbone.preprocess(_images())
    assert pixels.shape == (2, 3, backbone.size, backbone.size) and pixels.dtype == torch.float32
    tokens = backbone.tokens(pixels)
    rows, columns = backbone.grid
    assert tokens.shape == (2, backbone.prefix_tokens + rows * columns, backbone.width)
    assert backbone.pooled(pixels).shape == (2, backbone.width)


def test_states_come_in_the_order_asked(backbone):
    pixels = backbone.preprocess(_images())
    last, first = backbone.states(pixels, [-1, 0])
    again = backbone.states(pixels, [0, backbone.depth - 1])
    assert torch.equal(first, again[0]) and torch.equal(last, again[1])
    assert first.ndim == 3 and len(first) == 2


def test_one_image_equals_many(backbone):
    pixels = backbone.preprocess(_images())
    torch.testing.assert_close(backbone.tokens(pixels)[:1], backbone.tokens(pixels[:1]), atol=1e-5, rtol=1e-4)


def test_it_is_frozen_and_stays_in_evaluation_mode(backbone):
    backbone.train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_a_layer_out_of_range_is_named(backbone):
    with pytest.raises(InputError, match=rf"\[{backbone.depth}\]"):
        backbone.states(backbone.preprocess(_images()), [backbone.depth])


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
)
def test_arrays_that_are_no_images_are_refused(backbone, image):
    with pytest.raises(InputError, match="uint8"):
        backbone.preprocess([image])


def test_normalisation_of_clip_and_siglip(tmp_path):
    clip, siglip = (vision(_tower(tmp_path / kind, kind)) for kind in ("clip", "siglip"))
    white = [np.full((8, 8, 3), 255, np.uint8)]
    torch.testing.assert_close(siglip.preprocess(white).mean(), torch.tensor(1.0))
    expected = (1 - 0.48145466) / 0.26862954
    assert clip.preprocess(white)[0, 0].mean().item() == pytest.approx(expected, abs=1e-4)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(InputError, match="efficientnet-lite2"):
        vision("resnet")
    with pytest.raises(InputError, match="timm has no model"):
        vision("timm:no_such_model")


def test_a_pickle_is_refused_by_name(tmp_path):
    folder = _tower(tmp_path / "m", "clip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin.*can run code"):
        vision(folder)


@pytest.mark.parametrize("damage", ["truncated", "other shape", "no config", "config is a list", "unknown kind"])
def test_damaged_folders_are_refused(tmp_path, damage):
    folder = _timm_folder(tmp_path / "m", "vit_tiny_patch16_224", **VIT)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "other shape":
        config.write_text(config.read_text().replace('"embed_dim": 32', '"embed_dim": 64'))
    elif damage == "no config":
        config.unlink()
    elif damage == "config is a list":
        config.write_text("[]")
    else:
        config.write_text('{"model_type": "gpt2"}')
    with pytest.raises(WeightsError):
        vision(folder)


@pytest.mark.models
def test_the_default_backbone_names_photographs():
    skimage = pytest.importorskip("skimage", reason="scikit-image ships the photographs")
    from timm.data import ImageNetInfo

    backbone = vision("efficientnet-lite2")
    names = ImageNetInfo("imagenet-1k")
    found = {}
    for name in ("chelsea", "coffee"):
        pixels = backbone.preprocess([getattr(skimage.data, name)()])
        with torch.no_grad():
            found[name] = names.index_to_description(int(backbone.model(pixels).argmax()), detailed=False)
    assert "cat" in found["chelsea"] and "espresso" in found["coffee"]
