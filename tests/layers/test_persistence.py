"""Models on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import load_model, load_tensors, read_config, read_tensors, save_model

SCHEMA = "whenwhere.test/1"


@dataclass(frozen=True)
class Inner:
    size: int = 3
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size {self.size}", "at least 1")


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    inner: Inner = field(default_factory=Inner)


def model(seed=0):
    torch.manual_seed(seed)
    module = nn.Module()
    module.first, module.second = nn.Linear(3, 4), nn.Linear(3, 4)
    module.second.weight = module.first.weight  # tied
    module.register_buffer("steps", torch.tensor(seed))
    return module


def save(folder, module=None, dtype=torch.float32, config=None):
    return save_model(folder, module or model(), SCHEMA, config or Outer(inner=Inner(5, 0.25)), dtype)


def test_round_trip(tmp_path):
    folder = save(tmp_path / "new" / "folder")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert read_config(folder, SCHEMA, Outer) == Outer(inner=Inner(5, 0.25))
    assert "second.weight" not in read_tensors(folder)
    other = model(1)
    load_model(folder, other)
    for name, tensor in model().state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    assert other.second.weight is other.first.weight


def test_weights_are_as_readable_as_their_folder(tmp_path):
    """safetensors writes for the owner alone; what is shared by its folder is to be shared."""
    for mode, wanted in ((0o755, 0o644), (0o750, 0o640), (0o700, 0o600)):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir(mode=mode)
        folder.chmod(mode)
        save(folder)
        assert (folder / "model.safetensors").stat().st_mode & 0o777 == wanted


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_disk_is_float32_in_use(tmp_path, dtype):
    save(tmp_path, dtype=dtype)
    assert (
        read_tensors(tmp_path)["first.weight"].dtype == dtype and read_tensors(tmp_path)["steps"].dtype == torch.int64
    )
    other = model(1)
    load_model(tmp_path, other)
    assert other.first.weight.dtype == torch.float32
    torch.testing.assert_close(other.first.weight, model().first.weight, atol=1e-2, rtol=1e-2)


def test_wrong_names_and_shapes_are_refused_and_change_nothing():
    module = model()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    whole = {name: tensor + 1 for name, tensor in before.items()}
    cases = [
        ({n: t for n, t in whole.items() if n != "first.bias"}, "lacks first.bias"),
        ({**whole, "third.bias": torch.zeros(4)}, "unknown third.bias"),
        ({**whole, "second.bias": torch.zeros(5)}, r"second.bias is \(5,\)"),
        ({**whole, "steps": torch.tensor(0.5)}, r"steps is \(\) torch.float32"),
    ]
    for tensors, message in cases:
        with pytest.raises(WeightsError, match=message):
            load_tensors(module, tensors, "a file")
        assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())


def test_damaged_and_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        read_tensors(tmp_path)
    save(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(WeightsError, match="cannot read"):
        read_tensors(tmp_path)


def test_pickles_are_never_opened(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(WeightsError, match=r"pytorch_model.bin.*never opened.*save_pretrained"):
        read_tensors(tmp_path)


def test_shards(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert sorted(read_tensors(tmp_path)) == ["a", "b"]
    index["weight_map"]["b"] = "../model-2.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="in the same folder"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[1]", "holds list"),
        ('{"schema": "other/1", "config": {}}', "schema 'other/1'"),
        ('{"schema": "whenwhere.test/1"}', "holds NoneType for Outer"),
        ('{"schema": "whenwhere.test/1", "config": {"nam": 1}}', r"fields \['nam'\] for Outer"),
        ('{"schema": "whenwhere.test/1", "config": {"inner": {"size": 0}}}', "holds size 0"),
        ('{"schema": "whenwhere.test/1", "config": {"inner": {"size": "a"}}}', "does not fit Inner"),
    ],
)
def test_bad_configurations(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        read_config(tmp_path, SCHEMA, Outer)


def test_no_configuration(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        read_config(tmp_path, SCHEMA, Outer)
