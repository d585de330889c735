"""Make a frozen CNN cheaper without changing what it computes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(model: nn.Module) -> int:
    """Fold every batch norm that directly follows a convolution into that convolution, in place.

    A frozen batch norm is a scale and a shift of each channel, which the convolution before it can do at no cost
    (Jacob et al. 2018, section 3.2). timm's norms that carry an activation leave the activation behind.

    Args:
        model: in evaluation mode; its submodules must be defined in the order in which they run, as in timm's
            EfficientNets.

    Returns:
        How many were folded.
    """
    folded = 0
    children = list(model.named_children())
    for (conv_name, conv), (norm_name, norm) in zip(children, children[1:]):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(model, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(model, norm_name, getattr(norm, "act", nn.Identity()))
            folded += 1
    return folded + sum(fold_batch_norms(child) for child in model.children())


def for_inference(model: nn.Module) -> nn.Module:
    """Fold the batch norms and lay the weights out channels last, which CPUs run about twice as fast; in place."""
    fold_batch_norms(model.eval())
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
