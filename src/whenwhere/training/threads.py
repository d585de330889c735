"""Threads of torch on a machine that others use too: more than are idle wait for each other in every operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch


def idle_threads() -> int:
    """How many of torch's threads would have a core of their own now, at least 1; it looks for 0.3 seconds."""
    most = torch.get_num_threads()
    if most == 1:
        return 1
    idle = 1 - psutil.cpu_percent(interval=0.3) / 100
    return max(1, min(most, round(idle * (psutil.cpu_count() or 1))))


@contextmanager
def threads_put_back() -> Iterator[None]:
    """What is changed inside is as it was afterwards."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
