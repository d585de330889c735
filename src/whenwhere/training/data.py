"""Data order as a pure function: which sample is drawn, and with which randomness, follows from (seed, draw) alone.

Draw number ``d`` is sample ``d % batch`` of step ``d // batch``. Nothing is remembered between steps, so a run resumes
in the middle of an epoch by naming a step, any number of worker processes gives the same batches, and several training
processes divide the very batch that one process would have seen.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, default_collate
from torch.utils.data import Dataset as TorchDataset

from whenwhere.errors import InputError

# First word of every seed, so that the streams of one run never meet.
_ORDER, _SAMPLE, _NOISE = 0, 1, 2


class Dataset(Protocol):
    """Samples by number. All randomness of a sample (crop, noise, choice) must come from ``rng``."""

    def __len__(self) -> int: ...

    def sample(self, rng: np.random.Generator, index: int) -> Any:
        """One sample, of any type that the collate function takes; ``index`` is in [0, len)."""


class Batches:
    """A dataset, how its samples become a batch, and in which order they come.

    Args:
        dataset: ``len(dataset)`` samples; a generator of endless worlds picks a length and draws from ``rng``.
        collate: list of samples -> batch (tensors in dicts, lists or tuples); deterministic.
        shuffle: a new order each epoch; otherwise 0, 1, 2, ... over and over.
        workers: processes that prepare samples ahead; any number gives the same batches.

    Raises:
        InputError: an empty dataset, or a negative number of workers.
    """

    def __init__(
        self,
        dataset: Dataset,
        collate: Callable[[list[Any]], Any] = default_collate,
        *,
        shuffle: bool = True,
        workers: int = 0,
    ) -> None:
        if len(dataset) < 1:
            raise InputError(f"empty dataset {type(dataset).__name__}", "at least one sample", "check its files")
        if workers < 0:
            raise InputError(f"workers={workers}", "0 or more", "use 0 to prepare samples in the training process")
        self.dataset, self.collate, self.shuffle, self.workers = dataset, collate, shuffle, workers

    def draw(self, seed: int, draw: int) -> Any:
        """The sample of one draw, counted from the first sample of the first step."""
        epoch, place = divmod(draw, len(self.dataset))
        index = int(_order(seed, epoch, len(self.dataset))[place]) if self.shuffle else place
        return self.dataset.sample(np.random.default_rng((_SAMPLE, seed, draw)), index)

    def pieces(self, seed: int, steps: range, batch: int, count: int, own: range) -> Iterator[Any]:
        """The batches one process works through.

        Args:
            seed: the seed of the run.
            steps: steps to go through.
            batch: samples of a global batch.
            count: equal pieces a global batch is cut into (processes times accumulated pieces of each).
            own: the pieces of every global batch that belong to this process.

        Returns:
            Collated pieces: those of ``own`` for the first step in order, then those of the next step.
        """
        plan = _Plan(steps, batch, batch // count, own)
        return iter(
            DataLoader(
                _Draws(self, seed),
                batch_sampler=plan,
                collate_fn=self.collate,
                num_workers=self.workers,
                pin_memory=torch.cuda.is_available(),
            )
        )


def seed_noise(seed: int, step: int, piece: int) -> None:
    """Seed torch, numpy and ``random`` for one piece of one step, so that dropout needs no saved state to resume.

    Args:
        seed: the seed of the run.
        step: updates made so far.
        piece: number of the piece within the global batch.
    """
    word = int(np.random.SeedSequence((_NOISE, seed, step, piece)).generate_state(1, np.uint64)[0])
    torch.manual_seed(word)
    np.random.seed(word % 2**32)
    random.seed(word)


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on a device: those in dicts, lists, tuples and dataclasses, however nested."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        moved = [to_device(value, device) for value in batch]
        if all(new is old for new, old in zip(moved, batch)):
            return batch
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        old = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch) if field.init}
        new = {name: to_device(value, device) for name, value in old.items()}
        changed = {name: value for name, value in new.items() if value is not old[name]}
        return dataclasses.replace(batch, **changed) if changed else batch
    return batch


@lru_cache(maxsize=2)  # the epoch being read and the one a prefetching worker enters
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng((_ORDER, seed, epoch)).permutation(length)


class _Draws(TorchDataset[Any]):
    def __init__(self, batches: Batches, seed: int) -> None:
        self.batches, self.seed = batches, seed

    def __getitem__(self, draw: int) -> Any:
        return self.batches.draw(self.seed, draw)


class _Plan(Sampler[list[int]]):
    """Draw numbers of each piece: pieces are contiguous, so process boundaries do not change what a piece holds."""

    def __init__(self, steps: range, batch: int, size: int, own: range) -> None:
        self.steps, self.batch, self.size, self.own = steps, batch, size, own

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for piece in self.own:
                first = step * self.batch + piece * self.size
                yield list(range(first, first + self.size))

    def __len__(self) -> int:
        return len(self.steps) * len(self.own)
