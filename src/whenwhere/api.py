"""The public functions: load a model, describe a video, caption images, place images and texts in one space."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, overload

import numpy as np
import torch

from whenwhere.backbones.space import DEFAULT as BRIDGE
from whenwhere.backbones.space import SharedSpace, shared_space
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import read_json
from whenwhere.media import read_image
from whenwhere.media.sources import SourceLike
from whenwhere.reports import folder as result_folder
from whenwhere.reports.pictures import Pictures
from whenwhere.results import Event, Timeline
from whenwhere.systems.describe_run import DescribeRun
from whenwhere.systems.describer import CAPTIONER, ENCODER, Describer
from whenwhere.systems.image_captioner import Caption, ImageCaptioner

__all__ = ["MODELS", "caption", "describe", "embed", "load", "record"]

_WEIGHTS = Path(__file__).parent / "weights"
MODELS = {"describe": _WEIGHTS / "describe-tiny", "caption": _WEIGHTS / "captioner-tiny"}
"""The default models by name."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Kind = Literal["auto", "image", "text"]
ImageLike = str | os.PathLike[str] | np.ndarray
ModelT = TypeVar("ModelT", Describer, ImageCaptioner)
_BATCH = 16  # images in memory at a time


@overload
def load(name_or_folder: Literal["describe"], *, device: Device = "auto") -> Describer: ...
@overload
def load(name_or_folder: Literal["caption"], *, device: Device = "auto") -> ImageCaptioner: ...
@overload
def load(name_or_folder: str | os.PathLike[str], *, device: Device = "auto") -> Describer | ImageCaptioner: ...
def load(name_or_folder: str | os.PathLike[str], *, device: Device = "auto") -> Describer | ImageCaptioner:
    """Load a model.

    Args:
        name_or_folder: ``"describe"`` for the default video describer, ``"caption"`` for the default image captioner,
            or a folder that one of these was saved to. A name wins over a folder that is called the same.
        device: where it shall compute. ``"auto"`` is the CPU, on which the small default models keep up with a video;
            a GPU is used when it is named.

    Returns:
        A :class:`whenwhere.systems.describer.Describer` or an
        :class:`whenwhere.systems.image_captioner.ImageCaptioner`.

    Raises:
        InputError: the name is unknown, or there is no such device.
        WeightsError: weights that are missing or damaged, or do not fit.
    """
    chosen = _device(device)
    folder = MODELS.get(str(name_or_folder)) or Path(name_or_folder).expanduser()
    if str(name_or_folder) not in MODELS and not folder.is_dir():
        raise InputError(f"unknown model {str(name_or_folder)!r}", f"one of {', '.join(MODELS)}, or a folder")
    if (folder / ENCODER).is_dir() or (folder / CAPTIONER).is_dir():
        describer = Describer.load(folder)
        return describer if chosen.type == "cpu" else describer.to(chosen)
    schema = read_json(folder / "config.json").get("schema")
    if schema != ImageCaptioner.schema:
        raise WeightsError(
            f"{folder} holds a model of schema {schema!r}",
            f"a describer ({ENCODER} and {CAPTIONER} in it) or {ImageCaptioner.schema!r}",
        )
    captioner = ImageCaptioner.load(folder)
    if chosen.type != "cpu":
        for part in (captioner, captioner.space, captioner.bank):
            part.to(chosen)
    return captioner


