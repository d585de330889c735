"""Fit the default image-text bridge and measure it.

Command: ``python -m whenwhere.recipes.bridge --shared DIR --out src/whenwhere/weights/bridge``
Cost: about four minutes on two cores, most of it embedding 24,000 captions for their mean.
Score: see ``reproductions/results/image_captioner.json``, fields ``recall_*``.

What is fitted: a ridge map from sentence embeddings of the 1,000 ImageNet classes (every synonym in "a photo of a
NAME.", and two sentences with the WordNet definition, both from timm's tables) to the classifier's rows. No image and
no caption takes part in the fit. Two means are added: that of caption embeddings, and that of 50 COCO training images,
whose captions are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from whenwhere.backbones.space import BRIDGE_FOLDER, Bridge, BridgeConfig, BridgeMaps, fit_bridge
from whenwhere.backbones.text import TextEncoder, text_encoder
from whenwhere.backbones.vision import Backbone, vision
from whenwhere.media import read_image
from whenwhere.recipes.coco_mini import caption_texts, read_split


@dataclass(frozen=True)
class ClassTexts:
    """Descriptions of the ImageNet classes: ``texts[i]`` describes class ``owner[i]``."""

    texts: list[str]
    owner: list[int]


def class_texts() -> ClassTexts:
    """Synonyms and definitions of the 1,000 ImageNet classes, in class order, from timm's WordNet tables."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    texts, owner = [], []
    for index in range(info.num_classes()):
        lemmas = info.index_to_description(index, detailed=False)
        definition = info.index_to_description(index, detailed=True).removeprefix(lemmas).lstrip(": ")
        names = [name.strip() for name in lemmas.split(",")]
        described = [f"a photo of a {name}." for name in names]
        described += [f"{names[0]}: {definition}", f"a photo of {lemmas}, {definition}"]
        texts += described
        owner += [index] * len(described)
    return ClassTexts(texts, owner)


def image_mean(backbone: Backbone, paths: list[Path], sizes: Sequence[int]) -> Tensor:
    """Mean over image files of the sum over sizes of unit pooled features, (width,)."""
    total = torch.zeros(backbone.width)
    with torch.no_grad():
        for path in paths:
            image = read_image(path)
            for size in sizes:
                total += F.normalize(backbone.pooled(backbone.preprocess([image], size))[0], dim=-1)
    return total / len(paths)


def classifier_rows(backbone: Backbone) -> Tensor:
    """Rows of the backbone's ImageNet classifier, (1000, width)."""
    return backbone.model.get_classifier().weight.detach()  # type: ignore[union-attr, operator]


def fit(shared: Path, config: BridgeConfig | None = None, text_features: Tensor | None = None) -> Bridge:
    """The default bridge.

    Args:
        shared: folder with ``coco_mini`` and ``text`` (see the README of the reproductions).
        config: what to join.
        text_features: embeddings of the training captions if they are at hand, (n, width).
    """
    config = config or BridgeConfig()
    backbone = vision(config.image_backbone, size=max(config.sizes))
    encoder: TextEncoder = text_encoder(config.text_encoder)
    described = class_texts()
    texts, owner = encoder.embed(described.texts), torch.tensor(described.owner)
    text_map, image_map = fit_bridge(classifier_rows(backbone), texts, owner, config.ridge)
    if text_features is None:
        text_features = encoder.embed([text for texts in caption_texts(shared) for text in texts])
    mean = image_mean(backbone, read_split(shared, "train").paths, config.sizes)
    names = torch.tensor([text.startswith("a photo of a ") for text in described.texts])
    classes = torch.zeros(len(set(described.owner)), encoder.width).index_add_(0, owner[names], texts[names])
    classes = F.normalize(classes, dim=-1)
    maps = BridgeMaps(text_map, image_map, text_features.mean(0), mean, classes - classes.mean(0))
    return Bridge(config, maps, backbone, encoder)


def main(shared: Path, out: Path = BRIDGE_FOLDER) -> None:
    """Fit and save the default bridge."""
    fit(shared).save(out)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
