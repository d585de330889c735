"""Expert preferred routing against a plain loop, and what may not change it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.adapt.routing import Router, expert_preferred_routing
from whenwhere.errors import InputError


def by_hand(probabilities: list[list[float]], counts: tuple[int, ...]) -> list[int]:
    """The algorithm as it is written, for one image."""
    experts, taken = [0] * len(probabilities), set()
    for j in reversed(range(1, len(counts))):
        free = [i for i in range(len(probabilities)) if i not in taken]
        for i in sorted(free, key=lambda i: -probabilities[i][j])[: counts[j]]:
            experts[i] = j
            taken.add(i)
    return experts


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 4), min_size=4, max_size=4).filter(any))
def test_it_is_the_written_algorithm(seed, counts):
    r = torch.rand(3, sum(counts), 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = expert_preferred_routing(r, counts)
    assert found.experts.tolist() == [by_hand(image, tuple(counts)) for image in r.tolist()]
    assert [found.experts.eq(j).sum(1).tolist() for j in range(4)] == [[n] * 3 for n in counts]


def test_the_order_puts_each_experts_tokens_side_by_side_largest_first():
    r = torch.rand(2, 11, 4, generator=torch.Generator().manual_seed(0))
    experts, order = expert_preferred_routing(r, (4, 3, 2, 2))
    assert order.sort(1).values.tolist() == [list(range(11))] * 2
    assert experts.gather(1, order).tolist() == [[3, 3, 2, 2, 1, 1, 1, 0, 0, 0, 0]] * 2


def test_the_largest_expert_has_its_most_probable_tokens():
    r = torch.rand(1, 20, 4, generator=torch.Generator().manual_seed(1))
    experts = expert_preferred_routing(r, (10, 4, 3, 3)).experts[0]
    assert set(experts.eq(3).nonzero()[:, 0].tolist()) == set(r[0, :, 3].topk(3).indices.tolist())


def test_the_order_of_tokens_does_not_matter():
    generator = torch.Generator().manual_seed(2)
    r = torch.rand(2, 16, 4, generator=generator)
    shuffle = torch.randperm(16, generator=generator)
    counts = (7, 4, 3, 2)
    before = expert_preferred_routing(r, counts).experts
    assert torch.equal(expert_preferred_routing(r[:, shuffle], counts).experts, before[:, shuffle])


def test_tokens_that_are_all_alike_are_still_taken_once():
    experts = expert_preferred_routing(torch.full((2, 9, 4), 0.25), (3, 2, 2, 2)).experts
    assert [experts.eq(j).sum(1).tolist() for j in range(4)] == [[3, 3], [2, 2], [2, 2], [2, 2]]


def test_counts_that_do_not_fit_are_refused():
    for counts in ((1, 1, 1), (1, 1, 1, 1), (-1, 2, 2, 2)):
        with pytest.raises(InputError, match="counts"):
            expert_preferred_routing(torch.rand(1, 5, 4), counts)


def test_the_router_starts_near_indifference_and_gives_float32_rows_that_sum_to_one():
    torch.manual_seed(0)
    router = Router(64, 4).to(torch.bfloat16)
    r = router(torch.randn(5, 7, 64, dtype=torch.bfloat16))
    assert r.dtype == torch.float32
    assert torch.allclose(r.sum(-1), torch.ones(5, 7), atol=1e-6)
    assert router.linear.weight.abs().max() <= 0.02 and not router.linear.bias.any()


def test_the_random_router_keeps_the_counts_and_forgets_the_probabilities():
    router = Router(8, 4, random=True)
    r = torch.rand(1, 40, 4)
    torch.manual_seed(0)
    first, second = (router.assign(r, (10, 10, 10, 10)).experts for _ in range(2))
    assert first[0].bincount().tolist() == second[0].bincount().tolist() == [10] * 4
    assert not torch.equal(first, second)
