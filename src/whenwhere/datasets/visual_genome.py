"""Visual Genome: pictures with many described regions.

``region_descriptions.json`` has the regions, ``image_data.json`` the sizes of the pictures. Source: Krishna et al.,
"Visual Genome: Connecting Language and Vision Using Crowdsourced Dense Image Annotations", IJCV 2017.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whenwhere.datasets.fields import read_json
from whenwhere.errors import InputError
from whenwhere.results import MediaRef, Region
from whenwhere.results.files import write_text


@dataclass(frozen=True)
class DescribedImage:
    """A picture with its regions.

    Args:
        image: file name (the number with ``.jpg``) and size.
        number: of the picture.
        regions: box and phrase of each.
        ids: number of each region.
        coco: number of the same picture in COCO, if it is there.
    """

    image: MediaRef
    number: int
    regions: tuple[Region, ...]
    ids: tuple[int, ...]
    coco: int | None = None


def read(folder: str | os.PathLike[str]) -> list[DescribedImage]:
    """Read the two files of a folder; boxes are clipped to their picture, which some of the public ones leave.

    Raises:
        InputError: naming the field that is missing or malformed, or a picture whose size is not known.
    """
    sizes = {}
    for item in read_json(Path(folder) / "image_data.json", "file of sizes").items():
        coco = item["coco_id"] if item.has("coco_id") else None
        known = None if coco is None or coco.value is None else coco.whole(0)
        sizes[item["image_id"].whole(0)] = (item["width"].whole(1), item["height"].whole(1), known)
    found = []
    for entry in read_json(Path(folder) / "region_descriptions.json", "file of regions").items():
        number = entry["id"].whole(0)
        if number not in sizes:
            raise InputError(f"{entry['id'].place}: image {number} is not in image_data.json", "the size of each")
        width, height, coco_id = sizes[number]
        regions, ids = [], []
        for item in entry["regions"].items():
            x, y, wide, high = (item[name].number() for name in ("x", "y", "width", "height"))
            if wide < 0 or high < 0:
                raise item["width"].refuse("width and height, not below 0")
            box = np.array([x, y, x + wide, y + high], np.float32).clip(0, [width, height, width, height])
            regions.append(Region(box, item["phrase"].text().strip()))
            ids.append(item["region_id"].whole(0))
        image = MediaRef(f"{number}.jpg", None, width, height)
        found.append(DescribedImage(image, number, tuple(regions), tuple(ids), coco_id))
    return found


def write(folder: str | os.PathLike[str], images: Iterable[DescribedImage]) -> None:
    """Write the two files; boxes are in whole pixels.

    Raises:
        InputError: a box has parts of a pixel.
    """
    sizes, rows = [], []
    for item in images:
        size = {"width": item.image.width, "height": item.image.height}
        sizes.append({"image_id": item.number, **size, "coco_id": item.coco, "flickr_id": None, "url": ""})
        regions = []
        for number, region in zip(item.ids, item.regions, strict=True):
            x1, y1, x2, y2 = (int(side) for side in region.box)
            if (region.box != (x1, y1, x2, y2)).any():
                raise InputError(f"the box of region {number} is {region.box.tolist()}", "whole pixels")
            box = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
            regions.append({"region_id": number, "image_id": item.number, "phrase": region.text, **box})
        rows.append({"id": item.number, "regions": regions})
    write_text(Path(folder) / "image_data.json", json.dumps(sizes, indent=1) + "\n")
    write_text(Path(folder) / "region_descriptions.json", json.dumps(rows, indent=1) + "\n")
