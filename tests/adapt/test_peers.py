"""The peers of LoSA: what each of them computes and how much it trains."""

from __future__ import annotations

import copy
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F

from adapt.conftest import pixels_for
from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.ladder import Ladder, LadderConfig
from whenwhere.adapt.lora import KINDS, Lora, LoraConfig, PeftAdapted, PeftSettings
from whenwhere.adapt.methods import load_adapted, method
from whenwhere.adapt.own_weights import FullFineTuning
from whenwhere.adapt.prompts import DeepPromptConfig, PromptConfig, VptDeep, VptShallow
from whenwhere.adapt.scale_shift import ScaleShift
from whenwhere.adapt.stream_adapters import AdaptFormer, AdaptFormerConfig, BottleneckConfig, Houlsby, Pfeiffer
from whenwhere.backbones.vision import TimmBackbone
from whenwhere.errors import InputError, MissingDependency

LABELS = ("a", "b", "c")
CLASS_TOKEN = "vit with class token"


def shake(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    return model.eval()


@pytest.fixture(scope="module")
def b16():
    """ViT-B/16 without numbers."""
    import timm

    with torch.device("meta"):
        return TimmBackbone(timm.create_model("vit_base_patch16_224", num_classes=1000), "vit-b16")


@pytest.mark.parametrize(
    ("name", "count", "millions"),  # millions: of the published tables; VPT's are means over tasks of several p
    [
        ("full", 85_798_656, 85.8),
        ("bitfit", 12 * (2 * 768 + 2304 + 768 + 3072 + 768) + 2 * 768, 0.10),
        ("lora", 12 * 2 * 2 * 768 * 8, 0.29),
        ("houlsby", 24 * (2 * 768 * 8 + 768 + 8), 0.31),
        ("pfeiffer", 12 * (2 * 768 * 8 + 768 + 8), 0.16),
        ("adaptformer", 12 * (2 * 768 * 8 + 768 + 8), 0.16),
        ("vpt-shallow", 100 * 768, 0.08),
        ("vpt-deep", 12 * 60 * 768, 0.55),
        ("ssf", 2 * (12 * (2 * 768 + 2304 + 768 + 3072 + 768) + 2 * 768), 0.21),
        ("ladder", 13 * 769 * 96 + 12 * (12 * 96**2 + 13 * 96 + 1) + 97 * 768, 2.38),
    ],
)
def test_counts_at_vit_b16_are_those_of_the_papers(b16, name, count, millions):
    with torch.device("meta"):
        counts = method(name)(b16, LABELS).counts()
    assert counts == {"adapter": count, "head": 3 * 769}
    assert round(count / 1e6, 1 if millions > 10 else 2) == millions


@pytest.mark.parametrize("rank", [1, 5])
@pytest.mark.parametrize("tokens", [1, 7])
def test_counts_follow_the_settings(b16, rank, tokens):
    with torch.device("meta"):
        lora = Lora(b16, LABELS, LoraConfig(rank=rank, layers=("mlp.in",)))
        shallow, deep = VptShallow(b16, LABELS, PromptConfig(tokens)), VptDeep(b16, LABELS, DeepPromptConfig(tokens))
        ladder = Ladder(b16, LABELS, LadderConfig(reduction=16, heads=2))
    assert lora.counts()["adapter"] == 12 * rank * (768 + 3072)
    assert shallow.counts()["adapter"] == tokens * 768 and deep.counts()["adapter"] == 12 * tokens * 768
    assert ladder.counts()["adapter"] == 13 * 769 * 48 + 12 * (12 * 48**2 + 13 * 48 + 1) + 49 * 768


def test_full_fine_tuning_takes_the_steps_of_plain_training(make_backbone):
    backbone = make_backbone("siglip")
    batch = {"pixels": pixels_for(backbone), "label": torch.tensor([0, 1, 2, 0])}
    model = FullFineTuning(backbone, LABELS).train()
    plain, head = copy.deepcopy(backbone).requires_grad_(True), copy.deepcopy(model.head)
    ours = torch.optim.SGD(model.parameters(), lr=0.1)
    theirs = torch.optim.SGD([*plain.parameters(), *head.parameters()], lr=0.1)
    for _ in range(3):
        loss = model.loss(batch)["loss"]
        expected = F.cross_entropy(head(plain.pooled(batch["pixels"])), batch["label"])
        assert torch.equal(loss, expected)
        for optimizer, value in ((ours, loss), (theirs, expected)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()


@pytest.mark.parametrize("kind", [CLASS_TOKEN, "clip", "dinov2"])
def test_lora_is_a_low_rank_change_of_query_and_value(make_backbone, kind):
    backbone = make_backbone(kind)
    model = shake(Lora(backbone, LABELS, LoraConfig(rank=2, alpha=6.0)))
    changed = copy.deepcopy(backbone)
    named = {key.replace("/", "."): weight for key, weight in model.updates.items()}
    count = 0
    with torch.no_grad():
        for part in anatomy(changed).sublayers:
            for role, name in part.linears.items():
                if role in ("qkv", "query", "value"):
                    count += 1
                    a, b = (next(w for k, w in named.items() if f"{name}.lora_{x}." in k) for x in "AB")
                    assert a.shape[0] == b.shape[1] == 2
                    changed.get_submodule(name).weight.add_(3.0 * b @ a)
    assert 2 * count == len(named) and count == (3 if kind == CLASS_TOKEN else 6)
    pixels = pixels_for(backbone)
    torch.testing.assert_close(model.vector(pixels), changed.pooled(pixels), rtol=1e-4, atol=1e-5)


def test_lora_drops_out_in_training_only(make_backbone):
    backbone = make_backbone("clip")
    model, pixels = shake(Lora(backbone, LABELS, LoraConfig(dropout=0.5))), pixels_for(backbone)
    with torch.no_grad():
        assert torch.equal(model(pixels), model(pixels))
        assert not torch.equal(model.train()(pixels), model(pixels))
        assert torch.equal(model.eval()(pixels), model(pixels))


_OPTIONS = {"BOFT": {"boft_block_size": 8}, "C3A": {"block_size": 8}, "MISS": {"r": 4}, "SHIRA": {"r": 4}}
_OPTIONS |= {"FOURIERFT": {"n_frequency": 50}, "HRA": {"r": 4}, "VERA": {"r": 16}, "RANDLORA": {"r": 4}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", [CLASS_TOKEN, "siglip"])
def test_tuners_of_peft_change_the_answer_and_nothing_else(make_backbone, tmp_path, kind, base):
    backbone = make_backbone(base)
    pixels, fingerprint = pixels_for(backbone), backbone.fingerprint()
    before = backbone.pooled(pixels)
    settings = PeftSettings(kind, ("query", "key", "value", "mlp.out"), _OPTIONS.get(kind, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = shake(PeftAdapted(backbone, LABELS, settings))
        adapted = model.vector(pixels)
        assert (adapted - before).abs().max() > 1e-4
        model.save(tmp_path)
        again = load_adapted(tmp_path, make_backbone(base))
    assert torch.equal(again.vector(pixels), adapted)
    adapted.sum().backward()
    assert all(weight.grad is not None for weight in model.updates.values())
    assert backbone.fingerprint() == fingerprint and torch.equal(backbone.pooled(pixels), before)
    assert 0 < model.counts()["adapter"] < sum(weight.numel() for weight in backbone.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: PeftSettings("LORE"), "tuner 'LORE'; expected one of LORA, IA3"),
        (lambda: PeftSettings("LORA", ("qv",)), r"layers \['qv'\]; expected some of query"),
        (lambda: PeftSettings("LORA", ()), "layers"),
        (lambda: PeftSettings("LORA", options={"rnk": 3}), "peft refuses.*rnk.*LoraConfig"),
        (lambda: PeftSettings("C3A", options={"block_size": 5}), "peft refuses.*factor"),
    ],
)
def test_what_peft_cannot_do_is_told(make_backbone, settings, message):
    with pytest.raises(InputError, match=message):
        PeftAdapted(make_backbone("clip"), LABELS, settings())


def test_without_peft_the_command_is_told(make_backbone, monkeypatch):
    backbone = make_backbone("clip")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependency, match=r"pip install 'whenwhere\[adapt\]'"):
        Lora(backbone, LABELS)


def _bottleneck(x, adapter, activation):
    hidden = activation(x @ adapter.down.weight.T + adapter.down.bias)
    return hidden @ adapter.up.weight.T + adapter.up.bias


@pytest.mark.parametrize(("cls", "after"), [(Houlsby, ("attention", "mlp")), (Pfeiffer, ("mlp",))])
def test_sequential_adapters_stand_after_the_branches(make_backbone, cls, after):
    backbone = make_backbone("clip")
    model, pixels = shake(cls(backbone, LABELS, BottleneckConfig(3))), pixels_for(backbone)
    parts = anatomy(backbone)
    z, left = parts.embed(pixels), list(model.adapters)
    for part in parts.sublayers:
        z = z + part.update(z)
        if part.kind in after:
            z = z + _bottleneck(z, left.pop(0), F.gelu)
    assert not left
    torch.testing.assert_close(model.vector(pixels), backbone.finish(z), rtol=1e-4, atol=1e-5)


def test_adaptformer_stands_beside_the_mlp(make_backbone):
    backbone = make_backbone("dinov2")
    model, pixels = shake(AdaptFormer(backbone, LABELS, AdaptFormerConfig(4, 0.5))), pixels_for(backbone)
    parts = anatomy(backbone)
    z = parts.embed(pixels)
    for attention, mlp, adapter in zip(parts.sublayers[::2], parts.sublayers[1::2], model.adapters):
        z = z + attention.update(z)
        z = z + mlp.update(z) + 0.5 * _bottleneck(z, adapter, torch.relu)
    torch.testing.assert_close(model.vector(pixels), backbone.finish(z), rtol=1e-4, atol=1e-5)


def test_prompts_stand_anywhere_but_in_the_places_of_the_image(make_backbone):
    """Right behind the class token, as in the paper, they do the same as at the end."""
    backbone = make_backbone(CLASS_TOKEN)
    pixels, parts = pixels_for(backbone), anatomy(backbone)
    shallow, deep = (shake(cls(backbone, LABELS, cls.Config(5))) for cls in (VptShallow, VptDeep))
    for model in (shallow, deep):
        z = parts.embed(pixels)
        for block in range(backbone.depth):
            fresh = model.prompts[block if model is deep else 0].expand(4, -1, -1)
            if block == 0 or model is deep:
                z = torch.cat([z[:, :1], fresh, z[:, 1:] if block == 0 else z[:, 6:]], 1)
            for part in parts.sublayers[2 * block : 2 * block + 2]:
                z = z + part.update(z)
        torch.testing.assert_close(model.vector(pixels), backbone.finish(z[:, :1]), rtol=1e-4, atol=1e-4)
    assert shallow.prompts.shape == (1, 5, 32) and deep.prompts.shape == (3, 5, 32)


def test_fresh_prompts_are_small_and_unlike(make_backbone):
    backbone = make_backbone("siglip")
    prompts = VptDeep(backbone, LABELS).prompts.detach()
    bound = (6 / (3 * 8**2 + 32)) ** 0.5
    assert 0.9 * bound < prompts.abs().max() <= bound and abs(float(prompts.mean())) < 0.05 * bound


def test_scale_and_shift_fold_into_the_weights(make_backbone):
    """``gamma (W x + b) + beta`` is a layer with ``gamma W`` and ``gamma b + beta``."""
    backbone = make_backbone(CLASS_TOKEN)
    model, folded, pixels = shake(ScaleShift(backbone, LABELS)), copy.deepcopy(backbone), pixels_for(backbone)
    with torch.no_grad():
        for key in model.gamma:
            layer, gamma = folded.get_submodule(key.replace("/", ".")), model.gamma[key]
            layer.weight.mul_(gamma.view(-1, *[1] * (layer.weight.ndim - 1)))
            layer.bias.mul_(gamma).add_(model.beta[key])
    assert len(model.gamma) == 3 * 6 + 2
    torch.testing.assert_close(model.vector(pixels), folded.pooled(pixels), rtol=1e-4, atol=1e-4)


def test_the_ladder_follows_its_recurrence(make_backbone):
    backbone = make_backbone("clip")
    model, pixels = shake(Ladder(backbone, LABELS)), pixels_for(backbone)
    states = backbone.states(pixels, range(3))
    h = model.down[0](states[0])
    for k in range(3):
        gate = 1 / (1 + torch.exp(-10 * model.alpha[k]))
        h = model.blocks[k](gate * h + (1 - gate) * model.down[k + 1](states[k]))
    expected = backbone.finish(states[-1] + model.up(h))
    torch.testing.assert_close(model.vector(pixels), expected, rtol=1e-4, atol=1e-5)


def test_the_ladder_takes_clips_as_the_mean_of_frames(make_backbone):
    backbone = make_backbone("siglip")
    model, clips = shake(Ladder(backbone, LABELS)), pixels_for(backbone, 6).unflatten(0, (2, 3))
    frames = model.vector(clips.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(model.vector(clips), frames.mean(1), rtol=1e-4, atol=1e-5)


def test_the_ladder_takes_states_that_were_kept_in_half(make_backbone):
    backbone = make_backbone("clip")
    model, pixels = shake(Ladder(backbone, LABELS)), pixels_for(backbone)
    kept = model.vector_of([state.half() for state in model.frozen_states(pixels)])
    torch.testing.assert_close(kept, model.vector(pixels), rtol=0.01, atol=0.02)


def test_the_ladder_needs_no_graph_of_the_backbone(make_backbone):
    backbone = make_backbone("clip")
    model = Ladder(backbone, LABELS)
    assert not any(state.requires_grad or state.grad_fn for state in model.frozen_states(pixels_for(backbone)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda b: Ladder(b, LABELS, LadderConfig(heads=3)), "divides the width, 32"),
        (lambda b: Houlsby(b, LABELS, BottleneckConfig(0)), "rank 0"),
        (lambda b: VptDeep(b, LABELS, DeepPromptConfig(0)), "tokens 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make_backbone, build, message):
    with pytest.raises(InputError, match=message):
        build(make_backbone("clip"))
