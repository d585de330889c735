"""The gradient at every edge against autograd, and the properties of what is made of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from adapt.conftest import TRANSFORMERS, pixels_for
from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.edges import KINDS, all_edges, kind_of
from whenwhere.adapt.gradient_rank import SCORES, EdgeGradients, edge_gradients, linear_probe
from whenwhere.errors import InputError


def random_head(backbone, classes=3, seed=0):
    torch.manual_seed(seed)
    head = nn.Linear(backbone.width, classes, dtype=next(backbone.parameters()).dtype)
    return head.requires_grad_(False)


def data(backbone, images=6, seed=5):
    pixels = pixels_for(backbone, images, seed).to(next(backbone.parameters()).dtype)
    labels = torch.randint(0, 3, (images,), generator=torch.Generator().manual_seed(seed))
    return lambda size=2: list(zip(pixels.split(size), labels.split(size)))


def by_autograd(parts, head, batches, edge):
    """The gradient of a zero map that is really put in at an edge, in two whole passes where it leads back."""
    i, j = edge
    width = parts.width
    inserted = torch.zeros(width, width, dtype=head.weight.dtype, requires_grad=True)
    total, images = 0.0, 0

    def one_pass(pixels, before):
        nodes = []
        for k in range(len(parts.sublayers) + 1):
            z = parts.embed(pixels) if k == 0 else nodes[-1] + parts.sublayers[k - 1].update(nodes[-1])
            if k == j:
                read = z if i == j else nodes[i] if i < j else before[i] if before else None
                z = z if read is None else z + read @ inserted
            nodes.append(z)
        return nodes

    for pixels, labels in batches:
        nodes = one_pass(pixels, None)
        if i > j:
            nodes = one_pass(pixels, nodes)
        logits = F.linear(parts.backbone.finish(nodes[-1]), head.weight, head.bias)
        total = total + F.cross_entropy(logits, labels, reduction="sum")
        images += len(labels)
    (gradient,) = torch.autograd.grad(total / images, inserted)
    return gradient


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_one_pass_gives_what_autograd_gives_at_every_kind_of_edge(make_backbone, kind):
    backbone = make_backbone(kind).double()
    parts, head, batches = anatomy(backbone), random_head(backbone), data(backbone)
    found = edge_gradients(parts, head, batches)
    assert found.singular_values.shape == (7, 7, 32) and found.images == 6
    edges = [(0, 0), (0, 1), (3, 3), (3, 4), (1, 5), (0, 6), (6, 6), (5, 2), (6, 0), (4, 3)]
    assert set(map(kind_of, edges)) == set(KINDS)
    for edge in edges:
        gradient = by_autograd(parts, head, batches(), edge)
        values = torch.linalg.svdvals(gradient).float().numpy()
        np.testing.assert_allclose(found.singular_values[edge], values, rtol=1e-5, atol=1e-9 * values[0])
        assert found.score("frobenius")[edge] == pytest.approx(gradient.norm().item(), rel=1e-5)
        assert found.score("rank")[edge] == int(torch.linalg.matrix_rank(gradient, rtol=1e-3))


def test_neither_batches_nor_sweeps_change_the_result(make_backbone):
    backbone = make_backbone("vit with class token")
    parts, head, batches = anatomy(backbone), random_head(backbone), data(backbone)
    one = edge_gradients(parts, head, lambda: batches(6)).singular_values
    calls = []
    small = edge_gradients(
        parts, head, lambda: batches(1), memory=2 * 7 * 32 * 32 * 4, progress=lambda *told: calls.append(told)
    ).singular_values
    np.testing.assert_allclose(small, one, rtol=1e-3, atol=1e-6)
    assert len(calls) == 4 * 6 and calls[-1] == ("gradients", 24, 0)  # two sources a sweep, 7 of them


def test_the_rank_does_not_know_the_scale_of_the_loss(make_backbone):
    backbone = make_backbone("clip")
    parts, batches = anatomy(backbone), data(backbone)
    head, ten = random_head(backbone), random_head(backbone)
    # ten times the loss is ten times its derivative by the pooled vector
    finish = backbone.finish
    plain = edge_gradients(parts, head, batches)
    backbone.finish = lambda state: _TenTimesBack.apply(finish(state))
    scaled = edge_gradients(parts, ten, batches)
    assert np.array_equal(plain.score("rank"), scaled.score("rank"))
    for score in ("frobenius", "spectral", "nuclear"):
        np.testing.assert_allclose(scaled.score(score), 10 * plain.score(score), rtol=1e-4)
    np.testing.assert_allclose(scaled.score("stable_rank"), plain.score("stable_rank"), rtol=1e-4)


class _TenTimesBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 10 * gradient


@pytest.mark.parametrize("kind", ["vit with class token", "vit with mean pooling", "clip"])
def test_the_last_node_has_at_most_the_rank_of_the_images(make_backbone, kind):
    backbone = make_backbone(kind)
    scores = edge_gradients(anatomy(backbone), random_head(backbone, 3), data(backbone, 2)).score("rank")
    assert (scores[:, -1] <= 2).all() and (scores >= 1).all() and (scores <= 32).all()
    assert (scores[:, :-2] > 2).any()


def test_measuring_does_not_train(make_backbone):
    backbone = make_backbone("dinov2")
    before, head = copy.deepcopy(backbone.state_dict()), random_head(backbone)
    kept = head.weight.clone()
    edge_gradients(anatomy(backbone), head, data(backbone))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters()) and torch.equal(head.weight, kept)


def test_the_gradient_of_a_real_adapter_has_at_most_its_rank(make_backbone):
    backbone = make_backbone("vit with class token").double()
    parts, head, batches = anatomy(backbone), random_head(backbone), data(backbone)
    found = edge_gradients(parts, head, batches, target="w_up", rank=4, seed=3)
    assert found.singular_values.shape == (7, 7, 4)
    # edge (2, 4), by hand
    draw = torch.Generator().manual_seed(3)
    down = (torch.randn(7, 32, 4, generator=draw) * 32**-0.5).double()[2]
    up = torch.zeros(4, 32, dtype=torch.float64, requires_grad=True)
    total = 0.0
    for pixels, labels in batches():
        z, kept = parts.embed(pixels), None
        for j, sublayer in enumerate(parts.sublayers, 1):
            z = z + sublayer.update(z)
            kept = z if j == 2 else kept
            z = z + F.gelu(kept @ down) @ up if j == 4 else z
        total = total + F.cross_entropy(F.linear(backbone.finish(z), head.weight, head.bias), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(total / 6, up)
    np.testing.assert_allclose(found.singular_values[2, 4], torch.linalg.svdvals(gradient).numpy(), rtol=1e-5)


def test_scores_of_known_singular_values():
    values = np.array([[[4.0, 3.0, 0.002, 0.0], [0.0, 0.0, 0.0, 0.0]], [[2.0] * 4, [1.0, 0.0, 0.0, 0.0]]], np.float32)
    found = EdgeGradients(values, 10)
    assert found.score("rank").tolist() == [[2, 0], [4, 1]] and found.score("rank", 1e-4).tolist() == [[3, 0], [4, 1]]
    assert found.score("frobenius") == pytest.approx(np.array([[5, 0], [4, 1]]))
    assert found.score("spectral").tolist() == [[4, 0], [2, 1]]
    assert found.score("nuclear") == pytest.approx(np.array([[7.002, 0], [8, 1]]))
    assert found.score("stable_rank") == pytest.approx(np.array([[25 / 16, 0], [4, 1]]))
    for bad in ({"rtol": 0.0}, {"kind": "trace"}):
        with pytest.raises(InputError, match="rtol|trace"):
            found.score(**bad)
    rows = found.sensitivity([1e-4, 1e-3])
    assert rows["0.0001"] == {"least": 0, "median": 2, "most": 4, "full": 0.25, "spearman": pytest.approx(1)}
    assert rows["0.001"]["median"] == 1.5
    flat = EdgeGradients(np.ones((2, 2, 3), np.float32), 1).sensitivity()
    assert all(np.isnan(row["spearman"]) and row["full"] == 1 for row in flat.values())
    assert len(SCORES) == 5 and len(all_edges(2)) == 4


def test_a_probe_learns_and_is_the_same_from_the_same_seed():
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (200,), generator=draw)
    features = F.one_hot(labels, 4).float() @ torch.randn(4, 16, generator=draw) + torch.randn(200, 16, generator=draw)
    head = linear_probe(features, labels, 4)
    assert (head(features).argmax(1) == labels).float().mean() > 0.8
    assert torch.equal(head.weight, linear_probe(features, labels, 4).weight)
    assert not torch.equal(head.weight, linear_probe(features, labels, 4, seed=1).weight)
    with pytest.raises(InputError, match=r"labels 0\.\.3"):
        linear_probe(features, labels, 3)


def test_no_image_is_refused(make_backbone):
    backbone = make_backbone("clip")
    with pytest.raises(InputError, match="no image"):
        edge_gradients(anatomy(backbone), random_head(backbone), lambda: [])
    with pytest.raises(InputError, match="target 'w_down'"):
        edge_gradients(anatomy(backbone), random_head(backbone), data(backbone), target="w_down")
    ((pixels, labels), *_) = data(backbone)()
    with pytest.raises(InputError, match="gradients that are not finite"):
        edge_gradients(anatomy(backbone), random_head(backbone), lambda: [(pixels * float("nan"), labels)])
    with pytest.raises(InputError, match="features .* not finite"):
        linear_probe(torch.full((4, 3), torch.inf), torch.tensor([0, 1, 0, 1]), 2)
