"""MoNE, Mixture of Nested Experts (Jain et al., NeurIPS 2024): a vision transformer that takes a budget at inference.

One set of weights, the usual number of parameters; important tokens go through the full width, the others through the
first features of every matrix. Patches, class token, registers and parameter names are those of timm's transformers, so
their checkpoints load (:meth:`NestedViT.from_vit`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.adapt.nested_encoder import Budget, NestedBlocks, NestedBlocksConfig
from whenwhere.errors import InputError
from whenwhere.layers.persistence import load_model, read_config, save_model

SCHEMA = "whenwhere.nested_vit/1"
ADAPTIVE = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)  # the paper's, for one model of all budgets
Training = Literal["budgets", "widths"]


@dataclass(frozen=True)
class NestedConfig:
    """A nested vision transformer.

    Attributes:
        size: side of the square input in pixels.
        patch: side of a patch, a divisor of ``size``.
        channels: of the input.
        classes: outputs of the classifier; 0 gives the pooled features.
        blocks: shape of the stack and of its routing.
        class_token: a learned token in front. It takes the full expert and is not counted among the routed tokens; the
            method itself has none.
        registers: further learned tokens in front, treated the same way.
        prefix_positions: whether the position embedding covers the tokens in front.
        pool: "mean" of the patch tokens, or the "class" token.
        norm_after_pool: where the final LayerNorm is; before pooling in the paper.
        budgets: effective capacities; :meth:`NestedViT.loss` draws one of them at each step. One value trains for one
            budget, the nine default ones for all.
        training: "budgets", or "widths": the sum of losses over all widths with all tokens on one expert, as MatViT is
            trained.
    """

    size: int = 224
    patch: int = 16
    channels: int = 3
    classes: int = 1000
    blocks: NestedBlocksConfig = field(default_factory=NestedBlocksConfig)
    class_token: bool = False
    registers: int = 0
    prefix_positions: bool = True
    pool: Literal["mean", "class"] = "mean"
    norm_after_pool: bool = False
    budgets: tuple[float, ...] = ADAPTIVE
    training: Training = "budgets"

    def __post_init__(self) -> None:
        object.__setattr__(self, "budgets", tuple(self.budgets))  # a list when read from JSON
        if self.patch < 1 or self.size < self.patch or self.size % self.patch:
            raise InputError(f"size {self.size} with patch {self.patch}", "a side that the patch divides")
        if self.pool not in ("mean", "class") or (self.pool == "class" and not self.class_token):
            raise InputError(
                f"pool {self.pool!r}, class_token {self.class_token}", "'mean', or 'class' with a class token"
            )
        least = 2.0 ** (1 - self.blocks.experts)
        if not self.budgets or not all(least <= budget <= 1 for budget in self.budgets):
            raise InputError(f"budgets {self.budgets}", f"at least one effective capacity in {least}..1")
        if self.training not in ("budgets", "widths"):
            raise InputError(f"training {self.training!r}", "'budgets' or 'widths'")
        if min(self.channels, self.classes + 1, self.registers + 1) < 1:
            raise InputError(
                f"{self.channels} channels, {self.classes} classes, {self.registers} registers", "none below 0"
            )

    @property
    def tokens(self) -> int:
        """Routed tokens N of an image."""
        return (self.size // self.patch) ** 2

    @property
    def prefix(self) -> int:
        """Tokens in front: class token and registers."""
        return int(self.class_token) + self.registers


class NestedViT(NestedBlocks):
    """Vision transformer whose cost is chosen at each call.

    Args:
        config: its shape.

    Attributes:
        form: "grouped" (fast) or "mask" (full-size products with zeros, for checks); the results agree.
    """

    def __init__(self, config: NestedConfig) -> None:
        super().__init__(config.blocks)
        self.config = config
        width = config.blocks.width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(config.channels, width, config.patch, config.patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if config.class_token else None
        self.reg_token = nn.Parameter(torch.zeros(1, config.registers, width)) if config.registers else None
        positions = config.tokens + (config.prefix if config.prefix_positions else 0)
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        norm = nn.LayerNorm(width, eps=config.blocks.eps)
        self.norm: nn.Module = nn.Identity() if config.norm_after_pool else norm
        self.fc_norm: nn.Module = norm if config.norm_after_pool else nn.Identity()
        self.head: nn.Module = nn.Linear(width, config.classes) if config.classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for token in (self.cls_token, self.reg_token):
            if token is not None:
                nn.init.normal_(token, std=1e-6)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not name.startswith("routers."):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pixels: Tensor, budget: Budget | None = None) -> Tensor:
        """Classify images.

        Args:
            pixels: (B, channels, size, size), normalised as the weights want it.
            budget: effective capacity in [2^-(E-1), 1], the mean width of a token over the full width; or the shares of
                the experts themselves, smallest first. None: all tokens take the full expert.

        Returns:
            (B, classes) logits, or (B, D) pooled features with 0 classes.

        Raises:
            InputError: pixels of another shape, or a budget out of range.
        """
        return self.head(self.pooled(pixels, budget))

    def pooled(self, pixels: Tensor, budget: Budget | None = None) -> Tensor:
        """Vectors (B, D) that the classifier reads."""
        x = self.norm(self.encode(self.embed(pixels), budget, self.config.prefix).tokens)
        if self.config.pool == "class":
            x = x[0]
        elif self.form == "mask":  # laid out as a dense transformer's, so that the sum is the same to the bit
            x = x.transpose(0, 1).contiguous()[:, self.config.prefix :].mean(1)
        else:
            x = x[self.config.prefix :].mean(0)
        return self.fc_norm(x)

    def tokens(self, pixels: Tensor, budget: Budget | None = None) -> Tensor:
        """Final tokens (B, prefix + N, D) after the last norm over tokens, in the order of the image."""
        encoded = self.encode(self.embed(pixels), budget, self.config.prefix)
        x = self.norm(encoded.tokens).transpose(0, 1)
        before, after = x[:, : self.config.prefix], x[:, self.config.prefix :]
        order = encoded.order[..., None].expand_as(after)
        return torch.cat([before, torch.zeros_like(after).scatter(1, order, after)], dim=1)

    def routing(self, pixels: Tensor, budget: Budget | None = None) -> tuple[Tensor, Tensor]:
        """Where the patches go.

        Returns:
            int64 (B, rows, columns), the expert of each patch, 0 the smallest; and float32 (B, rows, columns, E),
            the router's probabilities.
        """
        encoded = self.encode(self.embed(pixels), budget, self.config.prefix)
        side = self.config.size // self.config.patch
        shape = (len(pixels), side, side)
        return encoded.experts.view(shape), encoded.probabilities.view(*shape, -1)

    def embed(self, pixels: Tensor) -> Tensor:
        """Patches (B, prefix + N, D) with positions."""
        c = self.config
        wanted = (c.channels, c.size, c.size)
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != wanted:
            raise InputError(f"pixels of shape {tuple(pixels.shape)}", f"(B, {', '.join(map(str, wanted))})")
        x = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # (B, N, D)
        front = [t.expand(len(x), -1, -1) for t in (self.cls_token, self.reg_token) if t is not None]
        if not c.prefix_positions:
            x = x + self.pos_embed
        x = torch.cat([*front, x], dim=1) if front else x
        return x + self.pos_embed if c.prefix_positions else x

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy for :func:`whenwhere.training.fit.fit`.

        Args:
            batch: ``pixels`` (B, channels, size, size); ``labels``, int64 (B,), or float (B, classes) in 0..1 for
                sigmoid cross-entropy.

        Returns:
            ``loss``; with one budget a step, the effective capacity drawn as ``budget``.
        """
        pixels, labels = batch["pixels"], batch["labels"]
        if self.config.training == "widths":
            experts = self.config.blocks.experts
            one_expert = [tuple(float(i == j) for i in range(experts)) for j in range(experts)]
            return {
                "loss": torch.stack([self.cross_entropy(self(pixels, shares), labels) for shares in one_expert]).sum()
            }
        budget = self.draw_budget()
        return {"loss": self.cross_entropy(self(pixels, budget), labels), "budget": torch.tensor(budget)}

    def draw_budget(self) -> float:
        """One of the training budgets, by torch's generator."""
        return self.config.budgets[int(torch.randint(len(self.config.budgets), ()))]

    @staticmethod
    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over images: softmax cross-entropy of int64 (B,), the sum of sigmoid ones of float (B, classes)."""
        if labels.is_floating_point():
            return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1).mean()
        return F.cross_entropy(logits, labels)

    def flops(self, budget: Budget | None = None) -> int:
        """Multiply-adds for one image: patches, router, linear maps, attention, classifier."""
        return self.fixed_flops() + self.stack_flops(budget, self.config.tokens, self.config.prefix)

    def budget_for(self, flops: float) -> float:
        """Largest effective capacity whose :meth:`flops` are at most ``flops``.

        Raises:
            InputError: fewer than the smallest expert takes.
        """
        return self.budget_for_stack(flops - self.fixed_flops(), self.config.tokens, self.config.prefix)

    def fixed_flops(self) -> int:
        """Multiply-adds of patches and classifier, which no budget changes."""
        c = self.config
        return c.blocks.width * (c.tokens * c.channels * c.patch**2 + c.classes)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``config.json`` and ``model.safetensors`` (float32)."""
        return save_model(folder, self, SCHEMA, self.config, torch.float32)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> NestedViT:
        """Read what :meth:`save` wrote, in evaluation mode.

        Raises:
            WeightsError: missing, damaged, or of another model.
        """
        model = cls(read_config(folder, SCHEMA, NestedConfig))
        load_model(folder, model)
        return model.eval()

    @classmethod
    def from_vit(cls, vit: Any, **routing: Any) -> NestedViT:
        """Take over the weights of a dense transformer; at full budget the result computes the same.

        Args:
            vit: a timm ``VisionTransformer``, or a :class:`whenwhere.backbones.vision.TimmBackbone` that holds one.
            routing: fields of :class:`NestedBlocksConfig` that say how tokens are routed: ``experts``,
                ``router_layers``, ``router_norm``, ``random_router``.

        Raises:
            InputError: a transformer with parts that nested experts do not have.
        """
        from whenwhere.adapt.nested_conversion import nested_from_timm

        return nested_from_timm(vit, **routing)


def steps_at_equal_flops(steps: int, dense: float, nested: float) -> int:
    """isoFLOPs training: as many steps as cost what ``steps`` of the dense model cost (at least 1).

    Args:
        steps: of the dense model.
        dense, nested: multiply-adds for one image, from :meth:`NestedViT.flops`; for several budgets their mean.
    """
    if not (steps >= 1 and dense > 0 and nested > 0):
        raise InputError(f"{steps} steps, {dense} and {nested} multiply-adds", "numbers above 0")
    return max(1, round(steps * dense / nested))
