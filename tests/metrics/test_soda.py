"""The order-preserving matching: worked numbers, and every matching of small tables tried."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from whenwhere.errors import InputError
from whenwhere.metrics.soda import soda_dp


def test_worked_number_where_order_forbids_the_two_best():
    found = soda_dp(np.array([[0.2, 0.9, 0], [0.8, 0.1, 0], [0, 0, 0.5]]))
    assert found.total == pytest.approx(1.4)
    assert found.precision == found.recall == pytest.approx(1.4 / 3)
    assert found.f1 == pytest.approx(0.4667, abs=5e-5)
    assert found.pairs.tolist() == [[0, 1], [2, 2]]


def test_worked_number_with_more_predictions_than_events():
    found = soda_dp(np.array([[0.5, 0.4], [0.1, 0.6], [0.3, 0.2]]))
    assert found.total == pytest.approx(1.1)
    assert found.precision == pytest.approx(0.3667, abs=5e-5)
    assert found.recall == pytest.approx(0.55)
    assert found.f1 == pytest.approx(0.44)
    assert found.pairs.tolist() == [[0, 0], [1, 1]]


def test_the_reference_itself_scores_one():
    found = soda_dp(np.eye(4))
    assert (found.total, found.precision, found.recall, found.f1) == (4.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 2)])
def test_nothing_to_match_scores_zero(shape):
    found = soda_dp(np.zeros(shape))
    assert (found.total, found.precision, found.recall, found.f1) == (0.0, 0.0, 0.0, 0.0)
    assert found.pairs.shape == (0, 2)


def best_by_trying(table: np.ndarray) -> float:
    rows, columns = table.shape
    return max(
        table[list(chosen), list(partners)].sum()
        for size in range(min(rows, columns) + 1)
        for chosen in itertools.combinations(range(rows), size)
        for partners in itertools.combinations(range(columns), size)
    )


@settings(max_examples=80, deadline=None)
@given(npst.arrays(np.float64, npst.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.floats(0, 1)))
def test_no_matching_is_better(table):
    found = soda_dp(table)
    assert found.total == pytest.approx(best_by_trying(table))
    assert found.total == pytest.approx(table[tuple(found.pairs.T)].sum())
    assert (np.diff(found.pairs, axis=0) > 0).all()


@pytest.mark.parametrize("table", [[[np.nan]], [[-0.1]], [[np.inf]], [0.5], 0.5])
def test_refuses_what_is_no_similarity(table):
    with pytest.raises(InputError, match="expected a matrix"):
        soda_dp(np.array(table))
