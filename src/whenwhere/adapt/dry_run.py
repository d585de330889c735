"""What of a backbone its pooled vector depends on, found by a pass that computes no numbers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from whenwhere.adapt.adapted import dtype_of
from whenwhere.backbones.vision import Backbone


@dataclass(frozen=True)
class Reached:
    """The parts of a backbone that take part in :meth:`~whenwhere.backbones.vision.Backbone.pooled`.

    Args:
        parameters: names of those that get a gradient; a classifier's, or a mask token's, are not among them.
        modules: names and channels (of the last axis, or of the second for maps) of the linear layers, layer norms and
            convolutions that run, in order.
    """

    parameters: tuple[str, ...]
    modules: dict[str, int]


def reached(backbone: Backbone) -> Reached:
    """Run a backbone's twin on the meta device, forward and backward; costs neither time nor memory."""
    ghosts = {id(tensor): _ghost(tensor) for tensor in chain(backbone.parameters(), backbone.buffers())}
    twin = copy.deepcopy(backbone, ghosts)
    twin.requires_grad_(True)
    modules: dict[str, int] = {}

    def note(name: str, module: nn.Module, inputs: Any, out: Tensor) -> None:
        modules[name] = out.shape[1] if isinstance(module, nn.Conv2d) else out.shape[-1]

    for name, module in twin.named_modules():
        if isinstance(module, (nn.Linear, nn.LayerNorm, nn.Conv2d)):
            module.register_forward_hook(partial(note, name))
    vector = twin.pooled(torch.empty(1, 3, twin.size, twin.size, dtype=dtype_of(backbone), device="meta"))
    names, tensors = zip(*twin.named_parameters())
    gradients = torch.autograd.grad(vector.sum(), tensors, allow_unused=True)
    return Reached(tuple(name for name, gradient in zip(names, gradients) if gradient is not None), modules)


def _ghost(tensor: Tensor) -> Tensor:
    ghost = torch.empty_like(tensor, device="meta")
    return nn.Parameter(ghost) if isinstance(tensor, nn.Parameter) else ghost
