"""What labelled files hold, as one number: by it a run, and an adapter, know the data that they were trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from whenwhere.datasets.labelled_files import SPLITS, Example, LabelledFiles
from whenwhere.errors import InputError


def in_order(files: LabelledFiles) -> list[Example]:
    """The examples of all splits, in the order in which :func:`fingerprint` takes them."""
    return [example for split in SPLITS for example in files.of(split)]


def hashes_of(
    examples: Sequence[Example], progress: Callable[[int, int, str], None] = lambda done, of, what: None
) -> tuple[dict[Example, str], list[tuple[Example, InputError]]]:
    """SHA-256 of the content of each file, and the files that cannot be read."""
    found: dict[Example, str] = {}
    bad: list[tuple[Example, InputError]] = []
    for at, example in enumerate(examples, 1):
        try:
            found[example] = example.hash()
        except InputError as error:
            bad.append((example, error))
        progress(at, len(examples), "reading")
    return found, bad


def fingerprint(examples: Sequence[Example], hashes: Mapping[Example, str]) -> str:
    """SHA-256 of all examples in their order: content, split and class. It changes when any of them does.

    Args:
        examples: of all splits.
        hashes: of their content; absent where a file cannot be read.
    """
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps([hashes.get(example, ""), example.split, example.label]).encode() + b"\n")
    return digest.hexdigest()


def place_of(files: LabelledFiles) -> str:
    """Where the data lie, or the name of a well-known set."""
    source = Path(files.source)
    return str(source.absolute()) if source.exists() else files.source
