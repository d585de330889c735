"""Published checkpoints rewritten, once, into the form that the project loads: safetensors with timm's key names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from whenwhere.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

EFFICIENTNET_SOURCE = "efficientnet-lite2.pth"
# What an image must look like for these weights: RGB bytes x enter as (x - 127) / 128 (the published preprocessing),
# which is mean 127/255 and deviation 128/255 on the 0..1 scale.
EFFICIENTNET_CONFIG = {
    "architecture": "tf_efficientnet_lite2",
    "num_classes": 1000,
    "size": 260,
    "mean": [127 / 255] * 3,
    "std": [128 / 255] * 3,
    "interpolation": "bicubic",
}
_BATCH_NORM_EPS = 1e-3

_STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# A block that widens first: 1x1 up, depthwise, 1x1 down. The very first block of the network has no widening.
_WIDENING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def efficientnet_lite2(sources: Path, folder: Path) -> None:
    """Rewrite the published EfficientNet-Lite2 checkpoint as ``model.safetensors`` and ``config.json``.

    Args:
        sources: folder that holds the original ``efficientnet-lite2.pth``.
        folder: existing folder that receives the two files.

    Raises:
        WeightsError: the checkpoint is not a plain dict of tensors or does not fit the architecture exactly.
    """
    import torch
    from safetensors.torch import save_file

    path = sources / EFFICIENTNET_SOURCE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # tensors only, runs no code from the file
    except Exception as error:  # the restricted reader has no error class of its own
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path.name} cannot be read ({reason})", "a state dict of plain tensors") from error
    converted = efficientnet_to_timm(state, str(EFFICIENTNET_CONFIG["architecture"]))
    save_file(converted, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(EFFICIENTNET_CONFIG, indent=2) + "\n", encoding="utf-8")


def efficientnet_to_timm(state: dict[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """Rename an efficientnet-pytorch state dict to timm's names, and prove that it fills the timm model exactly.

    Args:
        state: tensors under efficientnet-pytorch names, such as ``_conv_stem.weight`` and ``_blocks.3._bn1.bias``.
        architecture: timm name of the same network, such as ``tf_efficientnet_lite2``.

    Returns:
        The same tensors, contiguous, under timm's names: every key of the timm model once, with its shape and dtype.

    Raises:
        WeightsError: an unknown, missing or superfluous key, another shape or dtype, or another batch-norm epsilon.
    """
    import timm
    import torch

    with torch.device("meta"):  # shapes and names only: no memory, no initialisation
        model = timm.create_model(architecture, pretrained=False)
    _check_batch_norm(model, architecture)
    blocks = [name for name, _ in model.named_modules() if re.fullmatch(r"blocks\.\d+\.\d+", name)]
    converted = {_timm_name(key, blocks): tensor.contiguous() for key, tensor in state.items()}

    expected = {key: (tuple(value.shape), value.dtype) for key, value in model.state_dict().items()}
    found = {key: (tuple(value.shape), value.dtype) for key, value in converted.items()}
    if found != expected:
        wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise WeightsError(
            f"checkpoint differs from {architecture} in {len(wrong)} entries, first {wrong[0]}: {found.get(wrong[0])}",
            f"{expected.get(wrong[0])}",
        )
    return converted


def _timm_name(key: str, blocks: list[str]) -> str:
    """Timm's name for one efficientnet-pytorch key; ``blocks`` are timm's block names in execution order."""
    parts = key.split(".")
    try:
        if parts[0] == "_blocks":
            number, module, leaf = int(parts[1]), parts[2], parts[3]
            return f"{blocks[number]}.{(_WIDENING_BLOCK if number else _PLAIN_BLOCK)[module]}.{leaf}"
        module, leaf = parts
        return f"{_STEM_AND_HEAD[module]}.{leaf}"
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"unknown key {key!r} in the checkpoint", "efficientnet-pytorch names") from error


def _check_batch_norm(model: Module, architecture: str) -> None:
    """The epsilon is not in the checkpoint, so a changed default in timm would pass every shape check unseen."""
    from torch.nn import BatchNorm2d

    found = {layer.eps for layer in model.modules() if isinstance(layer, BatchNorm2d)}
    if found != {_BATCH_NORM_EPS}:
        raise WeightsError(f"{architecture} of the installed timm has batch-norm eps {found}", f"{_BATCH_NORM_EPS}")
