"""PASCAL VOC: a class for every pixel of a picture, as PNG files of indices.

``JPEGImages/NAME.jpg``, ``SegmentationClass/NAME.png`` (0 background, 1 and up the classes, 255 without a label),
``SegmentationObject/NAME.png`` (0 none, 1 and up the objects, 255 without a label), and a name a line in
``ImageSets/Segmentation/SPLIT.txt``. A set with classes of its own has their names, one a line, in ``classes.txt``.
Source: Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.errors import InputError
from whenwhere.media.indexed import read_indices
from whenwhere.results import LabelMap, Region, checks
from whenwhere.results.files import read_text, write_text

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The twenty classes of VOC, in the order of their indices from 1."""
VOID = 255
"""Index of pixels without a label, such as the rims of objects."""


@dataclass(frozen=True)
class VocImage:
    """A picture of a set.

    Args:
        name: without folder and suffix.
        image: its file.
        classes: file of the class of each pixel.
        objects: file of the object of each pixel; None if there is none.
    """

    name: str
    image: Path
    classes: Path
    objects: Path | None


class VocSet:
    """The pictures of a split, in the order of its list.

    Args:
        folder: that holds ``JPEGImages`` and the others.
        split: name of the list: "train", "val", "trainval".
        masks: folder of the class masks; "SegmentationClassAug" for the augmented set.

    Attributes:
        names: of the classes, from index 1 on: those in ``classes.txt`` if there is one, else `CLASSES`.
        images: the pictures.

    Raises:
        InputError: the list, a picture or a mask is missing (naming the line of the list), or a name is malformed.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str, masks: str = "SegmentationClass") -> None:
        root = Path(folder)
        own = root / "classes.txt"
        self.names = read_names(own) if own.is_file() else CLASSES
        self.images: list[VocImage] = []
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        for number, line in enumerate(read_text(path, "list of pictures").splitlines(), 1):
            name = line.strip()
            if not name:
                continue
            if "/" in name or "\\" in name or name.startswith("."):
                raise InputError(f"{path}, line {number}: {checks.short(name)}", "the name of a picture, no path")
            files = (root / "JPEGImages" / f"{name}.jpg", root / masks / f"{name}.png")
            for file in files:
                if not file.is_file():
                    raise InputError(f"{path}, line {number}: there is no file {file}", "a picture and a mask a line")
            objects = root / "SegmentationObject" / f"{name}.png"
            self.images.append(VocImage(name, *files, objects if objects.is_file() else None))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> VocImage:
        return self.images[index]

    def labels(self, index: int, background: bool = True) -> LabelMap:
        """Read the classes of a picture.

        Args:
            index: of the picture.
            background: whether "background" is a class, the first (VOC-21), or has no label (VOC-20).

        Raises:
            InputError: the mask cannot be read or holds an index of no class.
        """
        path = self.images[index].classes
        indices = read_indices(path).astype(np.int32)
        known = (indices <= len(self.names)) | (indices == VOID)
        if not known.all():
            row, column = np.argwhere(~known)[0]
            wanted = f"0 to {len(self.names)}, or {VOID}"
            raise InputError(f"{path} has index {indices[row, column]} in row {row}, column {column}", wanted)
        first = 0 if background else 1
        labels = np.where(indices == VOID, -1, indices - first)
        return LabelMap(np.maximum(labels, -1), (*(["background"] if background else []), *self.names))

    def segments(self, index: int) -> list[Region]:
        """Read the objects of a picture as masks without a class: regions with an empty text, by rising index.

        Raises:
            InputError: there is no mask of objects, or it cannot be read.
        """
        path = self.images[index].objects
        if path is None:
            raise InputError(f"{self.images[index].name} has no mask in SegmentationObject", "a mask of its objects")
        indices = read_indices(path)
        found = []
        for number in np.unique(indices):
            if number not in (0, VOID):
                mask = indices == number
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
                found.append(Region(box, "", mask=mask))
        return found


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of classes, one a line, from index 1 on.

    Raises:
        InputError: there is none, a line is empty, or a name comes twice, with its line.
    """
    names: list[str] = []
    for number, line in enumerate(read_text(path, "list of classes").splitlines(), 1):
        if not line.strip() or line.strip() in names:
            raise InputError(f"{path}, line {number}: {checks.short(line)}", "a name that was not there before")
        names.append(line.strip())
    if not 0 < len(names) < VOID:
        raise InputError(f"{path} has {len(names)} names", f"1 to {VOID - 1}")
    return tuple(names)


def write_list(path: str | os.PathLike[str], names: list[str]) -> None:
    """Write a list of pictures or classes, one a line."""
    write_text(path, "".join(f"{name}\n" for name in names))
