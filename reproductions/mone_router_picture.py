"""Which patches of real photographs a router sends to the full expert, before and after training: docs/mone_router.jpg.

Command: ``python reproductions/mone_router_picture.py`` (needs ``pip install 'whenwhere[demo]'``)
Cost: about three minutes of one core.

A small MoNE learns, at e_c = 0.3 from random weights, from which of nine photographs a crop was taken; the photographs
come with scikit-image and scikit-learn. Half of the crops are grey, and light and contrast vary, so colour alone does
not tell. The scale of the gate starts at 0.5, not at the paper's 0: in a training this short it would hardly leave 0,
and the router would hardly learn. Those shown are in the public domain or under CC0.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.adapt.nested import NestedConfig, NestedViT
from whenwhere.adapt.nested_encoder import NestedBlocksConfig
from whenwhere.media import write_image
from whenwhere.reports.experts import draw_experts

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "mone_router.jpg"
OUT = Path(__file__).parent / "results" / "mone_router_picture.json"
SHOWN = ("astronaut", "chelsea", "coffee", "rocket")
OTHERS = ("hubble_deep_field", "immunohistochemistry", "retina")
SIDE, PATCH, BUDGET, TILE = 96, 8, 0.3, 192


def photographs() -> list[np.ndarray]:
    """Nine photographs, uint8 (H, W, 3); those shown first."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = [getattr(data, name)() for name in (*SHOWN, *OTHERS)]
    return [*found, load_sample_image("china.jpg"), load_sample_image("flower.jpg")]


def as_input(pixels: Tensor) -> Tensor:
    """float (3, SIDE, SIDE) about 0 of float (3, h, w) in 0..1."""
    small = F.interpolate(pixels[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return small * 4 - 2


def crops(pool: list[Tensor], rng: np.random.Generator, count: int) -> dict[str, Tensor]:
    """Random squares of random photographs: ``pixels`` (count, 3, SIDE, SIDE) and ``labels`` (count,)."""
    labels = rng.integers(len(pool), size=count)
    rows = []
    for label in labels:
        image = pool[label]
        least = min(image.shape[1:])
        side = int(least * rng.uniform(0.3, 1))
        y, x = (int(rng.integers(size - side + 1)) for size in image.shape[1:])
        crop = image[:, y : y + side, x : x + side]
        crop = crop.mean(0, keepdim=True).expand(3, -1, -1) if rng.random() < 0.5 else crop
        crop = crop.flip(2) if rng.random() < 0.5 else crop
        rows.append(as_input(crop) * rng.uniform(0.6, 1.4) + rng.uniform(-0.4, 0.4))
    return {"pixels": torch.stack(rows).float(), "labels": torch.from_numpy(labels)}


def train(steps: int, batch: int, seed: int = 0) -> tuple[NestedViT, list[Tensor]]:
    """The model, and the photographs as float (3, H, W) in 0..1."""
    torch.manual_seed(seed)
    pool = [torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 for image in photographs()]
    pool = [
        F.interpolate(p[None], scale_factor=256 / min(p.shape[1:]), mode="bilinear", antialias=True)[0] for p in pool
    ]
    blocks = NestedBlocksConfig(width=96, depth=4, heads=4, hidden=192)
    model = NestedViT(NestedConfig(SIDE, PATCH, 3, len(pool), blocks, budgets=(BUDGET,)))
    nn.init.constant_(model.alpha, 0.5)
    optimizer = torch.optim.AdamW(model.parameters(), 1.5e-3, weight_decay=0.05)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2
        loss = model.loss(crops(pool, rng, batch))["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 49:
            print(step + 1, f"loss {loss.item():.2f}, alpha {model.alpha.item():.2f}", flush=True)
    return model.eval(), pool


@torch.no_grad()
def picture(models: list[NestedViT], pool: list[Tensor]) -> np.ndarray:
    """The photographs above, the experts of each model below, uint8 ((1 + models) TILE, n TILE, 3)."""
    tiles = []
    for image in pool[: len(SHOWN)]:
        side = min(image.shape[1:])
        y, x = ((size - side) // 2 for size in image.shape[1:])
        square = image[:, y : y + side, x : x + side]
        tile = F.interpolate(square[None], (TILE, TILE), mode="bilinear", antialias=True)[0].clamp(0, 1)
        pixels = (tile * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        column = [pixels]
        for model in models:
            experts, _ = model.routing(as_input(square)[None], BUDGET)
            column.append(draw_experts(pixels, experts[0].numpy(), model.stack.experts))
        tiles.append(np.concatenate(column))
    return np.concatenate(tiles, axis=1)


def main() -> None:
    """Train, draw, and write the picture and what it came from."""
    torch.set_num_threads(1)
    untrained, _ = train(steps=0, batch=1)
    model, pool = train(steps=300, batch=32)
    test = crops(pool, np.random.default_rng(1), 200)
    with torch.no_grad():
        hits = model(test["pixels"], BUDGET).argmax(1) == test["labels"]
    result: dict[str, Any] = {"accuracy": 100 * float(hits.float().mean()), "alpha": model.alpha.item(), "e_c": BUDGET}
    write_image(PICTURE, picture([untrained, model], pool))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    part = OUT.with_name(OUT.name + ".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(part, OUT)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
