"""What an adapter is trained by, and the file that says so: one folder holds one run, and no other may go on in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from filelock import FileLock, Timeout

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.methods import method
from whenwhere.adapt.views import View, random_views
from whenwhere.backbones.vision import Backbone
from whenwhere.cache import cache_dir
from whenwhere.datasets.fields import read_json
from whenwhere.datasets.labelled_files import LabelledFiles
from whenwhere.errors import InputError, WhenwhereError
from whenwhere.reports.folder import check_place
from whenwhere.results import checks
from whenwhere.results.files import write_text
from whenwhere.training.adapt_content import place_of
from whenwhere.training.trained import RECIPE

RUN = "run"  # the folder of the checkpoints


@dataclass(frozen=True)
class AdaptRecipe:
    """What is trained, and how.

    Args:
        method: name of the method; see :data:`whenwhere.adapt.methods.METHODS`.
        settings: fields of its config that differ from its defaults. Lists become tuples.
        backbone: as :func:`whenwhere.backbones.vision.vision` takes it.
        size: input side in pixels; None is the backbone's own. Only CNNs take another.
        frames: pictures of a clip; 1 for images.
        epochs: passes over the training examples.
        batch: examples of a step.
        lr, weight_decay: of AdamW; the rate rises over a tenth of the steps and falls to 0 as a cosine.
        mirror: also train on each picture's mirror image. Wrong for digits, text, and left and right.
        views: cuts of each picture that are trained on: the whole, and random ones of at least half its area, the same
            of all pictures and in all runs. With ``mirror`` there are twice as many.
        seed: of initial weights and the order of the data.

    Raises:
        InputError: an unknown method or setting, a value out of range or of another type; the message names it.
    """

    method: str = "losa"
    settings: Mapping[str, Any] = field(default_factory=dict)
    backbone: str = "efficientnet-lite2"
    size: int | None = None
    frames: int = 1
    epochs: int = 10
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-4
    mirror: bool = False
    views: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("epochs", 1, 100_000),
            ("batch", 1, 65_536),
            ("frames", 1, 1024),
            ("views", 1, 1024),
            ("seed", 0, 2**63 - 1),
        ):
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name}={getattr(self, name)}", f"{least} to {most}")
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr={self.lr}", "a finite number above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay={self.weight_decay}", "a finite number, 0 or more")
        if self.size is not None and not 16 <= self.size <= 4096:
            raise InputError(f"size={self.size}", "16 to 4096 pixels")
        object.__setattr__(self, "settings", {name: _tuples(value) for name, value in self.settings.items()})
        kind = method(self.method)
        known, hints = {item.name: item for item in dataclasses.fields(kind.Config)}, get_type_hints(kind.Config)
        for name, value in self.settings.items():
            if name not in known:
                expected = f"one of {', '.join(sorted(known))}" if known else "no setting: it has none"
                raise InputError(f"setting {name!r} of method {self.method!r}", expected)
            if not _fits(value, hints[name]):
                expected = str(known[name].type).replace(" | ", " or ")
                raise InputError(f"setting {name}={value!r} of method {self.method!r}", expected)
        wanted = self.frames if self.frames > 1 else None
        if self.settings.get("frames", wanted) != wanted:
            raise InputError(
                f"setting frames={self.settings['frames']} of method {self.method!r} for examples of {self.frames}",
                "the option frames, which sets it",
            )

    def cuts(self) -> tuple[View, ...]:
        """The views, the whole picture first; the mirrored ones, if any, after all others."""
        plain = random_views(self.views, mirror=False)
        return (*plain, *(dataclasses.replace(view, flip=True) for view in plain if self.mirror))

    def build(self, backbone: Backbone, classes: Sequence[str]) -> Adapted:
        """The untrained adapter; the same one each time.

        Raises:
            InputError: the method refuses its settings, the backbone or clips.
        """
        kind = method(self.method)
        settings = dict(self.settings)
        if self.frames > 1 and "frames" in {item.name for item in dataclasses.fields(kind.Config)}:
            settings.setdefault("frames", self.frames)
        torch.manual_seed(self.seed)
        try:
            return kind(backbone, classes, kind.Config(**settings))
        except WhenwhereError:
            raise
        except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
            if not self.settings:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"method {self.method!r} refuses {dict(self.settings)} ({reason})", "its settings"
            ) from error


def check_folder(folder: Path, recipe: AdaptRecipe, data: LabelledFiles) -> None:
    """Refuse, before any work, a folder that is not new, empty, or of a run of the same recipe and classes.

    One inside of the data is refused too.

    Raises:
        InputError: names the field that differs.
    """
    if not str(folder).isprintable():
        raise InputError(f"the folder {str(folder)!r}", "a name that can be printed", "choose another --out")
    if Path(data.source).is_dir() and folder.resolve().is_relative_to(Path(data.source).resolve()):
        raise InputError(
            f"the folder {folder} lies inside of the data, where it would be read as a class",
            "a folder elsewhere",
            "choose another --out",
        )
    if not (folder / RECIPE).is_file() and folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"the folder {folder} holds other files", "a new or empty folder", "choose another --out")
    if (folder / RECIPE).is_file():
        there = read_json(folder / RECIPE, "recipe")
        if not all(there.has(name) for name in ("content", "classes", "method")):
            raise InputError(f"the folder {folder} holds other files", "a new or empty folder", "choose another --out")
    check_place(folder)
    _require_same(folder, {**_plain(recipe), "classes": list(data.classes)}, data)


def claim(folder: Path, recipe: AdaptRecipe, data: LabelledFiles, content: str) -> None:
    """Make the folder and write the recipe into it, unless a run that has begun is there.

    Args:
        folder: that :func:`check_folder` let pass.
        recipe, data: what is trained on what.
        content: the :func:`whenwhere.training.adapt_content.fingerprint` of the data.

    Raises:
        InputError: the run that is there was trained on other data, or the folder cannot be written.
    """
    if begun(folder):
        if read_json(folder / RECIPE, "recipe")["content"].value != content:
            _require_same_data(folder, data)
            raise InputError(
                f"{folder} holds a run on other data: files, labels, splits or their order have changed since",
                "the same data, to go on with it",
                "choose another --out",
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot make the folder {folder}: {reason}", "a place that you may write to") from error
    facts = {
        "data": place_of(data),
        "content": content,
        "clips": data.has_videos,
        "classes": list(data.classes),
    }
    write_text(folder / RECIPE, json.dumps({**facts, **_plain(recipe)}, indent=1) + "\n")


def begun(folder: Path) -> bool:
    """Whether training has begun there; before that, nothing is lost when another recipe takes the folder."""
    return (folder / RUN).is_dir() and (folder / RECIPE).is_file()


def settled(folder: Path, name: str) -> int | None:
    """What :func:`settle` wrote down when the run began, if it did."""
    recipe = read_json(folder / RECIPE, "recipe")
    return recipe[name].whole(1) if begun(folder) and recipe.has(name) else None


def settled_feed(folder: Path) -> str | None:
    """Whether the run that began there reads "states" from a cache or computes them from "pixels", if it did begin."""
    recipe = read_json(folder / RECIPE, "recipe")
    return recipe["fed"].text(["states", "pixels"]) if begun(folder) and recipe.has("fed") else None


def settle(folder: Path, **counts: int | str) -> None:
    """Write down what follows from the state of the machine, so that the run goes on the same way in another one."""
    there = {name: entry.value for name, entry in read_json(folder / RECIPE, "recipe").entries().items()}
    write_text(folder / RECIPE, json.dumps({**there, **counts}, indent=1) + "\n")


def unclaim(folder: Path, made: bool) -> None:
    """Take back what :func:`claim` wrote, unless training has begun.

    Args:
        folder: of the run.
        made: whether the folder was not there before; then it goes too.
    """
    if begun(folder):
        return
    (folder / RECIPE).unlink(missing_ok=True)
    if made and not any(folder.iterdir()):
        folder.rmdir()


def _require_same_data(folder: Path, data: LabelledFiles) -> None:
    """Tell other data by their place, where it is another one."""
    there = read_json(folder / RECIPE, "recipe")
    was = there["data"].value if there.has("data") else place_of(data)
    if was != place_of(data):
        raise InputError(
            f"{folder} holds a run of other data: {was}, not {place_of(data)}",
            "the same data and recipe, to go on with it",
            "choose another --out",
        )


def _require_same(folder: Path, wanted: Mapping[str, Any], data: LabelledFiles) -> None:
    if not begun(folder):
        return
    there = read_json(folder / RECIPE, "recipe").entries()
    for name, value in wanted.items():
        was = there[name].value if name in there else None
        if was != value:
            _require_same_data(folder, data)
            old, new = ("the default" if one is None else checks.short(one) for one in (was, value))
            raise InputError(
                f"{folder} holds a run with {name} {old}, not {new}",
                "the same recipe, to go on with it",
                "choose another --out",
            )


def _plain(recipe: AdaptRecipe) -> dict[str, Any]:
    """As it is read back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return plain


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON, lists as tuples, is of a type; numbers have to be finite."""
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, arg) for arg in args)
    if kind is Literal:
        return isinstance(value, str) and value in args
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        parts = args[:1] * len(value) if args[-1:] == (Ellipsis,) else args
        return len(parts) == len(value) and all(_fits(item, part) for item, part in zip(value, parts))
    if kind in (None, NoneType):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder; the lock lies in the program's cache folder, and dies with us.

    Raises:
        InputError: another process trains there.
    """
    name = hashlib.sha256(str(folder.expanduser().resolve()).encode()).hexdigest()[:16]
    place = cache_dir() / "runs"
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder} is being trained by another process",
            "one process a folder",
            "wait for it, or choose another --out",
        ) from None
    try:
        yield
    finally:
        lock.release()
