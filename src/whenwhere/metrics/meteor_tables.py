"""The English language tables of METEOR 1.5: paraphrases, synonyms, irregular forms, function words.

They are data files of the ``pycocoevalcap`` package (inside its ``meteor-1.5.jar``, and a list of 5.3 million pairs of
phrases), read as archives: nothing of the package is imported or run. Reading the list takes a while, so what was read
is kept in the cache folder as plain arrays, 54 MB that are mapped and not loaded: opening them takes milliseconds.

A phrase or word is known by a key of 64 bits, the BLAKE2b hash of its text. Building refuses two phrases of one key,
and a phrase that is not in the table has the key of one that is with a chance of 1 in 10^12.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

from whenwhere.cache import cache_dir
from whenwhere.errors import InputError, MissingDependency

FORMAT = 2  # raise it when the cached arrays change: they are then made anew
JAR = "pycocoevalcap/meteor/meteor-1.5.jar"
PARAPHRASES = "pycocoevalcap/meteor/data/paraphrase-en.gz"
# The published figures hang on these tables, so no others will do.
SHA256 = {
    JAR: "1e57b4c72c0830ebe68558f1c799a624e96cbc1b6045c9f6330e26dcff6eafc2",
    PARAPHRASES: "c147ac7d2c91f2fbb3ad31e4b352235061eb83145e0434daf217ee9ca5975f48",
}
_BLOCK = 1 << 24  # bytes of text read at once


class Table:
    """Numbers by text: one row for each phrase or word, found by its key.

    Args:
        keys: uint64 ``(rows,)``, ascending.
        first: uint32 ``(rows + 1,)``, where each row starts in ``values``.
        values: uint32, the numbers of all rows.
    """

    def __init__(self, keys: np.ndarray, first: np.ndarray, values: np.ndarray) -> None:
        self._keys, self._first, self._values = keys, first, values

    def find(self, texts: Iterable[str]) -> np.ndarray:
        """Rows of texts, int64, -1 for what is not in the table."""
        wanted = np.fromiter(map(_key, map(str.encode, texts)), dtype=np.uint64)
        order = np.argsort(wanted)  # neighbours are found in the same pages
        row = np.empty(len(wanted), dtype=np.int64)
        row[order] = np.searchsorted(self._keys, wanted[order])
        row[row == len(self._keys)] = 0
        return np.where(self._keys[row] == wanted, row, -1)

    def values(self, row: int) -> np.ndarray:
        """The numbers of one row, in the order of the file."""
        return self._values[self._first[row] : self._first[row + 1]]


class LanguageTables:
    """What METEOR knows about English.

    Args:
        folder: made by :func:`build_tables`.

    Attributes:
        paraphrases: a phrase's row holds the rows of its paraphrases.
        synsets: a word's row holds the numbers of the WordNet synsets that it is in.
        longest: the most words a phrase has.
        base_forms: for an irregular form the words that it may be a form of.
        function_words: words that say little by themselves.
        prefixes: words that own the full stop after them; True if only before a number.
    """

    def __init__(self, folder: Path) -> None:
        self.paraphrases, self.synsets = (
            Table(*(np.load(folder / f"{name}_{part}.npy", mmap_mode="r") for part in ("keys", "first", "values")))
            for name in ("paraphrases", "synsets")
        )
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        self.longest: int = words["longest"]
        self.base_forms: Mapping[str, list[str]] = words["base_forms"]
        self.function_words = frozenset(words["function_words"])
        self.prefixes: Mapping[str, bool] = words["prefixes"]


def language_tables() -> LanguageTables:
    """The tables, read from the package on the first call ever and from the cache folder after that.

    Raises:
        MissingDependency: if the package is not installed and the cache folder does not have the tables.
        InputError: if the package's files are not those of METEOR 1.5, or the cache folder cannot be written.
    """
    return _opened(cache_dir() / "meteor" / f"en-{FORMAT}")


@cache
def _opened(folder: Path) -> LanguageTables:
    if not folder.is_dir():
        _build_in_place(folder)
    try:
        return LanguageTables(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the METEOR tables in {folder} cannot be read ({error})", todo="delete that folder and try again"
        ) from error


def _build_in_place(folder: Path) -> None:
    """Build beside the folder and rename, so that it is there complete or not at all."""
    sources = find_sources()
    print("whenwhere: reading the tables of METEOR, once (about ten seconds)", file=sys.stderr, flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}~", dir=folder.parent))
        try:
            build_tables(sources, work)
            os.chmod(work, 0o755)
            try:
                os.rename(work, folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror or error}",
            "a cache folder that can be written, with 100 MB of room",
            "set WHENWHERE_CACHE to one",
        ) from error


def find_sources() -> dict[str, Path]:
    """The two files of the installed ``pycocoevalcap`` package.

    Raises:
        MissingDependency: if it is not installed.
        InputError: if a file is missing or not the one of METEOR 1.5.
    """
    remedy = "run: pip install 'whenwhere[meteor]'"
    try:
        package = importlib.metadata.distribution("pycocoevalcap")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency(
            "METEOR without its language tables", "the package pycocoevalcap, which holds them", remedy
        ) from None
    found = {name: Path(str(package.locate_file(name))) for name in SHA256}
    for name, path in found.items():
        if not path.is_file() or _sha256(path) != SHA256[name]:
            raise InputError(
                f"{path} is {'another file' if path.exists() else 'missing'}",
                f"the one of METEOR 1.5, SHA-256 {SHA256[name]}",
                "run: pip install --force-reinstall --no-deps pycocoevalcap",
            )
    return found


def build_tables(sources: Mapping[str, Path], folder: Path) -> None:
    """Read the package's files and write arrays and ``words.json``.

    Args:
        sources: see :func:`find_sources`.
        folder: exists, empty.

    Raises:
        InputError: if a file does not have the expected form.
    """
    try:
        with zipfile.ZipFile(sources[JAR]) as jar:
            synonyms = jar.read("synonym/english.synsets").split(b"\n")
            irregular = jar.read("synonym/english.exceptions").decode().split("\n")
            function_words = jar.read("function/english.words").decode().split()
            prefixes = jar.read("nonbreaking/english.prefixes").decode().split("\n")
        words = synonyms[0:-1:2]
        rows = [line.split() for line in synonyms[1::2]]
        word = np.repeat(np.arange(len(words)), [len(row) for row in rows])
        keys, rank = _keys(words)
        numbers = np.array([int(number) for row in rows for number in row], dtype=np.uint32)
        _write_table(folder, "synsets", keys, rank[word], numbers)
        longest = _read_paraphrases(sources[PARAPHRASES], folder)
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, zlib.error) as error:
        raise InputError(f"the METEOR tables of pycocoevalcap cannot be read ({error})") from error
    base_forms = defaultdict(list)
    for base, forms in zip(irregular[0::2], irregular[1::2]):
        for form in forms.split():
            base_forms[form].append(base)
    about = {
        "longest": longest,
        "base_forms": base_forms,
        "function_words": function_words,
        "prefixes": {
            line.split()[0]: "#NUMERIC_ONLY#" in line for line in prefixes if line.strip() and not line.startswith("#")
        },
    }
    (folder / "words.json").write_text(json.dumps(about), encoding="utf-8")


def _read_paraphrases(path: Path, folder: Path) -> int:
    """Write the table of paraphrases; returns the most words of a phrase. The probabilities are not used."""
    numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
    sources, others = [], []
    for lines in _triples(path):
        sources.append(np.fromiter(map(numbers.__getitem__, lines[1::3]), dtype=np.uint32))
        others.append(np.fromiter(map(numbers.__getitem__, lines[2::3]), dtype=np.uint32))
    phrases = list(numbers)
    numbers.clear()
    source, other = np.concatenate(sources), np.concatenate(others)
    longest = max(phrase.count(b" ") for phrase in phrases) + 1
    keys, rank = _keys(phrases)
    _write_table(folder, "paraphrases", keys, rank[source], rank[other])
    return longest


def _triples(path: Path) -> Iterator[list[bytes]]:
    """Lines of the file in blocks, always a multiple of three: probability, phrase, paraphrase."""
    rest: list[bytes] = []
    tail = b""
    with gzip.open(path) as stream:
        while block := stream.read(_BLOCK):
            lines = (tail + block).split(b"\n")
            tail = lines.pop()
            rest += lines
            whole = len(rest) - len(rest) % 3
            yield rest[:whole]
            rest = rest[whole:]
    if rest or tail:
        raise ValueError("the list of paraphrases ends in the middle of an entry")


def _write_table(folder: Path, name: str, keys: np.ndarray, row: np.ndarray, values: np.ndarray) -> None:
    """Write the three arrays of a :class:`Table`; ``row`` says to which key each value belongs."""
    order = np.argsort(row, kind="stable")
    first = np.searchsorted(row[order], np.arange(len(keys) + 1))
    np.save(folder / f"{name}_keys.npy", keys)
    np.save(folder / f"{name}_first.npy", first.astype(np.uint32))
    np.save(folder / f"{name}_values.npy", values[order].astype(np.uint32))


def _keys(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The keys of texts in ascending order, and the place of every text in that order."""
    keys = np.fromiter(map(_key, texts), dtype=np.uint64, count=len(texts))
    order = np.argsort(keys)
    keys = keys[order]
    if (keys[1:] == keys[:-1]).any():
        raise ValueError("two phrases have the same key")
    rank = np.empty(len(texts), dtype=np.uint32)
    rank[order] = np.arange(len(texts), dtype=np.uint32)
    return keys, rank


def _key(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
