"""Shapes of a backbone's states, and how maps of a CNN's stages are brought to the grid of its last one."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from whenwhere.adapt.adapted import dtype_of
from whenwhere.backbones.vision import Backbone

_known: WeakKeyDictionary[Backbone, list[tuple[int, int]]] = WeakKeyDictionary()


def state_shapes(backbone: Backbone) -> list[tuple[int, int]]:
    """Tokens and channels of the state of each layer, found without computing any."""
    if backbone not in _known:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
            pixels = torch.empty(1, 3, backbone.size, backbone.size, dtype=dtype_of(backbone), device=device)
            states = backbone.states(pixels, range(backbone.depth))
        _known[backbone] = [(int(state.shape[1]), int(state.shape[2])) for state in states]
    return _known[backbone]


def is_map(backbone: Backbone, tokens: int) -> bool:
    """Whether a state of so many tokens is a square map of a CNN's stage."""
    last, side = state_shapes(backbone)[-1][0], round(tokens**0.5)
    return not backbone.prefix_tokens and side * side == tokens and backbone.grid[0] * backbone.grid[1] == last


def to_grid(state: Tensor, tokens: int) -> Tensor:
    """A square map (..., h * w, C) averaged to one of fewer cells, (..., tokens, C); as it is if it has as many."""
    if state.shape[-2] == tokens:
        return state
    lead, side, target = state.shape[:-2], round(state.shape[-2] ** 0.5), round(tokens**0.5)
    maps = state.flatten(0, -3).transpose(1, 2).unflatten(2, (side, side))  # (B, C, h, w)
    return F.adaptive_avg_pool2d(maps, target).flatten(2).transpose(1, 2).unflatten(0, lead).contiguous()


def to_width(state: Tensor, channels: int) -> Tensor:
    """A state (..., N, C) filled up with zero channels to a width, or, if wider, with neighbours averaged."""
    if state.shape[-1] <= channels:
        return F.pad(state, (0, channels - state.shape[-1]))
    return F.adaptive_avg_pool1d(state.flatten(0, -3), channels).unflatten(0, state.shape[:-2])


def shapes_to_keep(backbone: Backbone, taps: Sequence[int]) -> list[tuple[int, int]]:
    """Tokens and channels of tapped states as a cache keeps them: maps of CNNs at the grid of the last stage."""
    shapes = state_shapes(backbone)
    last = shapes[-1][0]
    return [(last if is_map(backbone, shapes[tap][0]) else shapes[tap][0], shapes[tap][1]) for tap in taps]
