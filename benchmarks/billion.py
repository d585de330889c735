"""A vision transformer of a billion weights adapted to video on one machine: LoSA, and other methods beside it.

Run: python benchmarks/billion.py [--threads 2] [--frames 8] [--methods losa lora]
Cost: minutes for each method on two cores; 4.2 GB of memory for LoSA.

ViT-g/14 of timm at 224 pixels (1.0 billion weights), random weights in bfloat16, one clip, two optimiser steps. The
model is built without storage and gets its weights in bfloat16, so they never exist in float32. Each method runs in a
process of its own; peak memory is the operating system's figure for it. A method that runs out of the memory limit is
told as such.
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
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from adaptation import counted, status, stepper

from whenwhere.adapt.methods import method
from whenwhere.backbones.vision import TimmBackbone

MODEL = "vit_giant_patch14_224"


def giant() -> TimmBackbone:
    """The backbone with random weights, in bfloat16 from the start."""
    import timm

    with torch.device("meta"):
        model = timm.create_model(MODEL, pretrained=False, num_classes=0).to(torch.bfloat16)
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.02, generator=generator)
            else:
                weight.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return TimmBackbone(model, MODEL)


def child(name: str, frames: int, limit_gb: float) -> dict[str, Any]:
    """Two steps of one method, in this very process."""
    if limit_gb:
        resource.setrlimit(resource.RLIMIT_AS, (int(limit_gb * 1e9), resource.RLIM_INFINITY))
    backbone = giant()
    kind = method(name)
    video = name == "losa"
    model = kind(backbone, ["a", "b"], kind.Config(frames=frames) if video else None)
    torch.nn.init.normal_(model.head.weight, std=0.01)
    pixels = torch.randn(frames, 3, 224, 224)
    batch = {
        "pixels": pixels[None] if video else pixels,
        "label": torch.zeros(1 if video else frames, dtype=torch.long),
    }
    before, step, seconds = status("VmRSS"), stepper(model), []
    for _ in range(2):
        start = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - start)
    peak = status("VmHWM")
    return {
        "weights_of_the_backbone": sum(p.numel() for p in backbone.parameters()),
        **{f"trained_{part}": count for part, count in model.counts().items()},
        "input": "one clip" if video else "the frames as images",
        "seconds_a_step": min(seconds),
        "rss_with_backbone_gb": before / 1e9,
        "peak_rss_gb": peak / 1e9,
        "over_backbone_gb": (peak - before) / 1e9,
        "saved_for_backward_gb": counted(model, batch)[1] / 1e9,
    }


def main() -> None:
    """Run each method in a process of its own and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=["losa", "lora"])
    parser.add_argument("--limit-gb", type=float, default=16.0, help="address space of a process; 0 for no limit")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "billion.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(child(options.child, options.frames, options.limit_gb)))
        return
    results: dict[str, Any] = {}
    if options.out.is_file():  # methods not asked for this time stay
        results = json.loads(options.out.read_text(encoding="utf-8"))["methods"]
    for name in options.methods:
        settings = ["--threads", str(options.threads), "--frames", str(options.frames)]
        command = [sys.executable, __file__, "--child", name, *settings, "--limit-gb", str(options.limit_gb)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            results[name] = json.loads(done.stdout.splitlines()[-1])
        elif "can't allocate memory" in done.stderr or "MemoryError" in done.stderr or done.returncode == -9:
            results[name] = {"fits": False, "limit_gb": options.limit_gb}
        else:
            raise SystemExit(done.stderr)
        print(name, json.dumps(results[name]), flush=True)
    about = {
        "model": MODEL,
        "frames": options.frames,
        "threads": options.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_suffix(".part")
    temporary.write_text(json.dumps({"about": about, "methods": results}, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, options.out)


if __name__ == "__main__":
    main()
