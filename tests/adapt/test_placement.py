"""Placed adapters against two whole passes written out in full, on every kind of transformer."""

from __future__ import annotations

import copy

import pytest
import torch

from adapt.conftest import TRANSFORMERS, pixels_for
from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.edges import adapter_parameters, passes
from whenwhere.adapt.methods import load_adapted
from whenwhere.adapt.placement import PlacedAdapters, PlacementConfig, frozen_node
from whenwhere.errors import InputError

LABELS = ["cat", "dog", "owl"]
# On 3 blocks: 7 nodes.
PLACEMENTS = {
    "parallel": [(2, 3)],
    "sequential": [(4, 4)],
    "long range": [(1, 5)],
    "recurrent": [(5, 2)],
    "the longest way back": [(6, 0)],
    "embeddings": [(0, 0), (0, 1)],
    "several back": [(4, 3), (6, 5), (5, 3)],
    "mixed": [(0, 4), (1, 1), (3, 3), (5, 3), (4, 2), (2, 3), (2, 2), (5, 6), (6, 6)],
    "back past forward": [(0, 1), (1, 1), (5, 4), (3, 4), (1, 6), (4, 4)],
}


def make(backbone, edges, trained=True, **settings):
    """A model; with ``trained``, adapters and head of random weights in place of zeros."""
    torch.manual_seed(1)
    model = PlacedAdapters(backbone, LABELS, PlacementConfig(edges=edges, rank=4, **settings))
    torch.nn.init.normal_(model.head.weight)
    if trained:
        for adapter in model.adapters.values():
            torch.nn.init.normal_(adapter.up.weight, std=0.3)
            torch.nn.init.normal_(adapter.up.bias, std=0.3)
    return model.to(next(backbone.parameters()).dtype)


def adapter_of(model, i, j):
    return model.adapters[f"{i}_to_{j}"]


def whole_pass(model, pixels, before=None):
    """One pass as the method is written, all nodes of it: nothing is left out and nothing reused."""
    parts, edges = anatomy(model.backbone), set(model.edges)
    nodes = []
    for j in range(len(parts.sublayers) + 1):
        z = parts.embed(pixels) if j == 0 else nodes[-1] + parts.sublayers[j - 1].update(nodes[-1])
        for i in range(j):
            if (i, j) in edges:
                z = z + adapter_of(model, i, j)(nodes[i])
        if before is not None:
            for i in range(j + 1, len(parts.sublayers) + 1):
                if (i, j) in edges:
                    z = z + adapter_of(model, i, j)(before[i])
        if (j, j) in edges:
            z = z + adapter_of(model, j, j)(z)
        nodes.append(z)
    return nodes


def whole(model, pixels):
    """First and second pass; the same one where nothing goes back."""
    first = whole_pass(model, pixels)
    back = any(i > j for i, j in model.edges)
    return first, whole_pass(model, pixels, first) if back else first


@pytest.mark.parametrize("kind", TRANSFORMERS)
@pytest.mark.parametrize("name", PLACEMENTS)
def test_the_shortened_passes_give_what_two_whole_ones_give(make_backbone, kind, name):
    backbone = make_backbone(kind)
    model, pixels = make(backbone, PLACEMENTS[name]), pixels_for(backbone, 2)
    with torch.no_grad():
        last = whole(model, pixels)[1][-1]
        assert torch.equal(model.vector(pixels), backbone.finish(last))
        assert not torch.allclose(model.vector(pixels), backbone.pooled(pixels), atol=1e-3)


@pytest.mark.parametrize("kind", TRANSFORMERS)
@pytest.mark.parametrize("name", PLACEMENTS)
def test_fresh_adapters_leave_the_function_as_it_is(make_backbone, kind, name):
    backbone = make_backbone(kind).double()
    model, pixels = make(backbone, PLACEMENTS[name], trained=False), pixels_for(backbone, 2).double()
    with torch.no_grad():
        assert (model(pixels) - model.head(backbone.pooled(pixels))).abs().max() <= 1e-12


