"""Pictures and clips with one label each: a folder of class folders, ZIP files of such, or a table of files.

What a person who wants to adapt a model already has:

- ``CLASS/FILE`` or ``SPLIT/CLASS/FILE`` in a folder; splits are called train, val (valid, validation) and test (eval);
- the same inside one or several ``.zip`` files, read without unpacking them;
- a CSV or TSV file with the columns ``image`` and ``label`` (and ``split``), or JSON Lines with these keys; paths
  are relative to the file. For clips the column may be called ``video``, ``clip`` or ``path``;
- a well-known set by its name (:mod:`whenwhere.datasets.named_sets`).

Nothing is decoded here: an :class:`Example` reads its bytes or its pictures when it is asked.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from whenwhere.datasets.lines import read_lines
from whenwhere.errors import InputError
from whenwhere.media import Limits, read_image, sample
from whenwhere.media.sources import COMMON_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from whenwhere.results.files import read_text

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
SPLITS = ("train", "val", "test")
_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
_COLUMNS = ("image", "video", "clip", "path")  # of a table, any one of them
_SHARE = 5  # one in so many is held out where the data has no split


@dataclass(frozen=True)
class Example:
    """One labelled file.

    Args:
        path: the file; of a member of a ZIP file, that file.
        label: its class.
        split: "train", "val" or "test"; "" where nothing says it.
        member: name inside the ZIP file, or "".
        place: where its label stands, for messages; "" where the path says it.
    """

    path: Path
    label: str
    split: str = ""
    member: str = ""
    place: str = ""

    @property
    def name(self) -> str:
        """How messages and result files call it; bytes that are not UTF-8 are replaced."""
        return _shown(f"{self.path}!{self.member}" if self.member else str(self.path))

    @property
    def is_video(self) -> bool:
        """Whether its suffix is that of a video."""
        return PurePosixPath(self.member or self.path.name).suffix.lower() in VIDEO_SUFFIXES

    def data(self) -> bytes:
        """The file's bytes.

        Raises:
            InputError: it cannot be read, or is larger than any picture or clip that is read whole.
        """
        limit = Limits().max_image_bytes
        try:
            if self.member:
                archive = _archive(str(self.path), os.stat(self.path).st_mtime_ns)
                size = archive.getinfo(self.member).file_size
                if size <= limit:
                    return archive.read(self.member)
            else:
                size = os.stat(self.path).st_size
                if size <= limit:
                    return self.path.read_bytes()
            raise InputError(f"{self.name} has {size:,} bytes", f"at most {limit:,}")
        except InputError:
            raise
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, KeyError, ValueError) as error:
            raise InputError(f"{self.name} cannot be read ({_reason(error)})", "a readable file") from error

    def hash(self) -> str:
        """SHA-256 of the file's bytes, which changes when the file does."""
        if self.member:
            return hashlib.sha256(self.data()).hexdigest()
        try:
            digest = hashlib.sha256()
            with self.path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
            return digest.hexdigest()
        except OSError as error:
            raise InputError(f"{self.name} cannot be read ({_reason(error)})", "a readable file") from error

    def pictures(self, frames: int = 1) -> list[np.ndarray]:
        """Decode it.

        Args:
            frames: of a video, pictures spread evenly over it; where it has fewer, the last is repeated. Of an image,
                the same picture so many times.

        Returns:
            ``frames`` arrays, uint8 (H, W, 3) RGB.

        Raises:
            InputError: it cannot be read or decoded.
        """
        source = io.BytesIO(self.data()) if self.member else self.path
        try:
            if not self.is_video:
                return [read_image(source)] * frames
            found = [frame.pixels for frame in sample(source, frames)]
        except InputError as error:
            if not self.member:
                raise
            raise InputError(f"{self.name}: {error.given}", error.expected, error.todo) from error
        if not found:
            raise InputError(f"{self.name} has no picture that decodes", "a video")
        return (found + [found[-1]] * frames)[:frames]


