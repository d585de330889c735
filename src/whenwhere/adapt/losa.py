"""LoSA: a small network beside a frozen backbone, which refines the states that the backbone passes through.

Low-rank Side Adaptation (Mercea, Gritsenko, Schmid and Arnab, "Time-, Memory- and Parameter-Efficient Visual
Adaptation", CVPR 2024, arXiv 2402.02887). Nothing is propagated back through the backbone, so a step costs one forward
pass of it and little more, in time and in memory, and its states can be cached (:mod:`whenwhere.adapt.cache`).

The abstract and a summary of the paper were at hand, not its recurrence, ranks and tables. What is known of the method
holds here; the rest (recurrence, norms, initialisation, defaults) is our choice and can be configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from whenwhere.adapt.adapted import StatesAdapted
from whenwhere.adapt.mixers import LowRank, Mixer
from whenwhere.adapt.refinement import refine
from whenwhere.adapt.shapes import is_map, state_shapes, to_grid, to_width
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError


@dataclass(frozen=True)
class LosaConfig:
    """What the side network is.

    Args:
        rank: of the channel mixing, at least 1.
        token_rank: of the token and time mixing; None is ``rank``.
        scale: factor on what each step adds; tune over 0.1, 1, 10.
        recurrence: how mixers are joined. "accumulate": each sees its state plus all corrections so far. "ladder": each
            sees a gated mean of its state and the previous mixer's output (as in Ladder Side-Tuning), and the last
            output replaces the backbone's; it does not start as a linear probe. "parallel": each sees its state alone.
        taps: layers that have a mixer, as ``Backbone.states`` counts them; None is all.
        frames: T for clips (B, T, 3, s, s); None for images.
        channels: whether channels are mixed.
        tokens: "factorised" mixes the tokens of a frame, then each token over the frames; "joint" all tokens of a clip
            at once (with many more weights); "none" neither. For images the first two are the same.
        init: "zero" starts as a linear probe; "normal" starts the second matrices random as well.
        recompute: keep one map a mixer for the backward pass and compute the norms again; else keep them all.

    Raises:
        InputError: values outside these.
    """

    rank: int = 8
    token_rank: int | None = None
    scale: float = 1.0
    recurrence: Literal["accumulate", "ladder", "parallel"] = "accumulate"
    taps: tuple[int, ...] | None = None
    frames: int | None = None
    channels: bool = True
    tokens: Literal["factorised", "joint", "none"] = "factorised"
    init: Literal["zero", "normal"] = "zero"
    recompute: bool = True

    def __post_init__(self) -> None:
        for name in ("rank", "token_rank", "frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value}", "at least 1")
        for name, known in (
            ("recurrence", ("accumulate", "ladder", "parallel")),
            ("tokens", ("factorised", "joint", "none")),
            ("init", ("zero", "normal")),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name}={getattr(self, name)!r}", "one of " + ", ".join(known))
        if not self.channels and self.tokens == "none":
            raise InputError("channels=False with tokens='none'", "something to mix")
        if self.taps is not None and not self.taps:
            raise InputError("taps=()", "at least one layer, or None for all")


class Losa(StatesAdapted):
    """A low-rank side network on the states of any backbone.

    On vision transformers the states are token maps of one shape. The stages of a CNN are not: their maps are averaged
    down to the last stage's grid, and their channels are filled up with zeros to its width, without trained weights.

    Args:
        backbone: frozen.
        labels: names of the classes.
        config: see :class:`LosaConfig`.

    Raises:
        InputError: a tap outside of the backbone.
    """

    method = "losa"
    Config = LosaConfig

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: LosaConfig | None = None) -> None:
        super().__init__(backbone, labels, config)
        c, depth = self.config, backbone.depth
        asked = range(depth) if c.taps is None else c.taps
        bad = [tap for tap in asked if not -depth <= tap < depth]
        if bad:
            raise InputError(
                f"taps {bad} of {backbone.name}", f"layers 0 to {depth - 1}, or -{depth} to -1 from the end"
            )
        mixed = sorted({tap % depth for tap in asked})
        self.taps = tuple(sorted({*mixed, depth - 1}))  # the last state is what is corrected
        self._mixed = [self.taps.index(tap) for tap in mixed]
        self.token_count, self.channel_count = state_shapes(backbone)[-1]
        self.mixers = nn.ModuleList(Mixer(self._steps(), c.scale) for _ in mixed)
        if c.recurrence == "ladder":
            self.gates = nn.Parameter(torch.zeros(len(mixed) - 1))

    def _steps(self) -> list[LowRank]:
        c, n = self.config, self.token_count
        rank, zero = c.token_rank or c.rank, c.init == "zero"
        steps = [LowRank("channels", self.channel_count, c.rank, zero)] if c.channels else []
        if c.tokens == "factorised" or (c.tokens == "joint" and c.frames is None):
            steps.append(LowRank("tokens", n, rank, zero))
            if c.frames is not None:
                steps.append(LowRank("time", c.frames, rank, zero))
        elif c.tokens == "joint":
            steps.append(LowRank("joint", c.frames * n, rank, zero))
        return steps

    def vector_of(self, states: Sequence[Tensor]) -> Tensor:
        return self.finish(self.refined(states))

    def refined(self, states: Sequence[Tensor]) -> Tensor:
        """The adapted last state.

        Args:
            states: of ``taps``, as for :meth:`vector_of`.

        Returns:
            (B, N, D) or (B, T, N, D), in the dtype of the trained weights.

        Raises:
            InputError: states of another shape than the mixers were made for.
        """
        ys = [self._fitted(state) for state in states]
        tapped, mixers = [ys[i] for i in self._mixed], [m for m in self.mixers if isinstance(m, Mixer)]
        if self.config.recurrence == "ladder":
            return self._climbed(tapped, mixers)
        chained = self.config.recurrence == "accumulate"
        return refine(tapped, ys[-1], mixers, chained=chained, lean=self.config.recompute)

    def _climbed(self, states: Sequence[Tensor], mixers: Sequence[Mixer]) -> Tensor:
        # The gate of Ladder Side-Tuning: a sigmoid with temperature 0.1. The first mixer has nothing to be gated with.
        h = states[0].to(self.head.weight.dtype)
        for k, (y, mixer) in enumerate(zip(states, mixers)):
            if k:
                h = torch.lerp(y.to(h.dtype), h, torch.sigmoid(self.gates[k - 1] / 0.1))
            h = checkpoint(mixer, h, use_reentrant=False) if self.config.recompute else mixer(h)
        return h

    def _fitted(self, state: Tensor) -> Tensor:
        frames, n, d = self.config.frames, self.token_count, self.channel_count
        if (state.ndim, state.shape[1]) != ((3, state.shape[1]) if frames is None else (4, frames)):
            given = "images" if state.ndim == 3 else f"clips of {state.shape[1]} frames"
            wanted = "images (frames=None)" if frames is None else f"clips of {frames} frames"
            raise InputError(f"{given}", wanted, "set frames in LosaConfig to what you feed it")
        if state.shape[-1] != d and is_map(self.backbone, state.shape[-2]):  # an earlier stage of a CNN
            state = to_width(to_grid(state, n), d)
        if state.shape[-2:] != (n, d):
            raise InputError(
                f"states of {state.shape[-2]} tokens and {state.shape[-1]} channels",
                f"{n} tokens and {d} channels, for which the mixers were made",
                f"feed images of {self.backbone.size} pixels",
            )
        return state.contiguous()
