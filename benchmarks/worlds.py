"""Frames per second of the world's renderer, and milliseconds to make a scene.

Run: python benchmarks/worlds.py [--out benchmarks/results/worlds.json]
Cost: about a minute. Times are CPU time of the process with one thread, so other load on the machine does not enter;
two processes on two cores render twice as many frames, as scenes have nothing to do with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from whenwhere.worlds.render import render
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import SceneOptions, make

SIZES = ((64, 64), (112, 112), (224, 224))
FRAMES, SCENES, REPEATS = 300, 4, 2


def frames_per_second(scenes: list[Scene], size: tuple[int, int]) -> float:
    """Best of some repeats over all scenes, ``FRAMES`` frames at 64 x 64 and fewer of larger pictures."""
    count = max(20, FRAMES * 64 * 64 // (size[0] * size[1]))
    times = np.linspace(0, scenes[0].seconds, count)
    render(scenes[0], times[:8], size)  # loads the kernels
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        for scene in scenes:
            render(scene, times, size)
        spent.append(time.process_time() - start)
    return count * len(scenes) / min(spent)


def main() -> None:
    """Measure scenes of CATER's size, 5 and 10 objects, at three sizes of picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "worlds.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for count in (5, 10):
        options = SceneOptions(objects=(count, count), motions=(4, 8))
        start = time.process_time()
        scenes = [make("benchmark", index, options) for index in range(SCENES)]
        making = (time.process_time() - start) / SCENES
        for size in SIZES:
            rate = frames_per_second(scenes, size)
            rows.append({"objects": count, "size": list(size), "frames_per_cpu_second": round(rate, 1)})
            print(f"{count} objects, {size[0]} x {size[1]}: {rate:.0f} frames per CPU second", flush=True)
        rows.append({"objects": count, "milliseconds_to_make_a_scene": round(1e3 * making, 2)})
        print(f"{count} objects: {1e3 * making:.1f} ms to make a scene", flush=True)
    about = {"torch": torch.__version__, "threads": 1, "machine": platform.machine(), "frames_per_scene": FRAMES}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".part")
    temporary.write_text(json.dumps({"about": about, "cases": rows}, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, arguments.out)


if __name__ == "__main__":
    main()
