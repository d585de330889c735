"""Which sample a step sees is a function of (seed, step) alone."""

import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import Sentences

from whenwhere.errors import InputError
from whenwhere.training import Batches
from whenwhere.training.data import seed_noise, to_device


class Numbers:
    """Sample i is (i, a draw from the given generator)."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def sample(self, rng, index):
        return index, int(rng.integers(2**62))


def drawn(batches, seed, steps, batch, count, own):
    return [pair for piece in batches.pieces(seed, steps, batch, count, own) for pair in piece]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 50),
    size=st.integers(1, 3),
    processes=st.integers(1, 3),
    accumulate=st.integers(1, 3),
    start=st.integers(0, 30),
    seed=st.integers(0, 2**40),
)
def test_processes_divide_the_batch_of_one_process_wherever_they_start(
    length, size, processes, accumulate, start, seed
):
    batches = Batches(Numbers(length), collate=list)
    count = processes * accumulate
    batch, steps = size * count, range(start, start + 2)
    whole = drawn(batches, seed, range(0, start + 2), batch, 1, range(1))[start * batch :]
    shares = [
        list(batches.pieces(seed, steps, batch, count, range(rank * accumulate, (rank + 1) * accumulate)))
        for rank in range(processes)
    ]
    joined = [
        pair
        for step in range(len(steps))
        for share in shares
        for piece in share[step * accumulate : (step + 1) * accumulate]
        for pair in piece
    ]
    assert joined == whole


def test_an_epoch_visits_each_sample_once_in_an_order_of_its_own_with_fresh_randomness():
    pairs = drawn(Batches(Numbers(20), collate=list), 3, range(10), 4, 1, range(1))
    first, second = [p[0] for p in pairs[:20]], [p[0] for p in pairs[20:]]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert len({p[1] for p in pairs}) == 40
    other = drawn(Batches(Numbers(20), collate=list), 4, range(5), 4, 1, range(1))
    assert [p[0] for p in other] != first


def test_without_shuffle_samples_come_in_their_order():
    pairs = drawn(Batches(Numbers(3), collate=list, shuffle=False), 0, range(2), 4, 1, range(1))
    assert [p[0] for p in pairs] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_worker_processes_give_the_same_batches():
    alone, helped = (
        list(Batches(Sentences(), workers=workers).pieces(5, range(2, 6), 8, 2, range(2))) for workers in (0, 2)
    )
    assert len(alone) == len(helped) == 8
    for a, b in zip(alone, helped):
        assert all(torch.equal(a[key], b[key]) for key in ("words", "length", "index"))


def test_noise_of_a_piece_is_a_function_of_its_place():
    def noise(*place):
        seed_noise(*place)
        return torch.rand(1).item(), np.random.random(), random.random()

    assert noise(1, 2, 3) == noise(1, 2, 3)
    values = [value for place in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)] for value in noise(*place)]
    assert len(set(values)) == len(values)


def test_an_empty_dataset_is_refused():
    with pytest.raises(InputError, match="empty dataset Numbers"):
        Batches(Numbers(0))
    with pytest.raises(InputError, match="workers=-1"):
        Batches(Numbers(1), workers=-1)


@dataclass(frozen=True)
class Clip:
    pixels: torch.Tensor
    names: tuple[str, ...]
    parts: list


class Pair(NamedTuple):
    a: torch.Tensor
    b: int


def test_tensors_are_moved_in_every_container_and_the_rest_is_left_alone():
    still = Clip(torch.zeros(2), ("a",), [Pair(torch.ones(1), 2), {"x": torch.ones(3)}])
    assert to_device(still.parts[0], torch.device("cpu")) is still.parts[0]
    moved = to_device(still, torch.device("meta"))
    assert isinstance(moved, Clip) and isinstance(moved.parts[0], Pair)
    assert moved.pixels.is_meta and moved.parts[0].a.is_meta and moved.parts[1]["x"].is_meta
    assert moved.names is still.names and moved.parts[0].b == 2
    assert not still.pixels.is_meta and not still.parts[1]["x"].is_meta
