"""The correction that a chain of low-rank mixers learns for frozen states, with little kept for the backward pass.

Plain autograd would keep about four maps a mixer (two norms, two sums). Here the backward pass keeps one: the frozen
state itself. All else that it needs is the states plus sums of products of thin matrices, which it computes again. The
values are those of plain autograd up to rounding (tests compare both).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from whenwhere.adapt.mixers import EPS, LowRank, Mixer, lined_up, narrow


def refine(states: Sequence[Tensor], last: Tensor, mixers: Sequence[Mixer], *, chained: bool, lean: bool) -> Tensor:
    """Add to the last state what the mixers make of the tapped ones.

    Chained, mixer k sees its state plus all corrections so far: ``a <- a + (Mixer_k(y_k + a) - (y_k + a))`` with
    ``a = 0`` at first. Otherwise each sees its state alone, and the corrections add up.

    Args:
        states: one (B, N, D) or (B, T, N, D) per mixer, contiguous, without gradient, of any float dtype.
        last: the state that is corrected, of the same shape; it may be ``states[-1]`` itself.
        mixers: weights in float32 (or all in float64).
        chained: whether corrections are handed on.
        lean: keep one map a mixer for the backward pass; else leave it to autograd.

    Returns:
        ``last + a``, in the dtype of the weights.
    """
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

    def __init__(self, axes: list[list[Any]], scale: float, chained: bool) -> None:
        self.axes, self.scale, self.chained = axes, scale, chained


class _Refine(torch.autograd.Function):
    """See :func:`refine`. Steps of all mixers are numbered through; step i has the weights 2 i and 2 i + 1."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, last: Tensor, *tensors: Tensor) -> Tensor:
        states, weights = tensors[: len(plan.axes)], tensors[len(plan.axes) :]
        needed = any(ctx.needs_input_grad)
        a = torch.zeros(last.shape, dtype=weights[0].dtype, device=last.device)
        pre: list[Tensor] = []  # inputs of all GELUs: thin
        i = 0
        for y, axes in zip(states, plan.axes):
            own = a if plan.chained else torch.zeros_like(a)
            for axis in axes:
                n = F.layer_norm(y + own, y.shape[-1:], eps=EPS)
                z = narrow(axis, n, weights[2 * i])
                _add(axis, own, F.gelu(z), weights[2 * i + 1], plan.scale)
                if needed:
                    pre.append(z)
                i += 1
            if not plan.chained:
                a += own
        out = last + a
        if needed:
            # The last mixer's state need not be kept where it is the one corrected: its inputs follow from the output,
            # which whatever comes next is likely to keep anyway.
            ctx.from_output = plan.chained and states[-1] is last
            kept = (*states[:-1], out) if ctx.from_output else states
            ctx.plan = plan
            ctx.save_for_backward(*kept, *weights, *pre)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        with torch.autocast(grad.device.type, enabled=False):
            return None, None, *[None] * len(ctx.plan.axes), *_weight_gradients(ctx, grad)


def _weight_gradients(ctx: Any, grad: Tensor) -> list[Tensor]:
    plan, saved = ctx.plan, ctx.saved_tensors
    mixers, count = len(plan.axes), sum(map(len, plan.axes))
    states, weights, pre = saved[:mixers], saved[mixers : mixers + 2 * count], saved[mixers + 2 * count :]
    axes = list(chain.from_iterable(plan.axes))
    bounds = [sum(map(len, plan.axes[:k])) for k in range(mixers + 1)]

    def update(target: Tensor, i: int, factor: float) -> None:
        _add(axes[i], target, F.gelu(pre[i]), weights[2 * i + 1], factor * plan.scale)

    kind = weights[0].dtype
    gradients: list[Tensor] = [torch.empty(0)] * len(weights)
    d = grad.to(kind, copy=True, memory_format=torch.contiguous_format)
    a = torch.zeros(grad.shape, dtype=kind, device=grad.device)
    if plan.chained:
        for i in range(bounds[-2] if ctx.from_output else bounds[-1]):
            update(a, i, 1.0)
    for k in reversed(range(mixers)):
        first, after = bounds[k], bounds[k + 1]
        here = d if plan.chained else d.clone()
        if not plan.chained:
            a.zero_()
            for i in range(first, after):
                update(a, i, 1.0)
        x = states[k].clone() if ctx.from_output and k == mixers - 1 else None
        for i in reversed(range(first, after)):
            update(a if x is None else x, i, -1.0)
            # the very first step needs no gradient of its input: that is a frozen state
            down = not (i == 0 or (not plan.chained and i == first))
            gradients[2 * i], gradients[2 * i + 1] = _step_backward(
                axes[i],
                states[k] + a if x is None else x,
                pre[i],
                weights[2 * i],
                weights[2 * i + 1],
                here,
                plan.scale,
                down,
            )
    return gradients


def _step_backward(
    axis: Any, x: Tensor, z: Tensor, down: Tensor, up: Tensor, d: Tensor, scale: float, onward: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of one step's weights; ``d``, of its output, becomes that of its input ``x`` in place."""
    n, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, EPS)
    g = F.gelu(z)
    n_, d_ = lined_up(axis, n), lined_up(axis, d)
    if axis == "channels":
        d_up = (g.T @ d_) * scale
        dz = torch.ops.aten.gelu_backward((d_ @ up.T) * scale, z)  # (rows, rank)
        d_down = n_.T @ dz
    else:
        d_up = torch.bmm(g, d_.transpose(1, 2)).sum(0) * scale
        dz = torch.ops.aten.gelu_backward(torch.matmul(up, d_) * scale, z)  # (groups, rank, shared)
        d_down = torch.bmm(n_, dz.transpose(1, 2)).sum(0)
    if onward:
        dn = (dz @ down.T if axis == "channels" else torch.matmul(down, dz)).view(x.shape)
        mask = [True, False, False]
        d += torch.ops.aten.native_layer_norm_backward(dn, x, x.shape[-1:], mean, rstd, None, None, mask)[0]
    return d_down, d_up


def _add(axis: Any, target: Tensor, g: Tensor, up: Tensor, factor: float) -> None:
    """``target += factor * widen(g)`` in place, without a map in between; ``target`` is contiguous."""
    lines = lined_up(axis, target)
    if axis == "channels":
        lines.addmm_(g, up, alpha=factor)
    else:
        lines.baddbmm_(up.T.expand(lines.shape[0], -1, -1), g, alpha=factor)
