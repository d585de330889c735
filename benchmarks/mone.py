"""MoNE in milliseconds: nested experts against the dense transformer, token merging and token dropping.

Run: python benchmarks/mone.py [--threads 1 2] [--dtypes float32 bfloat16] [--rounds 3] [--out FILE]
Cost: about two minutes on two free cores; 2 GB of memory. Combinations that are not asked for stay in the file.

The shape is that of ViT-B/16 at 224 pixels without class token, batch 8, on the CPU. The dense model is timm's own. All
models run one after the other in every round, so what else the machine does meets all alike; the ratio is the median of
the ratios within a round. FLOPs are counted by torch and compared with the formula.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from whenwhere.adapt.nested import NestedViT
from whenwhere.adapt.token_reduction import DroppingViT, MergingViT

BUDGETS = (0.2, 0.4, 0.6, 1.0)
BATCH = 8


def models(dtype: torch.dtype) -> dict[str, tuple[Callable[[Tensor], Tensor], int]]:
    """Forward and multiply-adds of an image by name."""
    torch.manual_seed(0)
    dense = timm.create_model("vit_base_patch16_224", class_token=False, global_pool="avg").eval()
    nested = NestedViT.from_vit(dense).to(dtype)
    with torch.no_grad():
        nested.alpha.fill_(0.1)  # as after training: the gate costs something
    found: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {"dense": (dense.to(dtype), nested.flops())}
    for budget in BUDGETS:
        found[f"nested {budget}"] = (partial(nested, budget=budget), nested.flops(budget))
    merging = next(m for m in (MergingViT(nested, r) for r in range(98)) if m.flops() <= nested.flops(0.4)).eval()
    found["merging, as 0.4"] = (merging, merging.flops())
    shares = (k / 196 for k in range(196, 0, -1))
    droppers = (DroppingViT(nested, share, range(1, 12)) for share in shares)
    dropping = next(m for m in droppers if m.flops() <= nested.flops(0.4)).to(dtype).eval()
    found["dropping, as 0.4"] = (dropping, dropping.flops())
    return found


@torch.inference_mode()
def measure(dtype: torch.dtype, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a batch, and how many times the dense model takes as long: by the wall's clock and the process's.

    On a machine that others use too, the process's clock is the steadier one.
    """
    pixels = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(dtype)
    forwards = models(dtype)
    wall: dict[str, list[float]] = {name: [] for name in forwards}
    cpu: dict[str, list[float]] = {name: [] for name in forwards}
    for turn in range(rounds + 1):
        for name, (forward, _) in forwards.items():
            start, worked = time.perf_counter(), time.process_time()
            forward(pixels if turn else pixels[:2])  # the first round only loads the kernels
            if turn:
                wall[name].append(1e3 * (time.perf_counter() - start))
                cpu[name].append(1e3 * (time.process_time() - worked))
    return {
        name: {
            "milliseconds": round(median(wall[name]), 1),
            "times_faster": round(median(d / t for d, t in zip(wall["dense"], wall[name])), 2),
            "cpu_milliseconds": round(median(cpu[name]), 1),
            "times_less_cpu": round(median(d / t for d, t in zip(cpu["dense"], cpu[name])), 2),
        }
        for name in forwards
    }


@torch.inference_mode()
def count() -> dict[str, dict[str, float]]:
    """Giga multiply-adds of an image by torch's counter and by the formula (attention as plain products to be seen)."""
    pixels = torch.zeros(1, 3, 224, 224)
    rows = {}
    for name, (forward, formula) in models(torch.float32).items():
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            forward(pixels)
        rows[name] = {"counted": round(counter.get_total_flops() / 2e9, 3), "formula": round(formula / 1e9, 3)}
        if abs(rows[name]["counted"] / rows[name]["formula"] - 1) > 0.01:
            raise SystemExit(f"{name}: counted and computed FLOPs differ by more than 1 %: {rows[name]}")
    return rows


def main() -> None:
    """Count, measure every precision and number of threads, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mone.json")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    results["about"] = {
        "shape": f"ViT-B/16, 224 pixels, batch {BATCH}",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    results["gflops"] = count()
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for dtype in arguments.dtypes:
            results[f"{dtype}, {threads} thread{'s' if threads > 1 else ''}"] = found = measure(
                getattr(torch, dtype), arguments.rounds
            )
            for name, row in found.items():
                times = f"{row['milliseconds']} ms, {row['times_faster']} times faster"
                print(
                    f"{dtype}, {threads} threads, {name}: {times}, {row['times_less_cpu']} times less CPU", flush=True
                )
            found["run"] = {"rounds": arguments.rounds, "load": round(os.getloadavg()[0], 1)}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, arguments.out)


if __name__ == "__main__":
    main()
