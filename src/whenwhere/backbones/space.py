"""One space for images and texts.

Two kinds serve the same calls: a model trained on image-text pairs (CLIP, SigLIP) given as a folder, and the bridge,
which needs no pairs at all. The bridge has two halves side by side, and its similarity is the sum of theirs:

- rows: DeViSE (Frome et al. 2013) in closed form. A classifier's row for a class is where images of that class lie, so
  a ridge map from sentence embeddings of what the classes are called to those rows takes any sentence to where its
  images lie.
- words: ConSE (Norouzi et al. 2014). An image lies at the mean of the sentence embeddings of the classes, weighted by
  the classifier's probabilities; a sentence lies at its own embedding.

The rows know what images look like between the classes, the words know what is said of what is seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.backbones.text import TextEncoder, quiet_transformers, text_encoder
from whenwhere.backbones.vision import Backbone, vision
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import CONFIG_FILE, read_json, read_tensors

DEFAULT = "bridge"
BRIDGE_FOLDER = Path(__file__).parent.parent / "weights" / "bridge"


class SharedSpace(nn.Module):
    """A space of unit vectors in which images and texts that mean the same lie close.

    Attributes:
        name: what it was loaded as.
        dim: length of a vector.
    """

    name: str
    dim: int

    def embed_images(self, images: Sequence[np.ndarray], batch: int = 4) -> Tensor:
        """Places of images.

        Args:
            images: uint8 (H, W, 3) RGB arrays.
            batch: images per forward pass.

        Returns:
            float32 (n, dim), unit rows.
        """
        parts = [self._images(images[at : at + batch]) for at in range(0, len(images), batch)]
        return torch.cat(parts) if parts else torch.empty(0, self.dim)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Places of texts, float32 (n, dim), unit rows."""
        return self.place_texts(self.text_features(texts)) if len(texts) else torch.empty(0, self.dim)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """What the text encoder gives before it is placed in the space: float32 (n, width), unit rows."""
        raise NotImplementedError

    def place_texts(self, features: Tensor) -> Tensor:
        """Text features (..., width) to places (..., dim), unit rows."""
        raise NotImplementedError

    def frame_tokens(self, images: Sequence[np.ndarray], parts: int = 0) -> Tensor:
        """Places of images and of their parts, for video models.

        Args:
            images: uint8 (H, W, 3) arrays.
            parts: rows and columns of a coarse grid; 0 for the whole image alone.

        Returns:
            float32 (n, 1 + parts * parts, dim): the whole image, then the parts row by row; unit rows.
        """
        raise NotImplementedError

    def _images(self, images: Sequence[np.ndarray]) -> Tensor:
        return self.frame_tokens(images)[:, 0]


@dataclass(frozen=True)
class BridgeConfig:
    """What a bridge joins.

    Attributes:
        image_backbone: name for :func:`whenwhere.backbones.vision.vision`; a CNN with an ImageNet classifier.
        text_encoder: name for :func:`whenwhere.backbones.text.text_encoder`.
        sizes: sides of the input square in pixels; features are the mean over them. The size of the classifier's own
            training is best for one large thing, a larger one for many small ones.
        ridge: the regulariser per class, as fitted.
        words: weight of the words half against the rows half.
    """

    image_backbone: str = "efficientnet-lite2"
    text_encoder: str = "minilm-l6"
    sizes: tuple[int, ...] = (260, 390)
    ridge: float = 1.0
    words: float = 0.7

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if not self.sizes or min(self.sizes) < 32 or self.ridge <= 0 or self.words < 0:
            raise InputError(f"bridge of {self}", "sizes of at least 32, a positive ridge, words >= 0")


@dataclass
class BridgeMaps:
    """Tensors of a bridge.

    Attributes:
        text_map: (text width, d), from a centred sentence embedding to the rows half.
        image_map: (image width, d), orthonormal columns, from a centred image feature to the rows half.
        text_mean: (text width,), mean embedding of captions.
        image_mean: (image width,), mean over images of the sum over sizes of unit features.
        class_texts: (classes, text width), unit mean embedding of each class's names, centred over classes.
    """

    text_map: Tensor
    image_map: Tensor
    text_mean: Tensor
    image_mean: Tensor
    class_texts: Tensor


