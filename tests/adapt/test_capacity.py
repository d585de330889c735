"""Capacity from one number: the worked table of the method, the closed form against SLSQP, and the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from whenwhere.adapt.capacity import capacity, effective_capacity, expert_counts, width_shares
from whenwhere.errors import InputError

TABLE = {
    0.15: ((0.8163, 0.1755, 0.0081, 0.0000), (160, 34, 1, 0)),
    0.20: ((0.6009, 0.3104, 0.0828, 0.0059), (117, 60, 16, 1)),
    0.25: ((0.4885, 0.3298, 0.1504, 0.0313), (95, 64, 29, 6)),
    0.30: ((0.4135, 0.3214, 0.1942, 0.0709), (81, 62, 38, 13)),
    0.40: ((0.3070, 0.2825, 0.2391, 0.1714), (60, 55, 46, 33)),
    0.46875: ((0.25, 0.25, 0.25, 0.25), (49, 49, 49, 49)),
    0.50: ((0.2268, 0.2346, 0.2511, 0.2875), (44, 45, 49, 56)),
    0.60: ((0.1612, 0.1844, 0.2413, 0.4131), (31, 36, 47, 80)),
    0.80: ((0.0594, 0.0843, 0.1696, 0.6867), (11, 16, 33, 134)),
    0.95: ((0.0082, 0.0160, 0.0617, 0.9141), (1, 3, 12, 179)),
}


@pytest.mark.parametrize("effective", TABLE)
def test_the_table_of_the_method(effective):
    shares, floors = TABLE[effective]
    found = capacity(effective)
    assert found == pytest.approx(shares, abs=1e-4)
    counts = expert_counts(found, 196)
    assert counts[1:] == floors[1:]
    assert counts[0] == 196 - sum(floors[1:])  # the smallest takes what rounding leaves
    assert floors[0] <= counts[0] <= floors[0] + 3


@given(st.floats(0.125, 1.0))
def test_shares_sum_to_one_and_have_the_asked_mean(effective):
    shares = capacity(effective)
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1, abs=1e-9)
    assert effective_capacity(shares) == pytest.approx(effective, abs=1e-6)


@given(st.floats(0.125, 1.0), st.floats(0.125, 1.0))
def test_more_budget_never_means_less_for_the_largest(one, other):
    low, high = sorted((one, other))
    assert capacity(low)[-1] <= capacity(high)[-1] + 1e-12


@pytest.mark.parametrize("delta", [2.0, 1.5])
@pytest.mark.parametrize("effective", [0.15, 0.3, 0.4, 0.6, 0.9])
def test_the_closed_form_is_what_slsqp_finds(effective, delta):
    widths = np.array(width_shares(4))
    reward = delta ** np.arange(4)

    def negative(c):
        return -(reward @ c - 10 * (c * np.log(np.clip(c, 1e-15, None))).sum())

    constraints = [
        {"type": "eq", "fun": lambda c: c.sum() - 1},
        {"type": "eq", "fun": lambda c: widths @ c - effective},
    ]
    found = minimize(
        negative, np.full(4, 0.25), method="SLSQP", bounds=[(0, 1)] * 4, constraints=constraints,
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    assert found.success
    assert capacity(effective, delta=delta) == pytest.approx(tuple(found.x), abs=1e-7)


def test_the_ends_are_exact():
    assert capacity(1.0) == (0, 0, 0, 1)
    assert capacity(0.125) == (1, 0, 0, 0)
    assert capacity(1.0, experts=1) == (1,)


@pytest.mark.parametrize("effective", [0.1249, 1.0001, 0.0, -1.0, float("nan")])
def test_what_cannot_be_reached_is_refused(effective):
    with pytest.raises(InputError, match="effective capacity"):
        capacity(effective)


def test_other_rules_of_the_paper_have_the_capacity_it_says():
    assert effective_capacity([8 / 15, 4 / 15, 2 / 15, 1 / 15]) == pytest.approx(4 / 15)
    assert effective_capacity([0.25] * 4) == pytest.approx(0.46875)
    share = (0.4 - 1 / 8) / (7 / 8)
    assert share == pytest.approx(0.314, abs=5e-4)
    assert effective_capacity([1 - share, 0, 0, share]) == pytest.approx(0.4)


def test_a_share_just_below_one_loses_no_token():
    assert expert_counts((1e-9, 0, 0, 1 - 1e-9), 196) == (0, 0, 0, 196)


@given(st.floats(0.125, 1.0), st.integers(1, 300))
def test_every_token_has_an_expert(effective, tokens):
    counts = expert_counts(capacity(effective), tokens)
    assert sum(counts) == tokens and min(counts) >= 0


def test_shares_that_are_none_are_refused():
    for shares in ((0.5, 0.4), (1.2, -0.2), (), (float("nan"), 0, 0, 1), (0, float("inf"))):
        with pytest.raises(InputError, match="sum to 1"):
            expert_counts(shares, 10)
