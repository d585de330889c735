"""How good is ``describe`` on photographs that it was not trained on? Slide shows, whose cuts are known exactly.

Command: ``python reproductions/described_slides.py [--shared DIR] [--model FOLDER]`` (default: ``data`` in
``$WHENWHERE_SHARED``, else in ``../shared``).
Cost: about three minutes on two cores.

The 90 images of coco_mini/val are put in random order into nine slide shows of ten, each shown for 3 to 8 s, at two
frames a second: five people's captions of an image are the references of its shot. It is easier than a film: the
frames of a shot are the same, and nothing overlaps. Three arms see the same frames:

- ``describe``: the default streaming captioner as it ships;
- ``cuts + caption``: the shots that the same cut finder sees, each told by the default image captioner, which knows
  the end of a shot before it speaks and has no memory: what streaming costs;
- ``grid + constant``: one event every 5.5 s with the most common caption.

CIDEr of shots scores the event that overlaps each shot best, "" if there is none. Dense CIDEr and F1 are
those of densevid (one annotator per caption of an image).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.api import load
from whenwhere.media import read_image
from whenwhere.metrics.cider import cider
from whenwhere.metrics.dense_captions import dense_captions
from whenwhere.metrics.localisation import localisation
from whenwhere.metrics.ptb import tokenize
from whenwhere.recipes.coco_mini import read_split
from whenwhere.results import Event
from whenwhere.systems.session import StreamSession

OUT = Path(__file__).parent / "results" / "described_slides.json"
RATE, SLIDES, ORDERS = 2.0, 10, (0, 1, 2)
CONSTANT = "A man riding a wave on top of a surfboard"


def shows(images: int, seed: int) -> list[list[tuple[int, int]]]:
    """Slide shows as lists of (image, frames)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(images).tolist()
    slides = [(image, int(rng.integers(6, 17))) for image in order]
    return [slides[at : at + SLIDES] for at in range(0, images, SLIDES)]


def described(describer: Any, tokens: Tensor) -> list[Event]:
    """What the streaming captioner says of frame tokens (T, N_f, D)."""
    session = StreamSession(describer.captioner, RATE, describer.captioner.config.stream)
    events = [event for t, frame in enumerate(tokens) for event in session.push(frame, t / RATE)]
    return events + session.finish()


def cut_and_captioned(describer: Any, tokens: Tensor, captions: Sequence[str]) -> list[Event]:
    """One event a shot between the cuts that frames show; ``captions[t]`` tells frame t."""
    looks = F.normalize(tokens.mean(1), dim=-1)  # (T, D)
    below = (looks[1:] * looks[:-1]).sum(-1) < describer.captioner.config.stream.cut_below
    starts = [0, *(int(t) + 1 for t in below.nonzero()[:, 0])]
    ends = [*starts[1:], len(tokens)]
    return [Event(s / RATE, e / RATE, captions[(s + e) // 2]) for s, e in zip(starts, ends)]


def scores(told: dict[str, list[Event]], truth: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of one arm over all shows; ``truth`` has one mapping per annotator."""
    said, wanted, missed = [], [], 0
    for video in truth[0]:
        for index, (start, end) in enumerate(truth[0][video]["timestamps"]):
            best = max(told[video], key=lambda event: overlap(event, start, end), default=None)
            found = best is not None and overlap(best, start, end) > 0
            missed += not found
            said.append(tokenize(best.text) if best is not None and found else "")
            wanted.append([tokenize(annotator[video]["sentences"][index]) for annotator in truth])
    dense = dense_captions(told, truth).figures()
    where = localisation(told, truth).figures()
    return {
        "CIDEr of shots": round(cider(said, wanted).corpus, 4),
        "dense CIDEr": round(float(dense["CIDEr"]), 4),
        **{name: round(float(value), 4) for name, value in where.items() if "@" not in name},
        "events": sum(map(len, told.values())),
        "shots without an event": missed,
    }


def overlap(event: Event, start: float, end: float) -> float:
    """Temporal IoU."""
    shared = min(event.end, end) - max(event.start, start)
    return max(0.0, shared) / (max(event.end, end) - min(event.start, start))


@torch.no_grad()
def main(shared: Path | None = None, model: str = "describe", out: Path = OUT) -> None:
    """Run all arms on three orders of the images and write the results."""
    shared = shared or Path(os.environ.get("WHENWHERE_SHARED", "../shared")) / "data"
    data = read_split(shared, "val")
    describer, captioner = load(model).prepare(), load("caption")
    images = [read_image(path) for path in data.paths]
    looks = torch.cat([describer.encoder.encode([image]) for image in images])  # (90, N_f, D)
    captions = [caption.text for caption in captioner.caption(images)]
    runs = []
    for seed in ORDERS:
        truth: list[dict[str, Any]] = [{} for _ in range(min(map(len, data.captions)))]
        told: dict[str, dict[str, list[Event]]] = {}
        for number, slides in enumerate(shows(len(images), seed)):
            name = f"show {number}"
            ends = np.cumsum([frames for _, frames in slides]) / RATE
            spans = [[float(end - frames / RATE), float(end)] for end, (_, frames) in zip(ends, slides)]
            for k, annotator in enumerate(truth):
                sentences = [data.captions[image][k] for image, _ in slides]
                annotator[name] = {"duration": float(ends[-1]), "timestamps": spans, "sentences": sentences}
            shown = [image for image, frames in slides for _ in range(frames)]
            frames = looks[shown]
            grid = [Event(s, min(s + 5.5, float(ends[-1])), CONSTANT) for s in np.arange(0, float(ends[-1]) - 1, 5.5)]
            arms = {
                "describe": described(describer, frames),
                "cuts + caption": cut_and_captioned(describer, frames, [captions[image] for image in shown]),
                "grid + constant": grid,
            }
            for arm, events in arms.items():
                told.setdefault(arm, {})[name] = [replace(event) for event in events]
        runs.append({arm: scores(events, truth) for arm, events in told.items()})
    report = {
        arm: {name: {"mean": round(float(np.mean(v)), 4), "min": min(v), "max": max(v)} for name, v in figures.items()}
        for arm, figures in {
            arm: {name: [run[arm][name] for run in runs] for name in runs[0][arm]} for arm in runs[0]
        }.items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"orders": len(ORDERS), "slides": len(images), "arms": report}, indent=1) + "\n")
    print(json.dumps({arm: {k: v["mean"] for k, v in figures.items()} for arm, figures in report.items()}, indent=1))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
