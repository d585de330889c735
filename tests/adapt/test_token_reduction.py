"""Merging and dropping of tokens, against plain loops and hand-worked cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from whenwhere.adapt.nested import NestedConfig, NestedViT
from whenwhere.adapt.nested_encoder import NestedBlocksConfig
from whenwhere.adapt.token_reduction import DroppingViT, MergingViT, merge_tokens
from whenwhere.errors import InputError


def dense(**options) -> NestedViT:
    torch.manual_seed(0)
    return NestedViT(NestedConfig(24, 4, 3, 5, NestedBlocksConfig(32, 3, 4, 64), **options)).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def test_the_most_similar_pairs_are_merged_by_hand():
    metric = torch.tensor([[[1.0, 0], [0.8, 0.6], [0, 1], [0, 2]]])  # even: 0, 2; odd: 1, 3; cosines .8 0 / .6 1
    x = torch.tensor([[[1.0], [2], [3], [4]]])
    size = torch.tensor([[1.0, 1, 3, 1]])
    merged, sizes = merge_tokens(x, size, metric, 1)
    assert merged.flatten().tolist() == [1, 2, (3 * 3 + 4) / 4]
    assert sizes.tolist() == [[1, 1, 4]]
    merged, sizes = merge_tokens(x, size, metric, 2)
    assert merged.flatten().tolist() == [1.5, (3 * 3 + 4) / 4]
    assert sizes.tolist() == [[2, 4]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 11), st.integers(0, 2))
def test_merging_keeps_the_sum_and_the_prefix(seed, rest, prefix):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, prefix + rest, 3, generator=generator, dtype=torch.float64)
    size = torch.randint(1, 4, x.shape[:2], generator=generator).double()
    for count in range(rest // 2 + 1):
        merged, sizes = merge_tokens(x, size, x, count, prefix)
        assert merged.shape[1] == prefix + rest - count
        assert torch.allclose((merged * sizes[..., None]).sum(1), (x * size[..., None]).sum(1))
        assert torch.allclose(merged[:, :prefix], x[:, :prefix])
    with pytest.raises(InputError, match="merges"):
        merge_tokens(x, size, x, rest // 2 + 1, prefix)


def test_without_merging_or_dropping_it_is_the_dense_model():
    vit = dense()
    with torch.no_grad():
        assert torch.allclose(MergingViT(vit, 0)(images()), vit(images()), atol=1e-6)
        dropping = DroppingViT(vit, 1.0)
        for score in dropping.scores.values():
            nn.init.zeros_(score.weight)
        assert torch.allclose(dropping(images()), vit(images()), atol=1e-6)


def test_merging_equal_tokens_changes_nothing():
    """Proportional attention and sizes: patches that are all alike can be merged without loss."""
    vit = dense()
    with torch.no_grad():
        vit.pos_embed.zero_()
        flat = torch.ones(1, 3, 24, 24) * torch.tensor([0.5, -1, 2])[:, None, None]
        flat[:, :, :, 12:] *= -1  # two kinds of patches, 18 of each
        assert torch.allclose(MergingViT(vit, 6)(flat), vit(flat), atol=1e-5)
        assert not torch.allclose(MergingViT(vit, 6)(images()), vit(images()), atol=1e-5)


def test_dropped_tokens_pass_by_and_the_kept_ones_are_scaled_by_their_scores():
    vit = dense()
    dropping = DroppingViT(vit, 0.25, blocks=(0, 1, 2))
    assert dropping.kept == 9
    with torch.no_grad():
        x = vit.embed(images(1))[0]  # (N, D)
        for number, block in enumerate(vit.blocks):
            score = dropping.scores[str(number)](x)[:, 0]
            kept = score.topk(9).indices
            some = x[kept][:, None]
            update = block(some.clone(), dropping._plan(9))[:, 0] - some[:, 0]
            x[kept] += 2 * score[kept].sigmoid()[:, None] * update
        wanted = vit.head(vit.norm(x).mean(0))
        assert torch.allclose(dropping(images(1))[0], wanted, atol=1e-5)


@pytest.mark.parametrize("made", [lambda v: MergingViT(v, 5), lambda v: DroppingViT(v, 0.3)])
def test_a_counter_finds_the_flops(made):
    model = made(dense())
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(images(2))
    assert counter.get_total_flops() / 4 == pytest.approx(model.flops(), rel=0.01)
    assert model.flops() < 0.85 * dense().flops()


def test_the_scores_of_dropping_learn():
    model = DroppingViT(dense(), 0.3).train()
    model.loss({"pixels": images(), "labels": torch.tensor([0, 3])})["loss"].backward()
    assert all(score.weight.grad.abs().sum() > 0 for score in model.scores.values())


def test_the_class_token_is_never_merged():
    vit = dense(class_token=True, pool="class")
    with torch.no_grad():
        found = MergingViT(vit, 30)(images())  # as many as there are pairs: 36, 18, 9, 5 tokens
    assert found.shape == (2, 5) and found.isfinite().all()
    with pytest.raises(InputError, match="in front"):
        DroppingViT(vit, 0.5)
