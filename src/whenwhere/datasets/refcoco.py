"""RefCOCO, RefCOCO+ and RefCOCOg in the JSON form of MDETR: phrases that mean one object of a picture.

A file in the form of COCO with one entry of ``images`` for each phrase. The pickles of REFER are not read, as reading a
pickle runs code from it. Sources: Yu et al., "Modeling Context in Referring Expressions", ECCV 2016; Kamath et al.,
"MDETR - Modulated Detection for End-to-End Multi-Modal Understanding", ICCV 2021.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from whenwhere.datasets.fields import Field, read_json
from whenwhere.errors import InputError
from whenwhere.reports.coco import polygon_mask
from whenwhere.results import MediaRef, Region, rle
from whenwhere.results.files import write_text


@dataclass(frozen=True)
class Expression:
    """A phrase and the object that it means.

    Args:
        image: file and size of the picture.
        image_id: number of the picture, the same for all its phrases.
        object_id: number of the object, the same for all its phrases.
        region: box of the object, its mask if there is one, and as text the phrase.
        span: first character, and the one after the last, of the words that mean the object.
        category: number of its class.
        dataset: name of the set.
    """

    image: MediaRef
    image_id: int
    object_id: int
    region: Region
    span: tuple[int, int]
    category: int
    dataset: str = ""


def read(path: str | os.PathLike[str]) -> list[Expression]:
    """Read a file of phrases, in the order of its images.

    Raises:
        InputError: naming the entry and the field that is missing or malformed, or a phrase that does not have
            exactly one object.
    """
    root = read_json(path, "file of phrases")
    objects: dict[int, Field] = {}
    for item in root["annotations"].items():
        number = item["image_id"].whole(0)
        if number in objects:
            raise InputError(f"{item['image_id'].place}: the phrase {number} has two objects", "one for each phrase")
        objects[number] = item
    found = []
    for entry in root["images"].items():
        number = entry["id"].whole(0)
        if number not in objects:
            raise InputError(f"{entry['id'].place}: the phrase {number} has no object", "one for each phrase")
        found.append(_expression(entry, objects.pop(number)))
    if objects:
        number, item = next(iter(objects.items()))
        raise InputError(f"{item['image_id'].place}: there is no image {number}", "an image for each annotation")
    return found


def write(path: str | os.PathLike[str], expressions: Iterable[Expression], categories: Iterable[str]) -> None:
    """Write a file of phrases.

    Args:
        path: the file.
        expressions: the phrases; their number is their place.
        categories: names of the classes, from number 1 on.
    """
    images, objects = [], []
    for number, item in enumerate(expressions):
        x1, y1, x2, y2 = (float(side) for side in item.region.box)
        images.append(
            {
                "id": number,
                "file_name": item.image.path,
                "height": item.image.height,
                "width": item.image.width,
                "original_id": item.image_id,
                "caption": item.region.text,
                "dataset_name": item.dataset,
                "tokens_negative": [[0, len(item.region.text)]],
            }
        )
        row = {
            "id": number,
            "image_id": number,
            "original_id": item.object_id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1) if item.region.mask is None else int(item.region.mask.sum()),
            "iscrowd": 0,
            "category_id": item.category,
            "tokens_positive": [list(item.span)],
        }
        if item.region.mask is not None:
            row["segmentation"] = rle.to_coco(item.region.mask)
        objects.append(row)
    classes = [{"id": number, "name": name} for number, name in enumerate(categories, 1)]
    write_text(path, json.dumps({"images": images, "annotations": objects, "categories": classes}) + "\n")


def _expression(entry: Field, item: Field) -> Expression:
    text = entry["caption"].text()
    width, height = entry["width"].whole(1), entry["height"].whole(1)
    x, y, wide, high = item["bbox"].numbers(4)
    if wide < 0 or high < 0:
        raise item["bbox"].refuse("x, y, width and height, these two not below 0")
    spans = [tuple(side.whole(0, len(text)) for side in span.items(2)) for span in item["tokens_positive"].items()]
    span = (min((s[0] for s in spans), default=0), max((s[1] for s in spans), default=len(text)))
    original = "original_id" if entry.has("original_id") else "original_img_id"
    box = np.array([x, y, x + wide, y + high], np.float32)
    return Expression(
        MediaRef(entry["file_name"].text(), None, width, height),
        entry[original].whole(0),
        item["original_id"].whole(0),
        Region(box, text, mask=_mask(item, height, width)),
        span,
        item["category_id"].whole(0),
        entry["dataset_name"].text() if entry.has("dataset_name") else "",
    )


def _mask(item: Field, height: int, width: int) -> np.ndarray | None:
    """The mask of an object, from polygons or run lengths; None if there is none."""
    if not item.has("segmentation"):
        return None
    field = item["segmentation"]
    try:
        if isinstance(field.value, list):
            return polygon_mask([[v.number() for v in part.items()] for part in field.items()], height, width)
        mask = rle.from_coco(field.value)
    except InputError as error:
        raise InputError(f"{field.place}: {error.given}", error.expected, error.todo) from None
    if mask.shape != (height, width):
        raise InputError(f"{field.place} is of {mask.shape[1]} x {mask.shape[0]}", f"{width} x {height}, as the image")
    return mask
