"""Readers for the small COCO sets that the recipes use: captions as text alone, and images with their captions."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from whenwhere.errors import InputError


@dataclass(frozen=True)
class CaptionedImages:
    """Images of one split with their human captions; ``paths[i]`` belongs to ``captions[i]``."""

    paths: list[Path]
    captions: list[list[str]]


def caption_texts(shared: Path) -> list[list[str]]:
    """Training captions, grouped by the image they were written for (whose pixels are never used).

    Args:
        shared: folder with ``text/coco_captions.jsonl.gz``, lines of ``{"image_id", "captions"}``.

    Raises:
        InputError: the file is missing or a line is damaged.
    """
    path = shared / "text" / "coco_captions.jsonl.gz"
    if not path.is_file():
        raise InputError(f"{path} does not exist", "COCO captions as JSON lines", "give the data folder with --shared")
    groups = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                groups.append([" ".join(text.split()) for text in json.loads(line)["captions"]])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}:{number}: {error}", 'a line {"image_id": ..., "captions": [...]}') from error
    return groups


def read_split(shared: Path, split: str) -> CaptionedImages:
    """The images of ``coco_mini/SPLIT`` with their captions.

    Args:
        shared: folder with ``coco_mini``.
        split: "train" (50 images) or "val" (90 images).

    Raises:
        InputError: the files are missing or of another form.
    """
    folder = shared / "coco_mini" / split
    path = folder / "captions.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist", "COCO captions", "give the data folder with --shared")
    data = json.loads(path.read_text(encoding="utf-8"))
    captions: dict[int, list[str]] = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        captions[annotation["image_id"]].append(" ".join(annotation["caption"].split()))
    return CaptionedImages(
        [folder / "images" / image["file_name"] for image in data["images"]],
        [captions[image["id"]] for image in data["images"]],
    )
