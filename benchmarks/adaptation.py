"""What one optimiser step costs: LoSA against the linear probe and every other adaptation method, and from the cache.

Run: python benchmarks/adaptation.py [--threads 1] [--rounds 3] [--methods ...]
Cost: about a quarter of an hour on one core, and 8 GB of memory for full fine-tuning.

ViT-B/16 of timm at 224 pixels with random weights, one clip of 16 frames, softmax over 10 classes, AdamW, float32. LoSA
mixes over time as well; the other methods take the mean of the frames. "losa, images" has the frames as a batch of 16
images in place of a clip. Of each method:

- floating point operations of forward and backward pass, counted by torch's own counter;
- bytes that autograd keeps for the backward pass: all storages it saves that are not parameters, each once;
- peak resident memory of a process that makes one step, less what it had with the backbone and one batch loaded;
- CPU seconds of a step with one thread, methods taking turns: the least of the rounds, so other load does not enter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.cache import CachedDataset, FeatureCache
from whenwhere.adapt.losa import Losa
from whenwhere.adapt.methods import METHODS, method
from whenwhere.backbones.vision import TimmBackbone

MODEL, FRAMES, CLASSES = "vit_base_patch16_224", 16, 10
COMPARED = ("linear", "losa", "losa, images", "lora", "adaptformer", "ladder", "full")


def build(name: str) -> tuple[Adapted, dict[str, Tensor]]:
    """A method on the backbone, and a batch for it: one clip, or images."""
    import timm

    kind, images = method(name.split(",")[0]), name.endswith("images")

    torch.manual_seed(0)
    backbone = TimmBackbone(timm.create_model(MODEL, pretrained=False), MODEL)
    labels = [f"class {i}" for i in range(CLASSES)]
    settings = {} if images or "frames" not in kind.Config.__dataclass_fields__ else {"frames": FRAMES}
    model = kind(backbone, labels, kind.Config(**settings))
    torch.nn.init.normal_(model.head.weight, std=0.01)  # a zero head would hide the backward pass
    pixels = torch.randn(FRAMES, 3, 224, 224)
    if images:
        return model, {"pixels": pixels, "label": torch.arange(FRAMES) % CLASSES}
    return model, {"pixels": pixels[None], "label": torch.ones(1, dtype=torch.int64)}


def stepper(model: Adapted) -> Callable[[Any], None]:
    """One optimiser step on a batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(batch: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        model.loss(batch)["loss"].backward()
        optimizer.step()

    return step


class Kept:
    """Bytes of the storages that autograd keeps from forward to backward pass, each once, parameters left out."""

    def __init__(self, model: Adapted) -> None:
        own = [*model.parameters(), *model.backbone.parameters()]
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in own}
        self._sizes: dict[int, int] = {}

    def __enter__(self) -> Kept:
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """All of them, as long as the loss is alive, so that no storage is counted in the place of another."""
        return sum(self._sizes.values())


