"""Small random files for every task of ``whenwhere score``: truth, a perfect prediction, an empty one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Files = dict[str, Any]  # path to JSON (.json), records (.jsonl), text (.txt) or an array (.png)


@dataclass(frozen=True)
class Case:
    """Files of a task.

    Attributes:
        gt, pred: what is handed to the command.
        truth, perfect: the files; ids and counts are the same for every seed, contents are not.
        empty: a prediction that holds nothing, as far as the format allows it.
        best: figures of the perfect prediction.
        worst: figures of the empty one, or what is told if it cannot be scored.
        options: of the command.
        ordered: whether the lists of the truth are in an order that means something.
    """

    gt: str
    pred: str
    truth: Files
    perfect: Files
    empty: Files
    best: dict[str, float]
    worst: dict[str, float] | str
    options: tuple[str, ...] = ()
    ordered: bool = False


WORDS = [a + b for a in "bcdfgklmnprst" for b in ("ana", "elo", "isu", "ora", "umi", "ake", "ipo")]


def sentence(draw: random.Random, most: int = 8) -> str:
    return " ".join(draw.sample(WORDS, draw.randint(5, most)))


def box(draw: random.Random) -> list[float]:
    """x, y, width, height in whole pixels."""
    return [draw.randint(0, 60), draw.randint(0, 60), draw.randint(8, 30), draw.randint(8, 30)]


def corners(ltwh: list[float]) -> list[float]:
    left, top, width, height = ltwh
    return [left, top, left + width, top + height]


def spans(draw: random.Random, count: int, step: int = 20) -> list[list[float]]:
    """Spans of time that do not touch each other."""
    return [[i * step + draw.randint(0, 4), i * step + draw.randint(8, step - 2)] for i in range(count)]


def zeros(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 0.0)


def ones(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 1.0)


def captions(draw: random.Random) -> Case:
    told = {image: sentence(draw) for image in range(4)}
    return Case(
        "gt.json",
        "pred.json",
        {"gt.json": {"annotations": [{"image_id": image, "caption": text} for image, text in told.items()]}},
        {"pred.json": [{"image_id": image, "caption": text} for image, text in told.items()]},
        {"pred.json": [{"image_id": image, "caption": ""} for image in told]},
        {"CIDEr": 10.0, **ones("ROUGE_L", "Bleu_1", "Bleu_4")},
        zeros("CIDEr", "ROUGE_L", "Bleu_1", "Bleu_4"),
    )


def dense_captions(draw: random.Random) -> Case:
    videos = {
        name: {"timestamps": spans(draw, 3), "sentences": [sentence(draw) for _ in range(3)]}
        for name in ("a", "b", "c")
    }
    said = {
        name: [{"timestamp": span, "sentence": text} for span, text in zip(entry["timestamps"], entry["sentences"])]
        for name, entry in videos.items()
    }
    return Case(
        "gt.json",
        "pred.json",
        {"gt.json": videos},
        {"pred.json": {"results": said}},
        {"pred.json": {"results": {name: [] for name in videos}}},
        {"CIDEr": 10.0, **ones("ROUGE_L", "Bleu_4", "precision", "recall", "f1_per_video", "f1_per_threshold")},
        zeros("CIDEr", "ROUGE_L", "Bleu_4", "precision", "recall", "f1_per_video"),
        ordered=True,  # the sentences go with the timestamps
    )


def moments(draw: random.Random) -> Case:
    truth, said = [], []
    for qid in range(3):
        windows = [[2 * start, 2 * end] for start, end in spans(draw, 2, 10 + qid)]
        clips = [clip for start, end in windows for clip in range(int(start) // 2, int(end) // 2)]
        rates = {clip: draw.randint(2, 4) for clip in clips} | {clips[0]: 4}
        truth.append(
            {
                "qid": qid,
                "duration": 100,
                "relevant_windows": windows,
                "relevant_clip_ids": clips,
                "saliency_scores": [[rates[clip]] * 3 for clip in clips],
            }
        )
        said.append(
            {
                "qid": qid,
                "pred_relevant_windows": [[*window, 1.0] for window in windows],
                "pred_saliency_scores": [rates.get(clip, 0) / 4 for clip in range(50)],
            }
        )
    empty = [{**record, "pred_relevant_windows": [], "pred_saliency_scores": [0.0] * 50} for record in said]
    names = ("MR-full-R1@0.5", "MR-full-R1@0.7", "MR-full-mAP", "MR-full-mIoU")
    return Case(
        "gt.jsonl",
        "pred.jsonl",
        {"gt.jsonl": truth},
        {"pred.jsonl": said},
        {"pred.jsonl": empty},
        ones(*names, "HL-min-VeryGood-mAP", "HL-min-VeryGood-Hit1", "HL-min-Fair-mAP"),
        zeros(*names),
    )


def actions(draw: random.Random) -> Case:
    videos = {name: [(draw.choice("jw"), span) for span in spans(draw, 3)] for name in "abc"}
    truth = {
        name: {"annotations": [{"label": label, "segment": span} for label, span in found]}
        for name, found in videos.items()
    }
    said = {
        name: [{"label": label, "segment": span, "score": draw.random()} for label, span in found]
        for name, found in videos.items()
    }
    return Case(
        "gt.json",
        "pred.json",
        {"gt.json": {"database": truth}},
        {"pred.json": {"results": said}},
        {"pred.json": {"results": {name: [] for name in videos}}},
        ones("mAP", "mAP@0.5", "mAP@0.95"),
        zeros("mAP", "mAP@0.5"),
    )


def referring(draw: random.Random) -> Case:
    boxes = [{"id": number, "bbox": box(draw)} for number in range(5)]
    return Case(
        "gt.jsonl",
        "pred.jsonl",
        {"gt.jsonl": boxes},
        {"pred.jsonl": boxes},
        {"pred.jsonl": [{**record, "bbox": None} for record in boxes]},
        ones("P@0.5", "mIoU"),
        zeros("P@0.5", "mIoU"),
    )


def names(draw: random.Random) -> Case:
    found = {
        key: [{"text": draw.choice(WORDS), "label": draw.choice(["PERSON", "GPE"])} for _ in range(3)] for key in "abcd"
    }
    return Case(
        "gt.jsonl",
        "pred.jsonl",
        {"gt.jsonl": [{"id": key, "caption_entities": entities} for key, entities in found.items()]},
        {"pred.jsonl": [{"id": key, "generated_entities": entities} for key, entities in found.items()]},
        {"pred.jsonl": [{"id": key, "generated_entities": []} for key in found]},
        ones("precision", "recall", "f1", "lenient_f1"),
        zeros("precision", "recall", "f1", "lenient_f1"),
    )


def tracks(draw: random.Random) -> dict[tuple[int, int], list[float]]:
    """Boxes that stay apart, by frame and identity."""
    places = {identity: (100 * identity + draw.randint(0, 20), draw.randint(0, 20)) for identity in (1, 2, 3)}
    return {
        (frame, identity): [x + draw.randint(0, 9), y + draw.randint(0, 9), 20 + draw.randint(0, 9), 30.0]
        for frame in range(1, 6)
        for identity, (x, y) in places.items()
    }


def mot(draw: random.Random) -> Case:
    text = "".join(
        f"{frame},{identity},{','.join(map(str, place))},1,-1,-1,-1\n"
        for (frame, identity), place in tracks(draw).items()
    )
    return Case(
        "gt.txt",
        "pred.txt",
        {"gt.txt": text},
        {"pred.txt": text},
        {"pred.txt": ""},
        {**ones("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1"), **zeros("IDSW", "Frag", "FP", "FN")},
        zeros("HOTA", "MOTA", "IDF1"),
    )


def dense_voc(draw: random.Random) -> Case:
    told = {identity: sentence(draw) for identity in (1, 2, 3)}
    boxes = [
        {"image_id": frame, "track_id": identity, "bbox": place, "caption": told[identity]}
        for (frame, identity), place in tracks(draw).items()
    ]
    return Case(
        "gt.json",
        "pred.json",
        {"gt.json": {"images": [{"id": frame, "video_id": "v"} for frame in range(1, 6)], "annotations": boxes}},
        {"pred.json": [{**record, "score": 0.9} for record in boxes]},
        {"pred.json": []},
        {**ones("DetA@0.5", "AssA@0.5", "HOTA@0.5"), "CapA[CIDEr]@0.5": 10.0},
        zeros("DetA@0.5", "AssA@0.5", "HOTA@0.5"),
    )


def boxes(draw: random.Random) -> Case:
    places = [(image, draw.choice([1, 2]), box(draw)) for image in range(1, 5) for _ in range(2)]
    truth = {
        "images": [{"id": image, "width": 99, "height": 99} for image in range(1, 5)],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": kind,
                "bbox": place,
                "area": place[2] * place[3],
                "iscrowd": 0,
            }
            for number, (image, kind, place) in enumerate(places, 1)
        ],
    }
    said = [
        {"image_id": image, "category_id": kind, "bbox": place, "score": round(draw.random(), 6)}
        for image, kind, place in places
    ]
    best = ones("AP", "AP50", "AP75", "AR100")
    return Case("gt.json", "pred.json", {"gt.json": truth}, {"pred.json": said}, {"pred.json": []}, best, zeros(*best))


def tubes(draw: random.Random) -> Case:
    found = []
    for key in "abc":
        start = draw.randint(0, 5)
        frames = {str(frame): corners(box(draw)) for frame in range(start, start + 4)}
        found.append({"id": key, "span": [start, start + 4], "boxes": frames})
    best = ones("sIoU", "tIoU", "vIoU", "vIoU@0.5")
    return Case(
        "gt.jsonl", "pred.jsonl", {"gt.jsonl": found}, {"pred.jsonl": found}, {"pred.jsonl": []}, best, zeros(*best)
    )


def blocks(draw: random.Random, most: int) -> np.ndarray:
    """Labels 0..most, each a block of its own."""
    labels = np.zeros((24, 32), np.uint8)
    for label in range(1, most + 1):
        top, left = draw.randint(1, 12), 10 * (label - 1) + draw.randint(1, 3)
        labels[top : top + 9, left : left + 7] = label
    return labels


def pictures(truth: Files, best: dict[str, float], *options: str) -> Case:
    """Pictures of labels; the empty prediction is 0 everywhere."""
    return Case(
        "gt",
        "pred",
        {f"gt/{name}": labels for name, labels in truth.items()},
        {f"pred/{name}": labels for name, labels in truth.items()},
        {f"pred/{name}": np.zeros_like(labels) for name, labels in truth.items()},
        best,
        zeros(*best),
        options,
    )


def vos(draw: random.Random) -> Case:
    masks = {f"{video}/{frame:05d}.png": blocks(draw, 2) for video in ("cat", "dog") for frame in range(4)}
    return pictures(masks, ones("J&F", "J-Mean", "F-Mean", "J-Recall", "F-Recall"))


def segmentation(draw: random.Random) -> Case:
    maps = {f"{image}.png": blocks(draw, 3) for image in "abc"}
    best = ones("mIoU", "mean_accuracy", "fwIoU", "pixel_accuracy")
    return pictures(maps, best, "--background", "ignored")


def words(draw: random.Random) -> Case:
    truth, said = [], []
    for image in ("7", "8", "9"):
        path = [{"x": draw.uniform(0.1, 0.9), "y": draw.uniform(0.1, 0.9), "t": float(t)} for t in range(4)]
        truth.append(
            {
                "dataset_id": "d",
                "image_id": image,
                "annotator_id": 0,
                "caption": "a b c",
                "timed_caption": [{"utterance": u, "start_time": t, "end_time": t + 1} for t, u in enumerate("abc")],
                "traces": [path],
            }
        )
        # while a word is said the mouse goes straight, so that its path's ends are its corners
        ends = [[[100 * point["x"], 50 * point["y"]] for point in path[t : t + 2]] for t in range(3)]
        lows_highs = [
            [[min(axis), min(other)], [max(axis), max(other)]] for axis, other in (zip(*pair) for pair in ends)
        ]
        said.append({"image_id": image, "size": [100, 50], "words": [{"points": points} for points in lows_highs]})
    return Case(
        "gt.jsonl",
        "pred.jsonl",
        {"gt.jsonl": truth},
        {"pred.jsonl": said},
        {"pred.jsonl": [{**record, "words": []} for record in said]},
        {"point_l1": 0.0, "hit_rate": 1.0, "centre_distance": 0.0},
        r"pred.jsonl, line 1: 0 words; expected a list of 3, one for each utterance",
        ordered=True,
    )


def region_captions(draw: random.Random) -> Case:
    regions, said = [], []
    for image in (1, 2, 3):
        places = [[40 * column + draw.randint(0, 4), draw.randint(0, 9), 30, 20] for column in range(3)]
        told = [sentence(draw) for _ in places]
        rows = [
            {
                "region_id": 10 * image + row,
                "image_id": image,
                "phrase": text,
                **dict(zip(("x", "y", "width", "height"), at)),
            }
            for row, (at, text) in enumerate(zip(places, told))
        ]
        regions.append({"id": image, "regions": rows})
        said += [
            {"image_id": image, "bbox": at, "score": round(draw.random(), 6), "caption": text}
            for at, text in zip(places, told)
        ]
    sizes = [{"image_id": image, "width": 200, "height": 100, "coco_id": None} for image in (1, 2, 3)]
    return Case(
        "gt",
        "pred.json",
        {"gt/region_descriptions.json": regions, "gt/image_data.json": sizes},
        {"pred.json": said},
        {"pred.json": []},
        ones("detection_mAP"),
        zeros("detection_mAP"),
    )


def segments(draw: random.Random) -> Case:
    videos = {}
    for name in "abc":
        steps = draw.sample(range(1, 9), 3)
        videos[name] = [step for step in steps for _ in range(5)] + [None] * 5
    return Case(
        "gt.json",
        "pred.json",
        {"gt.json": videos},
        {"pred.json": videos},
        {"pred.json": {name: [None] * len(labels) for name, labels in videos.items()}},
        ones("accuracy", "accuracy_per_video", "accuracy_steps", "edit", "F1@10", "F1@50"),
        zeros("accuracy_steps", "edit", "F1@10", "F1@50"),
    )


def acre(draw: random.Random) -> Case:
    problems, said = [], []
    for number in range(4):
        shown = [{"light_state": "off", "objects": [0, 1]}] + [{"light_state": "on", "objects": [2]}] * 5
        kinds = [draw.choice([(0, "direct"), (2, "direct"), (2, "indirect")]) for _ in range(2)]
        kinds += [draw.choice([(0, "screen_off"), (1, "potential")]) for _ in range(2)]
        asked: list[dict[str, Any]] = [
            {"light_state": "no", "objects": [3], "label": label, "type": kind} for label, kind in kinds
        ]
        for query in asked[2:]:
            query |= {"objects": [0, 1, 4], "ref": 0}
        problems.append(shown + asked)
        said.append({"id": number, "answers": [label for label, _ in kinds]})
    return Case(
        "test.json",
        "pred.jsonl",
        {"test.json": problems},
        {"pred.jsonl": said},
        {"pred.jsonl": []},
        ones("query", "problem"),
        r"no prediction for 4 of 4 ids",
        ordered=True,
    )


def cater(draw: random.Random) -> Case:
    cells = {f"v{number}": draw.randrange(36) for number in range(5)}
    return Case(
        "val.txt",
        "pred.jsonl",
        {"val.txt": "".join(f"{name}.avi {cell}\n" for name, cell in cells.items())},
        {"pred.jsonl": [{"id": name, "scores": [float(i == cell) for i in range(36)]} for name, cell in cells.items()]},
        {"pred.jsonl": []},
        {"top1": 1.0, "top5": 1.0, "L1": 0.0},
        r"no prediction for 5 of 5 ids",
    )


CASES: dict[str, Callable[[random.Random], Case]] = {
    "captions": captions,
    "dense-captions": dense_captions,
    "moments": moments,
    "actions": actions,
    "referring": referring,
    "names": names,
    "mot": mot,
    "dense-voc": dense_voc,
    "boxes": boxes,
    "tubes": tubes,
    "vos": vos,
    "segmentation": segmentation,
    "words": words,
    "region-captions": region_captions,
    "segments": segments,
    "acre": acre,
    "cater": cater,
}


def write(folder: Path, files: Files) -> None:
    """Write files; a value of JSON stands on a line of its own."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            Image.fromarray(content).save(path)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(record) + "\n" for record in content), encoding="utf-8")
        else:
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
