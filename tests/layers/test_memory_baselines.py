"""The memories that K-means is compared with, each against its definition worked by hand."""

from __future__ import annotations

import pytest
import torch

from whenwhere.errors import InputError
from whenwhere.layers.memory import MemoryConfig, MemoryKind, build_memory


def run(kind: MemoryKind, tokens, times=None, **options):
    """Final state over one stream of frames (T, N_f, D)."""
    memory = build_memory(MemoryConfig(kind=kind, **options))
    return memory.run(torch.tensor(tokens, dtype=torch.float32)[None], times=times)[len(tokens) - 1]


FRAMES = [[[0.0, 2.0], [4.0, 0.0]], [[2.0, 2.0], [0.0, 0.0]], [[4.0, 8.0], [2.0, 3.0]]]
TIMES = torch.tensor([0.0, 1.0, 5.0])


def test_temporal_pool_is_the_mean_of_each_position():
    state = run("temporal_pool", FRAMES, TIMES)
    torch.testing.assert_close(state.tokens[0], torch.tensor([[2.0, 4.0], [2.0, 1.0]]))
    assert state.counts.tolist() == [[3, 3]]
    torch.testing.assert_close(state.times, torch.tensor([[2.0, 2.0]], dtype=torch.float64))


def test_spatial_pool_is_one_mean_token_a_frame():
    state = run("spatial_pool", FRAMES, TIMES)
    assert state.tokens[0].tolist() == [[2, 1], [1, 1], [3, 5.5]]
    assert state.counts.tolist() == [[2, 2, 2]] and state.times.tolist() == [[0, 1, 5]]


def test_moving_average_starts_at_the_first_frame():
    state = run("ema", FRAMES, TIMES)
    expected = 0.9 * (0.9 * torch.tensor(FRAMES[0]) + 0.1 * torch.tensor(FRAMES[1])) + 0.1 * torch.tensor(FRAMES[2])
    torch.testing.assert_close(state.tokens[0], expected)
    torch.testing.assert_close(state.times, torch.full((1, 2), 0.9 * 0.1 + 0.5, dtype=torch.float64))


def test_none_keeps_every_token_in_order():
    state = run("none", FRAMES, TIMES)
    assert state.tokens[0].tolist() == [token for frame in FRAMES for token in frame]
    assert state.counts.tolist() == [[1] * 6] and state.times.tolist() == [[0, 0, 1, 1, 5, 5]]


def test_adjacent_merge_puts_the_new_token_into_the_freed_slot():
    # e1 and 3 * e1 are alike to cosine 1, all other neighbours are at right angles: they merge to 2 * e1 in slot 0.
    first = torch.tensor([[[[1.0, 0, 0], [3.0, 0, 0], [0, 1.0, 0]]]])
    memory = build_memory(MemoryConfig(kind="adjacent_merge", size=3))
    state = memory.run(first, times=torch.tensor([0.0]))[0]
    state = memory.update(state, torch.tensor([[[0, 0, 1.0]]]), 4.0)
    assert state.tokens[0].tolist() == [[2, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert state.counts.tolist() == [[2, 1, 1]] and state.times.tolist() == [[0, 4, 0]]


def test_adjacent_merge_may_merge_the_new_token_into_the_last_slot():
    memory = build_memory(MemoryConfig(kind="adjacent_merge", size=2))
    state = memory.run(torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]]))[0]
    state = memory.update(state, torch.tensor([[[0.0, 8.0]]]))
    assert state.tokens[0].tolist() == [[1, 0], [0, 5]] and state.counts.tolist() == [[1, 2]]


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_adjacent_merge_is_bounded_and_conserves_weight_and_mean(size):
    tokens = torch.randn(2, 9, 3, 5, generator=torch.Generator().manual_seed(size))
    memory = build_memory(MemoryConfig(kind="adjacent_merge", size=size))
    for t, state in memory.run(tokens, keep=range(9)).items():
        seen = tokens[:, : t + 1].flatten(1, 2)
        assert state.tokens.shape[1] == min(size, seen.shape[1])
        assert state.counts.sum(dim=1).tolist() == [seen.shape[1]] * 2
        torch.testing.assert_close((state.counts.unsqueeze(-1) * state.tokens).sum(1).float(), seen.sum(1))


def test_frames_must_keep_their_number_of_tokens_where_positions_are_averaged():
    memory = build_memory(MemoryConfig(kind="ema"))
    state = memory.run(torch.zeros(1, 1, 2, 3))[0]
    with pytest.raises(InputError, match="3 tokens after frames of 2"):
        memory.update(state, torch.zeros(1, 3, 3))
