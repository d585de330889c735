"""CATER: videos of objects that move and cover each other, with lists of labels and a JSON file for each video.

A set is a folder (such as ``all_actions``) with ``videos/NAME.avi``, ``scenes/NAME.json`` and
``lists/TASK/{train,val,train_subsetT,train_subsetV}.txt``. Source: Girdhar and Ramanan, "CATER: A diagnostic dataset
for Compositional Actions and TEmporal Reasoning", ICLR 2020.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from whenwhere.datasets.fields import Field, path_of, read_json
from whenwhere.errors import InputError
from whenwhere.metrics.cater import cater_cell
from whenwhere.results.files import read_text, write_text

SHAPES = ("spl", "cone", "cube", "sphere", "cylinder")
"""``spl`` is the snitch, the gold marker whose place is asked for."""
ACTIONS = ("_slide", "_pick_place", "_rotate", "_contain", "_no_op")
GRIDS = {"localize": 6, "localize_4x4": 4, "localize_8x8": 8}
"""Cells a side of the localisation tasks."""
TASKS = (*GRIDS, "actions_present", "actions_order_uniq")
_VIDEOS = (".avi", ".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class Movement:
    """What an object does between two frames.

    Args:
        action: one of `ACTIONS`.
        other: instance that is covered by "_contain", else None.
        start, end: frames.
    """

    action: str
    other: str | None
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class CaterObject:
    """An object of a video.

    Args:
        instance: its name in the video.
        shape, size, material, colour: words; the shape is one of `SHAPES`.
        radius: in the world's unit.
        rotation: yaw at the start, as the file has it.
        pixel: column, row and depth of its place in frame 0.
        locations: (frames, 3) float64, x, y, z in every frame.
        movements: in the order of their start.
    """

    instance: str
    shape: str
    size: str
    material: str
    colour: str
    radius: float
    rotation: float
    pixel: tuple[float, ...]
    locations: np.ndarray
    movements: tuple[Movement, ...]


@dataclass(frozen=True)
class CaterScene:
    """What is known of a video.

    Args:
        split, index, filename: where it comes from.
        directions: left, right, front, behind, above, below as vectors of the world, as the camera sees them at first.
        objects: the first is the snitch.
    """

    split: str
    index: int
    filename: str
    directions: dict[str, tuple[float, ...]]
    objects: tuple[CaterObject, ...]

    @property
    def last_frame(self) -> int:
        """Number of the last frame; the first is 0."""
        return len(self.objects[0].locations) - 1

    def cell(self, frame: int = -1, grid: int = 6) -> int:
        """Return the cell of the snitch in a frame (`whenwhere.metrics.cater.cater_cell`); at the end: the label."""
        x, y, _ = self.objects[0].locations[frame].tolist()
        return cater_cell(x, y, grid)

    @cached_property
    def covers(self) -> list[tuple[str, str, int, int]]:
        """(Inner, outer, first frame, last frame): from the end of a contain until the cone is next picked up."""
        found = []
        for thing in self.objects:
            for move in thing.movements:
                if move.action == "_contain" and move.other is not None:
                    lifts = [m.start for m in thing.movements if m.action == "_pick_place" and m.start >= move.end]
                    found.append((move.other, thing.instance, move.end, min(lifts, default=self.last_frame)))
        return found

    @cached_property
    def depths(self) -> np.ndarray:
        """(Frames,) int64: number of cones over the snitch, one over the other."""
        depths = np.zeros(self.last_frame + 1, np.int64)
        for frame in range(len(depths)):
            over = {inner: outer for inner, outer, first, last in self.covers if first <= frame <= last}
            inside: str | None = self.objects[0].instance
            while inside in over:
                inside = over.pop(inside)
                depths[frame] += 1
        return depths

    @property
    def covered_at_end(self) -> bool:
        """Whether the snitch is under a cone in the last frame."""
        return bool(self.depths[-1])

    @property
    def nest_depth(self) -> int:
        """Number of cones over the snitch in the last frame."""
        return int(self.depths[-1])

    @property
    def last_uncovered_frame(self) -> int:
        """The last frame in which the snitch is under no cone (it may be hidden behind something)."""
        return int(np.flatnonzero(self.depths == 0)[-1])

    @property
    def last_uncovered_cell(self) -> int:
        """Its cell of 6 x 6 in that frame: the answer of who does not follow the cones."""
        return self.cell(self.last_uncovered_frame)


@dataclass(frozen=True)
class CaterClip:
    """A line of a list.

    Args:
        name: of the video, without folder and suffix.
        video: its file.
        labels: one cell for localisation, any number of classes for the other tasks.
        scene: file of what is known of it; it may be missing.
    """

    name: str
    video: Path
    labels: tuple[int, ...]
    scene: Path


class CaterSet:
    """The clips of a list of a set, in its order.

    Args:
        folder: of the set, such as ``all_actions``.
        split: name of the list: "train", "val", "train_subsetT", "train_subsetV".
        task: one of `TASKS`.

    Raises:
        InputError: the list or a video of it is missing, or a line is malformed.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str, task: str = "localize") -> None:
        if task not in TASKS:
            raise InputError(f"task {task!r}", f"one of {', '.join(TASKS)}")
        root = Path(folder)
        path = root / "lists" / task / f"{split}.txt"
        self.clips: list[CaterClip] = []
        for number, (name, labels) in enumerate(read_list(path, GRIDS.get(task)), 1):
            video = next((file for end in _VIDEOS if (file := root / "videos" / f"{name}{end}").is_file()), None)
            if video is None:
                raise InputError(f"{path}, line {number}: no video {name} in {root / 'videos'}", "a file for each line")
            self.clips.append(CaterClip(name, video, labels, root / "scenes" / f"{name}.json"))

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> CaterClip:
        return self.clips[index]