def describe(
    path: SourceLike,
    *,
    model: str | os.PathLike[str] | Describer = "describe",
    device: Device = "auto",
    rate: float = 2.0,
    interval: float | None = None,
    memory: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    allow_urls: bool = False,
    out: str | os.PathLike[str] | None = None,
) -> Timeline:
    """Say what happens in a video, and when.

    Args:
        path: a video file, "-" for standard input, an open binary file, or a folder or pattern of numbered images; an
            address or a camera where ``allow_urls`` is set.
        model: name, folder, or a describer that was loaded before.
        device: where to compute; not looked at when ``model`` was loaded before.
        rate, interval, memory, start, end: see :class:`whenwhere.systems.describer.DescribeOptions`.
        allow_urls: whether an address or a camera may be opened.
        out: folder for timeline.json, captions.vtt, captions.srt and report.html; None writes nothing.

    Returns:
        The events, sorted by start, and the parts of the video that could not be decoded.

    Raises:
        InputError: an option is out of range, or ``out`` holds other files.
        MediaError: nothing of the video can be used.
        WeightsError: weights that cannot be had, or do not fit.
    """
    if out is not None:
        result_folder.check(out)
    describer = _the(Describer, model, device)
    with describer.stream(
        path, rate=rate, interval=interval, memory=memory, start=start, end=end, allow_urls=allow_urls
    ) as run:
        return record(run, out)


def record(
    run: DescribeRun,
    folder: str | os.PathLike[str] | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
) -> Timeline:
    """Follow a run to its end and write its results, as ``whenwhere describe`` does.

    When it is interrupted (Ctrl-C, or nobody reads the output any more), what is known by then is written and marked.

    Args:
        run: of :meth:`Describer.stream`; its ``on_frame`` is taken for the pictures of the report.
        folder: where to write; None writes nothing. See :func:`whenwhere.reports.folder.claim`.
        on_event: called with each event as soon as it is known.

    Raises:
        InputError: the folder holds other files.
    """
    pictures, made = Pictures(reach=run.reach), [] if folder is None else result_folder.missing(folder)
    if folder is not None:
        folder = result_folder.claim(folder)
        run.on_frame = pictures.see
    try:
        for event in run:
            pictures.keep(event)
            if on_event is not None:
                on_event(event)
    except (KeyboardInterrupt, BrokenPipeError):
        run.close()
        _write(run, folder, pictures, "interrupted")
        raise
    except Exception:
        result_folder.remove(made)
        raise
    finally:
        run.close()
    return _write(run, folder, pictures)


def caption(
    images: ImageLike | Iterable[ImageLike],
    *,
    model: str | os.PathLike[str] | ImageCaptioner = "caption",
    device: Device = "auto",
) -> list[Caption]:
    """Say what each image shows.

    Args:
        images: paths, or uint8 (H, W, 3) RGB arrays; one or several.
        model: name, folder, or a captioner that was loaded before.
        device: where to compute; not looked at when ``model`` was loaded before.

    Returns:
        One caption an image, in their order, with ``text`` and ``score``, the mean probability of its word pieces.

    Raises:
        InputError: not an image.
        MediaError: an image is missing, damaged or too large; the message names it.
        WeightsError: weights that cannot be had, or do not fit.
    """
    captioner = _the(ImageCaptioner, model, device)
    return [found for batch in _batches(_listed(images)) for found in captioner.caption([_pixels(i) for i in batch])]


