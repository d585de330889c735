"""ACRE: problems of ten pictures, six in which a machine is lit or not and four that ask whether it would be.

A regime (I.I.D., compositional, systematic) is a folder with ``config/{train,val,test}.json``,
``images/ACRE_SPLIT_PROBLEM_PANEL.png`` and ``scenes/ACRE_SPLIT_PROBLEM_PANEL.json``. Source: Zhang et al., "ACRE:
Abstract Causal REasoning Beyond Covariation", CVPR 2021.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.datasets.fields import Field, read_json
from whenwhere.errors import InputError
from whenwhere.metrics.acre import ANSWERS
from whenwhere.results import rle
from whenwhere.results.files import write_text

REGIMES = ("iid", "comp", "sys")
SPLITS = ("train", "val", "test")
CONTEXT, PANELS = 6, 10
SHAPES = ("cube", "cylinder", "sphere")
COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
MATERIALS = ("rubber", "metal")
_HALVES = (("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan"))


@dataclass(frozen=True)
class Panel:
    """A picture.

    Args:
        objects: ids (`vocabulary`).
        light: "on" or "off"; "no" in a query, which shows no machine.
        label: of a query: 0 off, 1 undetermined, 2 on.
        kind: of a query: direct, indirect, screen_off or potential.
        ref: of the last two queries: the context panel to which something was added.
    """

    objects: tuple[int, ...]
    light: str
    label: int | None = None
    kind: str | None = None
    ref: int | None = None


@dataclass(frozen=True)
class Problem:
    """Ten panels: six of context, two queries of one object, two that add something to a panel of the context."""

    split: str
    index: int
    panels: tuple[Panel, ...]

    @property
    def context(self) -> tuple[Panel, ...]:
        """The six panels whose light is known."""
        return self.panels[:CONTEXT]

    @property
    def queries(self) -> tuple[Panel, ...]:
        """The four panels whose light is asked for."""
        return self.panels[CONTEXT:]

    @property
    def truths(self) -> list[tuple[int, str]]:
        """Answer and type of each query, as `whenwhere.metrics.acre.acre` takes them."""
        return [(query.label, query.kind) for query in self.queries if query.label is not None and query.kind]

    def name(self, panel: int) -> str:
        """Return the name of a panel's files, without a suffix."""
        return f"ACRE_{self.split}_{self.index:06d}_{panel:02d}"


@dataclass(frozen=True)
class PanelObject:
    """An object in a picture.

    Args:
        shape, size, material, colour: words.
        place: x, y, z in the world.
        rotation: yaw, as the file has it.
        pixel: column, row and depth of its centre.
        box: four numbers, as the file has them.
        mask: run lengths with commas (`decode_mask`).
    """

    shape: str
    size: str
    material: str
    colour: str
    place: tuple[float, ...]
    rotation: float
    pixel: tuple[float, ...]
    box: tuple[float, ...]
    mask: str


@dataclass(frozen=True)
class PanelScene:
    """What is known of a picture.

    Args:
        light: as in `Panel`.
        camera: its location and its rotation.
        lights: location of "key_light", "back_light" and "fill_light".
        directions: left, right, front, behind, above, below as vectors of the world.
        objects: in the order of the panel's ids.
        machine: box and mask of the machine in a context panel.
    """

    light: str
    camera: tuple[tuple[float, ...], tuple[float, ...]]
    lights: dict[str, tuple[float, ...]]
    directions: dict[str, tuple[float, ...]]
    objects: tuple[PanelObject, ...]
    machine: tuple[tuple[float, ...], str] | None = None