def _attention(query: Any, key: Any, value: Any, *rest: Any, **options: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, **options: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


# torch's counter knows the kernels of attention for GPUs, not this one
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def counted(model: Adapted, batch: Any) -> tuple[int, int]:
    """Operations of forward and backward pass, a multiply-add being two, and the bytes kept between them."""
    model.zero_grad(set_to_none=True)
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        with Kept(model) as kept:
            loss = model.loss(batch)["loss"]
        size = kept.bytes
        loss.backward()
    return int(counter.get_total_flops()), size


def status(field: str) -> int:
    """A figure of this process in bytes, as Linux tells it: VmHWM (peak resident) or VmRSS."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.split(f"{field}:")[1].split()[0]) * 1024


def child(name: str) -> dict[str, float]:
    """Costs of one method, in this very process."""
    model, batch = build(name)
    before = status("VmRSS")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    operations, kept = counted(model, batch)
    optimizer.step()
    peak = status("VmHWM")
    return {
        **{f"trained_{part}": count for part, count in model.counts().items()},
        "gflops": operations / 1e9,
        "saved_mb": kept / 1e6,
        "peak_rss_mb": peak / 1e6,
        "peak_rss_over_backbone_mb": (peak - before) / 1e6,
    }


def step_seconds(names: list[str], rounds: int) -> dict[str, float]:
    """Least CPU seconds of a step of each method, taking turns."""
    best = dict.fromkeys(names, float("inf"))
    built = {name: build(name) for name in names}
    steps = {name: stepper(model) for name, (model, _) in built.items()}
    for turn in range(rounds + 1):
        for name in names:
            start = time.process_time()
            steps[name](built[name][1])
            if turn:  # the first is to warm up
                best[name] = min(best[name], time.process_time() - start)
    return best


def cached(rounds: int, folder: str, frames: int = 8) -> dict[str, float]:
    """LoSA from pixels against LoSA from the cache, reading included, in turns."""
    model, batch = build("losa, images")
    batch = {key: value[:frames] for key, value in batch.items()}
    images = list(np.random.default_rng(0).integers(0, 256, (4 * frames, 224, 224, 3), np.uint8))
    assert isinstance(model, Losa)
    cache = FeatureCache.of(folder, model)
    start = time.process_time()
    keys = cache.fill(images, batch=frames)
    filling = time.process_time() - start
    data = CachedDataset(cache, keys, [i % CLASSES for i in range(len(images))])

    def from_cache(turn: int) -> dict[str, Any]:
        rng = np.random.default_rng(turn)
        return data.collate([data.sample(rng, int(i)) for i in rng.permutation(len(images))[:frames]])

    step, cpu, wall = stepper(model), {"pixels": float("inf"), "cache": float("inf")}, dict[str, float]()
    for turn in range(rounds + 1):
        for kind, repeats in (("pixels", 1), ("cache", 8)):
            for i in range(repeats):
                since, used = time.perf_counter(), time.process_time()
                step(batch if kind == "pixels" else from_cache(8 * turn + i))
                if turn:  # the first is to warm up
                    cpu[kind] = min(cpu[kind], time.process_time() - used)
                    wall[kind] = min(wall.get(kind, float("inf")), time.perf_counter() - since)
    pixels, states = counted(model, batch)[0], counted(model, from_cache(0))[0]
    return {
        "bytes_an_image": cache.record_bytes,
        "fill_cpu_seconds_an_image": filling / len(images),
        "gflops_an_image_from_pixels": pixels / frames / 1e9,
        "gflops_an_image_from_cache": states / frames / 1e9,
        "step_cpu_seconds_an_image_from_pixels": cpu["pixels"] / frames,
        "step_cpu_seconds_an_image_from_cache": cpu["cache"] / frames,
        "times_fewer_flops": pixels / states,
        "times_less_cpu": cpu["pixels"] / cpu["cache"],
        "times_less_wall": wall["pixels"] / wall["cache"],
    }


def main() -> None:
    """Measure every method in a process of its own, then time them in turns, then the cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(COMPARED), choices=[*METHODS, "losa, images"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "adaptation.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(child(options.child)))
        return
    names = list(dict.fromkeys(["losa", *options.methods]))
    results: dict[str, Any] = {}
    for name in names:
        command = [sys.executable, __file__, "--child", name, "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, json.dumps(results[name]), flush=True)
    for name, seconds in step_seconds(names, options.rounds).items():
        results[name]["step_cpu_seconds"] = seconds
    losa = results["losa"]
    ratios = {
        name: {
            f"{field}_over_losa": results[name][field] / losa[field]
            for field in ("gflops", "saved_mb", "peak_rss_over_backbone_mb", "step_cpu_seconds")
        }
        for name in names
    }
    with tempfile.TemporaryDirectory() as folder:
        epoch = cached(options.rounds, folder)
    about = {
        "model": MODEL,
        "frames": FRAMES,
        "threads": options.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    report = {"about": about, "methods": results, "ratios": ratios, "cache": epoch}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_suffix(".part")
    temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, options.out)
    print(json.dumps({"ratios": ratios, "cache": epoch}, indent=1))


if __name__ == "__main__":
    main()
