"""Time of HOTA against TrackEval, and of box AP against pycocotools, on synthetic data of a realistic size.

Run: python benchmarks/tracking.py [--frames 1000] [--objects 30] [--out benchmarks/results/tracking.json]
Cost: about a minute on one core. Needs trackeval and pycocotools.
Both sides of each comparison run in turn in this one process, from boxes to figures; times are CPU time, the least of
the rounds, and figures have to agree.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.metadata
import io
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.metrics.box_ap import box_ap
from whenwhere.metrics.hota import hota
from whenwhere.metrics.tracks import Detections


def video(frames: int, objects: int) -> tuple[Detections, Detections]:
    """Objects that walk across a frame; the tracker misses 15 %, is a few pixels off and loses names now and then."""
    draw = np.random.default_rng(0)
    places = draw.uniform(0, 1800, (objects, 2)) + np.cumsum(draw.normal(0, 3, (frames, objects, 2)), axis=0)
    boxes = np.concatenate([places, places + draw.uniform(30, 150, (objects, 2))], axis=-1)  # (frames, objects, 4)
    names = np.arange(objects) + objects * np.cumsum(draw.random((frames, objects)) < 0.005, axis=0)
    there, seen = draw.random((frames, objects)) < 0.95, draw.random((frames, objects)) < 0.85
    frame = np.repeat(np.arange(frames), objects).reshape(frames, objects)
    truth = Detections(frame[there], np.tile(np.arange(objects), (frames, 1))[there], boxes[there])
    moved = boxes + np.tile(draw.normal(0, 6, (frames, objects, 2)), 2)
    return truth, Detections(frame[seen], names[seen], moved[seen])


def by_trackeval(
    truth: Detections, prediction: Detections, frames: int
) -> tuple[Callable[[], float], Callable[[], float]]:
    """HOTA by TrackEval: from boxes, and from similarities that are there already."""
    from trackeval.datasets._base_dataset import _BaseDataset
    from trackeval.metrics import HOTA

    sides = (truth, prediction)
    codes = [one.codes() for one in sides]
    rows = [[np.flatnonzero(one.frames == frame) for frame in range(frames)] for one in sides]
    boxes = [[one.boxes[places] for places in side] for one, side in zip(sides, rows)]
    data: dict[str, Any] = {
        name: [code[places] for places in side] for name, code, side in zip(("gt_ids", "tracker_ids"), codes, rows)
    }
    for name, one, code in zip(("gt", "tracker"), sides, codes):
        data |= {f"num_{name}_dets": len(one), f"num_{name}_ids": len(set(code.tolist()))}

    def similarities() -> list[np.ndarray]:
        return [_BaseDataset._calculate_box_ious(a, b, box_format="x0y0x1y1") for a, b in zip(*boxes)]

    there = similarities()

    def score(tables: list[np.ndarray]) -> float:
        return float(HOTA().eval_sequence(data | {"similarity_scores": tables})["HOTA"].mean())

    return (lambda: score(similarities())), (lambda: score(there))


def scene(images: int, boxes: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO records of ten categories, three predictions for each true box."""
    draw = np.random.default_rng(0)
    annotations, said = [], []
    for image in range(1, images + 1):
        for _ in range(boxes):
            box = np.concatenate([draw.uniform(0, 500, 2), draw.uniform(10, 200, 2)])
            record = {"image_id": image, "category_id": int(draw.integers(1, 11))}
            area = float(box[2] * box[3])
            annotations.append(record | {"id": len(annotations) + 1, "bbox": box.tolist(), "area": area, "iscrowd": 0})
            for _ in range(3):
                near = np.abs(box + draw.normal(0, 8, 4)).tolist()
                said.append(record | {"bbox": near, "score": float(draw.random())})
    categories = [{"id": number, "name": str(number)} for number in range(1, 11)]
    pictures = [{"id": image, "width": 700, "height": 700} for image in range(1, images + 1)]
    return {"images": pictures, "annotations": annotations, "categories": categories}, said


def by_pycocotools(truth: dict[str, Any], said: list[dict[str, Any]]) -> float:
    """AP by pycocotools, with its printing caught; the records are its own to change."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(said), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def compare(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, Any]:
    """Least CPU seconds of each side, run in turn, and the figure that they agree on."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    figures: dict[str, float] = {}
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.process_time()
            figures[name] = run()
            seconds[name].append(time.process_time() - start)
    values = list(figures.values())
    if not np.allclose(values, values[0], rtol=0, atol=1e-9):
        raise SystemExit(f"the figures differ: {figures}")
    least = {name: min(times) for name, times in seconds.items()}
    ours = next(iter(least.values()))
    others = {f"times_faster_than_{name}": value / ours for name, value in list(least.items())[1:]}
    return {"figure": values[0], "cpu_seconds": least, **others}


def main() -> None:
    """Run both comparisons and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=30)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tracking.json")
    options = parser.parse_args()
    truth, said = video(options.frames, options.objects)
    from_boxes, from_tables = by_trackeval(truth, said, options.frames)
    hota({"warm": video(5, 3)})
    tracked = compare(
        {
            "whenwhere": lambda: hota({"v": (truth, said)}).figures()["HOTA"],
            "trackeval": from_boxes,
            "trackeval_without_its_iou": from_tables,
        },
        options.rounds,
    )
    known, found = scene(options.images, 15)
    box_ap(*scene(2, 2)).figures()
    copies = [(copy.deepcopy(known), copy.deepcopy(found)) for _ in range(options.rounds)]
    boxed = compare(
        {
            "whenwhere": lambda: box_ap(known, found).figures()["AP"],
            "pycocotools": lambda: by_pycocotools(*copies.pop()),
        },
        options.rounds,
    )
    packages = ("numpy", "scipy", "trackeval", "pycocotools")
    about = {name: importlib.metadata.version(name) for name in packages} | {"machine": platform.machine()}
    results = {
        "about": about,
        "HOTA": {"frames": options.frames, "objects": options.objects, **tracked},
        "box AP": {
            "images": options.images,
            "true_boxes": len(known["annotations"]),
            "predictions": len(found),
            **boxed,
        },
    }
    print(json.dumps(results, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, options.out)


if __name__ == "__main__":
    main()
