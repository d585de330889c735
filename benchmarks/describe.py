"""Memory and speed of ``describe``: 3 minutes against 60 minutes, and where the time goes.

Run: python benchmarks/describe.py [--minutes 3 60] [--rate 1] [--out benchmarks/results/describe.json]
Cost: about a quarter of an hour on two cores at one frame a second; the clip of the demo's bikes, looped, small.

Each length runs in a process of its own. Peak memory is the operating system's figure for that process. Time per frame
is given for each quarter of the run: flat means that it does not grow with what was seen.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

CLIP_RATE, SIZE = 5, 180


def looped(clip: Path, minutes: float) -> Iterator[np.ndarray]:
    """Frames of a clip over and over, at ``CLIP_RATE`` a second of film."""
    from whenwhere.media import open_video

    with open_video(clip) as video:
        frames = [frame.pixels for frame in video.frames(rate=CLIP_RATE, size=SIZE)]
    count = int(minutes * 60 * CLIP_RATE)
    return islice((frame for _ in range(count) for frame in frames), count)


def peak_kib() -> int:
    """Most resident memory this process ever had; getrusage alone may hand on that of the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child(path: Path, rate: float) -> None:
    """Describe a file and print what it took."""
    import torch

    from whenwhere import load

    describer = load("describe").prepare()
    marks: list[tuple[int, float]] = []
    run = describer.stream(path, rate=rate, on_progress=lambda stats: marks.append((stats.frames, time.perf_counter())))
    began = time.perf_counter()
    events = sum(1 for _ in run)
    wall = time.perf_counter() - began
    quarters = []
    for q in range(4):
        first, last = marks[len(marks) * q // 4], marks[len(marks) * (q + 1) // 4 - 1]
        quarters.append(round((last[1] - first[1]) / max(1, last[0] - first[0]) * 1e3, 1))
    stats = run.stats
    report = {
        "frames": stats.frames,
        "events": events,
        "seconds_of_video": stats.position,
        "wall_s": round(wall, 1),
        "times_real_time": round(stats.position / wall, 2),
        "ms_per_frame_by_quarter": quarters,
        "share": {part: round(getattr(stats, part) / wall, 3) for part in ("decode", "encoder", "memory", "decoder")},
        "peak_rss_mb": round(peak_kib() / 1024, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(report))


def main() -> None:
    """Build the clips, run a process for each, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 60])
    parser.add_argument("--rate", type=float, default=1.0, help="frames a second for the memory runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "describe.json")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.rate)
        return
    from whenwhere.media import write_video
    from whenwhere.recipes.demo_video import clips

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = [(f"{minutes:g} min at {options.rate:g}/s", minutes, options.rate) for minutes in options.minutes]
        for name, minutes, rate in [*runs, ("3 min at 2/s", 3.0, 2.0)]:
            path = Path(folder) / f"{minutes:g}.mp4"
            if not path.exists():
                write_video(path, looped(clips() / "bikes.mp4", minutes), CLIP_RATE)
            command = [sys.executable, __file__, "--child", str(path), "--rate", str(rate)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, json.dumps(results[name]), flush=True)
    first, last = (results[runs[i][0]]["peak_rss_mb"] for i in (0, -1))
    report = {"machine": platform.machine(), "runs": results, "peak_rss_difference_mb": round(last - first, 1)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"peak memory differs by {report['peak_rss_difference_mb']} MB; written to {options.out}")


if __name__ == "__main__":
    main()
