"""Tiny backbones of every kind, written to disk and read back as a user's would be."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from whenwhere.backbones.vision import vision

_VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32, "patch_size": 8}


def _timm(folder, architecture, **args):
    import timm

    model = timm.create_model(architecture, pretrained=False, num_classes=3, **args)
    with torch.no_grad():  # biases and layer scales of a fresh model are too plain to test with
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": architecture, "num_classes": 3, "model_args": args}
    (folder / "config.json").write_text(json.dumps(config))


def _tower(folder, kind):
    import transformers

    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    model = {
        "clip": lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**small, intermediate_size=64)),
        "siglip": lambda: transformers.SiglipVisionModel(
            transformers.SiglipVisionConfig(**small, intermediate_size=64)
        ),
        "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**small)),
    }[kind]()
    model.save_pretrained(folder)


MAKERS = {
    "vit with class token": lambda folder: _timm(folder, "vit_tiny_patch16_224", **_VIT),
    "vit with mean pooling": lambda folder: _timm(
        folder, "vit_tiny_patch16_224", **_VIT, class_token=False, global_pool="avg", init_values=0.5
    ),
    "clip": lambda folder: _tower(folder, "clip"),
    "siglip": lambda folder: _tower(folder, "siglip"),
    "dinov2": lambda folder: _tower(folder, "dinov2"),
    "resnet": lambda folder: _timm(folder, "resnet10t"),
    "efficientnet": lambda folder: _timm(folder, "efficientnet_lite0"),
}
TRANSFORMERS = [name for name in MAKERS if name not in ("resnet", "efficientnet")]


@pytest.fixture(scope="session")
def make_backbone(tmp_path_factory):
    """``make_backbone(kind)``: a fresh, frozen backbone of this kind; the same weights each time."""
    folders = {}

    def make(kind):
        if kind not in folders:
            torch.manual_seed(sorted(MAKERS).index(kind))
            folders[kind] = tmp_path_factory.mktemp("backbones") / kind.replace(" ", "_")
            MAKERS[kind](folders[kind])
        return vision(folders[kind], size=64 if kind in ("resnet", "efficientnet") else None)

    return make


@pytest.fixture
def pixels():
    """Normalised noise: (4, 3, 32, 32) for the transformers; :func:`pixels_for` fits another size."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def pixels_for(backbone, count=4, seed=5):
    return torch.randn(count, 3, backbone.size, backbone.size, generator=torch.Generator().manual_seed(seed))
