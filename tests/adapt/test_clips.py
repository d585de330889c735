"""Clips on methods for images: the mean of the frames' vectors; gradients reach what is trained through all of them."""

from __future__ import annotations

import pytest
import torch

from whenwhere.adapt.methods import METHODS, method


@pytest.fixture(scope="module")
def backbone(make_backbone):
    return make_backbone("vit with class token")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("losa", "lora", "peft")])
def test_the_logits_of_a_clip_are_the_mean_of_those_of_its_frames(backbone, name):
    kind = method(name)
    torch.manual_seed(0)
    model = kind(backbone, ["a", "b", "c"], kind.Config())
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    clips = torch.randn(2, 4, 3, backbone.size, backbone.size)
    logits = model(clips)
    alone = torch.stack([model(clips[:, at]) for at in range(4)]).mean(0)  # the head is linear
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(clips[:, [2, 0, 3, 1]]), logits, rtol=1e-4, atol=1e-5)  # order is not seen
    assert (logits - model(clips[:, 0])).abs().max() > 1e-4
    model.loss({"pixels": clips, "label": torch.tensor([0, 1])})["loss"].backward()
    assert all(weight.grad is not None for weight in model.parameters())
