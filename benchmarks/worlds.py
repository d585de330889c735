"""Frames per second of the world's renderer, by CPU time and by the clock, and milliseconds to make a scene.

Run: python benchmarks/worlds.py [--out benchmarks/results/worlds.json]
Cost: about two minutes. Frames per CPU second are those of one process with one thread, which other load on the machine
changes little. Frames per second by the clock are those of two processes with one thread each, on two cores, which
render frames of a scene each from a common start to the end of the later one: the best of several short rounds,
as other load does enter; the load average of the machine before and after is in the file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch

from whenwhere.worlds.render import render
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import SceneOptions, make

SIZES = ((64, 64), (112, 112), (224, 224))
FRAMES, SCENES, REPEATS = 300, 4, 4
PROCESSES, ROUNDS, WALL_FRAMES, WALL_SIZE = 2, 80, 200, (64, 64)


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


def options_of(count: int) -> SceneOptions:
    """Return scenes of CATER's size."""
    return SceneOptions(objects=(count, count), motions=(4, 8))


def rounds(count: int, first: int, start: Barrier, found: multiprocessing.Queue[list[tuple[float, float]]]) -> None:
    """Render the same frames several times, each from a common start; put begin and end of each, by the clock."""
    torch.set_num_threads(1)
    scene = make("benchmark", first, options_of(count))
    times = np.linspace(0, scene.seconds, WALL_FRAMES)
    render(scene, times[:8], WALL_SIZE)
    spans = []
    for _ in range(ROUNDS):
        start.wait()
        begin = time.monotonic()
        render(scene, times, WALL_SIZE)
        spans.append((begin, time.monotonic()))
    found.put(spans)


def wall_frames_per_second(count: int) -> list[float]:
    """Frames of all processes together per second, from the first begin to the last end, of each round."""
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(PROCESSES), context.Queue()
    workers = [context.Process(target=rounds, args=(count, first, start, found)) for first in range(PROCESSES)]
    for worker in workers:
        worker.start()
    spans = np.array([found.get(timeout=600) for _ in workers])  # (processes, rounds, 2)
    for worker in workers:
        worker.join()
    spent = spans[:, :, 1].max(axis=0) - spans[:, :, 0].min(axis=0)
    return sorted((PROCESSES * WALL_FRAMES / spent).tolist())


def main() -> None:
    """Measure scenes of CATER's size, 5 and 10 objects, at three sizes of picture and by the clock at the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "worlds.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    load = [os.getloadavg()]
    for count in (5, 10):
        start = time.process_time()
        scenes = [make("benchmark", index, options_of(count)) for index in range(SCENES)]
        making = (time.process_time() - start) / SCENES
        for size in SIZES:
            rate = frames_per_second(scenes, size)
            rows.append({"objects": count, "size": list(size), "frames_per_cpu_second": round(rate, 1)})
            print(f"{count} objects, {size[0]} x {size[1]}: {rate:.0f} frames per CPU second", flush=True)
        rows.append({"objects": count, "milliseconds_to_make_a_scene": round(1e3 * making, 2)})
        print(f"{count} objects: {1e3 * making:.1f} ms to make a scene", flush=True)
        wall = wall_frames_per_second(count)
        figures = {"best": round(wall[-1], 1), "median": round(float(np.median(wall)), 1), "rounds": ROUNDS}
        rows.append({"objects": count, "size": list(WALL_SIZE), "frames_per_second_of_two_processes": figures})
        print(f"{count} objects, 64 x 64, two processes by the clock: {wall[-1]:.0f} frames per second", flush=True)
    load.append(os.getloadavg())
    about = {
        "torch": torch.__version__,
        "threads": 1,
        "processes": PROCESSES,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "frames_per_scene": FRAMES,
        "frames_per_round_and_process": WALL_FRAMES,
        "load_average": {name: [round(v, 2) for v in at] for name, at in zip(("before", "after"), load, strict=True)},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".part")
    temporary.write_text(json.dumps({"about": about, "cases": rows}, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, arguments.out)


if __name__ == "__main__":
    main()
