"""Converting the published backbone: what does not fit exactly is refused, and nothing in the file is run."""

from __future__ import annotations

import os

import pytest
import timm
import torch

from whenwhere.backbones import conversion
from whenwhere.errors import WeightsError

ARCHITECTURE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def original() -> dict[str, torch.Tensor]:
    """Random tensors of EfficientNet-Lite0 under the published names, built from the published block list."""
    widths = [(32, 16, 1, 3, 1), (16, 24, 6, 3, 2), (24, 40, 6, 5, 2), (40, 80, 6, 3, 3), (80, 112, 6, 5, 3)]
    widths += [(112, 192, 6, 5, 4), (192, 320, 6, 3, 1)]
    state: dict[str, torch.Tensor] = {}

    def norm(name: str, width: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{leaf}"] = torch.rand(width)
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)

    state["_conv_stem.weight"] = torch.rand(32, 3, 3, 3)
    norm("_bn0", 32)
    number = 0
    for first, out, ratio, kernel, repeats in widths:
        for repeat in range(repeats):
            width = first if repeat == 0 else out
            block, inner = f"_blocks.{number}", width * ratio
            if ratio > 1:
                state[f"{block}._expand_conv.weight"] = torch.rand(inner, width, 1, 1)
                norm(f"{block}._bn0", inner)
            state[f"{block}._depthwise_conv.weight"] = torch.rand(inner, 1, kernel, kernel)
            norm(f"{block}._bn1", inner)
            state[f"{block}._project_conv.weight"] = torch.rand(out, inner, 1, 1)
            norm(f"{block}._bn2", out)
            number += 1
    state["_conv_head.weight"] = torch.rand(1280, 320, 1, 1)
    norm("_bn1", 1280)
    state["_fc.weight"], state["_fc.bias"] = torch.rand(1000, 1280), torch.rand(1000)
    return state


def test_every_tensor_lands_once_and_unchanged(original):
    converted = conversion.efficientnet_to_timm(original, ARCHITECTURE)
    assert len(converted) == len(original)
    timm.create_model(ARCHITECTURE, pretrained=False).load_state_dict(converted, strict=True)
    assert torch.equal(converted["blocks.0.0.bn1.bias"], original["_blocks.0._bn1.bias"])
    assert torch.equal(converted["blocks.1.0.bn2.running_var"], original["_blocks.1._bn1.running_var"])
    assert torch.equal(converted["blocks.6.0.conv_pwl.weight"], original["_blocks.15._project_conv.weight"])
    assert torch.equal(converted["classifier.weight"], original["_fc.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_fc.bias": None}, "1 entries, first classifier.bias: None"),
        ({"_fc.bias": torch.rand(999)}, r"classifier.bias: \(\(999,\)"),
        ({"_fc.bias": torch.rand(1000).double()}, "float64"),
        ({"_fc.gain": torch.rand(1)}, "first classifier.gain"),
        ({"_blocks.16._bn1.bias": torch.rand(1)}, "unknown key '_blocks.16._bn1.bias'"),
        ({"_blocks.0._expand_conv.weight": torch.rand(1)}, "unknown key"),
        ({"head": torch.rand(1)}, "unknown key 'head'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change, message, original):
    state = {key: value for key, value in {**original, **change}.items() if value is not None}
    with pytest.raises(WeightsError, match=message):
        conversion.efficientnet_to_timm(state, ARCHITECTURE)


def test_another_batch_norm_epsilon_is_refused(original, monkeypatch):
    monkeypatch.setattr(conversion, "_BATCH_NORM_EPS", 1e-5)
    with pytest.raises(WeightsError, match=r"batch-norm eps"):
        conversion.efficientnet_to_timm(original, ARCHITECTURE)


class Payload:
    """An object whose unpickling would make a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_inside_a_checkpoint_is_not_run(tmp_path):
    trap = tmp_path / "trap"
    torch.save({"_fc.bias": Payload(str(trap))}, tmp_path / conversion.EFFICIENTNET_SOURCE)
    with pytest.raises(WeightsError, match=r"cannot be read"):
        conversion.efficientnet_lite2(tmp_path, tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    (tmp_path / conversion.EFFICIENTNET_SOURCE).write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read"):
        conversion.efficientnet_lite2(tmp_path, tmp_path)
