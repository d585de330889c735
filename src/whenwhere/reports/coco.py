"""COCO (https://cocodataset.org/#format-data): regions as instances and captions of images, in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import MediaRef, Region, checks, rle
from whenwhere.results.files import read_text, write_text
from whenwhere.results.record import Record, floats, parse_json

_FARTHEST = 1e9  # pixels from the origin; beyond this the arithmetic on edges loses the pixel


@dataclass(frozen=True, eq=False)
class Picture(Record):
    """One image with what is known of it.

    Args:
        media: the image.
        regions: places in it; COCO calls the text of a region its category.
        captions: sentences about the whole image.
        id: the image's number in the data set, >= 0; ``None`` lets the writer count.

    Raises:
        InputError: a value is of the wrong type.
    """

    media: MediaRef
    regions: Sequence[Region] = ()
    captions: Sequence[str] = ()
    id: int | None = None

    def __post_init__(self) -> None:
        checks.instances("media", [self.media], MediaRef)
        object.__setattr__(self, "regions", checks.instances("regions", self.regions, Region))
        captions = (checks.string("caption", text) for text in checks.instances("captions", self.captions, str))
        object.__setattr__(self, "captions", tuple(captions))
        if self.id is not None:
            object.__setattr__(self, "id", checks.integer("picture.id", self.id, least=0))


def instances(pictures: Iterable[Picture]) -> dict[str, Any]:
    """Return the COCO instances form: images, annotations with box, area, mask (compressed RLE) and score, categories.

    Each distinct region text is a category, numbered from 1 in alphabetical order. A region's time is kept in the
    annotation as ``time``, which readers of plain COCO pass over.

    Raises:
        InputError: two pictures have the same id.
    """
    numbered = _numbered(pictures)
    texts = sorted({region.text for _, picture in numbered for region in picture.regions})
    category = {text: number for number, text in enumerate(texts, 1)}
    annotations: list[dict[str, Any]] = []
    for image, picture in numbered:
        for region in picture.regions:
            x1, y1, x2, y2 = floats(region.box)
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": category[region.text],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            if region.mask is not None:
                annotation |= {"area": int(region.mask.sum()), "segmentation": rle.to_coco(region.mask)}
            extras = {"score": region.score, "time": region.time}
            annotations.append(annotation | {name: value for name, value in extras.items() if value is not None})
    categories = [{"id": number, "name": text} for text, number in category.items()]
    return {"images": _images(numbered), "annotations": annotations, "categories": categories}


def captions(pictures: Iterable[Picture]) -> dict[str, Any]:
    """Return the COCO captions form: images, and an annotation for each caption.

    Raises:
        InputError: two pictures have the same id.
    """
    numbered = _numbered(pictures)
    pairs = [(image, text) for image, picture in numbered for text in picture.captions]
    annotations = [{"id": number, "image_id": image, "caption": text} for number, (image, text) in enumerate(pairs, 1)]
    return {"images": _images(numbered), "annotations": annotations}


def parse(data: str | Mapping[str, Any]) -> tuple[Picture, ...]:
    """Return the pictures of a COCO file in instances or captions form, in the order of its ``images``.

    Masks may be polygons, uncompressed RLE or compressed RLE; an annotation without box gets that of its mask. What
    else a file holds (licences, keypoints, ...) is passed over.

    Args:
        data: JSON text, or its parsed object.

    Raises:
        InputError: not strict JSON, not COCO, or a value that cannot be; names the annotation.
    """
    root = parse_json(data, "COCO file") if isinstance(data, str) else data
    if not isinstance(root, Mapping):
        raise InputError(f"COCO file holds a {type(root).__name__}", "an object with images and annotations")
    names = {
        _id(entry, "category"): checks.string("category name", entry.get("name")) for entry in _list(root, "categories")
    }
    media = {}
    for entry in _list(root, "images"):
        number = _id(entry, "image")
        if number in media:
            raise InputError(f"two images have the id {number}", "unique ids")
        media[number] = MediaRef(entry.get("file_name"), None, entry.get("width"), entry.get("height"))  # type: ignore[arg-type]
    regions: dict[int, list[Region]] = {number: [] for number in media}
    sentences: dict[int, list[str]] = {number: [] for number in media}
    for position, entry in enumerate(_list(root, "annotations")):
        try:
            image = checks.integer("image_id", entry.get("image_id"))
            if image not in media:
                raise InputError(f"image_id is {image}", "the id of an image in the file")
            if "caption" in entry:
                sentences[image].append(checks.string("caption", entry["caption"]))
            else:
                regions[image].append(_region(entry, media[image], names))
        except InputError as error:
            raise InputError(
                f"annotation {entry.get('id', position)}: {error.given}", error.expected, error.todo
            ) from None
    return tuple(Picture(ref, regions[number], sentences[number], number) for number, ref in media.items())


def write_instances(pictures: Iterable[Picture], path: str | os.PathLike[str]) -> None:
    """Write the instances form to a JSON file, whole or not at all; see :func:`instances`."""
    write_text(path, json.dumps(instances(pictures), ensure_ascii=False, allow_nan=False) + "\n")


def write_captions(pictures: Iterable[Picture], path: str | os.PathLike[str]) -> None:
    """Write the captions form to a JSON file, whole or not at all; see :func:`captions`."""
    write_text(path, json.dumps(captions(pictures), ensure_ascii=False, allow_nan=False) + "\n")


def read(path: str | os.PathLike[str]) -> tuple[Picture, ...]:
    """Return the pictures of a COCO file; see :func:`parse`."""
    return parse(read_text(path, "COCO file"))


def polygon_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return the (H, W) bool mask of the pixels whose centre lies in any of the polygons (even-odd rule).

    Args:
        polygons: flat lists ``x1, y1, x2, y2, ...`` of at least three points, in pixels.
        height: rows of the mask.
        width: columns of the mask.

    Raises:
        InputError: a polygon has fewer than three points or is not made of finite numbers.
    """
    height, width = checks.raster_size("mask", height, width)
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        flat = checks.array("polygon", polygon, np.float64, (None,))
        if len(flat) < 6 or len(flat) % 2:
            raise InputError(f"polygon has {len(flat)} numbers", "x and y of at least three points")
        if np.abs(flat).max() > _FARTHEST:
            raise InputError(f"polygon reaches {np.abs(flat).max():g} pixels", f"at most {_FARTHEST:g}")
        points = flat.reshape(-1, 2)
        crossings = np.zeros((height, width + 1), np.int32)  # how often each row's boundary is crossed at each column
        for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0)):
            low, high = sorted((ya, yb))
            # Row centres y + 0.5 in [low, high): an edge owns its upper end, so that a shared corner counts once
            rows = np.arange(*np.clip(np.ceil(np.array([low, high]) - 0.5), 0, height).astype(np.int64))
            if len(rows):
                x = xa + (rows + 0.5 - ya) * ((xb - xa) / (yb - ya))
                crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)] += 1
        mask |= np.cumsum(crossings[:, :width], axis=1) % 2 == 1
    return mask


