"""Every adaptation method on every kind of backbone keeps the same promises."""

from __future__ import annotations

import copy
import json
from functools import cache

import numpy as np
import pytest
import torch
from safetensors import safe_open

from adapt.conftest import MAKERS, TRANSFORMERS, pixels_for
from tiny_backbones import TINY_VIT
from whenwhere.adapt.adapted import StatesAdapted, answer_together, frozen_states
from whenwhere.adapt.methods import METHODS, load_adapted, method
from whenwhere.backbones.vision import TimmBackbone
from whenwhere.errors import InputError, WeightsError
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

NAMES = list(METHODS)
ON_CNNS = ("losa", "linear", "full", "bitfit", "ssf")
RANDOM_START = ("vpt-shallow", "vpt-deep")  # prompts that change nothing would have no gradient
LABELS = ("circle", "square", "star", "none")
PAIRS = [(name, kind) for name in NAMES for kind in MAKERS if kind in TRANSFORMERS or name in ON_CNNS]
STATES_ONLY = [name for name in NAMES if issubclass(method(name), StatesAdapted)]

pairs = pytest.mark.parametrize(("name", "kind"), PAIRS)


def build(name, backbone, seed=0):
    torch.manual_seed(seed)
    return method(name)(backbone, LABELS)


def shake(model, seed=1):
    """Weights as after some training: none is zero any more, the head's neither."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def base(make_backbone):
    """One backbone of each kind, shared by all tests of this file: no method may change it."""
    return cache(make_backbone)


@pytest.fixture(scope="module")
def trained(base):
    """Some steps on four images, each of a colour: the model, the losses, and the backbone before."""

    @cache
    def train(name, kind):
        backbone = base(kind)
        colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])[:, :, None, None]
        batch = {"pixels": 0.3 * pixels_for(backbone) + 2 * colours, "label": torch.arange(4)}
        before = copy.deepcopy(backbone.state_dict())
        model = build(name, backbone)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 if name == "full" else 1e-2)
        model.train()
        losses = []
        for _ in range(20 if kind in TRANSFORMERS else 8):
            loss = model.loss(batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return model.eval(), losses, before

    return train


@pairs
def test_training_lowers_the_loss_and_reaches_every_trained_tensor(trained, name, kind):
    model, losses, _ = trained(name, kind)
    assert losses[0] == pytest.approx(np.log(4), rel=1e-4)  # a head of zeros
    assert losses[-1] < 0.99 * losses[0]
    assert not [key for key, weight in model.named_parameters() if weight.grad is None]


@pairs
def test_training_leaves_the_backbone_as_it_was(trained, base, name, kind):
    _, _, before = trained(name, kind)
    backbone = base(kind)
    after = backbone.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in after)
    assert all(weight.grad is None and not weight.requires_grad for weight in backbone.parameters())
    assert not any(module.training for module in backbone.modules())
    own = {id(weight) for weight in trained(name, kind)[0].parameters()}
    assert own.isdisjoint(id(weight) for weight in backbone.parameters())


@pytest.mark.parametrize(("name", "kind"), [pair for pair in PAIRS if pair[0] not in RANDOM_START])
def test_it_starts_as_a_linear_probe_to_the_bit(base, name, kind):
    backbone = base(kind)
    model, pixels = build(name, backbone), pixels_for(backbone)
    torch.nn.init.normal_(model.head.weight)
    plain = backbone.pooled(pixels)
    if name in STATES_ONLY:  # states as they are cached, whose layout in memory may sum up in another order
        plain, whole = backbone.finish(frozen_states(backbone, pixels, [-1])[0]), plain
        torch.testing.assert_close(plain, whole, rtol=1e-5, atol=1e-5)
    expected = model.head(plain)
    assert torch.equal(model(pixels), expected)
    with torch.no_grad():
        assert torch.equal(model.eval()(pixels), expected)


@pairs
def test_the_backbone_answers_as_before_beside_the_adapter_and_after_it(base, name, kind):
    backbone = base(kind)
    pixels = pixels_for(backbone)
    before = backbone.pooled(pixels)
    model = shake(build(name, backbone))
    adapted = model.vector(pixels)
    assert name == "linear" or (adapted - before).abs().max() > 1e-3
    assert torch.equal(backbone.pooled(pixels), before)
    del model, adapted
    assert torch.equal(backbone.pooled(pixels), before)


@pairs
def test_a_saved_adapter_holds_its_own_tensors_and_gives_the_same_logits(make_backbone, base, tmp_path, name, kind):
    model = shake(build(name, base(kind)))
    pixels = pixels_for(base(kind))
    model.save(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        numbers = sum(np.prod(file.get_slice(key).get_shape(), dtype=int) for key in file.keys())  # noqa: SIM118
        header = 200 * (1 + len(model.state_dict()))
    trained = sum(weight.numel() for weight in model.parameters())
    assert trained == sum(model.counts().values())
    assert numbers == trained or name == "full"
    assert (tmp_path / "model.safetensors").stat().st_size <= 4 * numbers + header
    config = json.loads((tmp_path / "config.json").read_text())["config"]
    assert config["method"] == name and config["fingerprint"] == base(kind).fingerprint()
    again = load_adapted(tmp_path, make_backbone(kind))
    assert type(again) is type(model) and again.config == model.config and again.labels == LABELS
    with torch.no_grad():
        assert torch.equal(again(pixels), model(pixels))


@pairs
def test_an_image_alone_gets_what_it_gets_in_a_batch(base, name, kind):
    model = shake(build(name, base(kind)))
    pixels = pixels_for(base(kind))
    with torch.no_grad():
        whole = model(pixels)
        alone = torch.cat([model(row[None]) for row in pixels])
    assert whole.shape == (4, 4) and (whole[0] - whole[1]).abs().max() > 1e-4
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)


@pairs
def test_bfloat16_autocast_stays_near(base, name, kind):
    model = shake(build(name, base(kind))).train()
    batch = {"pixels": pixels_for(base(kind)), "label": torch.arange(4)}
    exact = model(batch["pixels"]).detach()
    with torch.autocast("cpu", torch.bfloat16):
        near = model(batch["pixels"])
        loss = model.loss(batch)["loss"]
    loss.backward()
    assert all(weight.dtype == torch.float32 and torch.isfinite(weight.grad).all() for weight in model.parameters())
    assert (near.float() - exact).abs().max() < (0.05 if kind in TRANSFORMERS else 0.1) * exact.abs().max()


@pytest.fixture(scope="module")
def half(make_backbone):
    """The same backbones with weights in bfloat16."""
    return cache(lambda kind: make_backbone(kind).bfloat16())


@pairs
def test_a_backbone_in_bfloat16_is_adapted_in_float32(base, half, tmp_path, name, kind):
    backbone, pixels = half(kind), pixels_for(base(kind))
    frozen = copy.deepcopy(backbone.state_dict())
    model = build(name, backbone)
    if name not in RANDOM_START:  # nothing is added yet, to the bit
        torch.nn.init.normal_(model.head.weight)
        plain = (
            backbone.finish(frozen_states(backbone, pixels, [-1])[0])
            if name in STATES_ONLY
            else backbone.pooled(pixels.bfloat16())
        )
        assert plain.dtype == torch.bfloat16
        with torch.no_grad():
            assert torch.equal(model(pixels), model.head(plain.float()))
    model, exact = shake(build(name, backbone)), shake(build(name, base(kind)))
    with torch.no_grad():
        near, wanted = model(pixels), exact(pixels)
    assert near.dtype == torch.float32
    # weights and maps of 8 bits, through up to 50 layers with random weights
    assert (near - wanted).abs().max() < (0.05 if kind in TRANSFORMERS else 0.15) * wanted.abs().max()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for one in (model, exact):
        one.loss({"pixels": pixels, "label": torch.arange(4)})["loss"].backward()
    for (key, weight), twin in zip(model.named_parameters(), exact.parameters()):
        assert weight.grad.isfinite().all() and bool(weight.grad.any()) >= bool(twin.grad.abs().max() > 1e-6), key
    optimizer.step()
    own = torch.bfloat16 if name in ("full", "bitfit") else torch.float32  # copies of the backbone's are what they are
    assert {weight.dtype for key, weight in model.named_parameters() if not key.startswith("head.")} <= {own}
    assert model.head.weight.dtype == torch.float32
    assert all(torch.equal(tensor, frozen[key]) for key, tensor in backbone.state_dict().items())
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    model.save(tmp_path)
    again = load_adapted(tmp_path, backbone)
    assert np.array_equal(again.predict([image]), model.predict([image]))
    with pytest.raises(WeightsError, match="trained on"):
        load_adapted(tmp_path, base(kind))


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in NAMES for k in MAKERS if (n, k) not in PAIRS])
def test_what_needs_a_transformer_refuses_a_cnn(base, name, kind):
    with pytest.raises(InputError, match="not a vision transformer"):
        build(name, base(kind))


@pytest.mark.parametrize("name", NAMES)
def test_another_backbone_is_refused(make_backbone, base, tmp_path, name):
    build(name, base("clip")).save(tmp_path)
    other = make_backbone("clip")
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(WeightsError, match="trained on"):
        load_adapted(tmp_path, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_of_equal_weights_that_computes_another_thing_is_refused(tmp_path, name):
    import timm

    first, other = (
        TimmBackbone(timm.create_model("vit_tiny_patch16_224", **{**TINY_VIT, "num_heads": heads}), "tiny")
        for heads in (2, 4)
    )
    other.load_state_dict(first.state_dict())
    build(name, first).save(tmp_path)
    load_adapted(tmp_path, first)
    with pytest.raises(WeightsError, match="trained on"):
        load_adapted(tmp_path, other)


@pytest.mark.parametrize("name", NAMES)
def test_adapters_on_one_backbone_do_not_disturb_each_other(base, name):
    backbone = base("vit with class token")
    pixels = pixels_for(backbone)
    first = shake(build(name, backbone))
    before = first(pixels).detach()
    for other in ("bitfit", "lora", "ssf", "adaptformer", name):
        second = shake(build(other, backbone, seed=7), seed=8).train()
        second.loss({"pixels": pixels, "label": torch.arange(4)})["loss"].backward()
        assert torch.equal(first(pixels), before)
    assert all(weight.grad is None for weight in first.parameters())


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_two_answers_from_one_pass_of_the_backbone(base, kind):
    backbone, passes = base(kind), []
    pixels = pixels_for(backbone)
    models = [shake(build(name, backbone, seed), seed) for seed in (1, 2) for name in STATES_ONLY]
    alone = [model(pixels) for model in models]
    conv = next(module for module in backbone.modules() if isinstance(module, torch.nn.Conv2d))
    handle = conv.register_forward_hook(lambda *_: passes.append(1))
    together = answer_together(models, pixels)
    handle.remove()
    assert len(models) >= 2 and passes == [1]
    assert not torch.equal(together[0], together[-1])
    for one, same in zip(together, alone):
        assert torch.equal(one, same)


@pytest.mark.parametrize("name", STATES_ONLY)
def test_cached_states_train_as_pixels_do(base, name):
    backbone = base("dinov2")
    pixels, label = pixels_for(backbone), torch.arange(4)
    model = shake(build(name, backbone))
    model.loss({"pixels": pixels, "label": label})["loss"].backward()
    expected = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    states = model.frozen_states(pixels)
    assert not any(state.requires_grad for state in states)
    model.loss({"states": states, "label": label})["loss"].backward()
    assert all(torch.equal(weight.grad, same) for weight, same in zip(model.parameters(), expected))


class Noise:
    """Twelve images with labels."""

    def __init__(self, backbone):
        self.pixels = pixels_for(backbone, 12, seed=9)

    def __len__(self):
        return len(self.pixels)

    def sample(self, rng, index):
        return {"pixels": self.pixels[index], "label": index % 4}


@pytest.mark.parametrize("name", ["lora", "ladder"])
def test_fit_trains_it_and_goes_on_where_it_stopped(base, tmp_path, name):
    backbone = base("vit with class token")

    def run(folder, *steps):
        for count in steps:
            model = build(name, backbone)
            config = FitConfig(steps=count, batch=4, lr=3e-3, device="cpu", checkpoint_every=3)
            result = fit(model, Batches(Noise(backbone)), config, tmp_path / folder)
        assert result.step == steps[-1]
        return model.state_dict()

    whole, halves, start = run("whole", 6), run("halves", 3, 6), build(name, backbone).state_dict()
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
    assert not torch.equal(whole["head.weight"], start["head.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_fit_holds_what_is_trained_and_no_more(base, tmp_path, name):
    backbone = base("vit with class token")
    model = build(name, backbone)
    fit(
        model,
        Batches(Noise(backbone)),
        FitConfig(steps=1, batch=4, lr=1e-3, device="cpu", checkpoint_every=1),
        tmp_path,
    )
    trained = {key: tuple(weight.shape) for key, weight in model.named_parameters()}
    with safe_open(tmp_path / "step_000001" / "model.safetensors", "pt") as file:
        held = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert held == trained
    numbers = sum(int(np.prod(shape, dtype=int)) for shape in trained.values())
    moments = (tmp_path / "step_000001" / "optimizer.safetensors").stat().st_size
    assert moments < 8 * numbers + 400 * (1 + len(trained))
    if name != "full":
        assert numbers < sum(weight.numel() for weight in backbone.parameters())


def test_an_unknown_method_is_told_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="'lore'; expected one of losa, linear, full, .*placed"):
        method("lore")
