"""Pretrain a small plain vision transformer by distillation, without labels and without a data set.

Command: ``python -m whenwhere.recipes.vit_tiny --work DIR --pictures DIR`` (needs ``pip install 'whenwhere[demo]'``)
Cost: about an hour and a quarter on one core that others share, 0.9 GB of disk, 2 GB of memory.
Score: ``reproductions/results/vit_tiny.json``, by ``python reproductions/vit_tiny.py``.

The teacher is the default image backbone, EfficientNet-Lite2. It sees each picture once, and the student many times,
mirrored at random and with a part of its patches left out (as in Li et al., "FLIP", CVPR 2023, to save time). The
student learns the teacher's class probabilities, pooled features and stride-16 map; the three linear maps that it
needs for this are dropped afterwards. ``--pictures`` adds to the few photographs of :mod:`.vit_pictures`; for the
weights that ship it had the public-domain drawings of Debian's ``openclipart-png`` and ten photographs of
``lomiri-wallpapers-16.04`` under CC BY 4.0 and CC0, as the card lists.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from whenwhere.layers.persistence import CONFIG_FILE, WEIGHTS_FILE
from whenwhere.recipes.vit_pictures import PictureOptions
from whenwhere.recipes.vit_teacher import Taught, make_taught
from whenwhere.results.files import write_text
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

FOLDER = Path(__file__).parent.parent / "weights" / "vit-tiny"
ARCHITECTURE = "vit_tiny_patch16_224"  # of timm; all that differs is in ``model_args``


@dataclass(frozen=True)
class Recipe:
    """How ``vit-tiny`` is pretrained.

    Attributes:
        width, depth, heads, patch: of the transformer; the side of its input is that of the pictures.
        pictures: how pictures are made.
        count: pictures that the teacher sees.
        held_out: so many of them, the last, are not trained on; the losses of the evaluations are of them.
        kept: part of the patches that the student sees in seven of eight batches; all of them in the other.
        temperature: of the class probabilities.
        weights: of the losses of class probabilities, pooled features and map.
        fit: the loop.
    """

    width: int = 192
    depth: int = 6
    heads: int = 3
    patch: int = 16
    pictures: PictureOptions = field(default_factory=PictureOptions)
    count: int = 12_000
    held_out: int = 400
    kept: float = 0.375
    temperature: float = 2.0
    weights: tuple[float, float, float] = (0.2, 2.0, 1.0)
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            steps=3200,
            batch=48,
            lr=1e-3,
            warmup=100,
            schedule="cosine",
            weight_decay=0.05,
            betas=(0.9, 0.98),
            precision="bf16-mixed",
            ema=0.995,
            log_every=20,
            checkpoint_every=100,
            evaluate_every=200,
        )
    )

    @property
    def model_args(self) -> dict[str, Any]:
        """What timm is told beside the architecture."""
        return {
            "img_size": self.pictures.side,
            "patch_size": self.patch,
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": self.heads,
            "class_token": False,
            "global_pool": "avg",
            "fc_norm": False,  # the last norm is of tokens, before they are averaged
        }


class Distillation(nn.Module):
    """The student with the three linear maps that it learns through.

    Args:
        recipe: its shape and its loss.
        taught: of which the means and deviations of the teacher's features are taken.
    """

    mean: Tensor
    std: Tensor
    pooled_mean: Tensor
    pooled_std: Tensor
    map_mean: Tensor
    map_std: Tensor

    def __init__(self, recipe: Recipe, taught: Taught) -> None:
        super().__init__()
        self.config = recipe
        self.student = new_student(recipe)
        self.classes = nn.Linear(recipe.width, taught.logits.shape[1])
        self.pooled = nn.Linear(recipe.width, taught.pooled.shape[1])
        self.places = nn.Linear(recipe.width, taught.map.shape[2])
        for name, rows in (("pooled", taught.pooled), ("map", taught.map.flatten(0, 1))):
            some = rows[: 1 << 17].float()
            self.register_buffer(f"{name}_mean", some.mean(0))
            self.register_buffer(f"{name}_std", some.std(0) + 1e-3)
        self.register_buffer("mean", torch.tensor(self.student.pretrained_cfg["mean"])[:, None, None])
        self.register_buffer("std", torch.tensor(self.student.pretrained_cfg["std"])[:, None, None])

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean over pictures of the weighted losses.

        Args:
            batch: see :class:`Taught`, plus "mirrored", bool (B,): pixels are already, the map is not.
        """
        count = self.student.patch_embed.num_patches
        kept = torch.arange(count)
        if self.training and torch.rand(()) < 0.875:
            kept = torch.randperm(count)[: max(1, round(self.config.kept * count))]
        tokens = self.tokens(batch["pixels"], kept)
        mean = tokens.mean(1)
        heat = self.config.temperature
        target = (batch["logits"].float() / heat).softmax(-1)
        said = (self.classes(mean).float() / heat).log_softmax(-1)
        classes = F.kl_div(said, target, reduction="batchmean") * heat**2
        places = _mirrored(batch["map"], batch["mirrored"])[:, kept]
        pooled = _distance(self.pooled(mean), batch["pooled"], self.pooled_mean, self.pooled_std)
        mapped = _distance(self.places(tokens), places, self.map_mean, self.map_std)
        parts = (classes, pooled, mapped)
        whole = sum(weight * part for weight, part in zip(self.config.weights, parts))
        return {"loss": whole, "classes": classes, "pooled": pooled, "map": mapped}  # type: ignore[dict-item]

    def tokens(self, pixels: Tensor, kept: Tensor) -> Tensor:
        """Final tokens (B, K, width) of the patches in ``kept`` (K,); pixels uint8 (B, 3, side, side)."""
        student = self.student
        x = (pixels.float() / 255 - self.mean) / self.std
        x = (student.patch_embed(x) + student.pos_embed)[:, kept]
        for block in student.blocks:
            x = block(x)
        return student.norm(x)


