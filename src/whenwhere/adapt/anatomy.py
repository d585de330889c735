"""A pre-norm vision transformer taken apart: the same parts, whatever library built it.

Methods that reach inside a transformer need its residual stream: the embedding, each branch that adds to it, and what
comes after the last block. :func:`anatomy` names these parts for the transformers of timm and for the CLIP, SigLIP and
DINOv2 towers of transformers; running them in order gives what the backbone itself gives, to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError

Kind = Literal["attention", "mlp"]
BackboneT = TypeVar("BackboneT", bound=Backbone)


@dataclass(frozen=True)
class SubLayer:
    """One branch of the residual stream: ``z + scale(body(norm(z)))``.

    Args:
        kind: "attention" or "mlp".
        block: index of its transformer block, from 0.
        norm, body, scale: its modules; ``scale`` is the layer scale, or nothing.
        linears: names of its linear layers inside the backbone, as ``backbone.get_submodule`` takes them. Attention has
            "qkv" or "query", "key" and "value", and "out"; an MLP has "in" and "out".
    """

    kind: Kind
    block: int
    norm: nn.Module
    body: nn.Module
    scale: nn.Module
    linears: dict[str, str]

    def update(self, z: Tensor) -> Tensor:
        """What this branch adds to the stream ``z`` (B, N, D)."""
        out = self.body(self.norm(z))
        return self.scale(out[0] if isinstance(out, tuple) else out)


@dataclass(frozen=True)
class Anatomy:
    """The parts of a transformer, in the order in which they run.

    Args:
        backbone: whose parts these are.
        embed: pixels (B, 3, size, size) to the stream before the first block, (B, N, D).
        sublayers: two for each block, attention first.
        width: D.
        tokens: N, class token and registers included.
    """

    backbone: Backbone
    embed: Callable[[Tensor], Tensor]
    sublayers: tuple[SubLayer, ...]
    width: int
    tokens: int

    def run(self, pixels: Tensor) -> Tensor:
        """The stream after the last block, (B, N, D): ``backbone.states(pixels, [-1])[0]``."""
        z = self.embed(pixels)
        for sublayer in self.sublayers:
            z = z + sublayer.update(z)
        return z


def anatomy(backbone: Backbone) -> Anatomy:
    """Take a transformer apart.

    Args:
        backbone: any of :func:`whenwhere.backbones.vision.vision`.

    Raises:
        InputError: not a plain pre-norm transformer (a CNN, or blocks that run their branches in another way).
    """
    model: Any = getattr(backbone, "model", backbone)
    model = getattr(model, "vision_model", model)
    prefix = "model.vision_model" if hasattr(getattr(backbone, "model", None), "vision_model") else "model"
    if hasattr(model, "blocks") and hasattr(model, "patch_embed") and getattr(backbone, "is_vit", False):
        blocks, place, names = list(model.blocks), f"{prefix}.blocks", _TIMM

        def embed(pixels: Tensor) -> Tensor:
            return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(pixels))))

    elif hasattr(model, "encoder") and hasattr(model, "embeddings"):
        inner = "layers" if hasattr(model.encoder, "layers") else "layer"
        blocks, place = list(getattr(model.encoder, inner)), f"{prefix}.encoder.{inner}"
        names = _DINOV2 if hasattr(blocks[0], "attention") else _CLIP
        before = getattr(model, "pre_layrnorm", nn.Identity())  # CLIP's own spelling

        def embed(pixels: Tensor) -> Tensor:
            return before(model.embeddings(pixels))

    else:
        from whenwhere.adapt.methods import for_any_backbone  # which name the modules that need this one

        raise InputError(
            f"{backbone.name} is not a vision transformer",
            "one of timm's, or a CLIP, SigLIP or DINOv2 tower",
            f"the methods {', '.join(for_any_backbone())} work on CNNs too",
        )
    sublayers = tuple(chain.from_iterable(_branches(block, i, f"{place}.{i}", names) for i, block in enumerate(blocks)))
    rows, columns = backbone.grid
    return Anatomy(backbone, embed, sublayers, backbone.width, backbone.prefix_tokens + rows * columns)


# kind -> names in a block of (norm, body, layer scale), and of the linear layers below the body
_Names = dict[Kind, tuple[tuple[str, str, str], dict[str, str]]]
_TIMM: _Names = {
    "attention": (("norm1", "attn", "ls1"), {"qkv": "qkv", "out": "proj"}),
    "mlp": (("norm2", "mlp", "ls2"), {"in": "fc1", "out": "fc2"}),
}
_CLIP: _Names = {
    "attention": (
        ("layer_norm1", "self_attn", ""),
        {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"},
    ),
    "mlp": (("layer_norm2", "mlp", ""), {"in": "fc1", "out": "fc2"}),
}
_DINOV2: _Names = {
    "attention": (
        ("norm1", "attention", "layer_scale1"),
        {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"},
    ),
    "mlp": (("norm2", "mlp", "layer_scale2"), {"in": "fc1", "out": "fc2"}),
}


def _branches(block: nn.Module, index: int, place: str, names: _Names) -> list[SubLayer]:
    branches = []
    for kind, ((norm, body, scale), below) in names.items():
        linears = {
            role: f"{place}.{body}.{name}" for role, name in below.items() if hasattr(getattr(block, body, None), name)
        }
        if not hasattr(block, norm) or not linears:
            raise InputError(
                f"block {index} ({type(block).__name__}) is not a plain pre-norm block",
                f"{norm} and {body} with {', '.join(below.values())}",
            )
        scaling = getattr(block, scale) if scale and hasattr(block, scale) else nn.Identity()
        branches.append(SubLayer(kind, index, getattr(block, norm), getattr(block, body), scaling, linears))
    return branches


def sharing(backbone: BackboneT) -> BackboneT:
    """A second tree of modules over the same weights.

    Modules of the copy may be replaced, wrapped or hooked and the original stays as it was; no weight is stored twice.
    """
    kept = chain(backbone.parameters(), backbone.buffers())
    return copy.deepcopy(backbone, {id(tensor): tensor for tensor in kept})
