"""The invariants of nested experts, on models small enough to look through."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from whenwhere.adapt.nested import NestedConfig, NestedViT, steps_at_equal_flops
from whenwhere.adapt.nested_encoder import NestedBlocksConfig
from whenwhere.backbones.vision import TimmBackbone
from whenwhere.errors import InputError, WeightsError
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

timm = pytest.importorskip("timm")

BLOCKS = NestedBlocksConfig(width=32, depth=3, heads=4, hidden=64)
CONFIG = NestedConfig(size=24, patch=4, channels=3, classes=5, blocks=BLOCKS)  # 36 tokens
ONE_EXPERT = [tuple(float(i == j) for i in range(4)) for j in range(4)]


def model(seed: int = 0, alpha: float = 0.0, **changes) -> NestedViT:
    """A model with weights large enough that every part matters."""
    torch.manual_seed(seed)
    blocks = {name: changes.pop(name) for name in list(changes) if hasattr(BLOCKS, name)}
    made = NestedViT(replace(CONFIG, blocks=replace(BLOCKS, **blocks), **changes)).eval()
    for parameter in made.parameters():
        if parameter.ndim > 0:
            nn.init.normal_(parameter, std=0.2)
    nn.init.constant_(made.alpha, alpha)
    return made


def images(count: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


def dense(**options) -> nn.Module:
    """timm's transformer of the same shape, with weights large enough that every part matters."""
    torch.manual_seed(3)
    vit = timm.models.VisionTransformer(
        img_size=24, patch_size=4, num_classes=5, embed_dim=32, depth=3, num_heads=4, mlp_ratio=2, **options
    ).eval()
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    return vit


DENSE = {
    "no class token": {"class_token": False, "global_pool": "avg"},
    "norm before the mean": {"class_token": False, "global_pool": "avg", "fc_norm": False},
    "class token": {},
    "class token, mean": {"global_pool": "avg"},
    "registers": {"reg_tokens": 3},
    "registers without positions": {"reg_tokens": 3, "no_embed_class": True},
    "LayerScale": {"init_values": 0.5},
    "no qkv bias": {"qkv_bias": False},
    "no classifier": {"num_classes": 0},
}


@pytest.mark.parametrize("options", DENSE.values(), ids=DENSE)
def test_at_full_budget_it_is_the_dense_transformer(options):
    vit = dense(**{k: v for k, v in options.items() if k != "num_classes"})
    if options.get("num_classes") == 0:
        vit.reset_classifier(0)
    nested = NestedViT.from_vit(vit)
    x = images()
    with torch.no_grad():
        wanted = vit(x)
        for form in ("mask", "grouped"):
            nested.form = form
            assert torch.allclose(nested(x), wanted, atol=1e-5), form
            assert torch.equal(nested(x), nested(x, 1.0))
        assert not torch.allclose(nested(x, 0.3), wanted, atol=1e-2)


@pytest.mark.parametrize(
    "options", [options for name, options in DENSE.items() if name not in ("LayerScale", "no classifier")]
)
def test_at_full_budget_the_mask_form_is_the_dense_transformer_to_the_bit(options):
    vit, x = dense(**options), images()
    nested = NestedViT.from_vit(vit)
    nested.form = "mask"
    with torch.no_grad():
        # in one order in memory: a mean sums up tokens in another where no norm has put timm's own in line
        wanted = vit.forward_head(vit.forward_features(x).contiguous())
        for budget in (1.0, (0.0, 0.0, 0.0, 1.0)):
            assert torch.equal(nested(x, budget), wanted)


def test_parameters_are_those_of_the_dense_one_and_the_router():
    vit = dense(class_token=False, global_pool="avg", fc_norm=False)
    nested = NestedViT.from_vit(vit)
    extra = sum(p.numel() for p in nested.parameters()) - sum(p.numel() for p in vit.parameters())
    assert extra == 32 * 4 + 4 + 1
    missing, unknown = nested.load_state_dict(vit.state_dict(), strict=False)  # no key surgery
    assert not unknown and set(missing) == {"alpha", "routers.0.linear.weight", "routers.0.linear.bias"}


def test_the_overhead_of_vit_b_is_3077_parameters():
    with torch.device("meta"):
        nested = NestedViT(NestedConfig())
    routing = [p.numel() for name, p in nested.named_parameters() if name.startswith(("routers.", "alpha"))]
    assert sum(routing) == 3077


