"""Box AP of COCO: the 12 figures of object detection in images, and AP by category.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.box_matches import accumulate, pool_matches
from whenwhere.metrics.files import read_json, read_records, reading
from whenwhere.metrics.records import field_of, id_of, numbers, place_of
from whenwhere.metrics.result import Figures, Result

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def box_ap(truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> Result:
    """The 12 figures of COCO detection for boxes, and AP by category.

    Args:
        truth: COCO instances: ``images``, ``annotations`` with ``bbox`` [x, y, width, height] in pixels (``area`` is
            the box's if not given, ``iscrowd`` 0), ``categories``.
        predictions: COCO results: ``[{"image_id", "category_id", "bbox", "score"}]``, in any order.

    Returns:
        Result with one item per image: ``AP`` (mean over IoU 0.50, 0.55, ..., 0.95), ``AP50``, ``AP75``, ``APs``,
        ``APm``, ``APl`` by area, ``AR1``, ``AR10``, ``AR100``, ``ARs``, ``ARm``, ``ARl``, and ``AP/<name>`` for each
        category with a true box (its id where the names are missing or not unique); in 0..1, NaN where there is no true
        box of that area (pycocotools says -1). Of equal scores the image with the lower id goes first, then the
        prediction that stands first.

    Raises:
        InputError: naming the image, annotation or prediction that cannot be scored.
    """
    return _result(*_read_truth(truth), predictions)


def read_coco(truth: str | os.PathLike[str], predictions: str | os.PathLike[str]) -> Result:
    """:func:`box_ap` of two JSON files; errors name the file."""
    root, found = read_json(Path(truth)), read_records(Path(predictions))
    if not isinstance(root, Mapping):
        raise InputError(f"{truth}: a {type(root).__name__}", "an object with images, annotations and categories")
    with reading(Path(truth)):
        known = _read_truth(root)
    return _result(*known, found)


def _read_truth(truth: Mapping[str, Any]) -> tuple[list[Any], dict[Any, str], dict[Any, list[dict[str, Any]]]]:
    """Image ids, categories and what they are called, true boxes by image."""
    images = [id_of(image, "id", f"image {index}") for index, image in enumerate(_list(truth, "images"))]
    entries = _list(truth, "categories")
    kinds = [id_of(entry, "id", f"category {row}") for row, entry in enumerate(entries)]
    for what, numbers_of in (("image", images), ("category", kinds)):
        if not numbers_of or len(set(numbers_of)) != len(numbers_of):
            raise InputError(
                f"{len(numbers_of)} entries with {len(set(numbers_of))} {what} ids", "at least one, every id once"
            )
    called = [str(entry.get("name", "")) for entry in entries]
    unique = len(set(called) - {""}) == len(kinds)
    names = dict(zip(kinds, called if unique else map(str, kinds)))
    return images, names, _by_image(_list(truth, "annotations"), images, kinds, "annotation")


def _result(
    images: list[Any],
    categories: dict[Any, str],
    annotations: dict[Any, list[dict[str, Any]]],
    predictions: Sequence[Mapping[str, Any]],
) -> Result:
    if isinstance(predictions, (str, Mapping)):
        raise InputError(f"predictions that are a {type(predictions).__name__}", "a list of boxes")
    said = _by_image(predictions, images, list(categories), "prediction", scored=True)
    images = sorted(images, key=lambda image: (isinstance(image, str), image))  # decides between equal scores
    pool, true = pool_matches(
        [said[image] for image in images], [annotations[image] for image in images], len(categories)
    )
    there = np.flatnonzero(true[:, 0].sum(axis=0)).tolist()
    names = {f"AP/{name}": row for row, name in enumerate(categories.values()) if row in there}

    def compute(weights: np.ndarray) -> Figures:
        precision, recall, first, ten = accumulate(pool, true, weights)
        parts = {"AP": precision[0], "AP50": precision[0, 0], "AP75": precision[0, 5]}
        parts |= {f"AP{mark}": precision[row] for row, mark in enumerate("sml", 1)}
        parts |= {"AR1": first, "AR10": ten, "AR100": recall[0]}
        parts |= {f"AR{mark}": recall[row] for row, mark in enumerate("sml", 1)}
        parts |= {name: precision[0, :, row] for name, row in names.items()}
        return {name: _mean(values) for name, values in parts.items()}

    counts = {
        "images": len(images),
        "images without prediction": sum(not said[image] for image in images),
        "true boxes": sum(map(len, annotations.values())),
        "true boxes that are crowds": sum(record["iscrowd"] for group in annotations.values() for record in group),
        "predicted boxes": sum(map(len, said.values())),
        "categories without a true box, which do not count": len(categories) - len(there),
    }
    items = {"true_boxes": np.array([len(annotations[image]) for image in images])}
    convention = (
        "COCO detection: boxes, IoU 0.50..0.95, 101 recalls, at most 100 predictions of a category in an image; AP/ is "
        "that of one category"
    )
    return Result(convention, tuple(map(str, images)), items, counts, compute, _absent_sizes(annotations))


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _list(root: Mapping[str, Any], name: str) -> list[Any]:
    entries = field_of(root, name, "ground truth")
    if not isinstance(entries, list):
        raise InputError(f"{name} that are a {type(entries).__name__}", "a list")
    return entries


def _by_image(
    records: Sequence[Any], images: list[Any], categories: list[Any], what: str, scored: bool = False
) -> dict[Any, list[dict[str, Any]]]:
    """Checked boxes of every image, in the order given, with categories numbered from 1."""
    groups: dict[Any, list[dict[str, Any]]] = {image: [] for image in images}
    number = {category: row for row, category in enumerate(categories, 1)}
    for index, record in enumerate(records):
        place = place_of(record, f"{what} {index}")
        image, category = id_of(record, "image_id", place), id_of(record, "category_id", place)
        for value, name, known in ((image, "image_id", groups), (category, "category_id", number)):
            if value not in known:
                raise InputError(f"{place}: {name} {value!r}", "one that the ground truth has")
        box = numbers(field_of(record, "bbox", place), f"{place}: bbox", (4,)).tolist()
        if box[2] < 0 or box[3] < 0:
            raise InputError(f"{place}: bbox is {box[2]:g} x {box[3]:g}", "x, y, width, height with no negative size")
        entry = {"category_id": number[category], "bbox": box}
        if scored:
            entry["score"] = float(numbers(field_of(record, "score", place), f"{place}: score"))
        else:
            entry["area"] = float(numbers(record.get("area", box[2] * box[3]), f"{place}: area"))
            if entry["area"] < 0:
                raise InputError(f"{place}: area {entry['area']:g}", "square pixels, not negative")
            entry["iscrowd"] = int(numbers(record.get("iscrowd", 0), f"{place}: iscrowd"))
        groups[image].append(entry)
    return groups


def _absent_sizes(annotations: Mapping[Any, list[dict[str, Any]]]) -> dict[str, str]:
    """Figures that are NaN because there is no true box of the size, and why."""
    areas = [record["area"] for group in annotations.values() for record in group if not record["iscrowd"]]
    sizes = {"s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}
    left_out: dict[str, str] = {}
    for mark, (least, most) in sizes.items():
        if not any(least <= area <= most for area in areas):
            left_out |= {f"{kind}{mark}": f"no true box of {least:g}..{most:g} square pixels" for kind in ("AP", "AR")}
    return left_out if areas else dict.fromkeys(NAMES, "no true box")
