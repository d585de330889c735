"""How good is the default image captioner? Against the nearest caption and a constant one, in one run.

Command: ``python reproductions/image_captioner.py --shared DIR`` (default: ``data`` in
``$WHENWHERE_SHARED``, else in ``../shared``).
Cost: about five minutes on two cores, most of it embedding 24,000 captions for the nearest-caption baseline.

The 90 validation images took no part in training, and neither did any of their captions. The 50 images of the other
split took no part either, except for the mean of their features (not their captions). Decoding options and the bridge's
few numbers (ridge, sizes, weight of its halves) were chosen with both splits in view, so the 50 + 90 images are a
development set for those.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from whenwhere.api import load
from whenwhere.media import read_image
from whenwhere.metrics.cider import cider
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.retrieval import recall_at_k
from whenwhere.recipes.coco_mini import caption_texts, read_split
from whenwhere.recipes.image_captioner import plain

OUT = Path(__file__).parent / "results" / "image_captioner.json"


def score(candidates: list[str], references: list[list[str]]) -> float:
    """Corpus CIDEr over PTB tokens."""
    wanted = [[tokenize(text) for text in group] for group in references]
    return cider([tokenize(text) for text in candidates], wanted).corpus


def bootstrap(candidates: list[str], references: list[list[str]], rounds: int = 1000) -> tuple[float, float]:
    """95 % interval of the mean over images, by resampling images (document frequencies kept)."""
    items = cider([tokenize(t) for t in candidates], [[tokenize(t) for t in g] for g in references]).items
    rng = np.random.default_rng(0)
    means = [items[rng.integers(len(items), size=len(items))].mean() for _ in range(rounds)]
    return tuple(round(float(q), 3) for q in np.quantile(means, [0.025, 0.975]))  # type: ignore[return-value]


def main(shared: Path | None = None) -> None:
    """Run all arms and write the results."""
    shared = shared or Path(os.environ.get("WHENWHERE_SHARED", "../shared")) / "data"
    captioner = load("caption")
    space = captioner.space
    groups = caption_texts(shared)
    bank = [text for group in groups for text in group]
    bank_places = space.place_texts(space.text_features(bank))
    constant = Counter(plain(text).lower() for text in bank).most_common(1)[0][0]
    report: dict[str, object] = {"constant_caption": constant, "options": asdict(captioner.config.options)}
    for split in ("val", "train"):
        data = read_split(shared, split)
        places = space.embed_images([read_image(path) for path in data.paths])
        said = [caption.text for caption in captioner.caption_places(places)]
        nearest = [bank[i] for i in (places @ bank_places.T).argmax(1).tolist()]
        arms = {
            "default captioner": said,
            "nearest training caption": nearest,
            "most common caption": [constant] * len(said),
        }
        texts = [text for group in data.captions for text in group]
        owner = [i for i, group in enumerate(data.captions) for _ in group]
        similarity = (space.embed_texts(texts) @ places.T).numpy()
        columns = [[j for j, o in enumerate(owner) if o == i] for i in range(len(said))]
        to_image, to_text = recall_at_k(similarity, owner), recall_at_k(similarity.T, columns)
        report[split] = {
            "images": len(said),
            "captions": len(texts),
            "cider": {name: round(score(arm, data.captions), 4) for name, arm in arms.items()},
            "cider_95": bootstrap(said, data.captions),
            "recall_caption_to_image": {f"R@{k}": round(v, 4) for k, v in to_image.recall.items()},
            "recall_image_to_caption": {f"R@{k}": round(v, 4) for k, v in to_text.recall.items()},
            "samples": [
                {"file": path.name, "said": text, "nearest": near, "human": group[0]}
                for path, text, near, group in list(zip(data.paths, said, nearest, data.captions))[:15]
            ],
        }
    report["versions"] = {name: version(name) for name in ("torch", "timm", "transformers", "numpy")}
    report["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({split: report[split]["cider"] for split in ("val", "train")}, indent=1))  # type: ignore[index]
    print(OUT)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