def test_a_frozen_backbone_is_taken_too():
    shape = {"img_size": 24, "patch_size": 4, "embed_dim": 32, "depth": 3, "num_heads": 4}
    backbone = TimmBackbone(timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape), "small")
    with torch.no_grad():
        assert torch.allclose(NestedViT.from_vit(backbone)(images()), backbone.pooled(images()), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"qk_norm": True}, "a norm of queries and keys"),
        ({"pre_norm": True}, "in front of the blocks"),
        ({"act_layer": nn.ReLU}, "other than GELU"),
        ({"pos_embed": "none"}, "no position embedding"),
        ({"dynamic_img_size": True}, "a variable input size"),
    ],
)
def test_a_transformer_without_a_nested_form_is_refused_by_name(options, named):
    with pytest.raises(InputError, match=named):
        NestedViT.from_vit(dense(**options))


def test_something_else_than_a_transformer_is_refused():
    with pytest.raises(InputError, match="Linear"):
        NestedViT.from_vit(nn.Linear(2, 2))


def test_with_alpha_the_full_expert_scales_its_feed_forward_branch():
    plain, scaled = model(), model(alpha=0.5)
    scaled.routers["0"].load_state_dict(plain.routers["0"].state_dict())
    x = images()
    with torch.no_grad():
        _, r = scaled.routing(x)
        factor = 1 + 0.5 * r.flatten(1, 2)[..., 3].t()[..., None]  # (N, B, 1)
        tokens = plain.embed(x).transpose(0, 1).contiguous()
        plan = plain.encode(plain.embed(x), ONE_EXPERT[3])  # the plain model runs
        for block in plain.blocks:
            before = tokens
            y = block.norm1(before)
            q, k, v = block.attn.qkv(y).view(36, 3, 3, 4, 8).permute(2, 1, 3, 0, 4)
            mixed = torch.softmax(q @ k.transpose(2, 3) / 8**0.5, -1) @ v
            z = before + block.attn.proj(mixed.permute(2, 0, 1, 3).reshape(36, 3, 32))
            tokens = z + factor * block.mlp.fc2(nn.functional.gelu(block.mlp.fc1(block.norm2(z))))
        found = scaled.encode(scaled.embed(x), 1.0).tokens
    assert torch.allclose(found, tokens, atol=1e-4)
    assert not torch.allclose(plan.tokens, tokens, atol=1e-2)


@pytest.mark.parametrize("expert", [0, 1, 2])
def test_an_expert_does_not_depend_on_weights_past_its_width(expert):
    width = BLOCKS.widths[expert]
    for form in ("mask", "grouped"):
        nested = model(alpha=0.3)
        nested.form = form
        loss = nested(images(), ONE_EXPERT[expert]).square().sum()
        loss.backward()
        before = loss.item()
        for block in nested.blocks:
            for reading in (block.attn.qkv, block.mlp.fc1):
                assert not reading.weight.grad[:, width:].any() and reading.weight.grad[:, :width].any()
            for writing in (block.attn.proj, block.mlp.fc2):
                assert not writing.weight.grad[width:].any() and writing.weight.grad[:width].any()
                assert not writing.bias.grad[width:].any()
        with torch.no_grad():
            for block in nested.blocks:
                for reading in (block.attn.qkv, block.mlp.fc1):
                    reading.weight[:, width:] += 1
                for writing in (block.attn.proj, block.mlp.fc2):
                    writing.weight[width:] += 1
                    writing.bias[width:] += 1
            assert nested(images(), ONE_EXPERT[expert]).square().sum().item() == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("form", ["mask", "grouped"])
@pytest.mark.parametrize("training", [False, True])
def test_features_past_the_width_of_a_tokens_expert_stay_what_they_were(form, training):
    nested = model(alpha=0.3)
    nested.form = form
    x = images()
    with torch.set_grad_enabled(training):
        start = nested.embed(x).detach().clone()  # (B, N, D)
        found = nested.encode(nested.embed(x), 0.4)
    end = torch.zeros_like(start).scatter(1, found.order[..., None].expand_as(start), found.tokens.transpose(0, 1))
    widths = torch.tensor(BLOCKS.widths)[found.experts][..., None]
    outside = torch.arange(32) >= widths  # (B, N, D)
    assert outside.any()
    assert torch.equal(end[outside], start[outside])
    assert (end != start)[~outside].float().mean() > 0.99


