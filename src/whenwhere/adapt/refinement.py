"""The correction that a chain of low-rank mixers learns for frozen states, with little kept for the backward pass.

Plain autograd would keep about four maps a mixer (two norms, two sums), six for clips. Here the backward pass keeps
one: the frozen state itself. All else that it needs is the states plus sums of products of thin matrices, which it
computes again. Of a step over time not even the thin input of its GELU is kept: with few frames it is nearly as large
as a map. The values are those of plain autograd up to rounding (tests compare both).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from whenwhere.adapt.mixers import EPS, Axis, LowRank, Mixer, lined_up, narrow
from whenwhere.errors import InputError

_PIECE_BYTES = 1 << 20


def refine(states: Sequence[Tensor], last: Tensor, mixers: Sequence[Mixer], *, chained: bool, lean: bool) -> Tensor:
    """Add to the last state what the mixers make of the tapped ones.

    Chained, mixer k sees its state plus all corrections so far: ``a <- a + (Mixer_k(y_k + a) - (y_k + a))`` with
    ``a = 0`` at first. Otherwise each sees its state alone, and the corrections add up.

    Args:
        states: one (B, N, D) or (B, T, N, D) per mixer, contiguous, of any float dtype; without gradient if ``lean``.
        last: the state that is corrected, of the same shape; it may be ``states[-1]`` itself.
        mixers: weights in float32 (or all in float64).
        chained: whether corrections are handed on.
        lean: keep one map a mixer for the backward pass; else leave it to autograd.

    Returns:
        ``last + a``, in the dtype of the weights.

    Raises:
        InputError: states that require a gradient, if ``lean``.
    """
    if lean and torch.is_grad_enabled() and any(state.requires_grad for state in (last, *states)):
        raise InputError(
            "states that require a gradient",
            "frozen states, without one",
            "detach them, or set recompute=False in LosaConfig",
        )
    with torch.autocast(last.device.type, enabled=False):
        if lean:
            steps = [[step for step in mixer.steps if isinstance(step, LowRank)] for mixer in mixers]
            weights = [w for step in chain.from_iterable(steps) for w in (step.down, step.up)]
            plan = _Plan([[step.axis for step in own] for own in steps], mixers[0].scale, chained)
            return _Refine.apply(plan, last, *states, *weights)
        kind = next(mixers[0].parameters()).dtype
        a = torch.zeros_like(last, dtype=kind)
        for y, mixer in zip(states, mixers):
            u = y + a if chained else y.to(kind)
            a = a + (mixer(u) - u)
        return last + a


class _Plan:
    """What the mixers do, without their weights."""

    def __init__(self, axes: list[list[Axis]], scale: float, chained: bool) -> None:
        self.mixers, self.scale, self.chained = axes, scale, chained
        self.axes = list(chain.from_iterable(axes))
        self.bounds = list(accumulate(map(len, axes), initial=0))  # steps of mixer k: bounds[k] to bounds[k + 1]

    def again(self, from_output: bool) -> set[int]:
        """Steps whose thin input is not kept: those over time, where the state of their mixer is at hand."""
        end = self.bounds[-2] if from_output else self.bounds[-1]
        return {i for i, axis in enumerate(self.axes[:end]) if axis == "time"}


class _Refine(torch.autograd.Function):
    """See :func:`refine`. Steps of all mixers are numbered through; step i has the weights 2 i and 2 i + 1."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, last: Tensor, *tensors: Tensor) -> Tensor:
        states, weights = tensors[: len(plan.mixers)], tensors[len(plan.mixers) :]
        out = torch.empty(last.shape, dtype=weights[0].dtype, device=last.device)
        ctx.pieces = _pieces(out)
        thin: list[Tensor] = []
        # The last mixer's state need not be kept where it is the one corrected: its inputs follow from the output,
        # which whatever comes next is likely to keep anyway.
        ctx.plan, ctx.from_output = plan, plan.chained and states[-1] is last
        keep = set(range(len(plan.axes))) - plan.again(ctx.from_output) if any(ctx.needs_input_grad) else None
        for piece in ctx.pieces:
            thin += _forward(plan, last[piece], [state[piece] for state in states], weights, out[piece], keep)
        if keep is not None:
            ctx.save_for_backward(*((*states[:-1], out) if ctx.from_output else states), *weights, *thin)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        plan, count = ctx.plan, len(ctx.plan.axes)
        states, rest = ctx.saved_tensors[: len(plan.mixers)], ctx.saved_tensors[len(plan.mixers) :]
        weights, thin = rest[: 2 * count], rest[2 * count :]
        gradients = [torch.zeros_like(weight) for weight in weights]
        with torch.autocast(grad.device.type, enabled=False):
            for i, piece in enumerate(ctx.pieces):
                d = grad[piece].to(weights[0].dtype, copy=True, memory_format=torch.contiguous_format)
                own = list(thin[3 * i * count : 3 * (i + 1) * count])
                _compute_again(plan, [state[piece] for state in states], weights, own, plan.again(ctx.from_output))
                _backward(plan, [state[piece] for state in states], weights, own, d, ctx.from_output, gradients)
        return None, None, *[None] * len(states), *gradients


