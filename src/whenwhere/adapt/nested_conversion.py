"""A nested vision transformer from a dense one of timm, with the same function at full budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from whenwhere.adapt.nested import NestedConfig, NestedViT
from whenwhere.adapt.nested_encoder import NestedBlocksConfig
from whenwhere.backbones.vision import TimmBackbone
from whenwhere.errors import InputError
from whenwhere.layers.persistence import load_tensors

_TODO = "take a plain timm vision transformer, such as vit_base_patch16_224"


def nested_from_timm(vit: Any, **routing: Any) -> NestedViT:
    """What :meth:`NestedViT.from_vit` does. LayerScale is folded into the out-projections, which changes rounding only.

    Raises:
        InputError: a transformer with parts that nested experts do not have, named in the message.
    """
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    model = vit.model if isinstance(vit, TimmBackbone) else vit
    if not isinstance(model, VisionTransformer) or not isinstance(model.patch_embed, PatchEmbed):
        raise InputError(f"{type(model).__name__}", "timm's VisionTransformer", _TODO)
    unknown = set(routing) - {"experts", "router_layers", "router_norm", "random_router"}
    if unknown:
        raise InputError(f"routing options {sorted(unknown)}", "experts, router_layers, router_norm, random_router")
    _require_plain(model)
    config = _config(model, routing)
    nested = NestedViT(config)
    tensors = _fold_layer_scale(dict(model.state_dict()))
    tensors.update(
        {name: value for name, value in nested.state_dict().items() if name.startswith(("routers.", "alpha"))}
    )
    load_tensors(nested, tensors, "the dense transformer")
    return nested.eval()


def _config(model: Any, routing: dict[str, Any]) -> NestedConfig:
    first, embed = model.blocks[0], model.patch_embed
    after = isinstance(model.norm, nn.Identity)
    norm = model.fc_norm if after else model.norm
    blocks = NestedBlocksConfig(
        width=model.embed_dim,
        depth=len(model.blocks),
        heads=first.attn.num_heads,
        hidden=first.mlp.fc1.out_features,
        qkv_bias=first.attn.qkv.bias is not None,
        eps=norm.eps,
        **routing,
    )
    return NestedConfig(
        size=embed.img_size[0],
        patch=embed.patch_size[0],
        channels=embed.proj.in_channels,
        classes=model.num_classes,
        blocks=blocks,
        class_token=model.cls_token is not None,
        registers=0 if model.reg_token is None else model.reg_token.shape[1],
        prefix_positions=not model.no_embed_class,
        pool="class" if model.global_pool == "token" else "mean",
        norm_after_pool=after,
    )


def _require_plain(model: Any) -> None:
    """Refuse what has no nested form here, by name."""
    blocks = list(model.blocks)
    norms = [norm for block in blocks for norm in (block.norm1, block.norm2)]
    final = model.fc_norm if isinstance(model.norm, nn.Identity) else model.norm
    problems = {
        "a norm in front of the blocks": not isinstance(model.norm_pre, nn.Identity),
        "attention pooling": model.attn_pool is not None or model.global_pool not in ("token", "avg"),
        "two final norms": not any(isinstance(norm, nn.Identity) for norm in (model.norm, model.fc_norm)),
        "norms that are not LayerNorm": not all(isinstance(norm, nn.LayerNorm) for norm in (*norms, final)),
        "norms of different eps": len({getattr(norm, "eps", 0) for norm in (*norms, final)}) > 1,
        "no position embedding": model.pos_embed is None,
        "a variable input size": model.patch_embed.img_size is None or model.dynamic_img_size,
        "an oblong input or patch": model.patch_embed.img_size is not None
        and (len(set(model.patch_embed.img_size)) > 1 or len(set(model.patch_embed.patch_size)) > 1),
        "a norm of queries and keys": any(not isinstance(block.attn.q_norm, nn.Identity) for block in blocks),
        "a norm inside attention": any(
            not isinstance(getattr(b.attn, "norm", nn.Identity()), nn.Identity) for b in blocks
        ),
        "a feed-forward layer other than GELU": any(_other_mlp(block.mlp) for block in blocks),
    }
    found = [name for name, there in problems.items() if there]
    if found:
        raise InputError(f"a transformer with {', '.join(found)}", "a plain pre-norm one", _TODO)


def _other_mlp(mlp: Any) -> bool:
    if [name for name, _ in mlp.named_parameters()] != ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]:
        return True
    x = torch.linspace(-4, 4, 17, device=mlp.fc1.weight.device)
    return not torch.allclose(mlp.act(x), nn.functional.gelu(x), atol=1e-6)


def _fold_layer_scale(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply the rows of the out-projections by the gains that follow them."""
    for name in [name for name in tensors if name.endswith((".ls1.gamma", ".ls2.gamma"))]:
        gain = tensors.pop(name)
        block = name.rsplit(".", 2)[0]
        linear = f"{block}.attn.proj" if name.endswith("ls1.gamma") else f"{block}.mlp.fc2"
        tensors[f"{linear}.weight"] = tensors[f"{linear}.weight"] * gain[:, None]
        tensors[f"{linear}.bias"] = tensors[f"{linear}.bias"] * gain
    return tensors