@pytest.mark.parametrize("budget", [0.15, 0.4, 0.8, 1.0, (0.5, 0.0, 0.0, 0.5), (0.0, 1.0, 0.0, 0.0)])
@pytest.mark.parametrize("changes", [{}, {"router_layers": (1,)}, {"router_layers": (0, 2)}, {"class_token": True}])
def test_mask_and_grouped_form_agree_forward_and_backward(budget, changes):
    grouped = model(alpha=0.2, **changes).double()
    mask = copy.deepcopy(grouped)
    mask.form = "mask"
    x = images().double()
    outputs = [m(x, budget) for m in (grouped, mask)]
    assert torch.allclose(*outputs, atol=1e-9)
    with torch.no_grad():
        assert torch.allclose(grouped(x, budget), outputs[0], atol=1e-9)  # in place, without gradients
        assert torch.allclose(grouped.tokens(x, budget), mask.tokens(x, budget), atol=1e-9)
        for one, other in zip(grouped.routing(x, budget), mask.routing(x, budget)):
            assert torch.allclose(one, other)
    for output in outputs:
        output.square().sum().backward()
    for (name, one), other in zip(grouped.named_parameters(), mask.parameters()):
        assert one.grad is not None, name
        assert torch.allclose(one.grad, other.grad, rtol=1e-7, atol=1e-8), name


def test_mask_and_grouped_form_agree_in_float32():
    grouped = model(alpha=0.2)
    for parameter in grouped.parameters():
        parameter.data.mul_(0.3)  # activations of the size that trained ones have
    mask = copy.deepcopy(grouped)
    mask.form = "mask"
    for budget in (0.2, 0.4, 0.7):
        outputs = [m(images(), budget) for m in (grouped, mask)]
        assert torch.allclose(*outputs, atol=1e-5)
        for output in outputs:
            output.square().sum().backward()
        for one, other in zip(grouped.parameters(), mask.parameters()):
            assert torch.allclose(one.grad, other.grad, atol=1e-5)


def test_the_router_gets_its_gradient_through_the_gate_alone():
    for alpha, moved in ((0.0, False), (0.1, True)):
        nested = model(alpha=alpha).train()
        nested(images(), 0.4).square().sum().backward()
        assert bool(nested.routers["0"].linear.weight.grad.abs().sum() > 0) is moved
        assert nested.alpha.grad.abs() > 0
        experts, probabilities = nested.routing(images(), 0.4)
        assert not experts.is_floating_point() and not probabilities.requires_grad


def test_alpha_stays_in_its_range_and_can_leave_the_border():
    for start, kept in ((-0.5, 0.0), (1.5, 1 - 1e-6)):
        nested = model(alpha=start)
        with torch.no_grad():
            inside = nested(images(), 0.4)
            nested.alpha.fill_(kept)
            assert torch.equal(nested(images(), 0.4), inside)
            nested.alpha.fill_(start)
        nested.train()(images(), 0.4).square().sum().backward()
        assert nested.alpha.item() == pytest.approx(kept, abs=1e-7)
        assert nested.alpha.grad.abs() > 0


def test_a_token_of_the_smallest_expert_is_heard_by_one_of_the_largest():
    nested = model(depth=1)
    with torch.no_grad():
        tokens = nested.embed(images(1))
        changed = tokens.clone()
        first = nested.encode(tokens, 0.4)
        small = int(first.experts[0].eq(0).nonzero()[0])
        changed[0, small, : BLOCKS.widths[0]] += torch.tensor([0.02, -0.02, 0.02, -0.02])
        large = first.experts.gather(1, first.order)[0].eq(3)
        heard = []
        for _ in range(2):
            found = [nested.encode(given.clone(), 0.4) for given in (tokens, changed)]
            assert torch.equal(found[0].experts, found[1].experts)
            heard.append((found[0].tokens - found[1].tokens)[large, 0].abs().max().item())
            nested.blocks[0].attn.qkv.weight[:, : BLOCKS.widths[0]] = 0  # now its keys and values say nothing
    assert heard[0] > 1e-5
    assert heard[1] == 0


@pytest.mark.parametrize("form", ["mask", "grouped"])
def test_an_image_does_not_feel_its_batch(form):
    nested = model(alpha=0.2)
    nested.form = form
    x = images(4)
    with torch.no_grad():
        together, alone = nested(x, 0.4), torch.cat([nested(one[None], 0.4) for one in x])
    assert torch.allclose(together, alone, atol=1e-4)


def test_the_class_token_takes_the_full_expert_and_is_not_counted():
    nested = model(class_token=True, registers=2, pool="class")
    experts, _ = nested.routing(images(), 0.4)
    plain, _ = model().routing(images(), 0.4)
    assert experts.shape == (3, 6, 6)
    assert experts.flatten().bincount().tolist() == plain.flatten().bincount().tolist()
    width = BLOCKS.widths[0]
    before = nested.embed(images())[:, :3]
    after = nested.encode(nested.embed(images()), 0.125, 3).tokens[:3].transpose(0, 1)
    assert (before[..., width:] != after[..., width:]).float().mean() > 0.99