def _pieces(out: Tensor) -> list[slice]:
    """Parts of a batch. On a CPU they are so small that the maps at hand stay in its cache, which makes it faster."""
    each = len(out) if out.device.type != "cpu" else max(1, _PIECE_BYTES // (out[0].numel() * out.element_size()))
    return [slice(start, start + each) for start in range(0, len(out), max(1, each))]


def _forward(
    plan: _Plan,
    last: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    out: Tensor,
    keep: set[int] | None,
) -> list[Tensor]:
    """Write the refined state to ``out``.

    Returns:
        Three thin tensors a step: the input of its GELU (empty for steps not in ``keep``), means, deviations. None at
        all where ``keep`` is None.
    """
    a, ones, zeros = torch.zeros_like(out), out.new_ones(out.shape[-1]), out.new_zeros(out.shape[-1])
    thin: list[Tensor] = []
    for k, y in enumerate(states):
        own = a if plan.chained else torch.zeros_like(a)
        for i in range(plan.bounds[k], plan.bounds[k + 1]):
            # twice as fast with a weight of ones as with none
            n, mean, rstd = torch.native_layer_norm(_sum(y, own), y.shape[-1:], ones, zeros, EPS)
            z = narrow(plan.axes[i], n, weights[2 * i])
            _add(plan.axes[i], own, F.gelu(z), weights[2 * i + 1], plan.scale)
            if keep is not None:
                thin += [z if i in keep else z.new_empty(0), mean, rstd]
        if not plan.chained:
            a += own
    out.copy_(_sum(last, a))
    return thin


def _compute_again(
    plan: _Plan, states: Sequence[Tensor], weights: Sequence[Tensor], thin: list[Tensor], again: set[int]
) -> None:
    """Put the thin inputs of the steps ``again`` into their places, by what the steps before them add."""
    a = torch.zeros(states[0].shape, dtype=weights[0].dtype, device=states[0].device)
    for k, y in enumerate(states if again else ()):
        if not plan.chained:
            a.zero_()
        for i in range(plan.bounds[k], min(plan.bounds[k + 1], max(again) + 1)):
            if i in again:
                n = _sum(y, a).sub_(thin[3 * i + 1]).mul_(thin[3 * i + 2])
                thin[3 * i] = narrow(plan.axes[i], n, weights[2 * i])
            if i < max(again):
                _add(plan.axes[i], a, F.gelu(thin[3 * i]), weights[2 * i + 1], plan.scale)


def _backward(
    plan: _Plan,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    thin: Sequence[Tensor],
    d: Tensor,
    from_output: bool,
    gradients: list[Tensor],
) -> None:
    """Add the gradients of all weights to ``gradients``; ``d`` is that of the output, and is used up.

    The corrections are built again as they were at the end, then taken back step by step.
    """
    last, a = len(states) - 1, torch.zeros_like(d)

    def update(target: Tensor, i: int, factor: float) -> None:
        _add(plan.axes[i], target, F.gelu(thin[3 * i]), weights[2 * i + 1], factor * plan.scale)

    if plan.chained:
        for i in range(plan.bounds[last if from_output else last + 1]):
            update(a, i, 1.0)
    for k in reversed(range(len(states))):
        first, after = plan.bounds[k], plan.bounds[k + 1]
        here = d if plan.chained else d.clone()
        if not plan.chained:
            a.zero_()
            for i in range(first, after):
                update(a, i, 1.0)
        x = states[k].clone() if from_output and k == last else None
        for i in reversed(range(first, after)):
            update(a if x is None else x, i, -1.0)
            u = _sum(states[k], a) if x is None else x
            onward = i > first or (plan.chained and k > 0)  # where nothing precedes, the input is a frozen state
            step = slice(2 * i, 2 * i + 2)
            kept = thin[3 * i : 3 * i + 3]
            _step_backward(plan.axes[i], u, kept, weights[step], here, plan.scale, onward, gradients[step])


def _step_backward(
    axis: Axis,
    x: Tensor,
    thin: Sequence[Tensor],
    weights: Sequence[Tensor],
    d: Tensor,
    scale: float,
    onward: bool,
    gradients: Sequence[Tensor],
) -> None:
    """Add one step's gradients; ``d``, of its output, becomes that of its input ``x`` in place if ``onward``."""
    (z, mean, rstd), (down, up), (d_down, d_up) = thin, weights, gradients
    n = torch.sub(x, mean).mul_(rstd)
    g, n_, d_ = F.gelu(z), lined_up(axis, n), lined_up(axis, d)
    if axis == "channels":
        d_up.addmm_(g, d_, alpha=scale)
        dz = torch.ops.aten.gelu_backward((up @ d_.T).mul_(scale), z)  # (rank, rows)
        d_down += (dz @ n_).T
    else:
        d_up += torch.bmm(g, d_.transpose(1, 2)).sum(0).mul_(scale)
        dz = torch.ops.aten.gelu_backward(torch.bmm(up.expand(len(d_), -1, -1), d_).mul_(scale), z)
        d_down += torch.bmm(dz, n_.transpose(1, 2)).sum(0).T  # dz is (groups, rank, shared)
    if onward:
        dn = (dz.T @ down.T if axis == "channels" else torch.bmm(down.expand(len(dz), -1, -1), dz)).view(x.shape)
        mask = [True, False, False]
        d += torch.ops.aten.native_layer_norm_backward(dn, x, x.shape[-1:], mean, rstd, None, None, mask)[0]


def _sum(y: Tensor, a: Tensor) -> Tensor:
    """A state of any float dtype plus a correction."""
    return y + a if y.dtype == a.dtype else y.to(a.dtype).add_(a)


def _add(axis: Axis, target: Tensor, g: Tensor, up: Tensor, factor: float) -> None:
    """``target += factor * widen(g)`` in place, without a map in between; ``target`` is contiguous."""
    lines = lined_up(axis, target)
    if axis == "channels":
        lines.addmm_(g.T, up, alpha=factor)
    else:
        lines.baddbmm_(up.T.expand(len(lines), -1, -1), g, alpha=factor)
