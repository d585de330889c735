"""Folding changes what a frozen CNN costs, not what it computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from whenwhere.backbones.folding import fold_batch_norms, for_inference


def settle(model: nn.Module) -> nn.Module:
    """Give every batch norm statistics of its own, so that forgetting one would show."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.3)
    return model.eval()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv2_050"])
@torch.no_grad()
def test_the_function_stays_the_same_and_no_norm_is_left(name):
    import timm

    model = settle(timm.create_model(name, pretrained=False))
    folded = for_inference(copy.deepcopy(model))
    pixels = torch.randn(2, 3, 64, 64)
    before, after = model(pixels), folded(pixels)
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


def test_a_norm_without_a_convolution_before_it_stays():
    model = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)).eval()
    assert fold_batch_norms(model) == 0 and isinstance(model[1], nn.BatchNorm2d)