class AcreSet:
    """The problems of a split with their files.

    Args:
        folder: of a regime.
        split: one of `SPLITS`, or what another split's files are called.

    Raises:
        InputError: the configuration is malformed, or a picture is missing.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        self._root = Path(folder)
        self.problems = read_problems(self._root / "config" / f"{split}.json", split)
        for problem in self.problems:
            absent = [path for path in self.images(problem) if not path.is_file()]
            if absent:
                raise InputError(f"{absent[0]} is missing", "a picture for each panel of the configuration")

    def __len__(self) -> int:
        return len(self.problems)

    def __getitem__(self, index: int) -> Problem:
        return self.problems[index]

    def images(self, problem: Problem) -> list[Path]:
        """Return the ten pictures of a problem."""
        return [self._root / "images" / f"{problem.name(panel)}.png" for panel in range(PANELS)]

    def scenes(self, problem: Problem) -> list[Path]:
        """Return the ten files for `read_panel`."""
        return [self._root / "scenes" / f"{problem.name(panel)}.json" for panel in range(PANELS)]


def vocabulary(regime: str, split: str) -> list[tuple[str, str, str]]:
    """Return what the ids stand for: shape, colour and material of each.

    The 48 combinations in order; in the compositional regime 24 of them for "train" and the other 24 for the rest, so
    that each shape, colour and material is seen in training and no combination of the tests is.

    Raises:
        InputError: the regime is not known.
    """
    if regime not in REGIMES:
        raise InputError(f"regime {regime!r}", f"one of {', '.join(REGIMES)}")
    if regime != "comp":
        return list(product(SHAPES, COLOURS, MATERIALS))
    training = split == "train"
    one, other = _HALVES if training else _HALVES[::-1]
    return [
        *product(SHAPES[:1], one, MATERIALS),
        *product(SHAPES[1:2], other, MATERIALS),
        *product(SHAPES[2:], COLOURS, MATERIALS[:1] if training else MATERIALS[1:]),
    ]


def read_problems(path: str | os.PathLike[str], split: str) -> list[Problem]:
    """Read the configuration of a split.

    Raises:
        InputError: naming the problem and panel that is malformed, or whose answer does not go with its type.
    """
    found = []
    for index, problem in enumerate(read_json(path, "configuration").items()):
        panels = [_panel(item, number) for number, item in enumerate(problem.items(PANELS))]
        for number, panel in enumerate(panels):
            if panel.ref is not None:
                shown = panels[panel.ref]
                if shown.light != "off" or not set(shown.objects) <= set(panel.objects):
                    place = problem.items()[number]["ref"]
                    raise place.refuse("a context panel that is off and whose objects the query has")
        found.append(Problem(split, index, tuple(panels)))
    return found


def write_problems(path: str | os.PathLike[str], problems: Sequence[Problem]) -> None:
    """Write the configuration of a split, whole or not at all; problem number i must be the i-th.

    Raises:
        InputError: the problems are out of order, or the file cannot be written.
    """
    numbers = [problem.index for problem in problems]
    if numbers != list(range(len(problems))):
        raise InputError(f"problems {numbers[:10]}", "0, 1, 2, ... in this order")
    rows = [[_config(panel) for panel in problem.panels] for problem in problems]
    write_text(path, json.dumps(rows) + "\n")


def read_panel(path: str | os.PathLike[str]) -> PanelScene:
    """Read what is known of a picture.

    Raises:
        InputError: naming the field that is missing or malformed.
    """
    root = read_json(path, "scene")
    camera = root["camera"]
    light = root["light_state"].text(("on", "off", "no"))
    machine = None
    if light != "no":
        machine = (root["blicket_bbox"].numbers(4), root["blicket_mask"].text())
    return PanelScene(
        light,
        (camera["location"].numbers(3), tuple(item.number() for item in camera["rotation"].items())),
        {name: root[name].numbers(3) for name in ("key_light", "back_light", "fill_light")},
        {name: value.numbers(3) for name, value in root["directions"].entries().items()},
        tuple(
            PanelObject(
                thing["shape"].text(SHAPES),
                thing["size"].text(),
                thing["material"].text(MATERIALS),
                thing["color"].text(COLOURS),
                thing["3d_coords"].numbers(3),
                thing["rotation"].number(),
                thing["pixel_coords"].numbers(3),
                thing["bbox"].numbers(4),
                thing["mask"].text(),
            )
            for thing in root["objects"].items()
        ),
        machine,
    )


def write_panel(path: str | os.PathLike[str], scene: PanelScene) -> None:
    """Write what is known of a picture, whole or not at all."""
    location, rotation = scene.camera
    found: dict[str, Any] = {
        "light_state": scene.light,
        "camera": {"location": location, "rotation": rotation},
        **scene.lights,
        "directions": scene.directions,
        "objects": [
            {
                "shape": thing.shape,
                "size": thing.size,
                "material": thing.material,
                "color": thing.colour,
                "3d_coords": thing.place,
                "rotation": thing.rotation,
                "pixel_coords": thing.pixel,
                "bbox": thing.box,
                "mask": thing.mask,
            }
            for thing in scene.objects
        ],
    }
    if scene.machine is not None:
        found["blicket_bbox"], found["blicket_mask"] = scene.machine
    write_text(path, json.dumps(found) + "\n")


def encode_mask(mask: np.ndarray) -> str:
    """Return the run lengths of a (H, W) bool mask, row by row, with commas; the first run is of background."""
    return ",".join(map(str, rle.encode(np.asarray(mask, bool).T)))


def decode_mask(text: str, height: int = 240, width: int = 320) -> np.ndarray:
    """Return the (H, W) bool mask of run lengths with commas, row by row.

    Raises:
        InputError: they are not whole numbers or do not add up to the size.
    """
    runs = text.split(",")
    if not all(run.isascii() and run.isdecimal() and len(run) < 10 for run in runs):
        raise InputError(f"mask {text[:40]!r}", "whole numbers with commas")
    return rle.decode([int(run) for run in runs], width, height).T


def _panel(item: Field, number: int) -> Panel:
    objects = item["objects"].items()
    ids = tuple(thing.whole(0, len(SHAPES) * len(COLOURS) * len(MATERIALS) - 1) for thing in objects)
    if not ids or len(set(ids)) < len(ids):
        raise item["objects"].refuse("ids of one or more objects, each once")
    if number < CONTEXT:
        return Panel(ids, item["light_state"].text(("on", "off")))
    light, kind = item["light_state"].text(("no",)), item["type"].text(tuple(ANSWERS))
    label = item["label"].whole(0, 2)
    if label not in ANSWERS[kind]:
        raise item["label"].refuse(f"{' or '.join(map(str, ANSWERS[kind]))} for a query of type {kind}")
    ref = item["ref"].whole(0, CONTEXT - 1) if number >= CONTEXT + 2 else None
    if ref is None and len(ids) != 1:
        raise item["objects"].refuse("one object in a query of its own")
    return Panel(ids, light, label, kind, ref)


def _config(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"light_state": panel.light, "objects": panel.objects}
    if panel.label is not None:
        found |= {"label": panel.label, "type": panel.kind}
    if panel.ref is not None:
        found["ref"] = panel.ref
    return found
