"""From one number, the effective capacity, to how many tokens each nested expert gets (MoNE, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from whenwhere.errors import InputError

_TINY = 1e-9  # shares below this from 1 are 1: c = 0.9999999 should not lose a token


def width_shares(experts: int) -> tuple[float, ...]:
    """Widths of the experts over the full width: 2^-(E-1), ..., 1/2, 1."""
    return tuple(2.0 ** (j - experts + 1) for j in range(experts))


def effective_capacity(shares: Sequence[float]) -> float:
    """Mean width of a token over the full width, e_c = sum of c_j d_j / D, for shares of the smallest expert first."""
    return math.fsum(c * d for c, d in zip(shares, width_shares(len(shares))))


@lru_cache(maxsize=4096)
def capacity(effective: float, experts: int = 4, delta: float = 2.0, beta: float = 10.0) -> tuple[float, ...]:
    """Share of the tokens for each expert, smallest expert first.

    The paper maximises ``sum_j c_j delta^(j-1) - beta sum_j c_j log c_j`` under ``sum c = 1`` and mean width
    ``effective`` with SLSQP. The solution has the form ``c_j ~ exp(delta^(j-1) / beta + nu d_j / D)`` with one unknown
    nu, which is found by bisection here.

    Args:
        effective: e_c, mean width of a token over the full width, in [2^-(E-1), 1].
        experts: E, at least 1.
        delta: reward of a larger expert.
        beta: weight of the entropy, above 0.

    Returns:
        E shares that sum to 1.

    Raises:
        InputError: ``effective`` or another argument is out of range.
    """
    if experts < 1 or not (beta > 0 and math.isfinite(beta) and math.isfinite(delta)):
        raise InputError(f"{experts} experts, delta {delta}, beta {beta}", "at least 1 expert and a beta above 0")
    widths = width_shares(experts)
    if not widths[0] - _TINY <= effective <= 1 + _TINY:
        raise InputError(f"effective capacity {effective}", f"{widths[0]} to 1 with {experts} experts")
    if effective <= widths[0] + _TINY or effective >= 1 - _TINY:
        chosen = experts - 1 if effective >= 1 - _TINY else 0
        return tuple(float(j == chosen) for j in range(experts))

    def shares(nu: float) -> list[float]:
        logs = [delta**j / beta + nu * d for j, d in enumerate(widths)]
        top = max(logs)
        raw = [math.exp(value - top) for value in logs]
        total = math.fsum(raw)
        return [value / total for value in raw]

    low, high = -1.0, 1.0
    while effective_capacity(shares(low)) > effective:
        low *= 2
    while effective_capacity(shares(high)) < effective:
        high *= 2
    while (middle := (low + high) / 2) not in (low, high):
        if effective_capacity(shares(middle)) < effective:
            low = middle
        else:
            high = middle
    return tuple(shares(high))


def expert_counts(shares: Sequence[float], tokens: int) -> tuple[int, ...]:
    """Tokens of each expert, smallest first: floor(c_j N) on each but the smallest, which takes the rest.

    Args:
        shares: of the tokens, smallest expert first; they sum to 1.
        tokens: N of one image or frame.

    Raises:
        InputError: the shares are negative or do not sum to 1.
    """
    if not shares or not all(0 <= share < math.inf for share in shares) or abs(math.fsum(shares) - 1) > 1e-6:
        raise InputError(f"capacity {tuple(shares)}", "shares of at least 0 that sum to 1")
    larger = [math.floor(share * tokens + 1e-6) for share in shares[1:]]
    return (tokens - sum(larger), *larger)
