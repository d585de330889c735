"""Counts, kinds and costs of edges, against the numbers worked out by hand."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.bottleneck import Bottleneck
from whenwhere.adapt.edges import (
    KINDS,
    USUAL,
    adapter_parameters,
    all_edges,
    check_edges,
    distance,
    kind_of,
    named_edges,
    passes,
    placement_cost,
)
from whenwhere.errors import InputError


@pytest.mark.parametrize(
    ("blocks", "nodes", "edges", "parallel", "sequential", "long_range", "recurrent"),
    [(12, 25, 625, 24, 25, 276, 300), (40, 81, 6561, 80, 81, 3160, 3240)],
)
def test_counts_of_edges(blocks, nodes, edges, parallel, sequential, long_range, recurrent):
    assert nodes == 2 * blocks + 1 and len(set(all_edges(nodes))) == edges
    assert Counter(map(kind_of, all_edges(nodes))) == {
        "parallel": parallel,
        "sequential": sequential,
        "long_range": long_range,
        "recurrent": recurrent,
    }
    assert len(all_edges(nodes, USUAL)) == 2 * nodes - 1
    assert f"{len(all_edges(25, USUAL)) / 625:.1%}" == "7.8%" and f"{len(all_edges(81, USUAL)) / 6561:.1%}" == "2.5%"


def test_usual_placements():
    assert named_edges("parallel", 25) == tuple(all_edges(25, ["parallel"]))
    assert named_edges("sequential", 5) == ((1, 1), (2, 2), (3, 3), (4, 4))
    assert named_edges("pfeiffer", 5) == ((2, 2), (4, 4))
    assert named_edges("adaptformer", 5) == ((1, 2), (3, 4))
    with pytest.raises(InputError, match="houlsby.*one of parallel, sequential"):
        named_edges("houlsby", 5)
    with pytest.raises(InputError, match="kinds of edges.*sideways"):
        all_edges(5, ["sideways"])


def test_parameters_of_adapters():
    assert adapter_parameters(768, 8) == 13064
    assert [round(k * adapter_parameters(768, 8) / 1e6, 3) for k in (24, 12, 3)] == [0.314, 0.157, 0.039]
    for pre_norm in (False, True):
        adapter = Bottleneck(20, 3, pre_norm=pre_norm)
        assert sum(p.numel() for p in adapter.parameters()) == adapter_parameters(20, 3)


def test_a_fresh_bottleneck_is_as_the_method_says():
    torch.manual_seed(0)
    adapter = Bottleneck(256, 64, scale=2.0)
    assert adapter.down.weight.std().item() == pytest.approx(256**-0.5, rel=0.02)
    assert not any(t.any() for t in (adapter.down.bias, adapter.up.weight, adapter.up.bias))
    torch.nn.init.normal_(adapter.up.weight)
    torch.nn.init.ones_(adapter.up.bias)
    z = torch.randn(2, 3, 256)
    bent = torch.nn.functional.gelu(z @ adapter.down.weight.T)
    torch.testing.assert_close(adapter(z), 2 * (bent @ adapter.up.weight.T + 1))
    normed = Bottleneck(256, 64, pre_norm=True)
    normed.load_state_dict(adapter.state_dict())
    torch.testing.assert_close(normed(100 * z + 7), normed(z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([(24, 0)], 2.0),
        ([(24, 12)], 1.5),
        ([(0, 24), (3, 4), (5, 5)], 1.0),
        ([(12, 0)], 1.5),  # the first pass ends at node 12
        ([(2, 1), (0, 24)], 25 / 24),
        ([(12, 6), (4, 3)], 1 + 9 / 24),  # one further pass for both, from node 3 to where node 12 was read
        ([], 1.0),
    ],
)
def test_relative_cost(edges, expected):
    assert passes(edges, 25) == pytest.approx(expected)


@given(st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12))
def test_there_are_never_more_than_two_passes(edges):
    assert 1.0 <= passes(edges, 9) <= 2.0
    assert (passes(edges, 9) == 1.0) == (not any(kind_of(edge) == "recurrent" for edge in edges))


def test_cost_of_a_placement_counted_by_hand(make_backbone):
    parts = anatomy(make_backbone("vit with class token"))  # 3 blocks, width 32, 17 tokens: 7 nodes
    attention, mlp = 4 * 32 * 32 * 17 + 2 * 17 * 17 * 32, 8 * 32 * 32 * 17
    whole, adapter = 3 * (attention + mlp), 2 * 17 * 32 * 4
    cost = placement_cost(parts, [(6, 0)], 4)
    assert (cost.adapters, cost.parameters, cost.relative_flops) == (1, 2 * 32 * 4 + 32 + 4, 2.0)
    assert cost.adapter_flops == pytest.approx(adapter / whole)
    cost = placement_cost(parts, [(4, 1), (0, 2), (1, 1), (0, 1), (5, 6)], 4)
    # again: sub-layers from node 1 to node 4, an MLP, an attention, an MLP; (0, 2) and (1, 1) run twice
    assert cost.relative_flops == pytest.approx(1 + (2 * mlp + attention) / whole)
    assert cost.adapter_flops == pytest.approx(7 * adapter / whole)
    assert placement_cost(parts, [(0, 6), (2, 2)], 4).relative_flops == 1.0


def test_distance_is_of_both_ends():
    assert distance((2, 7), (5, 3)) == 7 and distance((1, 1), (1, 1)) == 0


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ([(0, 25)], "nodes 0..24"),
        ([(0, -1)], "at least 0"),
        ([(1, 2), (1, 2)], "more than once"),
        ([(1, 2, 3)], "a pair"),
        ([7], "a pair"),
        ([(0.5, 1)], "whole number"),
    ],
)
def test_bad_edges_are_refused(edges, said):
    with pytest.raises(InputError, match=said):
        check_edges(edges, 25)


def test_edges_come_back_as_pairs_in_order():
    assert check_edges([[3, 1], (0, 0)], 4) == ((3, 1), (0, 0))
    assert all(kind in KINDS for kind in map(kind_of, all_edges(4)))
