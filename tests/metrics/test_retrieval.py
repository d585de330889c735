"""Recall at k: worked numbers, ties, several targets, bad records."""

from __future__ import annotations

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.retrieval import recall_at_k


def test_worked_numbers():
    similarity = np.array([[0.9, 0.1, 0.3], [0.8, 0.5, 0.2], [0.1, 0.6, 0.4]])
    found = recall_at_k(similarity, [0, 1, 0], ks=(1, 2, 3))
    assert found.ranks.tolist() == [1, 2, 3]
    assert found.recall == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 3: 1.0}
    assert found.median_rank == 2.0


def test_best_of_several_targets_counts_and_targets_do_not_block_each_other():
    similarity = np.array([[0.5, 0.9, 0.8, 0.7], [0.1, 0.2, 0.3, 0.4]])
    found = recall_at_k(similarity, [[0, 2], [0, 1, 2]], ks=(1, 2))
    assert found.ranks.tolist() == [2, 2]
    assert recall_at_k(similarity, [[1, 2], [3, 0]], ks=(1,)).recall[1] == 1.0


def test_ties_count_against_the_model():
    assert recall_at_k(np.zeros((4, 10)), [0, 3, 5, 9]).ranks.tolist() == [10] * 4
    assert recall_at_k(np.zeros((4, 10)), [0, 3, 5, 9], ks=(5,)).recall == {5: 0.0}


def test_chance_is_chance():
    draw = np.random.default_rng(0)
    found = recall_at_k(draw.random((4000, 20)), draw.integers(0, 20, 4000), ks=(1, 5))
    assert found.recall[1] == pytest.approx(0.05, abs=0.012)
    assert found.recall[5] == pytest.approx(0.25, abs=0.025)


def test_sets_of_different_sizes_and_arrays():
    similarity = np.eye(3)
    assert recall_at_k(similarity, [[0], [1, 2], [2]], ks=(1,)).recall[1] == 1.0
    assert recall_at_k(similarity, np.arange(3), ks=(1,)).recall[1] == 1.0


@pytest.mark.parametrize(
    "similarity, targets, ks, told",
    [
        (np.eye(2), [0, 2], (1,), r"query 1: target \[2\]"),
        (np.eye(2), [0, -1], (1,), "query 1: target"),
        (np.eye(2), [[0], []], (1,), "query 1 without a target"),
        (np.eye(2), [0.0, 1.5], (1,), "query 0: target"),
        (np.eye(2), [0], (1,), "1 targets for 2 queries"),
        (np.array([[1.0, np.nan]]), [0], (1,), "query 0: similarity is not a number"),
        (np.eye(2), [0, 1], (0,), "recall at 0"),
        (np.zeros((0, 2)), [], (1,), "similarity of shape"),
        (np.zeros(3), [0, 1, 2], (1,), "similarity of shape"),
    ],
)
def test_names_the_bad_record(similarity, targets, ks, told):
    with pytest.raises(InputError, match=told):
        recall_at_k(similarity, targets, ks)
