"""What is ``vit-tiny`` good for? Linear probes of frozen features, and how alike its features are to the teacher's.

Command: ``python reproductions/vit_tiny.py --shared DIR --weights FOLDER`` (default: ``data`` in ``$WHENWHERE_SHARED``,
else in ``../shared``; the weights that ship).
Cost: about four minutes of one core.

The probe is ridge regression of the classes on standardised features, its strength chosen by leaving one training
picture out.
CIFAR-10 (2,000 training and 1,000 test pictures) and the 50 + 90 COCO photographs took no part in pretraining, neither
did scikit-learn's digits (half of them, by a fixed shuffle, for training). All backbones see 128 pixels a side.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from whenwhere.backbones.vision import Backbone, TimmBackbone, vision
from whenwhere.datasets.labelled_files import read_labelled
from whenwhere.media import read_image
from whenwhere.recipes.coco_mini import read_split
from whenwhere.recipes.vit_tiny import FOLDER, Recipe, new_student

OUT = Path(__file__).parent / "results" / "vit_tiny.json"
SIDE = 128
STRENGTHS = tuple(10.0**power for power in range(-1, 6))
NEAREST = 5


def features(backbone: Backbone, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pooled features (N, width)."""
    with torch.no_grad():
        rows = [
            backbone.pooled(backbone.preprocess(pictures[start : start + 50], SIDE))
            for start in range(0, len(pictures), 50)
        ]
    return torch.cat(rows).numpy()


def raw(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The pixels themselves, (N, H * W * 3)."""
    return np.stack([picture.reshape(-1) for picture in pictures]).astype(np.float32) / 255


def probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Accuracy of a linear probe with its 95 % margin (normal approximation), and the strength that was chosen."""
    scaler = StandardScaler().fit(train)
    model = RidgeClassifierCV(alphas=STRENGTHS).fit(scaler.transform(train), labels)
    accuracy = float(model.score(scaler.transform(test), wanted))
    margin = 1.96 * (accuracy * (1 - accuracy) / len(wanted)) ** 0.5
    return {"accuracy": round(accuracy, 4), "margin_95": round(margin, 4), "alpha": float(model.alpha_)}


def alike(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Linear CKA of two sets of features of the same pictures, and how many of the nearest neighbours they share."""
    a, b = ours - ours.mean(0), theirs - theirs.mean(0)
    cka = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    found = []
    for rows in (a, b):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        near = unit @ unit.T
        np.fill_diagonal(near, -np.inf)
        found.append(np.argsort(-near, 1)[:, :NEAREST])
    shared = np.mean([len(set(x) & set(y)) for x, y in zip(*found)]) / NEAREST
    return {"cka": round(float(cka), 4), f"shared_of_{NEAREST}_nearest": round(float(shared), 4)}


def random_student(seed: int, mimetic: bool) -> Backbone:
    """The same transformer before training."""
    torch.manual_seed(seed)
    return TimmBackbone(new_student(Recipe(), mimetic), "random", None)


def cifar(shared: Path) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Training pictures and labels, test pictures and labels."""
    data = read_labelled(shared / "cifar10_mini")
    parts = []
    for split in ("train", "test"):
        examples = data.of(split)
        parts += [[example.pictures()[0] for example in examples], data.labels(examples)]
    return tuple(parts)  # type: ignore[return-value]


def digits() -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """The same of the 8 x 8 digits, as grey RGB pictures."""
    data = load_digits()
    pictures = np.repeat((data.images / 16 * 255).round().astype(np.uint8)[..., None], 3, -1)
    train, test, labels, wanted = train_test_split(
        pictures, data.target, test_size=0.5, stratify=data.target, random_state=0
    )
    return list(train), labels, list(test), wanted


def main(shared: Path | None = None, weights: Path = FOLDER, teacher: bool = True, out: Path = OUT) -> None:
    """Measure and write the results.

    Args:
        shared: folder with ``cifar10_mini`` and ``coco_mini``.
        weights: folder of the transformer.
        teacher: whether to measure the teacher too, which takes most of the time.
        out: results file.
    """
    shared = shared or Path(os.environ.get("WHENWHERE_SHARED", "../shared")) / "data"
    arms = {"vit-tiny": vision(weights), "random": random_student(0, False), "random, mimetic": random_student(0, True)}
    if teacher:
        arms["efficientnet-lite2"] = vision("efficientnet-lite2")
    report: dict[str, object] = {}
    for name, (train, labels, test, wanted) in {"cifar10_mini": cifar(shared), "digits": digits()}.items():
        rows = {"raw pixels": probe(raw(train), labels, raw(test), wanted)}
        for arm, backbone in arms.items():
            rows[arm] = probe(features(backbone, train), labels, features(backbone, test), wanted)
            print(name, arm, rows[arm], flush=True)
        report[name] = rows
    if teacher:
        paths = [path for split in ("train", "val") for path in read_split(shared, split).paths]
        photographs = [read_image(path) for path in paths]
        made = {arm: features(backbone, photographs) for arm, backbone in arms.items()}
        taught = made.pop("efficientnet-lite2")
        report["coco_mini, like the teacher"] = {arm: alike(rows, taught) for arm, rows in made.items()}
        print(report["coco_mini, like the teacher"])
    report["versions"] = {name: version(name) for name in ("torch", "timm", "scikit-learn", "numpy")}
    report["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads"
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
