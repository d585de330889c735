"""Pretrained image encoders behind one small contract.

Three sources: timm (vision transformers and CNNs), transformers (CLIP, SigLIP, DINOv2 towers), and the default set,
whose weights come from the package registry. Whatever the source, a backbone hands out its intermediate states by
contract, not by hooks, and never trains itself: it is built frozen and in evaluation mode.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from whenwhere.backbones import weights
from whenwhere.backbones.folding import for_inference
from whenwhere.backbones.hub import hub_file
from whenwhere.backbones.identity import fingerprint
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import CONFIG_FILE, read_json, read_tensors

_LITE2 = "efficientnet-lite2"
_VIT_TINY = "vit-tiny"
_VIT_TINY_FOLDER = Path(__file__).parent.parent / "weights" / _VIT_TINY


class Backbone(nn.Module):
    """A frozen image encoder.

    Attributes:
        name: what it was loaded as.
        width: channels of ``tokens``.
        depth: how many intermediate states there are.
        size: input side in pixels.
        grid: rows and columns of the token grid at ``size``.
        mean, std: normalisation of pixels in 0..1, per RGB channel.
        prefix_tokens: tokens before the grid in ``tokens`` (class token, registers).
    """

    name: str
    width: int
    depth: int
    size: int
    grid: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    prefix_tokens: int = 0

    def states(self, pixels: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Token sequences after the given blocks (transformers) or stages (CNNs).

        Args:
            pixels: float (B, 3, size, size), normalised.
            layers: indices in -depth..depth-1.

        Returns:
            One (B, N, D) tensor per layer, in the order asked; CNN maps are flattened row by row.

        Raises:
            InputError: an index outside the range.
        """
        raise NotImplementedError

    def tokens(self, pixels: Tensor) -> Tensor:
        """Final tokens (B, prefix + rows * columns, width), after the last norm; pixels as in :meth:`states`."""
        raise NotImplementedError

    def pooled(self, pixels: Tensor) -> Tensor:
        """One vector per image, (B, width): what the pretrained classifier or projection would read."""
        raise NotImplementedError

    def finish(self, state: Tensor) -> Tensor:
        """From the last of :meth:`states` to what :meth:`pooled` gives: last norm and pooling, differentiable.

        Args:
            state: (B, N, D), the last block's or stage's output, perhaps changed by an adapter.

        Returns:
            (B, width).
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """SHA-256 of what it computes: its weights, architecture, input size and pixel statistics, not its name.

        It is what an adapter was made for, and what cached states belong to.
        """
        return fingerprint(self)

    def preprocess(self, images: Sequence[np.ndarray], size: int | None = None) -> Tensor:
        """Squash images to the input square and normalise them.

        Squashing keeps everything in view, which matters more for captions than the aspect does.

        Args:
            images: uint8 (H, W, 3) RGB arrays of any sizes.
            size: side in pixels; default ``self.size``. Only CNNs take another.

        Returns:
            float32 (B, 3, size, size).

        Raises:
            InputError: no image, or an array of another shape or type.
        """
        return self.normalise(self.squash(images, size))

    def squash(self, images: Sequence[np.ndarray], size: int | None = None) -> Tensor:
        """The first half of :meth:`preprocess`: uint8 (B, 3, size, size), a quarter of the memory of the second."""
        if not len(images):
            raise InputError("no image given", "a list of at least one uint8 (H, W, 3) array")
        side = size or self.size
        rows = []
        for image in images:
            array = np.asarray(image)
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
                raise InputError(f"image of shape {array.shape} and type {array.dtype}", "uint8 (H, W, 3), RGB")
            x = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]  # (1, 3, H, W)
            rows.append(F.interpolate(x, (side, side), mode="bilinear", antialias=True))
        return torch.cat(rows)

    def normalise(self, squashed: Tensor) -> Tensor:
        """The second half of :meth:`preprocess`: uint8 (..., 3, s, s) to normalised float32 of the same shape."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (squashed.float() / 255.0 - mean[:, None, None]) / std[:, None, None]

    def _indices(self, layers: Sequence[int]) -> list[int]:
        bad = [i for i in layers if not -self.depth <= i < self.depth]
        if bad:
            raise InputError(f"layers {bad} of {self.name}", f"indices in {-self.depth}..{self.depth - 1}")
        return [i % self.depth for i in layers]

    def _freeze(self) -> None:
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """A backbone stays in evaluation mode: its statistics and dropout are part of the pretrained function."""
        return super().train(False)