def read_list(path: str | os.PathLike[str], grid: int | None = 6) -> list[tuple[str, tuple[int, ...]]]:
    """Read a list: on each line a video and its labels.

    Args:
        path: the file.
        grid: cells a side for a list of localisation, which has one label a line; None for classes with commas.

    Returns:
        Name of the video, without folder and suffix, and labels, one for each line that is not empty.

    Raises:
        InputError: naming the line.
    """
    found = []
    for number, line in enumerate(read_text(path, "list").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        labels = words[-1].split(",")
        if len(words) < 2 or not all(label.isdecimal() and label.isascii() for label in labels):
            raise InputError(f"{path}, line {number}: {line[:60]!r}", "a video and whole numbers with commas")
        values = tuple(int(label) for label in labels)
        if grid is not None and (len(values) != 1 or values[0] >= grid * grid):
            raise InputError(f"{path}, line {number}: {words[-1][:40]}", f"one cell, 0 to {grid * grid - 1}")
        found.append((PurePosixPath(words[0].replace("\\", "/")).stem, values))
    return found


def read_scene(path: str | os.PathLike[str]) -> CaterScene:
    """Read the JSON file of a video.

    Raises:
        InputError: naming the field that is missing or malformed.
    """
    root = read_json(path, "scene")
    things = root["objects"].items()
    if not things:
        raise root["objects"].refuse("at least the snitch")
    if things[0]["shape"].value != "spl":
        raise things[0]["shape"].refuse("'spl', as the first object is the snitch")
    names = [thing["instance"].text() for thing in things]
    if len(set(names)) < len(names):
        raise InputError(f"{root['objects'].place} has instance names {names}", "each once")
    moves = root["movements"]
    objects = tuple(_object(thing, moves, names) for thing in things)
    frames = len(objects[0].locations)
    for thing, made in zip(things, objects, strict=True):
        if len(made.locations) != frames:
            raise InputError(f"{thing['locations'].place} has {len(made.locations)} frames", f"{frames}, as object 0")
        if made.movements and max(move.end for move in made.movements) >= frames:
            raise InputError(f"{moves.place}.{made.instance} ends after frame {frames - 1}", "movements in the video")
    return CaterScene(
        root["split"].text(),
        root["image_index"].whole(0),
        root["image_filename"].text(),
        {name: value.numbers(3) for name, value in root["directions"].entries().items()},
        objects,
    )


def write_scene(path: str | os.PathLike[str], scene: CaterScene) -> None:
    """Write the JSON file of a video, whole or not at all."""
    write_text(path, json.dumps(to_json(scene)) + "\n")


def to_json(scene: CaterScene) -> dict[str, Any]:
    """Return what is known of a video as the plain data of its JSON file."""
    return {
        "split": scene.split,
        "image_index": scene.index,
        "image_filename": scene.filename,
        "objects": [
            {
                "instance": thing.instance,
                "shape": thing.shape,
                "size": thing.size,
                "sized": thing.radius,
                "material": thing.material,
                "color": thing.colour,
                "3d_coords": thing.locations[0].tolist(),
                "rotation": thing.rotation,
                "pixel_coords": list(thing.pixel),
                "locations": {str(frame): place for frame, place in enumerate(thing.locations.tolist())},
            }
            for thing in scene.objects
        ],
        "directions": {name: list(value) for name, value in scene.directions.items()},
        "relationships": _relationships(scene),
        "movements": {
            thing.instance: [[move.action, move.other, move.start, move.end] for move in thing.movements]
            for thing in scene.objects
        },
    }


def _relationships(scene: CaterScene) -> dict[str, list[list[int]]]:
    """By direction and object: the objects that lie that way of it at the start, on the ground."""
    places = [thing.locations[0] for thing in scene.objects]
    return {
        name: [
            [other for other, place in enumerate(places) if other != number and (place - here) @ np.array(way) > 0]
            for number, here in enumerate(places)
        ]
        for name, way in scene.directions.items()
        if name not in ("above", "below")
    }


def _object(thing: Field, moves: Field, names: list[str]) -> CaterObject:
    instance = thing["instance"].text()
    movements = []
    for entry in moves[instance].items() if moves.has(instance) else []:
        action, other, start, end = entry.items(4)
        what = action.text(ACTIONS)
        first = start.whole(0)
        covered = what == "_contain"
        target = other.text(names) if covered or other.value is not None else None
        movements.append(Movement(what, target, first, end.whole(first)))
    return CaterObject(
        instance,
        thing["shape"].text(SHAPES),
        thing["size"].text(),
        thing["material"].text(),
        thing["color"].text(),
        thing["sized"].number(),
        thing["rotation"].number(),
        thing["pixel_coords"].numbers(3),
        path_of(thing["locations"]),
        tuple(sorted(movements, key=lambda move: (move.start, move.end))),
    )
