"""A scene in the making: takes actions in the order of their start and refuses those that would not be possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whenwhere.worlds import motion
from whenwhere.worlds.scene import Action, Containment, Object, Scene, Trajectory

_STEP = 0.04  # seconds between the times at which paths are compared


class Stage:
    """Holds the paths and what is under which cone, while actions are added.

    Every action returns False, and changes nothing, where an object is still moving or covered, or would come nearer to
    another than the gap at any time until the end of the scene.

    Args:
        scene: objects at rest; its actions and containments are kept.
        gap: least distance between objects.

    Attributes:
        objects: with their paths so far.
        actions: so far.
        under: outer object by inner object, at the end of the paths.
    """

    def __init__(self, scene: Scene, gap: float = 0.1) -> None:
        self._scene, self._gap = scene, gap
        self.objects: list[Object] = list(scene.objects)
        self.actions: list[Action] = list(scene.actions)
        self.under: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self._done: list[Containment] = list(scene.containments)
        self._free_at = [thing.path.last.time for thing in self.objects]

    def scene(self) -> Scene:
        """Return the scene with everything that was added."""
        still = [Containment(i, o, self._since[i], self._scene.seconds) for i, o in self.under.items()]
        return replace(
            self._scene,
            objects=tuple(self.objects),
            actions=tuple(sorted(self.actions, key=lambda item: (item.start, item.end, item.actor))),
            containments=tuple(sorted(self._done + still, key=lambda item: (item.start, item.end, item.inner))),
        )

    def free(self, number: int, start: float) -> bool:
        """Whether an object rests, uncovered, from a time in seconds on."""
        return number not in self.under and self._free_at[number] <= start

    def carried(self, number: int) -> list[int]:
        """Return what is under an object, directly or under something under it."""
        found = []
        for inner, outer in self.under.items():
            if outer == number:
                found += [inner, *self.carried(inner)]
        return found

    def slide(self, actor: int, start: float, end: float, to: tuple[float, float]) -> bool:
        """Slide to (x, y), with everything that is under the object."""
        if not self.free(actor, start):
            return False
        path = motion.slide(self.objects[actor].path, start, end, to)
        load = self.carried(actor)
        if not self._clear(actor, path, start, {actor, *load}):
            return False
        for inner in load:
            self._take(inner, motion.ride(self.objects[inner].path, start, path), end)
        self._take(actor, path, end)
        self.actions.append(Action("slide", actor, start, end))
        return True

    def rotate(self, actor: int, start: float, end: float) -> bool:
        """Tumble in place by 90 degrees; not for an object that covers another."""
        if not self.free(actor, start) or self.carried(actor):
            return False
        path = motion.rotate(self.objects[actor].path, self.objects[actor], start, end)
        if not self._clear(actor, path, start, {actor}):
            return False
        self._take(actor, path, end)
        self.actions.append(Action("rotate", actor, start, end))
        return True

    def pick_place(self, actor: int, start: float, end: float, to: tuple[float, float]) -> bool:
        """Lift, carry to (x, y) and put down; what was under it stays and is uncovered."""
        if not self.free(actor, start):
            return False
        path = motion.pick_place(self.objects[actor].path, start, end, to)
        covered = [inner for inner, outer in self.under.items() if outer == actor]
        rising = start + (end - start) / 5  # until then it is around what it covered
        if not self._clear(actor, path, start, {actor, *self.carried(actor)}):
            return False
        if any(self._meets(path, actor, inner, rising) for inner in self.carried(actor)):
            return False
        for inner in covered:
            self._done.append(Containment(inner, actor, self._since.pop(inner), start))
            del self.under[inner]
            self._free_at[inner] = end
        self._take(actor, path, end)
        self.actions.append(Action("pick_place", actor, start, end))
        return True

    def targets(self, actor: int, start: float) -> list[int]:
        """Return what an object could be put over at a time in seconds: nothing unless it is a free, empty cone."""
        cone = self.objects[actor]
        if not self.free(actor, start) or self.carried(actor):
            return []
        return [
            number
            for number, thing in enumerate(self.objects)
            if number != actor
            and self.free(number, start)
            and thing.path.last.tilt % 180 == 0
            and motion.fits_under(thing, cone)
        ]

    def contain(self, actor: int, target: int, start: float, end: float) -> bool:
        """Put a cone over an object that fits under it; the cone must not cover anything yet."""
        if target not in self.targets(actor, start):
            return False
        cone, thing = self.objects[actor], self.objects[target]
        x, y, _ = thing.path.last.position
        path = motion.pick_place(cone.path, start, end, (x, y), cone.rest_height)
        if not self._clear(actor, path, start, {actor, target, *self.carried(target)}):
            return False
        self._take(actor, path, end)
        self.under[target], self._since[target] = actor, end
        self._free_at[target] = end
        self.actions.append(Action("contain", actor, start, end, target))
        return True

    def _take(self, number: int, path: Trajectory, until: float) -> None:
        self.objects[number] = self.objects[number].at(path)
        self._free_at[number] = until

    def _clear(self, actor: int, path: Trajectory, start: float, apart_from: set[int]) -> bool:
        others = [
            number for number in range(len(self.objects)) if number not in apart_from and number not in self.under
        ]
        return not any(self._meets(path, actor, number, start) for number in others)

    def _meets(self, path: Trajectory, actor: int, other: int, start: float) -> bool:
        times = np.append(np.arange(start, self._scene.seconds, _STEP), self._scene.seconds)
        return motion.touching(self.objects[actor].at(path), self.objects[other], times, self._gap)