@dataclass(frozen=True)
class LabelledFiles:
    """A data set.

    Args:
        source: what was read.
        classes: names of the classes, sorted; numbers are sorted as numbers.
        examples: in the order of their names, or of the table's lines.
        notes: what a person should know of it: files passed over, how it was split.
        made_split: whether :func:`held_out` made the "test" split.
    """

    source: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    made_split: bool = False

    def of(self, split: str) -> tuple[Example, ...]:
        """The examples of a split."""
        return tuple(example for example in self.examples if example.split == split)

    def labels(self, examples: Sequence[Example]) -> np.ndarray:
        """Class indices, int64."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[example.label] for example in examples], np.int64)

    @property
    def has_videos(self) -> bool:
        """Whether any file is a video."""
        return any(example.is_video for example in self.examples)


def read_labelled(data: str | os.PathLike[str], *, labelled: bool = True) -> LabelledFiles:
    """Read a data set of labelled files.

    Where no example is said to be for validation or testing, every fifth of each class, in an order that follows from
    the names alone, is held out as "test", and a note says so.

    Args:
        data: a folder, a ``.zip`` file, a ``.csv``, ``.tsv`` or ``.jsonl`` table, or a name such as
            ``"cifar10:FOLDER"``.
        labelled: whether at least two classes and a "train" split must be there.

    Raises:
        InputError: nothing usable in it; a bad line of a table is named by its number.
    """
    from whenwhere.datasets.named_sets import FORMS, read_named  # which needs this module

    path = Path(data).expanduser()
    known = None if path.exists() else read_named(os.fspath(data))
    if known is None and not path.exists():
        raise InputError(
            f"{path} does not exist",
            f"a folder of class folders, a .zip, a .csv, .tsv or .jsonl table, or one of {', '.join(FORMS)}",
        )
    suffix = path.suffix.lower()
    notes: list[str] = []
    examples: list[Example]
    if known is not None:
        source, examples, notes = known
        path = Path(source)
    elif path.is_dir():
        zips = sorted(file for file in path.iterdir() if file.suffix.lower() == ".zip")
        pairs = [(Path(dirpath), sorted(names)) for dirpath, _, names in sorted(os.walk(path))]
        rows = [
            (folder / name, (folder / name).relative_to(path).parts, "") for folder, names in pairs for name in names
        ]
        rows = [row for row in rows if row[0].suffix.lower() != ".zip" and not _hidden(row[1])]
        if zips and not any(row[0].suffix.lower() in _SUFFIXES for row in rows):
            rows = [row for file in zips for row in _members(file)]
            named = all(file.stem.lower() in _SPLITS for file in zips)
            if named and not any(row[1][0].lower() in _SPLITS for row in rows):  # train.zip and test.zip of classes
                rows = [(file, (file.stem, *parts), member) for file, parts, member in rows]
            zips = []
        examples, notes = _by_folders(path, rows)
        if zips:
            notes.append(f"{len(zips)} .zip file{'s' * (len(zips) > 1)} passed over, as there are pictures beside")
    elif suffix == ".zip":
        examples, notes = _by_folders(path, _members(path))
    elif suffix in (".csv", ".jsonl", ".tsv"):
        examples = _table(path, suffix)
    else:
        raise InputError(f"{path} is neither a folder nor a table", "a folder, a .zip, or a .csv, .tsv or .jsonl file")
    if any(example.split for example in examples) and not all(example.split for example in examples):
        bare = next(example for example in examples if not example.split)
        raise InputError(f"{bare.place or bare.name} has no split", "a split for every example, or for none")
    classes = tuple(sorted({example.label for example in examples}, key=_natural))
    if labelled and len(classes) < 2:
        what = f"one class ({classes[0]})" if classes else "no labelled picture"
        raise InputError(f"{path} holds {what}", "at least two classes, each in a folder of its name")
    odd = next((name for name in classes if not name.isprintable()), None)
    if odd is not None:
        raise InputError(f"{path}: the class {odd!r}", "class names that can be printed")
    result = LabelledFiles(_shown(str(path)), classes, tuple(examples), tuple(notes))
    if labelled:
        result = held_out(result)
        unknown = sorted(set(classes) - {e.label for e in result.of("train")}, key=_natural)
        if unknown:
            raise InputError(f"{path}: no training example of {', '.join(unknown[:5])}", "some of every class in train")
    return result


def held_out(files: LabelledFiles) -> LabelledFiles:
    """The same files; where all are for training or none has a split, one in five of each class is for testing."""
    if not {example.split for example in files.examples} <= {"", "train"}:
        return files
    examples, held = _hold_out(files.examples)
    note = f"no test split given: {held} of {len(examples)} examples, one in {_SHARE} of each class, are held out"
    return replace(files, examples=tuple(examples), notes=(*files.notes, note), made_split=True)


def repeated(examples: Iterable[tuple[str, Example]]) -> list[tuple[Example, Example]]:
    """Files of different splits with the same content, by their hashes: (first seen, again)."""
    first: dict[str, Example] = {}
    pairs = []
    for digest, example in examples:
        known = first.setdefault(digest, example)
        if known.split != example.split:
            pairs.append((known, example))
    return pairs


def _by_folders(source: Path, rows: Sequence[tuple[Path, tuple[str, ...], str]]) -> tuple[list[Example], list[str]]:
    """Examples from (file, parts of its path below the root, member of a ZIP)."""
    usable = [row for row in rows if PurePosixPath(row[1][-1]).suffix.lower() in _SUFFIXES]
    if not usable:
        raise InputError(f"{source} holds no picture or video", f"files such as {', '.join(COMMON_SUFFIXES)}")
    inside = [row for row in usable if len(row[1]) >= 3 and row[1][0].lower() in _SPLITS]
    beside = [row for row in usable if len(row[1]) >= 2 and row[1][0].lower() not in _SPLITS]
    if inside and beside:
        raise InputError(
            f"{source}: {'/'.join(beside[0][1])} lies beside folders of splits", "SPLIT/CLASS/FILE for all, or for none"
        )
    splits = bool(inside)
    bare = [row for row in usable if len(row[1]) < (3 if splits else 2)]
    if bare and len(bare) == len(usable):
        raise InputError(f"{source} holds pictures but no class folders", "CLASS/FILE, or SPLIT/CLASS/FILE")
    examples = [
        Example(file, parts[1 if splits else 0], _SPLITS[parts[0].lower()] if splits else "", member)
        for file, parts, member in usable
        if len(parts) >= (3 if splits else 2)
    ]
    other = Counter(PurePosixPath(row[1][-1]).suffix.lower() or "no suffix" for row in rows) - Counter(
        PurePosixPath(row[1][-1]).suffix.lower() for row in usable
    )
    notes = []
    if other:
        count = sum(other.values())
        notes.append(f"{count} file{'s' * (count > 1)} passed over ({', '.join(sorted(other)[:4])})")
    if bare:
        such, many = bare[0][1][-1], "s" * (len(bare) > 1)
        notes.append(f"{len(bare)} picture{many} outside of a class folder passed over (such as {such})")
    return examples, notes


def _members(file: Path) -> list[tuple[Path, tuple[str, ...], str]]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{file} is not a ZIP file that can be read ({_reason(error)})", "a whole .zip file"
        ) from error
    rows = [(file, PurePosixPath(name).parts, name) for name in sorted(set(names))]
    rows = [row for row in rows if row[1] and not _hidden(row[1])]
    if len({row[1][0] for row in rows}) == 1 and all(len(row[1]) > 2 for row in rows):
        top = rows[0][1][0].lower()
        if top not in _SPLITS or all(len(row[1]) > 3 for row in rows):  # one folder around it all
            rows = [(path, parts[1:], member) for path, parts, member in rows]
    return rows


def _table(path: Path, suffix: str) -> list[Example]:
    if suffix == ".jsonl":
        rows = [(field.place.removesuffix(": "), field.entries()) for field in read_lines(path, "manifest")]
        return [
            _entry(path, place, {key: str(value.value) for key, value in entries.items() if value.value is not None})
            for place, entries in rows
        ]
    reader = csv.DictReader(
        io.StringIO(read_text(path, "manifest"), newline=""), delimiter="\t" if suffix == ".tsv" else ",", strict=True
    )
    examples = []
    try:
        _check_header(path, reader.fieldnames or (), reader.reader.dialect.delimiter)
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{place} has another number of fields", f"{len(reader.fieldnames or ())} fields")
            examples.append(_entry(path, place, {key.strip(): value for key, value in row.items()}))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}", "a CSV table") from error
    if not examples:
        raise InputError(f"{path} has no lines", "a table with the columns image and label")
    return examples


def _check_header(path: Path, names: Sequence[str], mark: str) -> None:
    """Refuse the first line of a table for what it lacks, rather than every other one."""
    columns = [name.strip() for name in names]
    if not columns or ("label" in columns and any(name in _COLUMNS for name in columns)):
        return
    there = f"the column{'s' * (len(columns) > 1)} {', '.join(map(repr, columns[:8]))}"
    other = next((sign for sign in ",;\t" if sign != mark and len(columns) == 1 and sign in columns[0]), "")
    signs = {",": "commas", ";": "semicolons", "\t": "tabs"}
    raise InputError(
        f"{path}, line 1 has {there}",
        "the columns image (or video, clip or path) and label (and split)",
        f"{signs[other]} stand between the columns; put {signs[mark]} there" if other else "",
    )


def _entry(table: Path, place: str, row: dict[str, str]) -> Example:
    named = [column for column in _COLUMNS if row.get(column, "").strip()]
    if not named or not row.get("label", "").strip():
        raise InputError(
            f"{place} has no {'label' if named else 'image'!r}",
            "image (or video, clip or path) and label (and split) in every line",
        )
    if len(named) > 1:
        raise InputError(f"{place} has {' and '.join(named)}", "one file in every line")
    given = row[named[0]]
    split = row.get("split", "").strip()
    if split and split.lower() not in _SPLITS:
        raise InputError(f"{place}: split {split!r}", f"one of {', '.join(SPLITS)}")
    if "\0" in given:
        raise InputError(f"{place}: {named[0]} {given!r}", "a path")
    file = table.parent / given.strip()
    if file.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{place}: {given} is neither picture nor video by its suffix", "a .jpg, .png, .mp4 ...")
    if not file.is_file():
        raise InputError(f"{place}: {file} does not exist", "a file, with its path relative to the table")
    return Example(file, row["label"].strip(), _SPLITS.get(split.lower(), ""), place=place)


def _hold_out(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """Mark one in five of each class, at least one where there are two, by the hash of their names."""
    test: set[int] = set()
    for label in {example.label for example in examples}:
        members = [number for number, example in enumerate(examples) if example.label == label]
        members.sort(
            key=lambda number: hashlib.sha256(_short(examples[number]).encode("utf-8", "surrogateescape")).digest()
        )
        test.update(members[: max(len(members) // _SHARE, int(len(members) > 1))])
    marked = [replace(e, split="test" if number in test else "train") for number, e in enumerate(examples)]
    return marked, len(test)


def _short(example: Example) -> str:
    """A name that does not change when the whole data set is moved."""
    return f"{example.label}/{PurePosixPath(example.member).name if example.member else example.path.name}"


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(int(name)), name)
    except ValueError:
        return (1, 0.0, name)


@lru_cache(maxsize=8)
def _archive(path: str, changed: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:120]
