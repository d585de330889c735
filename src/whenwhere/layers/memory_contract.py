"""The contract of a visual memory: its configuration, its state, and the frame-by-frame update.

A memory has no parameters. It turns a state and the tokens of one frame into the next state, so a stream can be saved
in the middle, and a training batch can keep the states of the frames it needs. Nothing here looks ahead: a state after
frame t depends on frames 0..t only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from whenwhere.errors import InputError

MemoryKind = Literal["kmeans", "temporal_pool", "spatial_pool", "ema", "adjacent_merge", "none"]


@dataclass(frozen=True)
class MemoryConfig:
    """Which memory, and its numbers.

    Args:
        kind: ``kmeans`` is the paper's; the others are its baselines; ``none`` keeps every token.
        size: K, tokens kept by ``kmeans`` and ``adjacent_merge``; for ``kmeans`` a multiple of the tokens a frame.
        iterations: tau, K-means steps a frame.
        momentum: weigh an old centre by the number of tokens it stands for; off gives every point weight 1.
        ema_rate: share of the old memory that ``ema`` keeps at each frame, in [0, 1).
        count_cap: largest count a centre may have, so that it can still move after hours; ``None`` for no cap.
        decay: factor on all counts at each frame, in (0, 1]; 1 forgets nothing, half-life = ln 2 / (1 - decay) frames.

    Raises:
        InputError: a number is out of range.
    """

    kind: MemoryKind = "kmeans"
    size: int = 514
    iterations: int = 2
    momentum: bool = True
    ema_rate: float = 0.9
    count_cap: float | None = None
    decay: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(MemoryKind):
            raise InputError(f"memory kind {self.kind!r}", f"one of {', '.join(get_args(MemoryKind))}")
        if self.size < 1 or self.iterations < 0:
            raise InputError(f"memory size {self.size}, iterations {self.iterations}", "size >= 1 and iterations >= 0")
        if not 0 <= self.ema_rate < 1 or not 0 < self.decay <= 1:
            raise InputError(f"ema_rate {self.ema_rate:g}, decay {self.decay:g}", "ema_rate in [0, 1), decay in (0, 1]")
        if self.count_cap is not None and self.count_cap < 1:
            raise InputError(f"count_cap {self.count_cap:g}", "at least 1, or None")


class MemoryState(NamedTuple):
    """What a memory remembers of the frames so far.

    Attributes:
        tokens: (B, S, D) float32, S tokens; S is at most K for the bounded memories, less while they fill up.
        counts: (B, S) float64, how many seen tokens each one stands for (float32 on devices without float64).
        times: (B, S) like ``counts``, the mean time of those tokens, averaged exactly as the features are, but without
            a say in which token joins which; ``None`` if the stream gave no times.
        frames: frames seen.
    """

    tokens: Tensor
    counts: Tensor
    times: Tensor | None
    frames: int

    def nbytes(self) -> int:
        """Bytes of the tensors: K*D*4 + K*8 for a full memory, and K*8 more if it keeps times."""
        return sum(t.numel() * t.element_size() for t in (self.tokens, self.counts, self.times) if t is not None)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors, to be saved and given to :meth:`from_tensors` later."""
        named = {"tokens": self.tokens, "counts": self.counts, "frames": torch.tensor(self.frames)}
        return named if self.times is None else {**named, "times": self.times}

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor]) -> MemoryState:
        """Rebuild a state from :meth:`tensors`.

        Raises:
            InputError: a tensor is missing or the shapes do not agree.
        """
        missing = [name for name in ("tokens", "counts", "frames") if name not in named]
        if missing:
            raise InputError(f"memory state lacks {', '.join(missing)}", "tokens, counts and frames")
        tokens, counts, times = named["tokens"], named["counts"], named.get("times")
        if tokens.ndim != 3 or any(t is not None and t.shape != tokens.shape[:2] for t in (counts, times)):
            raise InputError(
                f"memory state has tokens {tuple(tokens.shape)} and counts {tuple(counts.shape)}",
                "tokens (B, S, D), counts and times (B, S)",
            )
        return cls(tokens, counts, times, int(named["frames"]))


