"""Small and random videos for the tracking scorers, and the same in the form that TrackEval takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from whenwhere.metrics.tracks import Detections

DOG, BIKE = "a brown dog runs on the grass", "a man in red rides a bike"
PLACES = {"A": (0.0, 0.0), "B": (100.0, 100.0), "C": (300.0, 300.0)}


def side(*rows: tuple[int, Any, str, str], shift: float = 0.0, scores: list[float] | None = None) -> Detections:
    """Boxes of 40 x 40 from (frame, identity, place, caption)."""
    corners = np.array([PLACES[row[2]] for row in rows]).reshape(-1, 2) + np.array([shift, 0.0])
    boxes = np.concatenate([corners, corners + 40.0], axis=1)
    frames = np.array([row[0] for row in rows], dtype=np.int64)
    return Detections(frames, [row[1] for row in rows], boxes, [row[3] for row in rows], scores)


def two_tracks(captions: tuple[str, str] = (DOG, BIKE), frames: int = 4) -> list[tuple[int, Any, str, str]]:
    """Tracks 1 and 2 at A and B, one box of each in every frame."""
    return [(f, number, place, text) for f in range(frames) for number, place, text in zip((1, 2), "AB", captions)]


def random_video(seed: int, frames: int = 30, objects: int = 8, empty: bool = True) -> tuple[Detections, Detections]:
    """Objects that walk, and a tracker that misses, shifts, mixes up and invents boxes; some frames may be empty."""
    draw = np.random.default_rng(seed)
    places = draw.uniform(0, 300, (objects, 2)) + np.cumsum(draw.normal(0, 4, (frames, objects, 2)), axis=0)
    sizes = draw.uniform(20, 80, (objects, 2))
    names = np.tile(np.arange(objects), (frames, 1))
    for number in range(objects):  # new names from some frame on
        names[draw.integers(0, frames) :, number] += objects * int(draw.integers(0, 2))
    swap = draw.integers(0, frames)
    names[swap:, [0, 1]] = names[swap:, [1, 0]]
    boxes = np.concatenate([places, places + sizes], axis=-1)  # (frames, objects, 4)
    moved = boxes + np.tile(draw.normal(0, 5, (frames, objects, 2)), 2)
    there, seen = draw.random((frames, objects)) < 0.8, draw.random((frames, objects)) < 0.8
    if empty:
        there[3], seen[7], there[11], seen[11] = False, False, False, False
    frame = np.repeat(np.arange(frames), objects).reshape(frames, objects)
    truth = Detections(frame[there], np.tile(np.arange(objects), (frames, 1))[there], boxes[there])
    return truth, Detections(frame[seen], names[seen], moved[seen])


def for_trackeval(truth: Detections, prediction: Detections, frames: int) -> dict[str, Any]:
    """One video as TrackEval's metrics take it, with similarities by a plain loop over boxes."""
    sides = (truth, prediction)
    codes = [one.codes() for one in sides]
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": [], "num_timesteps": frames}
    for frame in range(frames):
        rows = [np.flatnonzero(one.frames == frame) for one in sides]
        data["gt_ids"].append(codes[0][rows[0]])
        data["tracker_ids"].append(codes[1][rows[1]])
        table = np.zeros((len(rows[0]), len(rows[1])))
        for i, left in enumerate(truth.boxes[rows[0]]):
            for j, right in enumerate(prediction.boxes[rows[1]]):
                width = max(0.0, min(left[2], right[2]) - max(left[0], right[0]))
                shared = width * max(0.0, min(left[3], right[3]) - max(left[1], right[1]))
                areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (left, right))
                table[i, j] = shared / (areas - shared)
        data["similarity_scores"].append(table)
    for name, one, code in zip(("gt", "tracker"), sides, codes):
        data |= {f"num_{name}_dets": len(one), f"num_{name}_ids": len(set(code.tolist()))}
    return data