def fit_bridge(class_rows: Tensor, texts: Tensor, owner: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Ridge map from sentence embeddings of class descriptions to classifier rows.

    With X the centred text rows and Y the unit, centred classifier rows they belong to, the map is
    W = (X'X + ridge * R/C * I)^-1 X'Y, R rows for C classes. Its range has the rank of the text space, so places are
    given in an orthonormal basis Q of that range: text (e - mean) W Q, image (f - mean) Q; both lose nothing that the
    other could match.

    Args:
        class_rows: (C, D) rows of the classifier.
        texts: (R, d) unit sentence embeddings; R >= C, several per class.
        owner: (R,) class index of each text.
        ridge: regulariser, > 0.

    Returns:
        (text_map (d, d'), image_map (D, d')) with d' = min(d, D).

    Raises:
        InputError: shapes that do not agree, or a ridge that is not positive.
    """
    if ridge <= 0:
        raise InputError(f"ridge {ridge}", "a positive number")
    if len(texts) != len(owner) or owner.min() < 0 or owner.max() >= len(class_rows):
        raise InputError(
            f"{len(texts)} texts with {len(owner)} owners among {len(class_rows)} classes", "one owner a text"
        )
    rows = F.normalize(class_rows.double(), dim=-1)
    targets = F.normalize(rows - rows.mean(0), dim=-1)[owner]  # (R, D)
    x = texts.double() - texts.double().mean(0)  # (R, d)
    weight = ridge * len(texts) / len(class_rows)
    solution = torch.linalg.solve(x.T @ x + weight * torch.eye(x.shape[1], dtype=x.dtype), x.T @ targets)  # (d, D)
    basis = torch.linalg.qr(solution.T).Q  # (D, d')
    return (solution @ basis).float(), basis.float()


class Bridge(SharedSpace):
    """The shared space without image-text pairs.

    Args:
        config: what it joins.
        maps: its tensors.
        image_backbone, text_encoder: loaded on first use when not given.
    """

    text_map: Tensor
    image_map: Tensor
    text_mean: Tensor
    image_mean: Tensor
    class_texts: Tensor

    def __init__(
        self,
        config: BridgeConfig,
        maps: BridgeMaps,
        image_backbone: Backbone | None = None,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        super().__init__()
        self.config, self.name = config, DEFAULT
        self.dim = maps.text_map.shape[1] + maps.text_map.shape[0]
        for key, value in vars(maps).items():
            self.register_buffer(key, value.float())
        self._image_backbone, self._text_encoder = image_backbone, text_encoder

    @property
    def image_backbone(self) -> Backbone:
        """The image encoder, loaded on first use."""
        if self._image_backbone is None:
            self._image_backbone = vision(self.config.image_backbone, size=max(self.config.sizes))
        return self._image_backbone

    @property
    def text_encoder(self) -> TextEncoder:
        """The sentence encoder, loaded on first use: captioning an image does not need it."""
        if self._text_encoder is None:
            self._text_encoder = text_encoder(self.config.text_encoder)
        return self._text_encoder

    def text_features(self, texts: Sequence[str]) -> Tensor:
        return self.text_encoder.embed(texts)

    def place_texts(self, features: Tensor) -> Tensor:
        centred = features - self.text_mean
        return self._join(centred @ self.text_map, centred)

    @torch.no_grad()
    def frame_tokens(self, images: Sequence[np.ndarray], parts: int = 0) -> Tensor:
        backbone = self.image_backbone
        features, logits = torch.zeros(()), torch.zeros(())
        classifier = backbone.model.get_classifier()  # type: ignore[union-attr, operator]
        for size in self.config.sizes:
            maps = backbone.tokens(backbone.preprocess(images, size).to(self.image_map.device))  # (n, h*w, D)
            side = math.isqrt(maps.shape[1])
            grid = maps.transpose(1, 2).unflatten(2, (side, side))  # (n, D, h, w)
            pooled = grid.mean((2, 3))[:, None]  # (n, 1, D)
            if parts:
                pooled = torch.cat([pooled, F.adaptive_avg_pool2d(grid, parts).flatten(2).transpose(1, 2)], 1)
            features = features + F.normalize(pooled, dim=-1)  # (n, 1 + parts^2, D)
            logits = logits + classifier(pooled) / len(self.config.sizes)
        words = logits.softmax(-1) @ self.class_texts  # (n, 1 + parts^2, text width)
        return self._join((features - self.image_mean) @ self.image_map, words)

    def _join(self, rows: Tensor, words: Tensor) -> Tensor:
        """Put the halves side by side: the similarity of two places is the weighted mean of that of their halves."""
        words = self.config.words**0.5 * F.normalize(words, dim=-1)
        return F.normalize(torch.cat([F.normalize(rows, dim=-1), words], -1), dim=-1)

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` (float16) into a folder."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {key: getattr(self, key).half().contiguous() for key in BridgeMaps.__annotations__}
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"kind": "bridge", **asdict(self.config)}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path = BRIDGE_FOLDER) -> Bridge:
        """Read what :meth:`save` wrote.

        Raises:
            WeightsError: missing, damaged or other tensors.
        """
        folder = Path(folder)
        config = {key: value for key, value in read_json(folder / CONFIG_FILE).items() if key != "kind"}
        tensors = read_tensors(folder)
        if set(tensors) != set(BridgeMaps.__annotations__):
            raise WeightsError(f"{folder}: tensors {sorted(tensors)}", f"{sorted(BridgeMaps.__annotations__)}")
        try:
            return cls(BridgeConfig(**config), BridgeMaps(**tensors))
        except TypeError as error:
            raise WeightsError(f"{folder}/config.json: {error}", "the fields of a bridge") from error


class PairedSpace(SharedSpace):
    """CLIP or SigLIP, trained on pairs, from a folder in transformers' form."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        import transformers

        folder = Path(folder)
        kind = read_json(folder / CONFIG_FILE).get("model_type")
        if kind not in ("clip", "siglip"):
            raise WeightsError(f"{folder}: model_type {kind!r}", "clip or siglip")
        read_tensors(folder)
        with quiet_transformers():
            model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self.name, self.text_encoder = str(folder), text_encoder(folder)
        self.image_backbone = vision(folder)
        self.projection = getattr(model, "visual_projection", None) or nn.Identity()
        self.kind, self.dim = kind, self.text_encoder.width
        self.requires_grad_(False)
        self.eval()

    def text_features(self, texts: Sequence[str]) -> Tensor:
        return self.text_encoder.embed(texts)

    def place_texts(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1)

    @torch.no_grad()
    def frame_tokens(self, images: Sequence[np.ndarray], parts: int = 0) -> Tensor:
        backbone = self.image_backbone
        pixels = backbone.preprocess(images).to(next(self.parameters()).device)
        tokens = [self.projection(backbone.pooled(pixels))[:, None]]  # (n, 1, dim)
        if parts:
            if self.kind != "clip":
                raise InputError(f"parts={parts} with {self.kind}", "parts=0: its pooling head reads whole images only")
            grid = backbone.tokens(pixels)[:, backbone.prefix_tokens :].transpose(1, 2).unflatten(2, backbone.grid)
            tokens.append(self.projection(F.adaptive_avg_pool2d(grid, parts).flatten(2).transpose(1, 2)))
        return F.normalize(torch.cat(tokens, 1), dim=-1)


def shared_space(name: str | Path = DEFAULT) -> SharedSpace:
    """Load a shared image-text space.

    Args:
        name: ``bridge`` (shipped, over the default set) or a folder with a CLIP or SigLIP model, or a saved bridge.

    Raises:
        InputError: neither of these.
        WeightsError: weights that cannot be had, or do not fit.
    """
    if str(name) == DEFAULT:
        return Bridge.load()
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"unknown image-text space {str(name)!r}", f"{DEFAULT!r} or a folder with a CLIP or SigLIP model"
        )
    return Bridge.load(folder) if read_json(folder / CONFIG_FILE).get("kind") == "bridge" else PairedSpace(folder)
