"""Tiny backbones of every kind, written to disk and read back as a user's would be."""

from __future__ import annotations

import pytest
import torch

from tiny_backbones import TINY_VIT, write_timm
from whenwhere.backbones.vision import vision


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
    "vit with class token": lambda folder: write_timm(folder, "vit_tiny_patch16_224", **TINY_VIT),
    "vit with mean pooling": lambda folder: write_timm(
        folder, "vit_tiny_patch16_224", **TINY_VIT, class_token=False, global_pool="avg", init_values=0.5
    ),
    "clip": lambda folder: _tower(folder, "clip"),
    "siglip": lambda folder: _tower(folder, "siglip"),
    "dinov2": lambda folder: _tower(folder, "dinov2"),
    "resnet": lambda folder: write_timm(folder, "resnet10t"),
    "efficientnet": lambda folder: write_timm(folder, "efficientnet_lite0"),
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
