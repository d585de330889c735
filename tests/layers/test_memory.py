"""Weighted streaming K-means: worked numbers, conservation, causality, and equality with the form it is written in."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.layers import memory as memory_module
from whenwhere.layers.memory import (
    MemoryConfig,
    MemoryState,
    StreamingKMeans,
    build_memory,
    kmeans_offline,
    weighted_kmeans,
)

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "kmeans_memory.py"


def frames(*points, batch=1):
    """(B, T, N_f, D) from nested lists of one stream."""
    return torch.tensor(points, dtype=torch.float32).expand(batch, -1, -1, -1)


def random_frames(seed, batch=2, length=12, tokens=3, width=5):
    return torch.randn(batch, length, tokens, width, generator=torch.Generator().manual_seed(seed))


def kmeans(size=6, **options):
    return build_memory(MemoryConfig(size=size, **options))


HAND = frames([[0, 0], [10, 0]], [[1, 0], [9, 0]], [[4, 0], [2, 0]], [[8, 0], [8, 0]])


@pytest.mark.parametrize(
    ("momentum", "expected"),
    [
        (True, {1: [0.5, 9.5], 2: [1.75, 9.5], 3: [1.75, 8.75]}),
        (False, {1: [0.5, 9.5], 2: [2.1666667, 9.5], 3: [2.1666667, 8.5]}),
    ],
)
def test_hand_example(momentum, expected):
    states = kmeans(2, momentum=momentum).run(HAND, keep=[0, 1, 2, 3])
    for t, places in expected.items():
        wanted = torch.tensor([[[x, 0.0] for x in places]])
        torch.testing.assert_close(states[t].tokens, wanted, atol=1e-6, rtol=0)
    assert [states[t].counts.tolist() for t in range(4)] == [[[1, 1]], [[2, 2]], [[4, 2]], [[4, 4]]]


def test_shapes_counts_and_frames_from_the_first_frame_on():
    memory, tokens = kmeans(6), random_frames(0)
    states = memory.run(tokens, keep=range(12))
    assert [s.tokens.shape[1] for s in states.values()] == [3, *[6] * 11]  # causal: fewer than K while it fills up
    assert all(s.tokens.dtype == torch.float32 and s.counts.dtype == torch.float64 for s in states.values())
    assert [s.frames for s in states.values()] == list(range(1, 13))
    assert torch.equal(states[0].tokens, tokens[:, 0])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    tokens=st.integers(1, 4),
    start_frames=st.integers(1, 3),
    iterations=st.integers(0, 3),
    momentum=st.booleans(),
    spread=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
)
def test_counts_and_mean_are_conserved(seed, tokens, start_frames, iterations, momentum, spread):
    length, size = start_frames + 8, tokens * start_frames
    given_tokens = spread * random_frames(seed, length=length, tokens=tokens) + 3
    memory = kmeans(size, iterations=iterations, momentum=momentum)
    for t, state in memory.run(given_tokens, keep=range(length)).items():
        seen = given_tokens[:, : t + 1].flatten(1, 2)
        if t < start_frames or iterations:
            assert state.counts.sum(dim=1).tolist() == [seen.shape[1]] * 2
        if momentum and iterations:
            mass = (state.counts.unsqueeze(-1) * state.tokens.double()).sum(dim=1)
            torch.testing.assert_close(mass, seen.double().sum(dim=1), atol=1e-4 * max(spread, 1), rtol=1e-5)


def test_the_same_frame_for_ever_is_a_fixed_point_to_the_bit():
    frame = random_frames(1, batch=1, length=1, tokens=4)
    memory = kmeans(4)
    states = memory.run(frame.expand(-1, 200, -1, -1), keep=range(200))
    assert all(torch.equal(state.tokens, frame[:, 0]) for state in states.values())
    assert states[199].counts.tolist() == [[200.0] * 4]


def test_a_long_still_stream_does_not_drift_after_it_moved():
    tokens = random_frames(2, batch=1, length=6, tokens=4)
    memory = kmeans(8)
    state = memory.run(tokens)[5]
    for _ in range(3):
        state = memory.update(state, tokens[:, 5])
    still = memory.update(state, tokens[:, 5])
    for _ in range(500):
        still = memory.update(still, tokens[:, 5])
    assert still.counts.sum() == 4 * 510
    mass = (still.counts.unsqueeze(-1) * still.tokens.double()).sum(dim=1)
    expected = tokens.double().sum(dim=(1, 2)) + 504 * tokens[:, 5].double().sum(dim=1)
    torch.testing.assert_close(mass / 2040, expected / 2040, atol=1e-6, rtol=0)


def test_no_iterations_leave_the_memory_alone():
    tokens = random_frames(3)
    state = kmeans(6, iterations=0).run(tokens)[11]
    assert torch.equal(state.tokens, tokens[:, :2].flatten(1, 2))


def test_order_of_tokens_within_a_frame_does_not_matter():
    tokens = random_frames(4, tokens=4)
    shuffled = tokens.clone()
    shuffled[:, 2:] = tokens[:, 2:, [2, 0, 3, 1]]
    one, other = (kmeans(8).run(x)[11] for x in (tokens, shuffled))
    torch.testing.assert_close(one.tokens, other.tokens, atol=1e-5, rtol=0)
    assert torch.equal(one.counts, other.counts)


def test_what_comes_later_changes_nothing_before():
    tokens, noise = random_frames(5), random_frames(6)
    changed = torch.cat([tokens[:, :7], noise[:, 7:]], dim=1)
    for kind in ("kmeans", "temporal_pool", "spatial_pool", "ema", "adjacent_merge", "none"):
        memory = kmeans(6, kind=kind)
        before, after = memory.run(tokens, keep=range(12)), memory.run(changed, keep=range(12))
        assert all(torch.equal(before[t].tokens, after[t].tokens) for t in range(7))
        assert not torch.equal(before[11].tokens, after[11].tokens)


@pytest.mark.parametrize("kind", ["kmeans", "temporal_pool", "spatial_pool", "ema", "adjacent_merge", "none"])
def test_a_saved_and_restored_stream_goes_on_to_the_bit(kind):
    tokens, memory = random_frames(7), kmeans(6, kind=kind)
    whole = memory.run(tokens, times=torch.arange(12.0))[11]
    state = memory.run(tokens[:, :5], times=torch.arange(5.0))[4]
    state = MemoryState.from_tensors({name: tensor.clone() for name, tensor in state.tensors().items()})
    for t in range(5, 12):
        state = memory.update(state, tokens[:, t], float(t))
    assert torch.equal(state.tokens, whole.tokens) and torch.equal(state.counts, whole.counts)
    assert state.times is not None and torch.equal(state.times, whole.times) and state.frames == 12


def test_bytes_of_the_state():
    size, width = 514, 1024
    state = kmeans(size).init(1, width)
    state = kmeans(size).update(state, torch.zeros(1, 257, width))
    state = kmeans(size).update(state, torch.ones(1, 257, width))
    assert state.nbytes() == size * width * 4 + size * 8
    assert kmeans(6).run(random_frames(0, batch=1), times=torch.arange(12.0))[11].nbytes() == 6 * 5 * 4 + 2 * 6 * 8


def test_matmul_form_equals_broadcast_form():
    spec = importlib.util.spec_from_file_location("kmeans_memory_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    generator = torch.Generator().manual_seed(8)
    points = torch.randn(3, 40, 16, generator=generator) + 50  # far from the origin, where |c|^2 - 2xc loses digits
    weights = torch.randint(0, 5, (3, 40), generator=generator).double()
    centres, _, _ = weighted_kmeans(points, weights, points[:, :12], 3)
    slow, counts = benchmark.broadcast_kmeans(points.double(), weights, points[:, :12].double(), 3)
    torch.testing.assert_close(centres.double(), slow, atol=2e-5, rtol=0)
    assert counts.sum(dim=1).tolist() == weights.sum(dim=1).tolist()


def test_both_ways_to_sum_by_cluster_agree():
    values, assignment = random_frames(14)[:, 0], torch.tensor([[0, 2, 2], [1, 1, 1]])
    by_index = memory_module._sums_by_index(values, assignment, 4)
    by_product = memory_module._sums_by_product(values, assignment, 4)
    torch.testing.assert_close(by_index, by_product)
    torch.testing.assert_close(by_index[0, 2], values[0, 1] + values[0, 2])
    assert not by_index[:, 3].any()


def test_an_emptied_cluster_keeps_its_place_with_count_zero():
    # Equal start centres: the second one loses every tie, so it is empty until a token falls nearest to it.
    state = kmeans(2).run(frames([[5.0, 0.0], [5.0, 0.0]], [[5.0, 0.0], [5.0, 0.0]]))[1]
    assert state.tokens.tolist() == [[[5, 0], [5, 0]]] and state.counts.tolist() == [[4, 0]]
    state = kmeans(2).update(state, torch.tensor([[[7.0, 0.0], [7.0, 0.0]]]))
    assert state.counts.sum() == 6
    mass = (state.counts.unsqueeze(-1) * state.tokens).sum(dim=1)
    assert mass.tolist() == [[34, 0]]  # weight 0 adds nothing: the mean of all tokens is still right


def test_times_follow_the_tokens():
    # Two places far apart: the mean time of a centre is that of the frames in which its place was seen.
    tokens = frames([[0.0, 0.0], [100.0, 0.0]], [[1.0, 0.0], [100.0, 0.0]], [[0.0, 1.0], [0.0, 2.0]])
    state = kmeans(2).run(tokens, times=torch.tensor([10.0, 20.0, 40.0]))[2]
    assert state.counts.tolist() == [[4, 2]]
    torch.testing.assert_close(state.times, torch.tensor([[(10 + 20 + 40 + 40) / 4, 15.0]], dtype=torch.float64))


def test_times_do_not_move_the_clustering():
    tokens = random_frames(9)
    with_times = kmeans(6).run(tokens, times=torch.arange(12.0) * 1e6)[11]
    assert torch.equal(with_times.tokens, kmeans(6).run(tokens)[11].tokens)


def test_count_cap_and_decay():
    tokens = random_frames(10, length=30)
    capped = kmeans(6, count_cap=4).run(tokens)[29]
    assert capped.counts.max() <= 4
    decayed = kmeans(6, decay=0.9).run(tokens, keep=range(30))
    for t in range(2, 30):  # sum W = gamma * sum W_before + N_f
        torch.testing.assert_close(decayed[t].counts.sum(dim=1), 0.9 * decayed[t - 1].counts.sum(dim=1) + 3)


def test_a_decayed_memory_follows_new_content_faster():
    still, moved = torch.zeros(1, 400, 1, 2), torch.ones(1, 20, 1, 2)
    stream = torch.cat([still, moved], dim=1)
    frozen, following = (kmeans(1, decay=decay).run(stream)[419] for decay in (1.0, 0.9))
    assert frozen.tokens.max() < 0.1 < 0.8 < following.tokens.min()


def test_counts_stay_exact_beyond_float32():
    state = MemoryState(torch.zeros(1, 1, 2), torch.tensor([[2.0**24]], dtype=torch.float64), None, 1)
    state = kmeans(1).update(state, torch.ones(1, 1, 2))
    assert state.counts.item() == 2**24 + 1
    torch.testing.assert_close(state.tokens, torch.full((1, 1, 2), 1 / (2**24 + 1)))


def test_no_gradient_unless_asked_for():
    tokens = random_frames(11).requires_grad_()
    assert not kmeans(6).run(tokens)[11].tokens.requires_grad
    memory = build_memory(MemoryConfig(size=6), gradient=True)
    memory.run(tokens)[11].tokens.sum().backward()
    assert tokens.grad is not None and tokens.grad[:, 0].abs().sum() > 0 and tokens.grad[:, 11].abs().sum() > 0


def test_autocast_does_not_touch_the_distances():
    tokens = random_frames(13) + 20
    with torch.autocast("cpu", torch.bfloat16):
        inside = kmeans(6).run(tokens)[11]
    assert torch.equal(inside.tokens, kmeans(6).run(tokens)[11].tokens)


def test_offline_kmeans_is_the_same_iteration_over_all_tokens():
    tokens = random_frames(12, batch=1).flatten(1, 2)
    expected, _, _ = weighted_kmeans(tokens, torch.ones(1, 36, dtype=torch.float64), tokens[:, :6], 2)
    assert torch.equal(kmeans_offline(tokens, 6), expected)
    with pytest.raises(InputError, match="4 tokens for 6 centres"):
        kmeans_offline(tokens[:, :4], 6)


def test_what_does_not_fit_is_refused():
    memory = kmeans(6)
    assert isinstance(memory, StreamingKMeans)
    state = memory.init(2, 5)
    with pytest.raises(InputError, match=r"shape \(2, 3, 4\)"):
        memory.update(state, torch.zeros(2, 3, 4))
    with pytest.raises(InputError, match="frame with a time"):
        memory.update(state, torch.zeros(2, 3, 5), 1.0)
    with pytest.raises(InputError, match="frame without a time"):
        memory.update(memory.init(2, 5, track_times=True), torch.zeros(2, 3, 5))
    with pytest.raises(InputError, match="multiple of the tokens a frame"):
        memory.update(state, torch.zeros(2, 4, 5))
    with pytest.raises(InputError, match=r"frames in 0\.\.11"):
        memory.run(random_frames(0), keep=[12])
    with pytest.raises(InputError, match="lacks counts"):
        MemoryState.from_tensors({"tokens": torch.zeros(1, 2, 3), "frames": torch.tensor(1)})
    with pytest.raises(InputError, match=r"\(B, S\)"):
        MemoryState.from_tensors(
            {"tokens": torch.zeros(1, 2, 3), "counts": torch.zeros(1, 3), "frames": torch.tensor(1)}
        )


@pytest.mark.parametrize(
    "options",
    [{"kind": "mean"}, {"size": 0}, {"iterations": -1}, {"decay": 0.0}, {"ema_rate": 1.0}, {"count_cap": 0.5}],
)
def test_bad_configurations_are_refused(options):
    with pytest.raises(InputError):
        MemoryConfig(**options)
