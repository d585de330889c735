"""Scores of folders of masks (PNG files of indices), for ``whenwhere score``: objects in videos, classes in images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import same_ids
from whenwhere.metrics.result import Result
from whenwhere.metrics.semantic import Background, semantic_segmentation
from whenwhere.metrics.video_objects import video_objects

VOID = 255
"""The index of pixels without a label; in masks of one object, the object."""


class _Read(Mapping[str, np.ndarray]):
    """Arrays that are read when they are asked for, so that a set need not fit into memory."""

    def __init__(self, names: Sequence[str], read: Callable[[str], np.ndarray]) -> None:
        self._names, self._read = dict.fromkeys(names), read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def score_vos(gt: Sequence[Path], pred: Path, *, skip_ends: bool = False) -> Result:
    """Score masks of objects in videos.

    Args:
        gt: one folder of PNG masks, a file for each frame, or a folder of such folders, one for each video. Indices are
            objects and 0 is background; masks of 0 and 255 alone are one object.
        pred: the same, with files of the same names. A video without a folder counts as empty; frames that the truth
            does not have are passed over.
        skip_ends: leave out the first and last frame of each video.

    Returns:
        See :func:`whenwhere.metrics.video_objects.video_objects`.

    Raises:
        InputError: naming the file that is missing, damaged or of another size, or the video that is not known.
    """
    wanted, found = _videos(gt[0]), _videos(pred)
    if (None in wanted) != (None in found):
        raise InputError(f"{gt[0]} and {pred}", "two folders of masks, or two folders with a folder for each video")
    names = {name or gt[0].resolve().name: name for name in wanted}
    said = {name or gt[0].resolve().name: files for name, files in found.items()}

    @cache
    def single(name: str) -> bool:
        return int(truth(name).max()) <= 1

    def truth(name: str) -> np.ndarray:
        return _objects(list(wanted[names[name]].values()), one=True)

    def prediction(name: str) -> np.ndarray:
        files = []
        for frame, file in wanted[names[name]].items():
            if frame not in said[name]:
                raise InputError(
                    f"no mask {frame} for video {name!r} in {pred}", f"one for {file}", "an empty one is 0"
                )
            files.append(said[name][frame])
        return _objects(files, one=single(name))

    result = video_objects(_Read(list(said), prediction), _Read(list(names), truth), skip_ends=skip_ends)
    more = sum(len(files.keys() - wanted[names[name]].keys()) for name, files in said.items())
    return replace(result, counts={**result.counts, "predicted frames that the truth does not have": more})


def score_segmentation(gt: Sequence[Path], pred: Path, *, background: str = "", classes: int = 0) -> Result:
    """Score a class for every pixel of images.

    Args:
        gt: one folder of PNG label maps, or the list of a split in a folder in the form of PASCAL VOC
            (``ImageSets/Segmentation/SPLIT.txt``). 255 is without a label.
        pred: a folder of PNG label maps of the same names.
        background: the convention, see :mod:`whenwhere.metrics.semantic`. With ``"ignored"``, pixels whose true label
            is 0 do not count, and a predicted 0 elsewhere is wrong.
        classes: labels are below it; taken from the set or from the files if 0. ``"folded"`` needs it.

    Returns:
        See :func:`whenwhere.metrics.semantic.semantic_segmentation`.

    Raises:
        InputError: naming the file that is missing or damaged or the image that cannot be scored, or if no convention
            is given.
    """
    if background not in get_args(Background):
        given = f"--background {background}" if background else "no convention for background"
        raise InputError(given, f"--background {', '.join(get_args(Background))}", "see docs/score.md")
    wanted, known = _label_maps(gt[0])
    said = _pngs(pred)
    if not said:
        raise InputError(f"no PNG file in {pred}", "a label map for each image")
    ids = same_ids({Path(name).stem for name in said}, wanted, "image")
    guesses = {Path(name).stem: file for name, file in said.items()}
    classes = classes or known
    if not classes:
        if background == "folded":
            raise InputError("--background folded without --classes", "how many there are; the last is background")
        classes = 1 + max(_greatest(wanted[name], guesses[name]) for name in ids)
    missed = 0

    def truth(name: str) -> np.ndarray:
        labels = _indices(wanted[name])
        return np.where(labels == 0, VOID, labels) if background == "ignored" else labels

    def prediction(name: str) -> np.ndarray:
        nonlocal missed
        labels = _indices(guesses[name])
        if background == "ignored":
            true = truth(name)
            if true.shape == labels.shape:
                missed += int(((labels == 0) & (true != VOID)).sum())
        return labels

    result = semantic_segmentation(
        _Read(ids, prediction),
        _Read(ids, truth),
        classes=classes,
        background=background,  # type: ignore[arg-type]
    )
    counts = dict(result.counts)
    if background == "ignored":
        counts["classes skipped because the truth does not have them"] -= 1  # background is none of them
        counts["pixels that count and are predicted as background, which are wrong"] = missed
    return replace(result, counts=counts)


def _videos(folder: Path) -> dict[str | None, dict[str, Path]]:
    """The masks of each video by file name; None is the video that the folder itself is."""
    if files := _pngs(folder):
        return {None: files}
    videos: dict[str | None, dict[str, Path]] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if files := _pngs(inner):
            videos[inner.name] = files
    if not videos:
        raise InputError(f"no PNG file in {folder} or in its folders", "a mask for each frame")
    return videos


def _label_maps(path: Path) -> tuple[dict[str, Path], int]:
    """Files of the images by name, and how many labels there are (0 if that is not known)."""
    if path.is_file():
        from whenwhere.datasets.voc import VocSet

        if path.parts[-3:-1] != ("ImageSets", "Segmentation") or path.suffix != ".txt":
            raise InputError(f"the file {path}", "a folder of PNG files, or ImageSets/Segmentation/SPLIT.txt of a set")
        images = VocSet(path.parents[2], path.stem)
        return {image.name: image.classes for image in images.images}, len(images.names) + 1
    if not (files := _pngs(path)):
        raise InputError(f"no PNG file in {path}", "a label map for each image")
    return {Path(name).stem: file for name, file in files.items()}, 0


def _pngs(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", "a folder of PNG files")
    return {file.name: file for file in sorted(folder.glob("*.png"))}


def _indices(file: Path) -> np.ndarray:
    from whenwhere.media.indexed import read_indices

    return read_indices(file)


def _greatest(*files: Path) -> int:
    return max(int(labels[labels != VOID].max(initial=0)) for labels in map(_indices, files))


def _objects(files: Sequence[Path], one: bool) -> np.ndarray:
    """Objects ``(frames, height, width)`` from masks; ``one``: those of 0 and 255 alone are one object."""
    masks: list[Any] = [_indices(file) for file in files]
    for file, mask in zip(files, masks):
        if mask.shape != masks[0].shape:
            raise InputError(f"{file}: {mask.shape[1]} x {mask.shape[0]} pixels", f"the size of {files[0]}")
    found = np.stack(masks)
    if one and not ((found != 0) & (found != VOID)).any():
        return (found > 0).astype(np.uint8)
    for file, mask in zip(files, masks):
        if (mask == VOID).any():
            raise InputError(
                f"{file}: index {VOID} among objects", f"0 and {VOID} alone for one object, or objects below {VOID}"
            )
    return found
