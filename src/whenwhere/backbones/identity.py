"""What a network computes, as one hash: its weights, and the architecture that they stand in."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

# What changes no result in evaluation mode, or only how fast it comes; what says where a network came from; and what
# the shapes of the weights tell already.
_IDENTITIES = ("Identity", "Dropout", "DropPath")
_LEFT_OUT = {
    *("training", "p", "drop_prob", "dropout", "attention_dropout", "inplace", "momentum", "fused_attn"),
    *("grad_checkpointing", "gradient_checkpointing", "name", "name_or_path"),
    *("in_features", "out_features", "num_features", "in_channels", "out_channels", "num_channels", "in_chans"),
    *("embed_dim", "embedding_dim", "num_embeddings", "attn_dim", "kdim", "vdim", "num_classes"),
}

_known: WeakKeyDictionary[nn.Module, tuple[list[Any], str]] = WeakKeyDictionary()


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of what a network computes in evaluation mode.

    It is over names, types, shapes and bytes of all weights and buffers, and over :func:`architecture`. The bytes are
    hashed once; after that they are summed up, which takes a thirtieth of the time and shows whether they changed.
    """
    tensors = sorted(module.state_dict().items())
    state = [_state(name, tensor) for name, tensor in tensors]
    known, weights = _known.get(module, ([], ""))
    if known != state:
        digest = hashlib.sha256()
        for name, tensor in tensors:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(_bytes(tensor).data)
        weights = digest.hexdigest()
        _known[module] = state, weights
    return hashlib.sha256(f"{weights}\n{architecture(module)}".encode()).hexdigest()


def architecture(module: nn.Module) -> str:
    """The tree of modules, with everything in it that decides what equal weights compute, as JSON.

    A row for each module: its name, its class, and its public settings (heads, eps, strides, sizes, pooling, pixel
    statistics) by name. Settings that are off (None, False, 0, empty) are left out, so that a library may add one
    without another result.
    """
    rows = []
    for name, part in module.named_modules():
        if type(part).__name__ not in _IDENTITIES:
            settings = {
                key: value
                for key, value in sorted(vars(part).items())
                if not key.startswith("_") and key not in _LEFT_OUT and _is_plain(value) and value
            }
            rows.append([name, type(part).__name__, settings])
    return json.dumps(rows)


def _is_plain(value: Any) -> bool:
    """Whether it is a number, a string or nothing, or a sequence of such."""
    if isinstance(value, (tuple, list)):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _bytes(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _state(name: str, tensor: Tensor) -> tuple[Any, ...]:
    """What tells a tensor from what it was before, at little cost."""
    data = _bytes(tensor)
    whole = len(data) // 8 * 8
    total = int(data[:whole].view(np.uint64).sum()), int(data[whole:].sum())
    version = 0 if tensor.is_inference() else tensor._version
    return name, tensor.data_ptr(), version, tensor.dtype, tuple(tensor.shape), total
