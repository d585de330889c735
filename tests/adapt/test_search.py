"""Search procedures on scores and functions whose answer is known, and the whole search on a real transformer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapt.conftest import pixels_for
from whenwhere.adapt.edges import all_edges, distance, kind_of, passes
from whenwhere.adapt.placement import PlacedAdapters
from whenwhere.adapt.placement_file import Placement
from whenwhere.adapt.search import (
    first_k,
    greedy,
    last_k,
    random_sets,
    search_placement,
    single_edge_sweep,
    top_k,
    try_placements,
)
from whenwhere.errors import InputError

tables = arrays(np.float64, (5, 5), elements=st.integers(0, 9).map(float))


@given(tables, st.integers(1, 25), st.floats(0, 0.95))
def test_greedy_never_repeats_an_edge_and_is_deterministic(scores, count, gamma):
    chosen = greedy(scores, count, gamma)
    assert len(set(chosen)) == count and chosen == greedy(scores.copy(), count, gamma)


@given(tables, st.integers(1, 24))
def test_without_discount_it_is_the_top_k(scores, count):
    chosen = greedy(scores, count, 0.0)
    assert chosen == top_k(scores, count)
    left = set(all_edges(5)) - set(chosen)
    assert min(scores[edge] for edge in chosen) >= max(scores[edge] for edge in left)
    assert [scores[edge] for edge in chosen] == sorted((scores[edge] for edge in chosen), reverse=True)


@given(tables, st.integers(1, 6), st.sampled_from([0.2, 0.6, 0.9]))
def test_greedy_is_the_formula(scores, count, gamma):
    chosen = []
    for _ in range(count):
        value = {
            edge: scores[edge] * np.prod([1 - gamma ** distance(edge, taken) for taken in chosen])
            for edge in all_edges(5)
            if edge not in chosen
        }
        best = max(value.values())
        taken = greedy(scores, count, gamma)[len(chosen)]
        assert value[taken] == pytest.approx(best)
        chosen.append(taken)


@pytest.mark.parametrize("nodes", [5, 21, 25])
def test_with_equal_scores_the_second_is_as_far_as_can_be_from_the_first(nodes):
    first, second = greedy(np.ones((nodes, nodes)), 2, 0.6)
    assert first == (0, 0)  # nothing extra, smallest target, smallest source
    assert distance(first, second) == max(distance(first, edge) for edge in all_edges(nodes))


def test_neighbours_keep_40_64_and_78_percent():
    scores = np.zeros((9, 9))
    scores[4, 4], scores[4, 5], scores[4, 6], scores[4, 7] = 100, 50, 50, 50
    # 50 * 0.784 at distance 3, 50 * 0.64 at 2, 50 * 0.4 at 1
    assert greedy(scores, 2)[1] == (4, 7)
    scores[4, 6], scores[4, 7] = 50 * 0.784 / 0.64 + 0.1, 50
    assert greedy(scores, 2)[1] == (4, 6)
    scores[4, 6], scores[4, 5] = 0, 50 * 0.784 / 0.4 - 0.1
    assert greedy(scores, 2)[1] == (4, 7)


def test_of_equal_scores_the_cheaper_edge_is_taken():
    scores = np.zeros((5, 5))
    scores[4, 0] = scores[2, 3] = scores[1, 3] = 1
    assert top_k(scores, 3) == ((1, 3), (2, 3), (4, 0))
    scores = np.zeros((5, 5))
    scores[3, 1], scores[4, 1], scores[3, 2] = 9, 5, 5
    assert top_k(scores, 3) == ((3, 1), (3, 2), (4, 1))  # (3, 2) runs nothing again that (3, 1) does not


def test_edges_of_equal_distances_in_another_order_are_equal():
    scores = np.zeros((9, 9))
    scores[1, 1], scores[7, 8] = 100, 99
    # two edges at distances 2 and 11, and 11 and 2, from the two: the same discount, so the smaller target is taken
    scores[1, 3] = scores[7, 6] = 3.3
    assert [distance((1, 3), taken) for taken in ((1, 1), (7, 8))] == [2, 11]
    assert [distance((7, 6), taken) for taken in ((1, 1), (7, 8))] == [11, 2]
    for gamma in np.linspace(0.05, 0.95, 37):
        assert greedy(scores, 3, gamma) == ((1, 1), (7, 8), (1, 3)), gamma


def test_only_allowed_edges_are_chosen():
    scores = np.arange(25.0).reshape(5, 5)
    assert {kind_of(edge) for edge in greedy(scores, 9, 0.6, all_edges(5, ["parallel", "sequential"]))} == {
        "parallel",
        "sequential",
    }
    with pytest.raises(InputError, match="5 edges to choose.*1 to 4"):
        greedy(scores, 5, allowed=all_edges(5, ["parallel"]))
    for bad in ({"gamma": 1.0}, {"gamma": -0.1}):
        with pytest.raises(InputError, match="gamma"):
            greedy(scores, 2, **bad)
    for table in (-scores, scores[:3], scores * np.nan):
        with pytest.raises(InputError, match="scores of shape"):
            greedy(table, 2)


def test_first_and_last_are_the_parallel_edges_at_the_ends():
    assert first_k(25, 3) == ((0, 1), (1, 2), (2, 3)) and last_k(25, 3) == ((21, 22), (22, 23), (23, 24))
    assert first_k(5, 4) == last_k(5, 4)
    for too_many in (first_k, last_k):
        with pytest.raises(InputError, match="5 edges"):
            too_many(5, 5)


def test_random_sets_are_uniform_distinct_and_of_the_kinds():
    sets = random_sets(5, 3, 400, seed=7)
    assert sets == random_sets(5, 3, 400, seed=7) != random_sets(5, 3, 400, seed=8)
    assert random_sets(5, 3, 20, seed=7) == sets[:20]
    assert all(len(set(edges)) == 3 for edges in sets)
    counts = np.zeros((5, 5))
    for edge in itertools.chain(*sets):
        counts[edge] += 1
    assert counts.min() > 25 and counts.max() < 75  # 48 expected, standard deviation 6.5
    usual = random_sets(5, 4, 50, kinds=["parallel", "sequential"], seed=0)
    assert {kind_of(edge) for edge in itertools.chain(*usual)} == {"parallel", "sequential"}


def test_trials_and_sweeps_keep_what_was_evaluated():
    def evaluate(edges):
        return sum(10 * i + j for i, j in edges)

    told = []
    trials = try_placements(evaluate, [[(0, 1)], [(2, 0), (0, 0)], [(1, 1), (0, 9)]], lambda *line: told.append(line))
    assert trials.values == (1, 20, 20) and trials.best == ((2, 0), (0, 0)) and trials.mean == pytest.approx(41 / 3)
    assert told == [("trials", 1, 3), ("trials", 2, 3), ("trials", 3, 3)]
    table = single_edge_sweep(evaluate, 3, [(2, 1), (0, 2)])
    assert table[2, 1] == 21 and table[0, 2] == 2 and np.isnan(table).sum() == 7
    assert (single_edge_sweep(evaluate, 3) == np.add.outer(10 * np.arange(3), np.arange(3))).all()
    with pytest.raises(InputError, match="no placement"):
        try_placements(evaluate, [])


def task(backbone, images=40):
    """Noisy images whose class is their colour."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (images,), generator=draw)
    pixels = pixels_for(backbone, images)
    pixels[labels == 0, 0] += 2
    pixels[labels == 1, 2] += 2
    return pixels, labels


