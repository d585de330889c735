"""Does every pixel have its class? Semantic segmentation by one confusion matrix of the whole set.

IoUs of images are never averaged. What becomes of background has to be said with every figure:

* ``"none"``: the set has no background (ADE20K, COCO-Stuff, Cityscapes).
* ``"ignored"``: background pixels carry the ignored label, and no background class was offered (VOC-20, Context-59).
* ``"class"``: background is a class like the others, however it was predicted: by a threshold on the probability of the
  other classes, or by names of its own (VOC-21, Context-60, COCO-Object). Say which.
* ``"folded"``: the last class is background, and every predicted label from it upwards becomes it: predictions are made
  with more names than are scored (PAS-20b).

Figures of different conventions cannot be compared.

Source: the convention of detectron2's semantic segmentation evaluator; Everingham et al., "The Pascal Visual Object
Classes Challenge", IJCV 2010, for the IoU of a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import same_ids
from whenwhere.metrics.result import Figures, Result, ratio

Background = Literal["none", "ignored", "class", "folded"]

_SAYS = {
    "none": "the set has no background",
    "ignored": "background pixels are ignored",
    "class": "background is a class",
    "folded": "labels from the last class upwards become background, the last class",
}


def semantic_segmentation(
    predictions: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    *,
    classes: int,
    background: Background,
    ignore: int | None = 255,
) -> Result:
    """IoU and accuracy of label maps.

    Args:
        predictions: by image, whole numbers ``(height, width)`` in 0..classes - 1 (any >= 0 with ``"folded"``); what
            stands on ignored pixels does not matter.
        truths: by the same images, whole numbers of the same size.
        classes: how many there are, a background class included.
        background: see the module.
        ignore: true label of the pixels that do not count; None if there is none.

    Returns:
        Result with one item per image, figures in 0..1: ``mIoU`` and ``mean_accuracy`` over the classes that the truth
        has, ``fwIoU`` (IoU weighted by true pixels), ``pixel_accuracy``, and ``IoU/<class>`` for each of these classes.

    Raises:
        InputError: naming the image whose labels cannot be scored.
    """
    if background not in get_args(Background):
        raise InputError(f"background={background!r}", " or ".join(map(repr, get_args(Background))))
    if classes < 1:
        raise InputError(f"{classes} classes", "at least one")
    ids = same_ids(predictions, truths, "image")
    table = np.zeros((len(ids), 3, classes))  # pixels that are right, true, predicted
    ignored = 0
    for row, image in enumerate(ids):
        said, true = (np.asarray(side[image]) for side in (predictions, truths))
        if said.dtype.kind not in "iu" or true.dtype.kind not in "iu" or said.ndim != 2 or said.shape != true.shape:
            raise InputError(
                f"image {image!r}: label maps {said.dtype} {said.shape} and {true.dtype} {true.shape}",
                "whole numbers (height, width) of one size",
            )
        valid = np.ones(true.shape, dtype=bool) if ignore is None else true != ignore
        ignored += int((~valid).sum())
        said, true = said[valid].astype(np.int64), true[valid].astype(np.int64)
        if background == "folded":
            said = np.minimum(said, classes - 1)
        for labels, side in ((said, "predicted"), (true, "true")):
            if labels.size and not 0 <= labels.min() <= labels.max() < classes:
                wrong = labels.min() if labels.min() < 0 else labels.max()
                raise InputError(f"image {image!r}: {side} label {wrong}", f"0..{classes - 1} on pixels that count")
        table[row] = [np.bincount(part, minlength=classes) for part in (true[said == true], true, said)]

    def compute(weights: np.ndarray) -> Figures:
        right, true, said = np.tensordot(weights, table, axes=1)
        there = true > 0
        if not there.any():
            return dict.fromkeys(("mIoU", "mean_accuracy", "fwIoU", "pixel_accuracy"), float("nan"))
        overlap = ratio(right, true + said - right)
        return {
            "mIoU": float(overlap[there].mean()),
            "mean_accuracy": float((right[there] / true[there]).mean()),
            "fwIoU": float((overlap * true).sum() / true.sum()),
            "pixel_accuracy": float(right.sum() / true.sum()),
            **{f"IoU/{label}": float(overlap[label]) for label in np.flatnonzero(there).tolist()},
        }

    absent = int((table[:, 1].sum(axis=0) == 0).sum())
    return Result(
        f"semantic segmentation: one confusion matrix of the set, mean over the classes in the truth; {_SAYS[background]}",
        ids,
        {"pixels": table},
        {"images": len(ids), "pixels ignored": ignored, "classes skipped because the truth does not have them": absent},
        compute,
    )
