"""Can the structured tasks be answered? From the scene's state by a nearest neighbour, from pixels by a small network.

    python benchmarks/structured.py --seconds 15

For each task: 1-nearest-neighbour accuracy on the number that the label comes from (1,000 train, 500 val), accuracy on
val of a convolutional network trained on the 1,000 train pictures for so many seconds of one thread, the share of the
largest class, and seconds to make 1,000 pictures. Writes ``benchmarks/results/structured.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from whenwhere.worlds.scene import Scene
from whenwhere.worlds.structured import SIZE, TASKS, images

TRAIN, VAL = 1000, 500


def state(name: str, scene: Scene) -> tuple[float, ...]:
    """Return the raw numbers of a scene that a task is about."""
    first = scene.objects[0].path.last
    if name == "count":
        return (float(len(scene.objects)),)
    if name == "distance":
        return (float(scene.camera.project(scene.positions([0.0]), [0.0], SIZE)[0, :, 2].min()),)
    if name == "location":
        return (first.position[0],)
    if name in ("orientation", "azimuth"):
        return (first.yaw,)
    return tuple(np.subtract(scene.camera.eye.position(0.0), scene.camera.target.position(0.0)).tolist())


def neighbour(name: str) -> float:
    """Return the accuracy on val of the label of the nearest train state."""
    task = TASKS[name]
    found = []
    for split, count in (("train", TRAIN), ("val", VAL)):
        scenes = [task.scene(split, index) for index in range(count)]
        states = np.array([state(name, scene) for scene in scenes])
        if name == "elevation":  # the direction alone, whatever the distance
            states /= np.linalg.norm(states, axis=1, keepdims=True)
        found.append((states, np.array([task.label(scene) for scene in scenes])))
    (known, labels), (asked, wanted) = found
    nearest = np.linalg.norm(asked[:, None] - known[None], axis=2).argmin(axis=1)
    return float((labels[nearest] == wanted).mean())


def network(classes: int) -> nn.Sequential:
    """Return a small convolutional network for pictures of 64 x 64."""
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 96), (96, 96)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 16, classes))


def trained(name: str, seconds: float) -> dict[str, float]:
    """Train on pixels and return the accuracy on val, the share of the largest class, and what it took."""
    torch.manual_seed(0)
    start = time.process_time()
    pixels, labels = images(name, "train", range(TRAIN))
    made = time.process_time() - start
    others, wanted = images(name, "val", range(VAL))
    x, y = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels)
    asked = torch.from_numpy(others).permute(0, 3, 1, 2).float() / 255
    mean = x.mean()
    model = network(len(TASKS[name].classes))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    epochs, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        for batch in torch.randperm(TRAIN).split(50):
            loss = nn.functional.cross_entropy(model(4 * (x[batch] - mean)), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        epochs += 1
    model.eval()
    with torch.no_grad():
        right = (model(4 * (asked - mean)).argmax(1).numpy() == wanted).mean()
    largest = np.bincount(wanted).max() / VAL
    return {
        "network": round(float(right), 3),
        "epochs": epochs,
        "largest class": round(float(largest), 3),
        "seconds for 1000 pictures": round(made, 1),
    }


def main() -> None:
    """Run all tasks and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=15.0)
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    found = {}
    for name in TASKS:
        found[name] = {"nearest state": round(neighbour(name), 3), **trained(name, seconds)}
        print(name, found[name], flush=True)
    result = {
        "command": f"python benchmarks/structured.py --seconds {seconds:g}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "tasks": found,
    }
    Path(__file__).with_name("results").joinpath("structured.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