class TimmBackbone(Backbone):
    """Any timm model with ``forward_intermediates``: vision transformers and CNNs.

    Args:
        model: a timm model.
        name: how to call it in messages and configs.
        size: input side; default the model's own.
    """

    def __init__(self, model: Any, name: str, size: int | None = None) -> None:
        super().__init__()
        if not hasattr(model, "forward_intermediates"):
            raise InputError(
                f"timm model {name} has no forward_intermediates", "a ViT or CNN that hands out its states"
            )
        config = model.pretrained_cfg
        self.model, self.name = model, name
        self.size = size or config["input_size"][-1]
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        self.is_vit = hasattr(model, "blocks") and hasattr(model, "patch_embed")
        if self.is_vit and getattr(model.patch_embed, "img_size", None):  # fixed by its position embeddings
            built = int(model.patch_embed.img_size[0])
            if size not in (None, built):
                raise InputError(f"size {size} for {name}", f"{built}, the size that this transformer was built for")
            self.size = built
        self.width = model.num_features
        self.prefix_tokens = int(getattr(model, "num_prefix_tokens", 0)) if self.is_vit else 0
        self.depth = len(model.blocks) if self.is_vit else len(model.feature_info)
        if self.is_vit:
            self.grid = tuple(model.patch_embed.grid_size)
        else:
            reduction = model.feature_info.reduction() if hasattr(model.feature_info, "reduction") else None
            stride = max(reduction) if reduction else max(f["reduction"] for f in model.feature_info)
            self.grid = (-(-self.size // stride),) * 2
        self._freeze()

    def states(self, pixels: Tensor, layers: Sequence[int]) -> list[Tensor]:
        wanted = self._indices(layers)
        order = sorted(set(wanted))
        if self.is_vit:
            found = self.model.forward_intermediates(
                pixels, indices=order, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
            )
            found = [torch.cat([f[1], f[0]], 1) if isinstance(f, tuple) else f for f in found]  # (B, prefix + N, D)
        else:
            maps = self.model.forward_intermediates(pixels, indices=order, intermediates_only=True)
            found = [m.flatten(2).transpose(1, 2) for m in maps]  # (B, C, h, w) -> (B, h*w, C)
        by_layer = dict(zip(order, found))
        return [by_layer[i] for i in wanted]

    def tokens(self, pixels: Tensor) -> Tensor:
        out = self.model.forward_features(pixels)
        return out if out.ndim == 3 else out.flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, h*w, C)

    def pooled(self, pixels: Tensor) -> Tensor:
        return self.finish(self.states(pixels, [-1])[0])

    def finish(self, state: Tensor) -> Tensor:
        state = state.contiguous()  # sums are the same to the bit only for the same order in memory
        if self.is_vit:
            return self.model.forward_head(self.model.norm(state), pre_logits=True)
        side = math.isqrt(state.shape[1])  # the input is square, so is the map
        features = state.transpose(1, 2).unflatten(2, (side, side))  # (B, h*w, C) -> (B, C, h, w)
        if hasattr(self.model, "conv_head") and hasattr(self.model, "bn2"):  # EfficientNets widen once more
            features = self.model.bn2(self.model.conv_head(features))
        return self.model.forward_head(features, pre_logits=True)


class TransformersBackbone(Backbone):
    """Vision tower of CLIP, SigLIP or DINOv2 as transformers implements it.

    Args:
        model: a ``CLIPVisionModel``, ``SiglipVisionModel``, ``Dinov2Model`` or of the same form.
        name: how to call it in messages.
        mean, std: pixel normalisation.
    """

    def __init__(self, model: Any, name: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        config = model.config
        self.model, self.name = model, name
        self.width, self.depth = config.hidden_size, config.num_hidden_layers
        self.size = int(config.image_size)
        side = self.size // int(config.patch_size)
        self.grid = (side, side)
        self.mean, self.std = tuple(mean), tuple(std)  # type: ignore[assignment]
        self.prefix_tokens = 0 if "siglip" in config.model_type else 1
        self._freeze()

    def _run(self, pixels: Tensor, states: bool) -> Any:
        return self.model(pixel_values=pixels, output_hidden_states=states)

    def states(self, pixels: Tensor, layers: Sequence[int]) -> list[Tensor]:
        wanted = self._indices(layers)
        hidden = self._run(pixels, True).hidden_states  # depth + 1 of (B, N, D); the first is the embedding
        return [hidden[i + 1] for i in wanted]

    def tokens(self, pixels: Tensor) -> Tensor:
        out = self._run(pixels, False).last_hidden_state
        # CLIP's tower norms the class token alone; the captioners read all tokens after the last norm
        tower = getattr(self.model, "vision_model", self.model)
        norm = getattr(tower, "post_layernorm", None)
        return norm(out) if norm is not None and self.model.config.model_type == "clip_vision_model" else out

    def pooled(self, pixels: Tensor) -> Tensor:
        return self._run(pixels, False).pooler_output

    def finish(self, state: Tensor) -> Tensor:
        tower = getattr(self.model, "vision_model", self.model)
        if "siglip" in self.model.config.model_type:
            return tower.head(tower.post_layernorm(state))
        norm = tower.post_layernorm if hasattr(tower, "post_layernorm") else tower.layernorm
        return norm(state[:, 0])  # the class token


def vision(name: str | Path, *, size: int | None = None) -> Backbone:
    """Load an image encoder.

    Args:
        name: ``efficientnet-lite2`` (the default set), ``vit-tiny`` (a small plain transformer that ships with the
            package), ``timm:NAME`` (weights from the hub or its cache), or a folder holding ``config.json`` and
            ``model.safetensors`` in timm's or transformers' form.
        size: input side in pixels for CNNs and timm models built for it.

    Returns:
        A frozen :class:`Backbone`.

    Raises:
        InputError: a name that is none of these.
        WeightsError: weights that cannot be had, or do not fit.
    """
    text = str(name)
    if text == _LITE2:
        return _lite2(size)
    if text == _VIT_TINY:
        backbone = _from_folder(_VIT_TINY_FOLDER, size)
        backbone.name = _VIT_TINY
        return backbone
    if text.startswith("timm:"):
        return _timm_by_name(text[5:], size)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _from_folder(folder, size)
    raise InputError(
        f"unknown image backbone {text!r}", f"{_LITE2!r}, {_VIT_TINY!r}, 'timm:NAME', or a folder with config.json"
    )


def _fill(model: nn.Module, tensors: dict[str, Tensor], where: object) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise WeightsError(f"{where}: {problem}", "the tensors of its config.json's architecture") from error


def _lite2(size: int | None) -> Backbone:
    import timm

    folder = weights.fetch(_LITE2)
    model = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    _fill(model, read_tensors(folder), folder)
    backbone = TimmBackbone(for_inference(model), _LITE2, size)
    backbone.mean, backbone.std = (127 / 255,) * 3, (128 / 255,) * 3  # these weights were trained on (x - 127) / 128
    return backbone


def _timm_by_name(name: str, size: int | None) -> Backbone:
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0][:8]}*")[:5]
        raise InputError(
            f"timm has no model {name!r}", f"one of timm.list_models(){', such as ' + ', '.join(near) if near else ''}"
        )
    try:
        source = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag that the architecture has not
        tags = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}.*")[:5])
        raise InputError(f"timm has no weights {name!r}", f"one of timm.list_pretrained(), such as {tags}") from error
    if source is None or not source.hf_hub_id:
        raise WeightsError(f"timm:{name}: no weights on the hub", "one of timm.list_pretrained(), or a folder")
    file = (source.hf_hub_filename or "model.safetensors").replace("pytorch_model.bin", "model.safetensors")
    path = hub_file(source.hf_hub_id, file, f"timm:{name}")
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except (RuntimeError, OSError, SafetensorError) as error:
        problem = " ".join(str(error).split())[:300]
        raise WeightsError(f"timm:{name}: {path} does not fit ({problem})", "the weights of this model") from error
    return TimmBackbone(model, f"timm:{name}", size)