def test_flops_of_the_published_sizes():
    published = {(192, 3): 1.25, (384, 6): 4.57, (768, 12): 17.5}
    for (width, heads), giga in published.items():
        with torch.device("meta"):
            nested = NestedViT(NestedConfig(blocks=NestedBlocksConfig(width, 12, heads, 4 * width)))
        assert nested.flops() / 1e9 == pytest.approx(giga, rel=0.01)
    with torch.device("meta"):
        nested = NestedViT(NestedConfig(blocks=NestedBlocksConfig(1024, 24, 16, 4096)))
    assert nested.flops() / 1e9 == pytest.approx(61.2, rel=0.01)


def test_flops_of_one_expert_and_of_a_capacity_follow_the_formula():
    n, d, layers = 196, 192, 12
    with torch.device("meta"):
        nested = NestedViT(NestedConfig(blocks=NestedBlocksConfig(d, layers, 3, 4 * d)))
    fixed = n * 768 * d + d * 1000 + n * d * 4
    for shares, mean in ((ONE_EXPERT[0], 1 / 8), (ONE_EXPERT[1], 1 / 4), (ONE_EXPERT[2], 1 / 2), ([0.25] * 4, 15 / 32)):
        assert nested.flops(shares) == fixed + layers * (12 * n * d * d * mean + 2 * n * n * d)
    realised = (60 + 2) * 24 + 55 * 48 + 46 * 96 + 33 * 192  # the table at 0.4, left-overs on the smallest
    assert nested.flops(0.4) == fixed + layers * (12 * d * realised + 2 * n * n * d)


def test_a_counter_finds_what_the_formula_says():
    nested = model(size=56, class_token=True, pool="class")
    for budget in (0.2, 0.4, 0.7, 1.0):
        with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            nested(torch.randn(2, 3, 56, 56), budget)
        assert counter.get_total_flops() / 2 / 2 == pytest.approx(nested.flops(budget), rel=0.01)


def test_flops_rise_with_the_budget_and_are_inverted():
    nested = model(size=56)
    budgets = [0.125 + i * 0.875 / 20 for i in range(21)]
    flops = [nested.flops(budget) for budget in budgets]
    assert flops == sorted(set(flops))
    for budget, cost in zip(budgets, flops):
        found = nested.budget_for(cost)
        assert nested.flops(found) <= cost and found <= budget + 1e-9
        assert found > budget - 0.03  # rounding to whole tokens
    assert nested.budget_for(1e15) == 1.0
    with pytest.raises(InputError, match="at least"):
        nested.budget_for(nested.flops(0.125) * 0.9)


def test_steps_at_equal_flops():
    assert steps_at_equal_flops(100, 4.0, 2.0) == 200
    assert steps_at_equal_flops(100, 3.0, 4.0) == 75
    with pytest.raises(InputError):
        steps_at_equal_flops(0, 1.0, 1.0)


@pytest.mark.parametrize(
    "budget",
    [0.1, 1.1, (0.5, 0.5), (0.5, 0.5, 0.5, 0.5), (float("nan"), 0, 0, 1), "half", ("a", 0, 0, 1), torch.tensor(2.0)],
)
def test_a_budget_out_of_range_is_refused(budget):
    with pytest.raises(InputError):
        model()(images(), budget)


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.tensor])
def test_a_budget_may_be_a_number_of_numpy_or_torch(kind):
    nested, x = model(), images()
    with torch.no_grad():
        assert torch.equal(nested(x, kind(0.375)), nested(x, 0.375))
    assert nested.flops(kind(0.375)) == nested.flops(0.375)
    shares = [0.25, 0.25, 0.25, 0.25]
    assert nested.flops(np.array(shares)) == nested.flops(torch.tensor(shares)) == nested.flops(shares)


def test_pixels_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"\(B, 3, 24, 24\)"):
        model()(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    "options",
    [
        {"size": 25},
        {"pool": "class"},
        {"budgets": ()},
        {"budgets": (0.1,)},
        {"training": "sometimes"},
        {"blocks": {"width": 36, "heads": 4}},
        {"blocks": {"router_layers": (3,)}},
        {"blocks": {"router_layers": ()}},
        {"blocks": {"router_layers": (1, 0)}},
    ],
)
def test_a_shape_that_contradicts_itself_is_refused(options):
    with pytest.raises(InputError):
        blocks = replace(BLOCKS, **options.pop("blocks", {}))
        replace(CONFIG, blocks=blocks, **options)