def embed(
    images_or_texts: ImageLike | Iterable[ImageLike],
    *,
    kind: Kind = "auto",
    space: str | os.PathLike[str] | SharedSpace = "bridge",
    device: Device = "auto",
) -> np.ndarray:
    """Place images and texts in one space, in which what means the same lies close: ``a @ b.T`` compares them.

    Args:
        images_or_texts: one or several, images and texts mixed as you like. An array is an image, and so is a path
            object. A string is an image if a file of that name exists, else a text; ``kind`` settles what it means.
        kind: ``"auto"`` as above; ``"image"`` takes every string for a path; ``"text"`` takes every string for a text,
            and refuses images.
        space: name or folder of an image-text space; see :func:`whenwhere.backbones.space.shared_space`.
        device: where to compute; not looked at when ``space`` was loaded before.

    Returns:
        float32 (n, d), one unit row for each, in their order.

    Raises:
        InputError: something that is neither, or not what ``kind`` says.
        MediaError: an image is missing, damaged or too large.
        WeightsError: weights that cannot be had, or do not fit.
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind {kind!r}", f"one of {', '.join(get_args(Kind))}")
    items = _listed(images_or_texts)
    texts = [at for at, item in enumerate(items) if _is_text(item, kind)]
    images = [at for at in range(len(items)) if at not in set(texts)]
    placed = space if isinstance(space, SharedSpace) else _loaded_space(*_place(space, (BRIDGE,)), device)
    rows = torch.empty(len(items), placed.dim)
    if texts:
        rows[texts] = placed.embed_texts([str(items[at]) for at in texts]).cpu()
    for batch in _batches(images):
        rows[batch] = placed.embed_images([_pixels(items[at]) for at in batch]).cpu()
    return rows.numpy()


def _write(run: DescribeRun, folder: str | os.PathLike[str] | None, pictures: Pictures, partial: str = "") -> Timeline:
    timeline = run.timeline(partial)
    if folder is not None:
        result_folder.write(folder, timeline, video=run.path, thumbnails=pictures.kept)
    return timeline


def _device(name: str) -> torch.device:
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cpu")
    if not found.get(name):
        usable = ", ".join(kind for kind in found if found[kind])
        raise InputError(f"device {name!r}", f"one that is there: auto, {usable}", "run: whenwhere doctor")
    return torch.device(name)


def _the(kind: type[ModelT], model: Any, device: Device) -> ModelT:
    if isinstance(model, (Describer, ImageCaptioner)):
        found = model
    else:
        found = _loaded_model(*_place(model, MODELS), device)
    if not isinstance(found, kind):
        use = "describes videos" if isinstance(found, Describer) else "captions images"
        wanted = "a describer, such as 'describe'" if kind is Describer else "an image captioner, such as 'caption'"
        raise InputError(f"a model that {use}", wanted)
    return found


def _place(name: str | os.PathLike[str], known: Container[str]) -> tuple[str, tuple[tuple[str, int, int], ...]]:
    """A name as it is; of a folder its full path, and its files with times and sizes, which a new save changes."""
    folder = Path(name).expanduser()
    if str(name) in known or not folder.is_dir():
        return str(name), ()
    folder = folder.resolve()
    files = [(str(path), path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return str(folder), tuple((path, found.st_mtime_ns, found.st_size) for path, found in files)


@lru_cache(maxsize=2)
def _loaded_model(name: str, files: tuple[tuple[str, int, int], ...], device: Device) -> Describer | ImageCaptioner:
    return load(name, device=device)


@lru_cache(maxsize=1)
def _loaded_space(name: str, files: tuple[tuple[str, int, int], ...], device: Device) -> SharedSpace:
    chosen, found = _device(device), shared_space(name)
    return found if chosen.type == "cpu" else found.to(chosen)


def _listed(items: Any) -> list[Any]:
    """Return one item as a list of one, several as a list; an array (n, H, W, 3) is n images."""
    if isinstance(items, (str, os.PathLike)) or (isinstance(items, np.ndarray) and items.ndim == 3):
        return [items]
    if not isinstance(items, Iterable):
        raise InputError(f"a {type(items).__name__}", "images: paths or uint8 (H, W, 3) arrays, one or several")
    return list(items)


def _is_text(item: Any, kind: Kind) -> bool:
    if isinstance(item, str):
        return kind == "text" or (kind == "auto" and not _is_file(item))
    if kind == "text":
        raise InputError(f"a {type(item).__name__}", "strings only, as kind='text' says")
    return False


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(text)
    except ValueError:  # a text with a null character is no path
        return False


def _pixels(image: Any) -> np.ndarray:
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, (str, os.PathLike)):
        return read_image(image)
    raise InputError(f"a {type(image).__name__}", "a path or a uint8 (H, W, 3) array")


def _batches(items: Sequence[Any]) -> Iterator[list[Any]]:
    for at in range(0, len(items), _BATCH):
        yield list(items[at : at + _BATCH])
