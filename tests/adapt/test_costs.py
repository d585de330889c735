"""What a training step costs, counted: the order of the methods in work and memory, and one tap against a probe."""

from __future__ import annotations

import weakref
from functools import cache

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from adapt.test_mixers import kept_bytes
from whenwhere.adapt.linear import LinearProbe
from whenwhere.adapt.losa import Losa, LosaConfig
from whenwhere.adapt.methods import method
from whenwhere.backbones.vision import TimmBackbone

LABELS = ("a", "b", "c", "d")


@cache
def backbone(depth=4):
    """A transformer of 65 tokens and 64 channels."""
    torch.manual_seed(0)
    shape = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "num_heads": 4, "num_classes": 0}
    return TimmBackbone(timm.create_model("vit_tiny_patch16_224", depth=depth, **shape), "small")


@cache
def batch():
    return {"pixels": torch.randn(8, 3, 64, 64), "label": torch.arange(8) % 4}


class Peak(TorchDispatchMode):
    """Most bytes that are alive at once of what is made inside."""

    def __init__(self):
        super().__init__()
        self.alive, self.now, self.most = set(), 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if torch.is_tensor(tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if torch.is_tensor(tensor) and tensor.untyped_storage()._cdata not in known | self.alive:
                storage = tensor.untyped_storage()
                self.alive.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self.freed, storage._cdata, storage.nbytes())
        self.most = max(self.most, self.now)
        return out

    def freed(self, cdata, count):
        self.alive.discard(cdata)
        self.now -= count


def peak(model):
    """Of one training step, weights not counted."""
    with Peak() as seen:
        model.loss(batch())["loss"].backward()
    return seen.most


def in_place(factor):
    """Multiply-adds of a product that is added to a matrix, or to a batch of them, in place."""

    def count(target, left, right, *args, out_shape=None, **kwargs):
        return 2 * factor(left) * right[-1]

    return count


def work(model):
    """Operations of one training step, forward and backward."""
    aten = torch.ops.aten
    more = {
        aten.addmm_: in_place(lambda left: left[0] * left[1]),
        aten.baddbmm_: in_place(lambda left: left[0] * left[1] * left[2]),
    }
    with FlopCounterMode(display=False, custom_mapping=more) as counter:
        model.loss(batch())["loss"].backward()
    return counter.get_total_flops()


def started(name, **settings):
    """A model past its start, where zeros would end the backward pass early."""
    torch.manual_seed(0)
    kind = method(name)
    model = kind(backbone(), LABELS, kind.Config(**settings))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def test_work_is_ordered_as_the_method_says():
    counts = {name: work(started(name)) for name in ("linear", "losa", "lora", "full", "houlsby", "ssf", "bitfit")}
    assert counts["linear"] < counts["losa"] < 1.3 * counts["linear"]
    assert all(counts["losa"] < counts[name] for name in ("lora", "houlsby", "ssf", "bitfit"))
    assert all(counts[name] < counts["full"] for name in ("lora", "houlsby", "bitfit"))


def test_what_is_kept_for_the_backward_pass_is_ordered_as_the_method_says():
    names = ("linear", "losa", "ladder", "lora", "houlsby", "adaptformer", "ssf", "full")
    kept = {name: kept_bytes(lambda name=name: started(name).loss(batch())["loss"])[0] for name in names}
    assert kept["linear"] < kept["losa"] < kept["ladder"]
    assert all(4 * kept["losa"] < kept[name] for name in names[3:])


def test_the_peak_of_one_tap_is_that_of_a_probe_and_does_not_grow_with_depth():
    tapped = [Losa(backbone(depth), LABELS, LosaConfig(taps=(-1,), init="normal")) for depth in (4, 8)]
    probe, (shallow, deep) = peak(LinearProbe(backbone(), LABELS)), map(peak, tapped)
    assert shallow <= 1.2 * probe and deep <= 1.2 * probe
    assert peak(started("lora")) > 2 * probe  # the count sees what a backward pass keeps


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_peak_grows_by_one_state_a_tap(count):
    one, more = (
        peak(Losa(backbone(), LABELS, LosaConfig(rank=1, taps=tuple(range(-taps, 0))))) for taps in (1, count + 1)
    )
    state = 8 * 65 * 64 * 4
    assert more - one <= 1.5 * count * state