@pytest.mark.parametrize("name", ["recurrent", "several back", "mixed", "back past forward"])
def test_gradients_are_those_of_two_whole_passes(make_backbone, name):
    backbone = make_backbone("vit with class token").double()
    model, pixels = make(backbone, PLACEMENTS[name]), pixels_for(backbone, 2).double()
    wanted = torch.autograd.grad(backbone.finish(whole(model, pixels)[1][-1]).sum(), list(model.adapters.parameters()))
    found = torch.autograd.grad(model.vector(pixels).sum(), list(model.adapters.parameters()))
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    # without a gradient through the first pass: recurrent adapters read numbers, all else is as before
    detached = make(backbone, PLACEMENTS[name], detach_first_pass=True)
    first = [node.detach() for node in whole_pass(model, pixels)]
    last = whole_pass(detached, pixels, first)[-1]
    wanted = torch.autograd.grad(backbone.finish(last).sum(), list(detached.adapters.parameters()))
    kept = torch.autograd.grad(detached.vector(pixels).sum(), list(detached.adapters.parameters()))
    for a, b in zip(kept, wanted):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    # with nothing forward there is nothing in the first pass that a gradient could go to
    differs = any(not torch.allclose(a, b) for a, b in zip(found, kept))
    assert differs == any(i <= j for i, j in model.edges)


def constant(backbone, edge):
    """An adapter that adds a constant at an edge."""
    model = make(backbone, [edge], trained=False)
    torch.nn.init.normal_(adapter_of(model, *edge).up.bias)
    return model, adapter_of(model, *edge).up.bias.detach()


def test_a_constant_says_where_an_edge_ends(make_backbone):
    backbone = make_backbone("vit with mean pooling")
    parts, pixels = anatomy(backbone), pixels_for(backbone, 2)

    def stream(at, c):
        """The plain stream with ``c`` added at node ``at``."""
        z = parts.embed(pixels) + (c if at == 0 else 0)
        for j, sublayer in enumerate(parts.sublayers, 1):
            z = z + sublayer.update(z)
            z = z + c if j == at else z
        return z

    with torch.no_grad():
        for edge in ((3, 4), (4, 4), (1, 4), (6, 4), (5, 0), (0, 0)):
            model, c = constant(backbone, edge)
            assert torch.equal(model.stream_from(model.frozen_start(pixels)), stream(edge[1], c)), edge


def test_recurrent_adapters_are_silent_in_the_first_pass_and_read_it(make_backbone):
    backbone = make_backbone("clip")
    model, pixels = make(backbone, [(4, 2), (3, 5)]), pixels_for(backbone, 2)
    with torch.no_grad():
        out, (first, second) = model.vector(pixels), whole(model, pixels)
        assert all(torch.equal(a, b) for a, b in zip(first[:2], second[:2])) and not torch.equal(first[2], second[2])
        assert torch.equal(first[4], frozen_node(model.parts, pixels, 4))  # (4, 2) has added nothing yet

        def finished(before):
            return backbone.finish(whole_pass(model, pixels, before)[-1])

        assert torch.equal(finished(first), out)
        assert torch.equal(finished([*first[:5], first[5] * 0, first[6] + 9]), out)  # only node 4 is read
        assert not torch.allclose(finished([*first[:4], first[4] * 0, *first[5:]]), out, atol=1e-3)


@pytest.mark.parametrize(
    ("edges", "runs"),
    [
        ([], [1, 1, 1, 1, 1, 1]),
        ([(0, 5), (3, 3)], [1, 1, 1, 1, 1, 1]),
        ([(6, 0)], [2, 2, 2, 2, 2, 2]),
        ([(6, 3)], [1, 1, 1, 2, 2, 2]),
        ([(4, 3), (0, 1)], [1, 1, 1, 2, 1, 1]),
        ([(2, 0), (5, 4), (6, 6), (3, 2)], [2, 2, 2, 2, 2, 1]),
    ],
)
def test_no_sub_layer_runs_more_often_than_it_must(make_backbone, edges, runs):
    backbone = make_backbone("dinov2")
    model, pixels, seen = make(backbone, edges), pixels_for(backbone, 1), [0] * 6
    for number, sublayer in enumerate(model.parts.sublayers):

        def count(*_, number=number):
            seen[number] += 1

        sublayer.body.register_forward_hook(count)
    model(pixels)
    assert seen == runs
    assert sum(runs) / 6 == pytest.approx(passes(edges, 7))


