"""The losses of timed captions."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from whenwhere.errors import InputError


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross entropy against ``1 - smoothing`` on the true token and ``smoothing / (V - 1)`` on each other one.

    (torch's own label smoothing also gives the true token its part of ``smoothing``; the paper's code does not.)

    Args:
        logits: (N, V).
        targets: (N,) int64.
        smoothing: in [0, 1).

    Returns:
        (N,) float32, nats for each token.
    """
    if not 0 <= smoothing < 1:
        raise InputError(f"label smoothing {smoothing:g}", "in [0, 1)")
    logits = logits.float()
    normaliser = logits.logsumexp(dim=-1)
    true = normaliser - logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    if smoothing == 0:
        return true
    others = logits.shape[-1] * normaliser - logits.sum(dim=-1) - true
    return (1 - smoothing) * true + smoothing / (logits.shape[-1] - 1) * others


def caption_loss(
    nats: Tensor, targets: Tensor, first_time: int, time_weight: float | None, totals: tuple[float, float] | None = None
) -> dict[str, Tensor]:
    """Average token losses: mean over words plus ``time_weight`` times mean over time tokens, or one mean over all.

    Args:
        nats: (N,) loss of each token, padding left out.
        targets: (N,) int64 ids.
        first_time: id of time bin 0; ids below are words (EOS among them).
        time_weight: 0.5 in the GIT form; ``None`` for the plain mean of the Vid2Seq form.
        totals: words and time tokens to divide by, when this is a part of a larger batch (other processes, gradient
            accumulation); the parts' losses then sum to the loss of the whole. Own counts if ``None``.

    Returns:
        Scalars ``loss``, ``word_loss`` and ``time_loss`` (means), and the own counts ``words`` and ``times``.
    """
    timed = targets >= first_time
    times = timed.sum()
    words = timed.numel() - times
    word_total, time_total = (words, times) if totals is None else (nats.new_tensor(total) for total in totals)
    word_sum, time_sum = nats[~timed].sum(), nats[timed].sum()
    word_loss, time_loss = word_sum / word_total.clamp(min=1), time_sum / time_total.clamp(min=1)
    if time_weight is None:
        loss = (word_sum + time_sum) / (word_total + time_total).clamp(min=1)
    else:
        loss = word_loss + time_weight * time_loss
    return {"loss": loss, "word_loss": word_loss, "time_loss": time_loss, "words": words, "times": times}


def no_loss(parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return what :func:`caption_loss` gives, for a batch without targets.

    The zero still depends on every parameter: data-parallel training waits for a gradient of each one at each step.
    """
    zero = torch.stack([parameter.sum() * 0.0 for parameter in parameters]).sum()
    none = torch.zeros((), dtype=torch.int64, device=zero.device)
    return {"loss": zero, "word_loss": zero, "time_loss": zero, "words": none, "times": none}
