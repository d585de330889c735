"""Does each word know its place? Distance of the points of words from where a person's mouse was (Localized Narratives).

Sources: Xu et al., "Pixel Aligned Language Models", CVPR 2024, for the point error; the hit rate and the centre distance
are additions of this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import field_of, numbers, place_of
from whenwhere.metrics.result import Figures, Result, weighted_mean

_MARGIN = 0.05  # of the image's width and height, around the true box of a word


def word_grounding(images: Sequence[Mapping[str, Any]]) -> Result:
    """Compare the points of words, with the true caption given.

    Args:
        images: ``{"id", "size": [width, height], "words": [{"predicted": [[x, y], ...], "true": [[x, y], ...]}, ...]}``
            in pixels of the image itself, without padding. A word without true points, or with zeros alone, is skipped.

    Returns:
        Result with one item per image that has a word with a place:

        * ``point_l1``: x and y as shares of width and height; per predicted point the smallest mean of ``|dx|`` and
          ``|dy|`` to a true point; mean over the points of a word, the words of an image, the images. 0 is perfect;
        * ``hit_rate``: share of words, over all images together, whose predicted box has its centre in the true box
          widened by 5 % of the image on each side; in 0..1;
        * ``centre_distance``: median over all words of the distance of the centres of both boxes, as a share of the
          image's diagonal.

    Raises:
        InputError: naming the image and the word that cannot be scored.
    """
    ids, errors, rows, hits, distances = [], [], [], [], []
    skipped = wordless = 0
    for number, image in enumerate(images):
        place = place_of(image, f"image {number}")
        name = str(field_of(image, "id", place))
        size = numbers(field_of(image, "size", place), f"{place}: size", (2,))
        if (size <= 0).any():
            raise InputError(f"{place}: size {size.tolist()}", "a width and a height above 0")
        if name in ids:
            raise InputError(f"{place}: id {name!r} for the second time", "every image once")
        words = []
        for index, word in enumerate(field_of(image, "words", place)):
            what = f"{place}, word {index}"
            true = numbers(field_of(word, "true", what), f"{what}: true", (None, 2))
            if not true.any():
                skipped += 1
                continue
            said = numbers(field_of(word, "predicted", what), f"{what}: predicted", (None, 2))
            if len(said) == 0:
                raise InputError(f"{what} without a predicted point", "at least one for every word that has a place")
            words.append(_word(said / size, true / size, size))
        if not words:
            wordless += 1
            continue
        errors.append(np.mean([word[0] for word in words]))
        hits += [word[1] for word in words]
        distances += [word[2] for word in words]
        rows += [len(ids)] * len(words)
        ids.append(name)
    if not ids:
        raise InputError("no word with a place in any image", "at least one")
    error, owner = np.array(errors), np.array(rows)
    hit, distance = np.array(hits, dtype=np.float64), np.array(distances)

    def compute(weights: np.ndarray) -> Figures:
        times = weights[owner].astype(np.int64)
        return {
            "point_l1": float(weighted_mean(error, weights)),
            "hit_rate": float(weighted_mean(hit, times)),
            "centre_distance": float(np.median(np.repeat(distance, times))) if times.any() else float("nan"),
        }

    per_image = [np.bincount(owner, weights=values, minlength=len(ids)) for values in (hit, np.ones(len(hit)))]
    return Result(
        "word grounding: point error as a share of width and height, mean over points, words of an image, images",
        tuple(ids),
        {"point_l1": error, "hits": per_image[0], "words": per_image[1]},
        {
            "images": len(ids),
            "words": len(hit),
            "words skipped because they have no true point": skipped,
            "images skipped because no word has a place": wordless,
        },
        compute,
    )


def _word(said: np.ndarray, true: np.ndarray, size: np.ndarray) -> tuple[float, bool, float]:
    """Error, hit and centre distance of one word; points as shares of the image."""
    apart = np.abs(said[:, None] - true).mean(axis=2)  # (predicted, true)
    centre = (said.min(axis=0) + said.max(axis=0)) / 2
    low, high = true.min(axis=0), true.max(axis=0)
    hit = bool((centre >= low - _MARGIN).all() and (centre <= high + _MARGIN).all())
    distance = np.linalg.norm((centre - (low + high) / 2) * size) / np.linalg.norm(size)
    return float(apart.min(axis=1).mean()), hit, float(distance)
