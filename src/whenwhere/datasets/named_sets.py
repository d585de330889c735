"""Well-known sets of small pictures by name, as they are published: ``digits``, ``cifar10:FOLDER``, ``mnist:FOLDER``.

- ``digits``: the handwritten digits that come with scikit-learn, 8 by 8 pixels, without a split.
- ``cifar10:FOLDER`` and ``cifar100:FOLDER``: the binary version of CIFAR (Krizhevsky, 2009). The Python version is
  pickle, which runs code when it is read, and is refused.
- ``mnist:FOLDER``: IDX files of MNIST (LeCun et al., 1998), packed with gzip or not; of Fashion-MNIST and others in the
  same form too.

Nothing is downloaded. Pictures are read from the files when they are asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from whenwhere.datasets.labelled_files import Example
from whenwhere.errors import InputError, MissingDependency
from whenwhere.results.files import read_text

FORMS = ("digits", "cifar10:FOLDER", "cifar100:FOLDER", "mnist:FOLDER")
_MOST_BYTES = 1 << 31  # of one file, unpacked
_SIDE = 32  # of CIFAR's pictures


@dataclass(frozen=True)
class Record(Example):
    """One picture of a file that holds many.

    Args:
        number: of the picture in the file, from 0.
        form: "cifar10", "cifar100", "mnist" or "digits".
    """

    number: int = 0
    form: str = ""

    @property
    def is_video(self) -> bool:
        """Never."""
        return False

    def data(self) -> bytes:
        """The picture's pixels, RGB, row by row."""
        return self.pictures()[0].tobytes()

    def hash(self) -> str:
        """SHA-256 of the pixels and their shape."""
        (picture,) = self.pictures()
        return hashlib.sha256(f"{picture.shape};".encode() + picture.tobytes()).hexdigest()

    def pictures(self, frames: int = 1) -> list[np.ndarray]:
        """The picture, so many times: uint8 (H, W, 3) RGB.

        Raises:
            InputError: the file cannot be read any more.
        """
        try:
            return [self._picture()] * frames
        except IndexError:
            raise InputError(f"{self.name} is not there any more", "files that stay as they are") from None

    def _picture(self) -> np.ndarray:
        if self.form == "digits":
            grey = np.rint(_digits()[0][self.number] * (255 / 16)).astype(np.uint8)
        elif self.form == "mnist":
            grey = _idx(str(self.path), _changed(self.path), 3)[self.number]
        else:
            records = _cifar(str(self.path), _changed(self.path), self.form)
            planes = records[self.number, -3 * _SIDE * _SIDE :].reshape(3, _SIDE, _SIDE)
            return np.ascontiguousarray(planes.transpose(1, 2, 0))
        return np.repeat(grey[:, :, None], 3, 2)


def read_named(text: str) -> tuple[str, list[Example], list[str]] | None:
    """Read a set by its name.

    Args:
        text: "digits", "cifar10:FOLDER", "cifar100:FOLDER" or "mnist:FOLDER".

    Returns:
        Its name with the whole path, its examples and notes; None where the text is not of this form at all.

    Raises:
        InputError: an unknown name, no folder, or files that are missing or of another form.
        MissingDependency: "digits" without scikit-learn.
    """
    name, mark, folder = text.partition(":")
    if name == "digits" and not mark:
        labels = _digits()[1]
        path = Path("digits")
        return (
            "digits",
            [Record(path, str(n), member=str(i), number=i, form="digits") for i, n in enumerate(labels)],
            [],
        )
    if name not in _READERS:
        if mark and re.fullmatch(r"[A-Za-z][\w-]+", name):  # a single letter is a drive of Windows
            raise InputError(f"there is no reader {name!r} (in {text})", f"one of {', '.join(FORMS)}")
        return None
    if not folder:
        raise InputError(f"{name} without the folder that holds it", f"{name}:FOLDER", "nothing is downloaded")
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise InputError(f"{place} is no folder", f"{name}:FOLDER", "nothing is downloaded")
    examples, notes = _READERS[name](place)
    return f"{name}:{place.absolute()}", examples, notes


def _cifar10(folder: Path) -> tuple[list[Example], list[str]]:
    place = _folder(folder, ("cifar-10-batches-bin",), "test_batch.bin", ("cifar-10-batches-py", "test_batch"))
    batches = sorted(place.glob("data_batch_*.bin"))
    if not batches:
        raise InputError(f"{place} has no data_batch_1.bin", "the binary version of CIFAR-10")
    names, notes = _names(place / "batches.meta.txt")
    if len(batches) != 5:
        notes.append(f"{len(batches)} of 5 training files are there")
    files = [(file, "train") for file in batches] + [(place / "test_batch.bin", "test")]
    return [e for file, split in files for e in _records(file, "cifar10", 0, split, names)], notes


