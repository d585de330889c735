"""Twelve things that two do with each other, as motions of two emblems on a stage of 64 x 64 units.

Each motion is asymmetric, so that it can be seen who is first and who is second, and none brings the two so close
that one hides the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Key = tuple[float, float, float]

# the sixteen corners of a way around the middle, anticlockwise from the left
_ROUND = (
    *((9.5, 32.0), (10.5, 41.0), (14.0, 50.0), (23.0, 53.5), (32.0, 54.5), (41.0, 53.5), (50.0, 50.0), (53.5, 41.0)),
    *((54.5, 32.0), (53.5, 23.0), (50.0, 14.0), (41.0, 10.5), (32.0, 9.5), (23.0, 10.5), (14.0, 14.0), (10.5, 23.0)),
)


@dataclass(frozen=True)
class Encounter:
    """Something that the first does to the second.

    Args:
        verb: as the caption has it.
        active: what an article says of the first in the past.
        passive: what an article says of the second, before "by".
        first: keys of the first: part of the clip's time from 0 to 1, column, row; straight between them.
        second: those of the second.
        sides: of the two emblems, in units.
    """

    verb: str
    active: tuple[str, ...]
    passive: tuple[str, ...]
    first: tuple[Key, ...]
    second: tuple[Key, ...]
    sides: tuple[float, float] = (16.0, 16.0)

    def at(self, parts: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return where the two are: (times, 2, 2) float64, column and row in units.

        Args:
            parts: of the clip's time, 0 to 1.
        """
        paths = []
        for keys in (self.first, self.second):
            times, columns, rows = zip(*keys, strict=True)
            paths.append(np.stack([np.interp(parts, times, columns), np.interp(parts, times, rows)], axis=1))
        return np.stack(paths, axis=1)


ENCOUNTERS = (
    Encounter(
        "meets", ("greeted", "sat down with"), ("greeted", "welcomed"),
        ((0, 10, 32), (0.8, 31, 32), (1, 31, 32)), ((0, 54, 32), (0.8, 49.5, 32), (1, 49.5, 32)),
    ),
    Encounter(
        "leaves", ("parted from", "walked away from"), ("left behind", "abandoned"),
        ((0, 31, 32), (0.2, 31, 32), (1, 10, 32)), ((0, 49.5, 32), (0.2, 49.5, 32), (1, 54, 32)),
    ),
    Encounter(
        "addresses", ("lectured", "spoke to"), ("lectured", "given a speech"),
        ((0, 22, 30), (1, 22, 30)), ((0, 49, 40), (1, 49, 40)), (24.0, 16.0),
    ),
    Encounter(
        "follows", ("trailed", "walked after"), ("trailed", "shadowed"),
        ((0, 10, 32), (1, 35, 32)), ((0, 29, 32), (1, 54, 32)),
    ),
    Encounter(
        "overtakes", ("outran", "got ahead of"), ("outrun", "passed"),
        ((0, 10, 22), (1, 54, 22)), ((0, 22, 43), (1, 38, 43)),
    ),
    Encounter(
        "circles", ("went around", "orbited"), ("surrounded", "orbited"),
        tuple((number / 16, *_ROUND[number % 16]) for number in range(17)), ((0, 32, 32), (1, 32, 32)),
    ),
    Encounter(
        "joins", ("teamed up with", "went on with"), ("picked up", "found"),
        ((0, 10, 14), (0.5, 12.5, 46), (1, 35, 46)), ((0, 31.5, 46), (0.5, 31.5, 46), (1, 54, 46)),
    ),
    Encounter(
        "chases", ("pursued", "ran after"), ("pursued", "hunted"),
        ((0, 10, 32), (0.2, 15, 12), (0.6, 25, 52), (0.9, 32.5, 12), (1, 35, 22)),
        ((0, 29, 32), (0.2, 34, 12), (0.6, 44, 52), (0.9, 51.5, 12), (1, 54, 22)),
    ),
    Encounter(
        "avoids", ("dodged", "kept away from"), ("dodged", "shunned"),
        ((0, 10, 36), (0.35, 26, 36), (0.65, 26, 14), (1, 54, 14)), ((0, 46, 36), (1, 46, 36)),
    ),
    Encounter(
        "visits", ("called on", "dropped in on"), ("called on", "seen at home"),
        ((0, 10, 12), (0.35, 29, 40), (0.65, 29, 40), (1, 10, 12)), ((0, 49, 40), (1, 49, 40)),
    ),
    Encounter(
        "blocks", ("held up", "stood in the way of"), ("held up", "stopped"),
        ((0, 48, 10), (0.45, 48, 42), (1, 48, 42)), ((0, 10, 42), (0.45, 28, 42), (1, 28, 42)),
    ),
    Encounter(
        "escorts", ("accompanied", "walked beside"), ("accompanied", "guided"),
        ((0, 12, 22), (1, 52, 22)), ((0, 12, 43), (1, 52, 43)),
    ),
)  # fmt: skip
"""The verbs of captions."""
VERBS = tuple(encounter.verb for encounter in ENCOUNTERS)
