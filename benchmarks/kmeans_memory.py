"""Time and bytes of the K-means memory: distances from one matrix product, against the broadcast difference.

Run: python benchmarks/kmeans_memory.py [--threads 1] [--out benchmarks/results/kmeans_memory.json]
Cost: about a minute on one core; the broadcast form of the paper's size needs 3.3 GB (two arrays of all differences).
Times are CPU time of the process, so other load on the machine does not enter; with one thread that is the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from whenwhere.layers.memory import weighted_kmeans

SIZES = {"tiny": (102, 96, 400), "small": (591, 394, 768), "paper": (771, 514, 1024)}  # points, centres, channels


def broadcast_kmeans(points: Tensor, weights: Tensor, centres: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The same K-means as written in the paper: all differences at once, sums through a one-hot matrix.

    Args:
        points: (B, N, D).
        weights: (B, N).
        centres: (B, K, D).
        iterations: steps.

    Returns:
        Centres (B, K, D) and counts (B, K), in the dtype of ``points``.
    """
    weights = weights.to(points.dtype)
    counts = torch.zeros(centres.shape[:2], dtype=points.dtype)
    for _ in range(iterations):
        distances = (points[:, :, None] - centres[:, None]).square().sum(dim=-1).sqrt()  # (B, N, K)
        member = torch.nn.functional.one_hot(distances.argmin(dim=-1), centres.shape[1]).to(points.dtype)
        weighted = member * weights[..., None]  # (B, N, K)
        counts = weighted.sum(dim=1)
        means = (weighted.transpose(1, 2) @ points) / counts.clamp(min=1e-30)[..., None]
        centres = torch.where(counts[..., None] > 0, means, centres)
    return centres, counts


def measure(form: str, size: str, repeats: int) -> dict[str, float]:
    """Least CPU milliseconds a frame and the peak of extra resident memory, in this very process."""
    n, k, d = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1, n, d, generator=generator)
    weights = torch.ones(1, n, dtype=torch.float64)
    function = {"matmul": weighted_kmeans, "broadcast": broadcast_kmeans}[form]
    if form == "matmul":  # load the kernels without the full size, so that the peak is that of one frame
        weighted_kmeans(points[:, :8], weights[:, :8], points[:, :4], 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function(points, weights, points[:, :k], 2)
        times.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"cpu_milliseconds": 1e3 * min(times), "peak_megabytes": peak / 1024}


def main() -> None:
    """Measure both forms at all sizes, each in a process of its own, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "kmeans_memory.json")
    parser.add_argument("--one", nargs=2, metavar=("FORM", "SIZE"), help="measure one case and print it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        form, size = arguments.one
        print(json.dumps(measure(form, size, repeats=20 if form == "matmul" or size == "tiny" else 3)))
        return
    results = {}
    for size, (n, k, d) in SIZES.items():
        case: dict[str, object] = {"points": n, "centres": k, "channels": d, "iterations": 2}
        for form in ("matmul", "broadcast"):
            command = [sys.executable, __file__, "--threads", str(arguments.threads), "--one", form, size]
            case[form] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        fast, slow = case["matmul"], case["broadcast"]
        assert isinstance(fast, dict) and isinstance(slow, dict)
        case["times_faster"] = slow["cpu_milliseconds"] / fast["cpu_milliseconds"]
        results[size] = case
        print(f"{size}: {fast['cpu_milliseconds']:.2f} ms against {slow['cpu_milliseconds']:.1f} ms a frame,", end=" ")
        print(f"{case['times_faster']:.0f} times faster; {fast['peak_megabytes']:.0f} MB against", end=" ")
        print(f"{slow['peak_megabytes']:.0f} MB")
    about = {"torch": torch.__version__, "threads": arguments.threads, "machine": platform.machine()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".part")
    temporary.write_text(json.dumps({"about": about, "sizes": results}, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, arguments.out)


if __name__ == "__main__":
    main()