class Memory(ABC):
    """The contract of all memories: ``init`` an empty state, ``update`` it frame by frame, ``read`` its tokens.

    States are never changed in place. Gradients pass through a memory (through its averages, not its assignments) only
    if asked for: the encoder before it is usually frozen.

    Args:
        config: which memory.
        gradient: let gradients flow from the memory to the frame tokens.
    """

    def __init__(self, config: MemoryConfig, *, gradient: bool = False) -> None:
        self.config, self.gradient = config, gradient

    def init(
        self, batch: int, width: int, *, device: torch.device | str = "cpu", track_times: bool = False
    ) -> MemoryState:
        """Return the state before the first frame: no tokens.

        Args:
            batch: B, streams that run side by side.
            width: D, token width.
            device: where the state lives.
            track_times: also keep the mean time of each token; every update must then give a time.
        """
        device = torch.device(device)
        # MPS has no float64; float32 counts stay exact up to 2^24 tokens a centre.
        exact = torch.float32 if device.type == "mps" else torch.float64
        counts = torch.zeros(batch, 0, dtype=exact, device=device)
        return MemoryState(torch.zeros(batch, 0, width, device=device), counts, counts if track_times else None, 0)

    def update(self, state: MemoryState, frame: Tensor, time: float | Tensor | None = None) -> MemoryState:
        """Return the state after one more frame.

        Args:
            state: the state so far.
            frame: (B, N_f, D) tokens of the frame, any float dtype.
            time: when the frame was, one number or (B,), any unit; needed if and only if the state tracks times.

        Raises:
            InputError: the shapes do not fit, or ``time`` is missing or not wanted.
        """
        if frame.ndim != 3 or frame.shape[1] == 0 or frame.shape[::2] != state.tokens.shape[::2]:
            raise InputError(
                f"frame tokens have shape {tuple(frame.shape)}",
                f"({state.tokens.shape[0]}, tokens a frame, {state.tokens.shape[2]})",
            )
        if (time is None) != (state.times is None):
            raise InputError(
                "a frame without a time" if time is None else "a frame with a time",
                "times for every frame or for none",
                "create the state with track_times=True to give times",
            )
        frame = frame.to(state.tokens.dtype)
        counts = torch.ones(frame.shape[:2], dtype=state.counts.dtype, device=frame.device)
        times = None
        if time is not None:
            times = torch.as_tensor(time, dtype=counts.dtype, device=frame.device).reshape(-1, 1).expand_as(counts)
        # Autocast would find the nearest centres in half precision.
        autocast_off = torch.autocast(frame.device.type, enabled=False)
        with autocast_off, torch.set_grad_enabled(self.gradient and torch.is_grad_enabled()):
            return self._join(state, MemoryState(frame, counts, times, state.frames + 1))

    def read(self, state: MemoryState) -> Tensor:
        """Return the memory tokens (B, S, D), float32, of a state."""
        return state.tokens

    def run(
        self, frames: Tensor, *, times: Tensor | None = None, keep: Iterable[int] | None = None
    ) -> dict[int, MemoryState]:
        """Feed all frames of a batch of clips and keep the states after some of them.

        Args:
            frames: (B, T, N_f, D).
            times: (B, T) or (T,), when each frame was; ``None`` to track no times.
            keep: frame indices whose states are wanted; the last frame only if ``None``.

        Returns:
            The state after frame t, for each t in ``keep``.
        """
        batch, length, _, width = frames.shape
        wanted = {length - 1} if keep is None else set(keep)
        if not wanted or min(wanted) < 0 or max(wanted) >= length:
            raise InputError(f"states wanted after frames {sorted(wanted)}", f"frames in 0..{length - 1}")
        state = self.init(batch, width, device=frames.device, track_times=times is not None)
        kept = {}
        for t in range(max(wanted) + 1):
            state = self.update(state, frames[:, t], None if times is None else times[..., t])
            if t in wanted:
                kept[t] = state
        return kept

    @abstractmethod
    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        """Return ``state`` after the checked ``frame``, which is itself a state whose counts are 1."""


def concatenate(state: MemoryState, more: MemoryState) -> MemoryState:
    """Append the tokens of ``more``, seen later, to those of ``state``."""
    times = None if state.times is None or more.times is None else torch.cat([state.times, more.times], dim=1)
    return MemoryState(
        torch.cat([state.tokens, more.tokens], dim=1), torch.cat([state.counts, more.counts], dim=1), times, more.frames
    )