def _from_folder(folder: Path, size: int | None) -> Backbone:
    config = read_json(folder / CONFIG_FILE)
    if "architecture" in config:
        import timm

        if not timm.is_model(config["architecture"]):
            raise WeightsError(f"{folder}: timm has no architecture {config['architecture']!r}", "a timm model name")
        extra = dict(config.get("model_args") or {})
        model: Any = timm.create_model(
            config["architecture"], pretrained=False, num_classes=config.get("num_classes", 0), **extra
        )
        for key in ("mean", "std", "input_size"):
            value = (config.get("pretrained_cfg") or {}).get(key)
            if value is not None:
                model.pretrained_cfg[key] = tuple(value)
        _fill(model, read_tensors(folder), folder)
        return TimmBackbone(model, str(folder), size)
    return _transformers_folder(folder, config)


def _transformers_folder(folder: Path, config: dict[str, Any]) -> Backbone:
    import transformers

    kind = config.get("model_type")
    classes: dict[str, Any] = {
        "clip": transformers.CLIPVisionModel,
        "clip_vision_model": transformers.CLIPVisionModel,
        "siglip": transformers.SiglipVisionModel,
        "siglip_vision_model": transformers.SiglipVisionModel,
        "dinov2": transformers.Dinov2Model,
    }
    if kind not in classes:
        known = ", ".join(classes)
        raise WeightsError(f"{folder}: model_type {kind!r}", f"a timm 'architecture' or a model_type of {known}")
    read_tensors(folder)  # refuses pickles, missing and damaged files with our words before transformers looks
    model = classes[kind].from_pretrained(folder, local_files_only=True, use_safetensors=True)
    mean, std = _pixel_statistics(folder, kind)
    return TransformersBackbone(model, str(folder), mean, std)


def _pixel_statistics(folder: Path, kind: str) -> tuple[Sequence[float], Sequence[float]]:
    path = folder / "preprocessor_config.json"
    if path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8"))
        if "image_mean" in settings and "image_std" in settings:
            return settings["image_mean"], settings["image_std"]
    if kind.startswith("siglip"):
        return (0.5,) * 3, (0.5,) * 3
    if kind.startswith("clip"):
        return (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