@pytest.mark.parametrize("kind", ["vit with mean pooling", "clip"])
def test_the_whole_search_on_a_transformer(make_backbone, tmp_path, kind):
    backbone = make_backbone(kind)
    pixels, labels = task(backbone)
    told = []

    def search(**options):
        def batches():
            return zip(pixels.split(16), labels.split(16))

        return search_placement(backbone, batches, 2, count=4, **options)

    found = search(progress=lambda *line: told.append(line))
    assert told == [("features", k, 0) for k in (1, 2, 3)] + [("gradients", k, 3) for k in (1, 2, 3)]
    assert found.edges == greedy(found.scores, 4) == search().edges
    assert found.settings["images"] == 40 and found.settings["head_accuracy"] > 0.6
    forward = search(kinds=["parallel", "long_range"], gamma=0.0, score="frobenius")
    assert {kind_of(edge) for edge in forward.edges} <= {"parallel", "long_range"}
    assert forward.edges == top_k(forward.scores, 4, all_edges(7, ["parallel", "long_range"]))
    assert search(head="random").settings["head"] == "random"
    found.save(tmp_path / "placement.json")
    model = PlacedAdapters(backbone, ["top", "bottom"], Placement.load(tmp_path / "placement.json").config(backbone))
    assert model.edges == found.edges and passes(model.edges, 7) >= 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(20):
        out = model.loss({"pixels": pixels, "label": labels})
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert out["accuracy"] > 0.9


def test_bad_searches_are_refused(make_backbone):
    backbone = make_backbone("clip")
    pixels, labels = task(backbone, 4)
    batch = [(pixels, labels)]
    for options, said in (
        ({"count": 0}, "0 edges"),
        ({"count": 50}, "1 to 49"),
        ({"kinds": ["up"]}, "kinds of edges"),
        ({"head": "none"}, "head 'none'"),
    ):
        with pytest.raises(InputError, match=said):
            search_placement(backbone, lambda: batch, 2, **options)
    with pytest.raises(InputError, match="no image"):
        search_placement(backbone, lambda: [], 2)
    for head in ("probe", "random"):
        with pytest.raises(InputError, match=r"labels 0\.\.7.*0\.\.1"):
            search_placement(backbone, lambda: [(pixels, torch.tensor([0, 1, 0, 7]))], 2, head=head)
        for wrong in (float("nan"), float("inf")):
            with pytest.raises(InputError, match="not finite"):
                search_placement(backbone, lambda wrong=wrong: [(pixels * wrong, labels)], 2, head=head)
