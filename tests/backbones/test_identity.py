"""The fingerprint of a backbone: of what it computes, and of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest
import timm
import torch

from tiny_backbones import TINY_VIT, write_timm
from whenwhere.backbones import identity
from whenwhere.backbones.vision import TimmBackbone, vision


def tiny(**args):
    torch.manual_seed(0)
    return TimmBackbone(timm.create_model("vit_tiny_patch16_224", num_classes=0, **{**TINY_VIT, **args}), "tiny")


def half_mean(backbone):
    backbone.mean = (0.4, 0.4, 0.4)


def tanh(backbone):
    for block in backbone.model.blocks:
        block.mlp.act = torch.nn.GELU(approximate="tanh")


def test_equal_weights_and_parts_have_one_fingerprint_wherever_they_are(tmp_path):
    torch.manual_seed(0)
    write_timm(tmp_path / "here", "vit_tiny_patch16_224", **TINY_VIT)
    (tmp_path / "there").mkdir()
    for file in (tmp_path / "here").iterdir():
        (tmp_path / "there" / file.name).write_bytes(file.read_bytes())
    here, there = vision(tmp_path / "here"), vision(tmp_path / "there")
    assert here.fingerprint() == there.fingerprint() != tiny().fingerprint()
    assert str(tmp_path) not in identity.architecture(here)
    there.model.set_grad_checkpointing()
    there.model.blocks[0].attn.fused_attn = False
    assert here.fingerprint() == there.fingerprint()


def test_another_process_finds_the_same():
    code = "from whenwhere.backbones.vision import vision; print(vision('vit-tiny').fingerprint())"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert told.strip() == vision("vit-tiny").fingerprint()


@pytest.mark.parametrize(
    ("args", "change"),
    [
        ({"num_heads": 4}, None),
        ({"global_pool": "avg", "fc_norm": False}, None),
        ({"norm_layer": partial(torch.nn.LayerNorm, eps=1e-5)}, None),
        ({}, half_mean),
        ({}, tanh),
    ],
    ids=["heads", "pool", "eps", "mean", "activation"],
)
def test_equal_weights_that_compute_another_thing_are_told_apart(args, change):
    first, other = tiny(), tiny(**args)
    other.load_state_dict(first.state_dict())
    if change:
        change(other)
    assert other.fingerprint() != first.fingerprint()


def test_strides_are_told_apart():
    def block(stride):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=stride))

    assert identity.fingerprint(block(1)) == identity.fingerprint(block(1)) != identity.fingerprint(block(2))


def test_a_change_after_the_first_asking_is_seen():
    backbone = tiny()
    weight = backbone.model.blocks[1].mlp.fc1.weight
    asked = [backbone.fingerprint()]
    with torch.no_grad():
        weight[0, 0] += 1e-6
    asked.append(backbone.fingerprint())
    weight.data[0, 0] += 1e-6  # moves no version counter
    asked.append(backbone.fingerprint())
    backbone.bfloat16()
    asked.append(backbone.fingerprint())
    backbone.float()  # often at the addresses that it had before
    asked.append(backbone.fingerprint())
    backbone.load_state_dict(tiny().state_dict())
    assert len(set(asked)) == 5 and backbone.fingerprint() == asked[0]


def test_the_weights_are_hashed_once(monkeypatch):
    backbone, hashed = tiny(), []
    plain = identity.hashlib.sha256

    class Counted:
        def __init__(self, data=b""):
            self.digest = plain(data)

        def update(self, data):
            hashed.append(len(data))
            self.digest.update(data)

        def hexdigest(self):
            return self.digest.hexdigest()

    monkeypatch.setattr(identity.hashlib, "sha256", Counted)
    first = backbone.fingerprint()
    assert sum(hashed) > 4 * sum(weight.numel() for weight in backbone.parameters())
    hashed.clear()
    assert backbone.fingerprint() == first and not hashed