def _region(entry: Mapping[str, Any], media: MediaRef, names: Mapping[int, str]) -> Region:
    category = checks.integer("category_id", entry.get("category_id"))
    if category not in names:
        raise InputError(f"category_id is {category}", "the id of a category in the file")
    mask = None
    if entry.get("segmentation"):
        mask = _mask(entry["segmentation"], media)
    if "bbox" in entry:
        x, y, width, height = checks.array("bbox", entry["bbox"], np.float64, (4,)).tolist()
        if width < 0 or height < 0:
            raise InputError(f"bbox is {width:g} x {height:g}", "x, y, width, height with no negative size")
        box = [x, y, x + width, y + height]
    elif mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    else:
        raise InputError("it has neither box nor mask", "bbox or segmentation")
    return Region(np.array(box, np.float64), names[category], entry.get("score"), mask, entry.get("time"))


def _mask(segmentation: Any, media: MediaRef) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygon_mask(segmentation, media.height, media.width)
    mask = rle.from_coco(segmentation)
    if mask.shape != (media.height, media.width):
        raise InputError(f"mask is {mask.shape[1]} x {mask.shape[0]}", f"the image's {media.width} x {media.height}")
    return mask


def _numbered(pictures: Iterable[Picture]) -> list[tuple[int, Picture]]:
    """Return pictures with their ids; those without one take the lowest numbers from 1 that no other picture has."""
    pictures = list(pictures)
    taken = [picture.id for picture in pictures if picture.id is not None]
    if len(set(taken)) != len(taken):
        raise InputError("two pictures have the same id", "unique ids, or None to have them counted")
    free = iter(sorted(set(range(1, len(pictures) + 1)) - set(taken)))
    return [(next(free) if picture.id is None else picture.id, picture) for picture in pictures]


def _images(numbered: Iterable[tuple[int, Picture]]) -> list[dict[str, Any]]:
    return [
        {"id": number, "file_name": picture.media.path, "width": picture.media.width, "height": picture.media.height}
        for number, picture in numbered
    ]


def _list(root: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = root.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"{name} of the COCO file is {checks.short(entries)}", "a list of objects")
    return entries


def _id(entry: Mapping[str, Any], what: str) -> int:
    return checks.integer(f"id of {what}", entry.get("id"), least=0)
