"""MoNE for video: ViViT's factorised encoder, with nested experts in its spatial transformer (MoNE, section 4.2).

The spatial transformer sees one tubelet of frames at a time, routes its patches on their own, and gives one vector for
each; a dense temporal transformer reads these vectors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from whenwhere.adapt.nested import NestedConfig, NestedViT
from whenwhere.adapt.nested_encoder import Budget
from whenwhere.adapt.nested_layers import Group, NestedBlock, Plan
from whenwhere.errors import InputError
from whenwhere.layers.persistence import load_model, read_config, save_model

SCHEMA = "whenwhere.nested_vivit/1"


@dataclass(frozen=True)
class NestedVideoConfig:
    """A factorised encoder.

    Attributes:
        image: the spatial transformer, as for one frame. Its classes are those of the video, its budgets those drawn in
            training.
        frames: of a clip, a multiple of ``tubelet``.
        tubelet: frames that one patch spans.
        temporal_depth: blocks of the temporal transformer, of the same width and heads.
    """

    image: NestedConfig = field(default_factory=NestedConfig)
    frames: int = 32
    tubelet: int = 2
    temporal_depth: int = 4

    def __post_init__(self) -> None:
        if self.tubelet < 1 or self.frames < self.tubelet or self.frames % self.tubelet:
            raise InputError(f"{self.frames} frames with tubelets of {self.tubelet}", "a multiple of the tubelet")
        if self.temporal_depth < 1 or self.image.training != "budgets":
            raise InputError(
                f"temporal_depth {self.temporal_depth}, training {self.image.training!r}",
                "at least one temporal block, and training 'budgets'",
            )

    @property
    def steps(self) -> int:
        """Temporal positions T' of a clip."""
        return self.frames // self.tubelet


class NestedViViT(nn.Module):
    """Video transformer whose cost is chosen at each call.

    Args:
        config: its shape.
    """

    def __init__(self, config: NestedVideoConfig) -> None:
        super().__init__()
        self.config = config
        image, stack = config.image, config.image.blocks
        # a tubelet that does not overlap the next is an image with the channels of all its frames, frame by frame
        self.spatial = NestedViT(replace(image, channels=image.channels * config.tubelet, classes=0))
        self.temporal_embed = nn.Parameter(torch.empty(1, config.steps, stack.width))
        self.temporal = nn.ModuleList(
            NestedBlock(stack.width, stack.heads, stack.hidden, stack.qkv_bias, stack.eps)
            for _ in range(config.temporal_depth)
        )
        self.norm = nn.LayerNorm(stack.width, eps=stack.eps)
        self.head: nn.Module = nn.Linear(stack.width, image.classes) if image.classes else nn.Identity()
        for name, parameter in self.named_parameters():
            if not name.startswith("spatial.") and (name.endswith("weight") and parameter.ndim == 2):
                nn.init.trunc_normal_(parameter, std=0.02)
            elif not name.startswith("spatial.") and name.endswith("bias"):
                nn.init.zeros_(parameter)
        nn.init.trunc_normal_(self.temporal_embed, std=0.02)

    @classmethod
    def from_image(
        cls, image: NestedViT, classes: int, *, frames: int = 32, tubelet: int = 2, temporal_depth: int = 4
    ) -> NestedViViT:
        """Start from an image model: a tubelet's filter is the image's at its central frame, 0 at the others.

        Args:
            image: its weights are copied; its classifier is not used.
            classes: of the video.
            frames, tubelet, temporal_depth: as in :class:`NestedVideoConfig`.
        """
        shape = replace(image.config, classes=classes, training="budgets")
        model = cls(NestedVideoConfig(shape, frames, tubelet, temporal_depth))
        weights = {name: value for name, value in image.state_dict().items() if not name.startswith("head.")}
        flat = weights["patch_embed.proj.weight"]  # (D, C, p, p)
        inflated = flat.new_zeros(flat.shape[0], tubelet, *flat.shape[1:])
        inflated[:, tubelet // 2] = flat
        weights["patch_embed.proj.weight"] = inflated.flatten(1, 2)
        model.spatial.load_state_dict(weights)
        return model.eval()

    def forward(self, clips: Tensor, budget: Budget | None = None) -> Tensor:
        """Classify clips.

        Args:
            clips: (B, frames, channels, size, size), normalised.
            budget: as in :meth:`NestedViT.forward`, of every tubelet; the temporal transformer is dense.

        Returns:
            (B, classes) logits.

        Raises:
            InputError: clips of another shape, or a budget out of range.
        """
        x = (self.frame_vectors(clips, budget) + self.temporal_embed).transpose(0, 1).contiguous()  # (T', B, D)
        plan = Plan((Group(0, len(x), x.shape[2]),))
        for block in self.temporal:
            x = block(x, plan)
        return self.head(self.norm(x).mean(0))

    def frame_vectors(self, clips: Tensor, budget: Budget | None = None) -> Tensor:
        """One vector for each tubelet, (B, T', D), of clips as in :meth:`forward`."""
        return self.spatial.pooled(self._folded(clips), budget).unflatten(0, (len(clips), self.config.steps))

    def routing(self, clips: Tensor, budget: Budget | None = None) -> tuple[Tensor, Tensor]:
        """Where the patches go: int64 (B, T', rows, columns) and float32 (B, T', rows, columns, E)."""
        shape = (len(clips), self.config.steps)
        experts, probabilities = self.spatial.routing(self._folded(clips), budget)
        return experts.unflatten(0, shape), probabilities.unflatten(0, shape)

    def _folded(self, clips: Tensor) -> Tensor:
        """Tubelets as images (B T', tubelet channels, size, size)."""
        c = self.config
        wanted = (c.frames, c.image.channels, c.image.size, c.image.size)
        if clips.ndim != 5 or tuple(clips.shape[1:]) != wanted:
            raise InputError(f"clips of shape {tuple(clips.shape)}", f"(B, {', '.join(map(str, wanted))})")
        return clips.unflatten(1, (c.steps, c.tubelet)).flatten(0, 1).flatten(1, 2)

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As :meth:`NestedViT.loss`, with ``pixels`` (B, frames, channels, size, size)."""
        budget = self.spatial.draw_budget()
        loss = NestedViT.cross_entropy(self(batch["pixels"], budget), batch["labels"])
        return {"loss": loss, "budget": torch.tensor(budget)}

    def flops(self, budget: Budget | None = None) -> int:
        """Multiply-adds for one clip."""
        c = self.config
        return c.steps * self.spatial.flops(budget) + self.temporal_flops()

    def temporal_flops(self) -> int:
        """Multiply-adds of the temporal transformer and the classifier, which no budget changes."""
        c, stack = self.config, self.config.image.blocks
        linear = stack.width * (4 * stack.width + 2 * stack.hidden)
        return c.temporal_depth * (c.steps * linear + 2 * c.steps**2 * stack.width) + stack.width * c.image.classes

    def budget_for(self, flops: float) -> float:
        """Largest effective capacity whose :meth:`flops` are at most ``flops``.

        Raises:
            InputError: fewer than the smallest expert takes.
        """
        return self.spatial.budget_for((flops - self.temporal_flops()) / self.config.steps)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``config.json`` and ``model.safetensors`` (float32)."""
        return save_model(folder, self, SCHEMA, self.config, torch.float32)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> NestedViViT:
        """Read what :meth:`save` wrote, in evaluation mode.

        Raises:
            WeightsError: missing, damaged, or of another model.
        """
        model = cls(read_config(folder, SCHEMA, NestedVideoConfig))
        load_model(folder, model)
        return model.eval()