class Mirrored:
    """The first ``count`` rows of a taught set, each mirrored or not."""

    def __init__(self, taught: Taught, count: int) -> None:
        self.taught, self.count = taught, count

    def __len__(self) -> int:
        return self.count

    def sample(self, rng: np.random.Generator, index: int) -> tuple[int, bool]:
        """(row, whether it is mirrored)."""
        return index, bool(rng.random() < 0.5)

    def collate(self, samples: Sequence[tuple[int, bool]]) -> dict[str, Tensor]:
        """Look the rows up, and mirror the pixels."""
        rows, mirrored = (torch.tensor(values) for values in zip(*samples))
        batch = {name: values[rows] for name, values in vars(self.taught).items()}
        batch["pixels"][mirrored] = batch["pixels"][mirrored].flip(-1)
        return {**batch, "mirrored": mirrored}


def new_student(recipe: Recipe, mimetic: bool = True) -> Any:
    """The transformer with random weights.

    Args:
        recipe: its shape.
        mimetic: position embeddings are sinusoidal and attention starts by looking at what is alike and near, as it
            does in trained transformers, which saves much of a short training (Trockman and Kolter, "Mimetic
            Initialization of Self-Attention Layers", ICML 2023); otherwise timm's own start.
    """
    import timm

    student: Any = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, **recipe.model_args)
    if mimetic:
        with torch.no_grad():
            _look_like_trained(student, recipe)
    return student


def _look_like_trained(student: Any, recipe: Recipe) -> None:
    """Query-key products near 0.7 times the identity, value-projection products near minus 0.4 times it."""
    width, head = recipe.width, recipe.width // recipe.heads
    side = recipe.pictures.side // recipe.patch
    waves = 10000.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * waves  # (side, width / 4)
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    student.pos_embed.copy_(torch.cat([rows, columns], 2).flatten(0, 1)[None])
    for block in student.blocks:
        query, key, value = block.attn.qkv.weight.chunk(3)
        for part in range(0, width, head):
            u, s, v = torch.linalg.svd(0.7 * torch.randn(width, width) / width**0.5 + 0.7 * torch.eye(width))
            query[part : part + head] = (u * s.sqrt())[:, :head].T
            key[part : part + head] = (v.T * s.sqrt())[:, :head].T
        u, s, v = torch.linalg.svd(0.4 * torch.randn(width, width) / width**0.5 - 0.4 * torch.eye(width))
        block.attn.proj.weight.copy_(u * s.sqrt())
        value.copy_(s.sqrt()[:, None] * v)


def save(student: Any, recipe: Recipe, folder: Path) -> None:
    """Write a student as a folder that :func:`whenwhere.backbones.vision.vision` reads, weights as bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 0,
        "num_features": recipe.width,
        "model_args": recipe.model_args,
        "pretrained_cfg": {
            "mean": list(student.pretrained_cfg["mean"]),
            "std": list(student.pretrained_cfg["std"]),
            "input_size": [3, recipe.pictures.side, recipe.pictures.side],
        },
    }
    tensors = {name: tensor.detach().bfloat16().contiguous() for name, tensor in student.state_dict().items()}
    temporary = folder / (WEIGHTS_FILE + ".part")
    save_file(tensors, temporary, metadata={"format": "pt"})
    os.replace(temporary, folder / WEIGHTS_FILE)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=1) + "\n")


def _mirrored(places: Tensor, mirrored: Tensor) -> Tensor:
    side = round(places.shape[1] ** 0.5)
    flipped = places.unflatten(1, (side, side)).flip(2).flatten(1, 2)
    return torch.where(mirrored[:, None, None], flipped, places)


def _distance(said: Tensor, taught: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """One minus the cosine between what is said and the standardised features that are taught, averaged."""
    target = (taught.float() - mean) / std
    return 1 - F.cosine_similarity(said.float(), target, dim=-1).mean()


def main(work: Path, pictures: Path | None = None, out: Path = FOLDER, seed: int = 0) -> None:
    """Pretrain and save ``vit-tiny``; a run that was interrupted goes on.

    Args:
        work: folder for the taught pictures (0.9 GB) and the checkpoints.
        pictures: folder with more pictures: JPEG photographs, and PNG cut-outs to paste on them.
        out: where the weights go.
        seed: of the pictures and the run.
    """
    from dataclasses import replace

    recipe = Recipe()
    recipe = replace(recipe, fit=replace(recipe.fit, seed=seed))
    taught = make_taught(work, recipe.pictures, recipe.count, seed, pictures)
    torch.manual_seed(seed)
    system = Distillation(recipe, taught)
    rows = Mirrored(taught, len(taught) - recipe.held_out)
    held_out = rows.collate([(row, False) for row in range(len(rows), len(taught))])

    def keep_weights(system: Distillation, step: int) -> dict[str, float]:
        save(system.student, recipe, work / "student")
        return {name: float(value) for name, value in system.loss(held_out).items()}

    fit(system, Batches(rows, rows.collate), recipe.fit, work / "run", evaluate=keep_weights)
    save(system.student, recipe, out)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