def test_parallel_everywhere_is_the_ordinary_way(make_backbone):
    backbone = make_backbone("vit with class token")
    model, pixels = make(backbone, "parallel"), pixels_for(backbone, 3)
    assert len(model.edges) == 6 == 2 * backbone.depth
    vit, adapters = backbone.model, iter(model.adapters.values())
    with torch.no_grad():
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(pixels)))
        for block in vit.blocks:
            x = x + block.attn(block.norm1(x)) + next(adapters)(x)
            x = x + block.mlp(block.norm2(x)) + next(adapters)(x)
        plain = model.head(vit.forward_head(vit.norm(x), pre_logits=True))
        assert torch.equal(model(pixels), plain)


def test_the_backbone_is_frozen_and_the_count_is_known(make_backbone):
    backbone = make_backbone("siglip")
    model = make(backbone, PLACEMENTS["mixed"])
    before = copy.deepcopy(backbone.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model.loss({"pixels": pixels_for(backbone, 3), "label": torch.tensor([0, 1, 2])})["loss"]
    loss.backward()
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert model.counts() == {"adapter": 9 * adapter_parameters(32, 4), "head": 3 * 32 + 3}
    assert model.cost().parameters == model.counts()["adapter"]


@pytest.mark.parametrize("edges", [[(3, 5)], [(5, 3)], [(4, 4)], [(4, 2), (1, 6)], []])
def test_training_can_start_from_the_frozen_stream(make_backbone, edges):
    backbone = make_backbone("clip")
    model, pixels = make(backbone, edges), pixels_for(backbone, 3)
    assert model.start == min((min(edge) for edge in edges), default=6)
    start = model.frozen_start(pixels)
    assert torch.equal(start, frozen_node(model.parts, pixels, model.start)) and not start.requires_grad
    label = torch.tensor([2, 0, 1])
    grads = []
    for batch in ({"pixels": pixels, "label": label}, {"states": [start], "label": label}):
        grads.append(torch.autograd.grad(model.loss(batch)["loss"], list(model.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*grads))


def test_there_is_no_graph_before_the_first_adapter_writes(make_backbone):
    backbone = make_backbone("vit with class token")
    model, pixels, graphs = make(backbone, [(1, 4), (5, 4)]), pixels_for(backbone, 1), []
    for sublayer in model.parts.sublayers:
        sublayer.body.register_forward_hook(lambda _, inputs, out: graphs.append(out.requires_grad))
    model(pixels)
    assert graphs == [False] * 4 + [True] + [True, True]  # node 5 once more in the second pass, then node 6


@pytest.mark.parametrize("edges", ["sequential", PLACEMENTS["mixed"]])
def test_a_saved_model_gives_the_same_answers(make_backbone, tmp_path, edges):
    backbone = make_backbone("vit with mean pooling")
    model, pixels = make(backbone, edges, pre_norm=True, scale=0.5), pixels_for(backbone, 2)
    again = load_adapted(model.save(tmp_path / "adapter"), backbone)
    assert again.config == model.config and again.edges == model.edges
    assert torch.equal(again(pixels), model(pixels))
    assert (tmp_path / "adapter" / "model.safetensors").stat().st_size < 40_000


def test_an_edge_outside_of_the_net_and_a_cnn_are_refused(make_backbone):
    with pytest.raises(InputError, match=r"edge \(0, 7\).*nodes 0\.\.6"):
        make(make_backbone("clip"), [(0, 7)])
    with pytest.raises(InputError, match="not a vision transformer"):
        make(make_backbone("resnet"), "parallel")
    with pytest.raises(InputError, match="more than once"):
        PlacementConfig(edges=[(1, 1), (1, 1)])
    with pytest.raises(InputError, match="rank=0"):
        PlacementConfig(rank=0)
