"""Tiny backbones of timm on disk, as a user would have them."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

TINY_VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32, "patch_size": 8}


def write_timm(folder, architecture, **args):
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
