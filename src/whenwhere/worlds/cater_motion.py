"""How objects move in CATER: rounds of motions in whole frames, stacks of objects under cones, and what may not meet.

The rules are those of the published generator (Girdhar and Ramanan, "CATER", ICLR 2020). Objects are balls for the test
of what meets what; a scene in which two of them meet all the same, in the air, is thrown away, as it is there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whenwhere.datasets.cater import Movement

GAP = 0.25
"""Objects whose balls are nearer than this overlap."""
LIFT = 2.0
_TRIES = 100


@dataclass(frozen=True)
class Body:
    """An object as the rules see it: what it is, the radius of its ball, and its centre at the start."""

    shape: str
    radius: float
    start: tuple[float, float, float]


@dataclass(frozen=True)
class Rules:
    """Numbers of the rules, in frames.

    Args:
        last: number of the last frame.
        duration: shortest and longest motion; a round begins only where the longest fits before the last frame.
        pause: longest time from the start of a round to that of a motion in it.
        most: motions in a round, of which a contain is one; None for every object.
        extent: motions end at x and y between -extent and extent.
    """

    last: int = 300
    duration: tuple[int, int] = (20, 30)
    pause: int = 10
    most: int | None = None
    extent: float = 3.0


class Play:
    """The motions of one scene.

    Args:
        bodies: at rest, apart from each other.
        chance: what happens.
        rules: see there.

    Attributes:
        places: (N, frames, 3) float64, the centres.
        movements: of each object, by their start.
    """

    def __init__(self, bodies: Sequence[Body], chance: random.Random, rules: Rules) -> None:
        self._bodies, self._chance, self._rules = bodies, chance, rules
        self._radii = np.array([body.radius for body in bodies])
        frames = rules.last + 1
        self.places = np.repeat(np.array([body.start for body in bodies], np.float64)[:, None], frames, axis=1)
        self.movements: list[list[tuple[str, int | None, int, int]]] = [[] for _ in bodies]
        self._groups = [[number] for number in range(len(bodies))]  # stacks, outermost first
        self._nested = np.zeros((len(bodies), len(bodies), frames), bool)
        self._run()

    def meets(self) -> bool:
        """Whether two objects that are not nested overlap in some frame."""
        for one in range(len(self._bodies) - 1):
            near = self._near(one, self.places[one], range(one + 1, len(self._bodies)), 0)
            if (near & ~self._nested[one, one + 1 :]).any():
                return True
        return False

    def named(self, names: Sequence[str]) -> list[tuple[Movement, ...]]:
        """Return the movements of each object, with the names of the objects."""
        return [
            tuple(Movement(kind, None if other is None else names[other], s, e) for kind, other, s, e in moves)
            for moves in self.movements
        ]

    def _run(self) -> None:
        now = 0
        while now <= self._rules.last - self._rules.duration[1]:
            if self._chance.random() < 0.5:
                ends = self._multi(now)
            else:
                ends = self._single(now, list(self._groups), self._rules.most)
            if ends:
                now = max(ends) + 1

    def _span(self, now: int) -> tuple[int, int]:
        length = self._chance.randint(*self._rules.duration)
        start = now + self._chance.randint(0, self._rules.pause)
        return start, min(start + length, self._rules.last)

    def _multi(self, now: int) -> list[int]:
        """Cover one stack by a cone and move the others; return the ends, none where nothing could be covered."""
        if len(self._groups) < 2:
            return []
        for _ in range(_TRIES):
            cone, stack = self._chance.sample(self._groups, 2)
            start, end = self._span(now)
            if self._covers(cone, stack, end):
                break
        else:
            return []
        actor, inner = cone[0], stack[0]
        x, y, _ = self.places[inner, end].tolist()
        self._take([actor], start, _carried(self.places[actor, start:], (x, y), end - start))
        self._log([actor], "_contain", start, end, inner)
        self._nested[actor, stack, start:] = self._nested[stack, actor, start:] = True
        others = [group for group in self._groups if group is not cone and group is not stack]
        self._groups = [*others, [actor, *stack]]
        return [end, *self._single(now, others, None if self._rules.most is None else self._rules.most - 1)]

    def _covers(self, cone: list[int], stack: list[int], end: int) -> bool:
        """Whether a lone cone is wider than what is outermost in a stack, and has room there."""
        body, target = self._bodies[cone[0]], self._bodies[stack[0]]
        if len(cone) > 1 or body.shape != "cone" or body.radius <= target.radius:
            return False
        if target.shape not in ("cone", "sphere", "spl"):
            return False
        place = self.places[cone[0], end : end + 1].copy()
        place[:, :2] = self.places[stack[0], end, :2]
        others = [group[0] for group in self._groups if group is not cone and group is not stack]
        near = self._near(cone[0], place, others, end, end + 1)
        return not near.any()

    def _single(self, now: int, groups: list[list[int]], most: int | None) -> list[int]:
        """Move each of the stacks, in random order; return the ends."""
        self._chance.shuffle(groups)
        ends = []
        for group in groups[:most]:
            start, end = self._span(now)
            self._move(group, start, end)
            ends.append(end)
        return ends

    def _move(self, group: list[int], start: int, end: int) -> None:
        actor, load = group[0], group[1:]
        kinds = ["_slide", "_pick_place"]
        if not load and self._bodies[actor].shape not in ("cone", "sphere"):
            kinds.append("_rotate")
        others = [number for number in range(len(self._bodies)) if number not in group]
        risen = start + (end - start + 4) // 5  # from then on a lifted cone is above what it has uncovered
        for _ in range(_TRIES):
            kind = self._chance.choice(kinds)
            to = (self._chance.uniform(-3, 3), self._chance.uniform(-3, 3))
            to = (to[0] * self._rules.extent / 3, to[1] * self._rules.extent / 3)
            before = self.places[actor, start:]
            if kind == "_slide":
                path = _slid(before, to, end - start)
            else:
                path = before if kind == "_rotate" else _carried(before, to, end - start)
            if self._near(actor, path, others, start).any():
                continue
            if kind == "_pick_place" and self._near(actor, path[risen - start :], load, risen).any():
                continue
            break
        else:
            self._log(group, "_no_op", start, end)
            return
        if kind == "_slide":
            self._take(group, start, path)
            self._log(group, kind, start, end)
            return
        self._take([actor], start, path)
        self._log([actor], kind, start, end)
        if load:  # only a pick-place gets here
            self._log(load, "_no_op", start, end)
            self._nested[actor, load, risen:] = self._nested[load, actor, risen:] = False
            self._groups = [[actor], load, *(other for other in self._groups if other is not group)]

    def _near(
        self, actor: int, path: np.ndarray, others: Sequence[int], start: int, stop: int | None = None
    ) -> np.ndarray:
        """Say where a path (frames, 3) from a frame on overlaps others, (others, frames) bool."""
        rest = list(others)
        x, y, z = np.moveaxis(self.places[rest, start:stop] - path, -1, 0)
        reach = (self._radii[rest] + self._radii[actor] + GAP)[:, None]
        return x * x + y * y + z * z < reach * reach

    def _take(self, group: Sequence[int], start: int, path: np.ndarray) -> None:
        """Give a path to an object, and its steps over the ground to what is under it."""
        self.places[group[0], start:] = path
        for inner in group[1:]:
            self.places[inner, start:, :2] = path[:, :2]

    def _log(self, group: Sequence[int], kind: str, start: int, end: int, other: int | None = None) -> None:
        for number in group:
            self.movements[number].append((kind, other, start, end))


def _slid(before: np.ndarray, to: tuple[float, float], length: int) -> np.ndarray:
    """Go to (x, y) in a number of frames, and rest: (frames, 3) from the start of the motion."""
    part = np.minimum(np.arange(len(before)) / length, 1.0)
    return _between(before[0], to, part, np.zeros(len(before)))


def _carried(before: np.ndarray, to: tuple[float, float], length: int) -> np.ndarray:
    """Rise for a fifth of the frames, go for three fifths, come down for a fifth, and rest."""
    part = np.minimum(np.arange(len(before)) / length, 1.0)
    lift = LIFT * np.minimum(np.minimum(part, 1.0 - part) * 5, 1.0)
    return _between(before[0], to, np.clip((part - 0.2) / 0.6, 0.0, 1.0), lift)


def _between(start: np.ndarray, to: tuple[float, float], part: np.ndarray, lift: np.ndarray) -> np.ndarray:
    x, y, z = start.tolist()
    across = [np.where(part < 1, begin + (end - begin) * part, end) for begin, end in zip((x, y), to, strict=True)]
    return np.stack([*across, z + lift], axis=-1)
