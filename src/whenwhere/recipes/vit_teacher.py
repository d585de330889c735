"""What the default image backbone makes of many pictures, written down once for a student to learn from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from whenwhere.backbones.vision import Backbone, vision
from whenwhere.errors import InputError
from whenwhere.recipes.vit_pictures import PictureOptions, build_pool, picture
from whenwhere.results.files import write_text

TEACHER = "efficientnet-lite2"
_MAP = 3  # the stage with stride 16: as many places as a student has patches of 16 pixels
_SHARD = 1000  # pictures in a file
_TEACH = 50  # pictures that the teacher sees at once


@dataclass(frozen=True)
class Taught:
    """Pictures and what the teacher made of them, in arrays of N rows.

    Attributes:
        pixels: uint8 (N, 3, side, side).
        logits: float16 (N, 1000).
        pooled: float16 (N, 1280).
        map: float16 (N, places, channels).
    """

    pixels: Tensor
    logits: Tensor
    pooled: Tensor
    map: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


@torch.no_grad()
def teach(teacher: Backbone, pixels: Tensor) -> Taught:
    """What a timm CNN with a classifier makes of pictures, uint8 (N, 3, side, side)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (teacher.mean, teacher.std))
    model: Any = teacher.model
    rows: dict[str, list[Tensor]] = {"logits": [], "pooled": [], "map": []}
    for some in pixels.split(_TEACH):
        last, (places,) = model.forward_intermediates((some.float() / 255 - mean) / std, indices=[_MAP])
        pooled = model.forward_head(last, pre_logits=True)
        rows["pooled"].append(pooled.half())
        rows["logits"].append(model.get_classifier()(pooled).half())
        rows["map"].append(places.flatten(2).transpose(1, 2).half())  # (B, C, h, w) -> (B, h * w, C)
    return Taught(pixels, **{name: torch.cat(parts) for name, parts in rows.items()})


def make_taught(work: Path, options: PictureOptions, count: int, seed: int = 0, folder: Path | None = None) -> Taught:
    """Make pictures and show them to the default image backbone; kept in the work folder shard by shard.

    Args:
        work: an interrupted start goes on from the shards in it.
        options: how pictures are made.
        count: how many.
        seed: of the pictures.
        folder: more to make them of, see :func:`~whenwhere.recipes.vit_pictures.build_pool`.

    Raises:
        InputError: the work folder is of other pictures.
    """
    work.mkdir(parents=True, exist_ok=True)
    place = str(folder.resolve()) if folder else ""
    told = json.dumps({**asdict(options), "count": count, "seed": seed, "folder": place}, indent=1) + "\n"
    note = work / "pictures.json"
    if note.is_file() and note.read_text(encoding="utf-8") != told:
        raise InputError(f"{work} holds pictures of another recipe", "a new folder", "choose another with --work")
    write_text(note, told)
    starts = range(0, count, _SHARD)
    paths = [work / f"taught-{start // _SHARD:05d}.safetensors" for start in starts]
    if not all(path.is_file() for path in paths):
        pool, teacher = build_pool(options, folder), vision(TEACHER)
        for start, path in zip(starts, paths):
            if path.is_file():
                continue
            numbers = range(start, min(start + _SHARD, count))
            made = [picture(pool, options, np.random.default_rng((seed, n))) for n in numbers]
            temporary = path.with_suffix(".part")
            save_file(vars(teach(teacher, torch.stack(made))), temporary)
            os.replace(temporary, path)
            print(f"taught {numbers.stop} of {count} pictures", flush=True)
    shards = [load_file(path) for path in paths]
    return Taught(**{name: torch.cat([shard[name] for shard in shards]) for name in shards[0]})
