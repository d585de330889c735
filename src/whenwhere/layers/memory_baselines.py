"""The memories that weighted streaming K-means is compared with: pooling, moving average, merging, and none at all."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.errors import InputError
from whenwhere.layers.memory_contract import Memory, MemoryState, concatenate


class TemporalPool(Memory):
    """The mean over all frames so far, position by position (K = tokens a frame)."""

    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        return _blend(state, frame, 1 - 1 / frame.frames)


class ExponentialAverage(Memory):
    """``M <- rate * M + (1 - rate) * frame``, position by position, starting at the first frame."""

    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        return _blend(state, frame, self.config.ema_rate)


class SpatialPool(Memory):
    """One mean token a frame; grows with the stream."""

    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        mean = MemoryState(
            frame.tokens.mean(dim=1, keepdim=True),
            frame.counts.sum(dim=1, keepdim=True),
            None if frame.times is None else frame.times[:, :1],
            frame.frames,
        )
        return concatenate(state, mean)


class KeepAll(Memory):
    """No compression: every token of every frame; grows with the stream."""

    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        return concatenate(state, frame)


class AdjacentMerge(Memory):
    """Token by token, the most cosine-similar pair of neighbours is merged to make room (the MovieChat memory).

    The new token goes into the slot that the merge freed, as in the public code of the paper, instead of to the end.
    """

    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        room = min(max(self.config.size - state.tokens.shape[1], 0), frame.tokens.shape[1])
        state = concatenate(state, _slice(frame, 0, room))
        for i in range(room, frame.tokens.shape[1]):
            state = self._push(state, _slice(frame, i, i + 1))
        return state._replace(frames=frame.frames)

    @staticmethod
    def _push(state: MemoryState, new: MemoryState) -> MemoryState:
        row = concatenate(state, new)  # K + 1 tokens in order
        unit = F.normalize(row.tokens, dim=-1)
        first = (unit[:, :-1] * unit[:, 1:]).sum(dim=-1).argmax(dim=-1, keepdim=True)  # (B, 1): the pair (i, i + 1)
        size = state.counts.shape[1]
        # When the pair is (last slot, new token) the slot freed is the one past the end, so the write falls away below.
        slots = torch.arange(size + 1, device=first.device)
        merged, freed = slots == first, slots == first + 1  # (B, K + 1)

        total = row.counts.gather(1, first) + row.counts.gather(1, first + 1)  # (B, 1)
        part = row.counts.gather(1, first + 1) / total

        def write(values: Tensor) -> Tensor:  # (B, K + 1, C) -> (B, K, C)
            index = first.unsqueeze(-1).expand(-1, 1, values.shape[-1])
            left, right = values.gather(1, index), values.gather(1, index + 1)
            mean = left + part.unsqueeze(-1).to(values.dtype) * (right - left)
            values = torch.where(freed.unsqueeze(-1), values[:, -1:], values)
            return torch.where(merged.unsqueeze(-1), mean, values)[:, :size]

        counts = torch.where(freed, row.counts[:, -1:], row.counts)
        counts = torch.where(merged, total, counts)[:, :size]
        times = None if row.times is None else write(row.times.unsqueeze(-1)).squeeze(-1)
        return MemoryState(write(row.tokens), counts, times, new.frames)


def _slice(state: MemoryState, start: int, stop: int) -> MemoryState:
    times = None if state.times is None else state.times[:, start:stop]
    return MemoryState(state.tokens[:, start:stop], state.counts[:, start:stop], times, state.frames)


def _blend(state: MemoryState, frame: MemoryState, keep: float) -> MemoryState:
    """Mix a frame into a memory of the same shape; the first frame becomes the memory."""
    if state.tokens.shape[1] == 0:
        return frame
    if state.tokens.shape != frame.tokens.shape:
        raise InputError(
            f"a frame of {frame.tokens.shape[1]} tokens after frames of {state.tokens.shape[1]}",
            "the same number of tokens in every frame",
        )
    times = None
    if state.times is not None and frame.times is not None:
        times = torch.lerp(frame.times, state.times, keep)
    tokens = torch.lerp(frame.tokens, state.tokens, keep)
    return MemoryState(tokens, state.counts + frame.counts, times, frame.frames)