def _cifar100(folder: Path) -> tuple[list[Example], list[str]]:
    place = _folder(folder, ("cifar-100-binary",), "train.bin", ("cifar-100-python", "train"))
    names, notes = _names(place / "fine_label_names.txt")
    splits = ("train", "test")
    return [e for split in splits for e in _records(place / f"{split}.bin", "cifar100", 1, split, names)], notes


def _mnist(folder: Path) -> tuple[list[Example], list[str]]:
    place = next(
        (p for p in (folder, folder / "raw", folder / "MNIST" / "raw") if _idx_file(p, "train-images")), folder
    )
    examples: list[Example] = []
    for split, start in (("train", "train"), ("test", "t10k")):
        images, labels = (_idx_file(place, f"{start}-{what}") for what in ("images", "labels"))
        for what, file in (("images-idx3", images), ("labels-idx1", labels)):
            if file is None:
                raise InputError(f"{place} has no {start}-{what}-ubyte", "the four files of MNIST, with or without .gz")
        assert images is not None and labels is not None
        pictures, numbers = _idx(str(images), _changed(images), 3), _idx(str(labels), _changed(labels), 1)
        if len(pictures) != len(numbers):
            raise InputError(f"{images} has {len(pictures)} pictures", f"{len(numbers)}, as {labels.name} has labels")
        examples += [
            Record(images, str(label), split, str(i), number=i, form="mnist")
            for i, label in enumerate(numbers.tolist())
        ]
    return examples, []


_READERS: dict[str, Callable[[Path], tuple[list[Example], list[str]]]] = {
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "mnist": _mnist,
}


def _folder(folder: Path, inside: tuple[str, ...], file: str, pickled: tuple[str, str]) -> Path:
    """Where the binary version of CIFAR lies; the Python version is told by its file."""
    for place in (folder, *(folder / name for name in inside)):
        if (place / file).is_file():
            return place
    for place in (folder, folder / pickled[0]):
        if (place / pickled[1]).is_file():
            raise InputError(
                f"{place} holds the Python version of CIFAR, pickle, which can run code when it is read",
                f"the binary version ({inside[0]} with {file})",
            )
    raise InputError(f"{folder} has no {file}", f"the unpacked binary version of CIFAR ({inside[0]})")


def _names(path: Path) -> tuple[list[str], list[str]]:
    """Names of the classes, a line each; where the file is missing, they are called by their numbers."""
    if not path.is_file():
        return [], [f"{path.name} is not there, so the classes are called by their numbers"]
    return [line.strip() for line in read_text(path, "names of classes").splitlines() if line.strip()], []


def _records(file: Path, form: str, label_at: int, split: str, names: list[str]) -> list[Example]:
    if not file.is_file():
        raise InputError(f"{file} does not exist", "all files of the binary version")
    labels = np.array(_cifar(str(file), _changed(file), form)[:, label_at])
    most = len(names) or (10 if form == "cifar10" else 100)
    if (labels >= most).any():
        at = int((labels >= most).argmax())
        raise InputError(f"{file}, picture {at}: class {labels[at]}", f"0 to {most - 1}", "is it of this set?")
    return [
        Record(file, names[label] if names else str(label), split, str(i), number=i, form=form)
        for i, label in enumerate(labels.tolist())
    ]


@lru_cache(maxsize=16)
def _cifar(path: str, changed: int, form: str) -> np.ndarray:
    """uint8 (n, 3072 and the bytes of labels), mapped from the file."""
    width = 3 * _SIDE * _SIDE + (1 if form == "cifar10" else 2)
    size = os.stat(path).st_size
    if not size or size % width:
        raise InputError(f"{path} has {size:,} bytes", f"records of {width} bytes, as {form} has them")
    return np.memmap(path, np.uint8, "r", shape=(size // width, width))


def _idx_file(folder: Path, start: str) -> Path | None:
    kind = "idx3" if start.endswith("images") else "idx1"
    names = [f"{start}{dot}{kind}-ubyte{packed}" for packed in ("", ".gz") for dot in ("-", ".")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


@lru_cache(maxsize=8)
def _idx(path: str, changed: int, dimensions: int) -> np.ndarray:
    """A uint8 array. The file begins with two zero bytes, type 8, the number of dimensions and big-endian sizes."""
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", "an IDX file, packed with gzip or not") from error
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes((0, 0, 8, dimensions)):
        raise InputError(
            f"{path} begins with {content[:4].hex(' ')}", f"00 00 08 0{dimensions}, as IDX files of bytes do"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    if math.prod(shape) != len(content) - head or 0 in shape:
        raise InputError(
            f"{path} says {' x '.join(map(str, shape))} and has {len(content) - head:,} bytes of them", "a whole file"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, list[int]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency(
            "digits come with scikit-learn, which is not installed", "", "pip install scikit-learn"
        ) from error
    found = load_digits()
    return found.images, found.target.tolist()


def _changed(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "a readable file") from error