def test_it_is_saved_and_loaded_whole(tmp_path):
    nested = model(alpha=0.2, class_token=True, router_layers=(0, 2), budgets=(0.4, 0.6))
    nested.save(tmp_path)
    again = NestedViT.load(tmp_path)
    assert again.config == nested.config
    assert torch.equal(again(images(), 0.4), nested(images(), 0.4))
    (tmp_path / "config.json").write_text('{"schema": "other"}')
    with pytest.raises(WeightsError, match="schema"):
        NestedViT.load(tmp_path)


def test_training_for_all_widths_is_the_sum_over_experts():
    nested = model(training="widths")
    labels = torch.tensor([0, 1, 2])
    wanted = sum(nn.functional.cross_entropy(nested(images(), shares), labels) for shares in ONE_EXPERT)
    assert nested.loss({"pixels": images(), "labels": labels})["loss"].item() == pytest.approx(wanted.item(), rel=1e-6)


def test_several_labels_an_image_take_sigmoids():
    nested = model(budgets=(1.0,))
    labels = torch.tensor([[1.0, 0, 0, 1, 0]] * 3)
    logits = nested(images())
    wanted = -(labels * logits.sigmoid().log() + (1 - labels) * (1 - logits.sigmoid()).log()).sum(1).mean()
    assert nested.loss({"pixels": images(), "labels": labels})["loss"].item() == pytest.approx(wanted.item(), rel=1e-3)


class Spots:
    """A square of one of five colours somewhere on noise: the colour is the label."""

    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])

    def __len__(self) -> int:
        return 1000

    def sample(self, rng, index):
        label = index % 5
        pixels = torch.from_numpy(rng.normal(0, 0.3, (3, 24, 24)).astype("float32"))
        y, x = rng.integers(12, size=2)
        pixels[:, y : y + 12, x : x + 12] += 2 * self.colours[label][:, None, None]
        return {"pixels": pixels, "labels": torch.tensor(label)}


def test_it_learns_at_all_budgets_with_the_training_loop(tmp_path):
    torch.manual_seed(0)
    nested = NestedViT(CONFIG)
    with torch.no_grad():
        start = nested.loss(torch.utils.data.default_collate([Spots().sample(_rng(0), i) for i in range(20)]))
    fit(
        nested,
        Batches(Spots(), torch.utils.data.default_collate),
        FitConfig(steps=50, batch=16, lr=4e-3, device="cpu"),
        tmp_path,
    )
    test = torch.utils.data.default_collate([Spots().sample(_rng(1), i) for i in range(50)])
    nested.eval()
    assert set(start) == {"loss", "budget"}
    for budget in (0.2, 0.5, 1.0):
        with torch.no_grad():
            assert nested(test["pixels"], budget).argmax(1).eq(test["labels"]).float().mean() > 0.9
    assert nested.alpha.item() > 0


def _rng(seed):
    import numpy

    return numpy.random.default_rng(seed)


def test_a_smaller_budget_takes_less_time_in_the_grouped_form():
    blocks = NestedBlocksConfig(384, 2, 6, 1536)
    nested = NestedViT(NestedConfig(size=112, patch=8, classes=0, blocks=blocks)).eval()  # 196 tokens
    x = torch.randn(4, 3, 112, 112)
    least = {}
    for budget in (1.0, 0.4, 0.15):
        times = []
        with torch.inference_mode():
            for _ in range(4):
                start = time.process_time()
                nested(x, budget)
                times.append(time.process_time() - start)
        least[budget] = min(times)
    assert least[0.15] < least[0.4] < least[1.0] / 1.2


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_runs_with_and_without_gradients(autocast):
    nested, x = model(alpha=0.3), images()
    for parameter in nested.parameters():
        parameter.data.mul_(0.3)
    nested.alpha.data.fill_(0.3)
    wanted = nested(x, 0.4).detach()
    if not autocast:
        nested, x = nested.to(torch.bfloat16), x.to(torch.bfloat16)
    for form in ("grouped", "mask"):
        nested.form = form
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            trained = nested(x, 0.4)
            with torch.no_grad():
                found = nested(x, 0.4)
        trained.float().sum().backward()
        # a token at the border of an expert may change sides when its probability is rounded
        assert (found.float() - wanted).abs().max() < 0.1 * wanted.abs().max()
        assert (trained.float() - wanted).abs().max() < 0.1 * wanted.abs().max()
        assert nested.blocks[0].attn.qkv.weight.grad.isfinite().all()
