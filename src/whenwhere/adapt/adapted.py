"""What every adaptation method is: a frozen backbone, something small that is trained, and a linear head.

The backbone is held beside the module, not in it: ``parameters()`` and ``state_dict()`` of an adapted model are exactly
what is trained, so optimisers, checkpoints and files hold nothing else, and ``train()`` never reaches the backbone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.backbones.vision import Backbone, vision
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import load_model, read_config, save_model

SCHEMA = "whenwhere.adapted/1"


@dataclasses.dataclass(frozen=True)
class AdaptedConfig:
    """What a saved adapter says of itself.

    Args:
        method: name of the method.
        settings: the fields of the method's own config.
        labels: class names, in the order of the logits.
        backbone: what the backbone was loaded as.
        size: input side in pixels.
        fingerprint: of the backbone's weights.
    """

    method: str
    settings: dict[str, Any]
    labels: tuple[str, ...]
    backbone: str
    size: int
    fingerprint: str


class Adapted(nn.Module):
    """Base of the adaptation methods.

    A method sets ``method`` and ``Config`` (a frozen dataclass whose defaults all hold) and defines :meth:`vector`. It
    registers every trained tensor on itself, so that :meth:`parameters` and ``state_dict`` are the adapter and no more.

    Args:
        backbone: frozen; it is shared, and must not be changed. Take :func:`~whenwhere.adapt.anatomy.sharing` of it to
            reach inside.
        labels: names of the classes, at least two, no two alike.
        config: of the method; its defaults if None.

    Raises:
        InputError: bad labels, or a backbone that the method cannot adapt.
    """

    method: ClassVar[str]
    Config: ClassVar[type]
    reads_states_only: ClassVar[bool] = False  # True: a StatesAdapted, trainable from cached features
    transformers_only: ClassVar[bool] = False  # True: it takes a transformer apart, so a CNN is refused

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__()
        self.labels = tuple(str(label) for label in labels)
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise InputError(f"labels {list(self.labels)[:5]}", "at least two class names, no two alike")
        self.__dict__["backbone"] = backbone  # not a submodule: see the top of this file
        self.config = config if config is not None else self.Config()
        self.head = nn.Linear(backbone.width, len(self.labels))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    backbone: Backbone

    def vector(self, pixels: Tensor) -> Tensor:
        """The adapted image vector that the linear head reads.

        Args:
            pixels: float (B, 3, size, size), normalised by ``backbone.preprocess``; methods that read states only take
                (B, T, 3, size, size) too.

        Returns:
            (B, width).
        """
        raise NotImplementedError

    def clip_vector(self, pixels: Tensor) -> Tensor:
        """The vector of clips: of methods for images, the mean of what :meth:`vector` gives of each frame alone.

        Args:
            pixels: float (B, T, 3, size, size).

        Returns:
            (B, width).
        """
        return self.vector(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2]).mean(1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of images, float (B, 3, size, size), or of clips, (B, T, 3, size, size)."""
        pixels = pixels.to(dtype_of(self.backbone, pixels.dtype))
        vector = self.clip_vector(pixels) if pixels.ndim == 5 else self.vector(pixels)
        return self.head(vector.to(self.head.weight.dtype))

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Softmax cross-entropy, for :func:`whenwhere.training.fit`.

        Args:
            batch: "pixels" as in :meth:`forward` and "label", int64 (B,).

        Returns:
            "loss", and "accuracy" in 0..1 without gradient.
        """
        return self._scores(self(batch["pixels"]), batch["label"])

    def _scores(self, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        loss = F.cross_entropy(logits.float(), label)
        return {"loss": loss, "accuracy": (logits.detach().argmax(1) == label).float().mean()}

    def predict(self, images: Sequence[np.ndarray], batch: int = 32) -> np.ndarray:
        """Class probabilities.

        Args:
            images: uint8 (H, W, 3) RGB arrays of any sizes.
            batch: images in one pass.

        Returns:
            float32 (len(images), classes), rows sum to 1.
        """
        self.eval()
        rows = []
        with torch.no_grad():
            for start in range(0, len(images), batch):
                pixels = self.backbone.preprocess(images[start : start + batch]).to(self.head.weight.device)
                rows.append(self(pixels).float().softmax(1).cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, len(self.labels)), np.float32)

    def counts(self) -> dict[str, int]:
        """Trained numbers: "adapter" (the method's own) and "head", counted apart as the field does."""
        head = sum(p.numel() for p in self.head.parameters())
        return {"adapter": sum(p.numel() for p in self.parameters()) - head, "head": head}

    def save(self, folder: str | Path) -> Path:
        """Write the trained tensors and what they were trained for; the backbone is named, not stored."""
        config = AdaptedConfig(
            self.method,
            dataclasses.asdict(self.config),
            self.labels,
            self.backbone.name,
            self.backbone.size,
            self.backbone.fingerprint(),
        )
        return save_model(folder, self, SCHEMA, config, torch.float32)

    @classmethod
    def load(cls, folder: str | Path, backbone: Backbone | None = None) -> Adapted:
        """Read a saved adapter of this method; :func:`whenwhere.adapt.methods.load_adapted` reads one of any method.

        Args:
            folder: written by :meth:`save`.
            backbone: to put it on; default the one that it names.

        Raises:
            WeightsError: another method's, made for another backbone, or damaged.
        """
        saved = read_config(folder, SCHEMA, AdaptedConfig)
        if saved.method != cls.method:
            raise WeightsError(f"{folder} holds an adapter of method {saved.method!r}", repr(cls.method))
        if backbone is None:
            backbone = vision(saved.backbone, size=saved.size)
        if backbone.fingerprint() != saved.fingerprint or backbone.size != saved.size:
            raise WeightsError(
                f"{folder} was trained on {saved.backbone} at {saved.size} pixels "
                f"(weights {saved.fingerprint[:12]}), not on {backbone.name} at {backbone.size} "
                f"(weights {backbone.fingerprint()[:12]})",
                "the backbone that it was trained on",
            )
        try:
            config = cls.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.settings.items()})
        except TypeError as error:
            raise WeightsError(f"{folder}: settings do not fit {cls.Config.__name__}: {error}") from None
        model = cls(backbone, saved.labels, config)
        load_model(folder, model)
        return model.eval()


class StatesAdapted(Adapted):
    """A method that reads the frozen backbone's intermediate states and nothing else.

    No gradient goes through the backbone, so its states can be computed once and cached, and one pass serves several
    adapters. Subclasses set ``taps`` in their constructor and define :meth:`vector_of`.

    Attributes:
        taps: the layers whose states it reads, as ``Backbone.states`` counts them, ascending, without repeats.
    """

    reads_states_only = True
    reads_pooled: ClassVar[bool] = False  # True: :meth:`vector_of` takes the backbone's pooled vectors, (B, width), too
    taps: tuple[int, ...]

    def vector_of(self, states: Sequence[Tensor]) -> Tensor:
        """The adapted vector from the states of ``taps``.

        Args:
            states: one (B, N, D) per tap, without gradient; for clips (B, T, N, D).

        Returns:
            (B, width).
        """
        raise NotImplementedError

    def finish(self, state: Tensor) -> Tensor:
        """The backbone's last norm and pooling, in its own dtype; the mean over the frames of clips.

        Args:
            state: last state, as it is or adapted: (B, N, D) or (B, T, N, D), of any float dtype.

        Returns:
            (B, width) in the dtype of the head.
        """
        kept = state.to(dtype_of(self.backbone, state.dtype))
        vectors = self.backbone.finish(kept.flatten(0, -3)).to(self.head.weight.dtype)  # (B, width) or (B * T, width)
        if state.ndim == 4:
            return vectors.unflatten(0, state.shape[:2]).mean(1)
        return (
            vectors.contiguous()
        )  # a class token is a view that would keep the whole map alive for the head's gradient

    def logits_of(self, states: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes) from the states of ``taps``."""
        return self.head(self.vector_of(states))

    def frozen_states(self, pixels: Tensor) -> list[Tensor]:
        """The backbone's states at ``taps``, outside of autograd; clips (B, T, 3, s, s) are folded into the batch."""
        return frozen_states(self.backbone, pixels, self.taps)

    def vector(self, pixels: Tensor) -> Tensor:
        return self.vector_of(self.frozen_states(pixels))

    def clip_vector(self, pixels: Tensor) -> Tensor:
        """The vector of clips, from the states of all their frames."""
        return self.vector(pixels)

    def loss(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """As :meth:`Adapted.loss`; a batch may hold "states" (one tensor per tap) in place of "pixels"."""
        if "states" in batch:
            return self._scores(self.logits_of(batch["states"]), batch["label"])
        return super().loss(batch)


def frozen_states(backbone: Backbone, pixels: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """States of a frozen backbone, outside of autograd.

    Args:
        backbone: runs under ``no_grad``.
        pixels: (B, 3, s, s), or clips (B, T, 3, s, s), whose frames it takes one by one.
        taps: layers, as ``Backbone.states`` counts them.

    Returns:
        One (B, N, D), or (B, T, N, D), per tap, contiguous.
    """
    with torch.no_grad():  # not inference_mode, whose tensors may not be kept for a backward pass
        states = backbone.states(pixels.flatten(0, -4).to(dtype_of(backbone, pixels.dtype)), taps)
    states = [state.contiguous() for state in states]  # as a cache gives them, so that both round alike
    return [state.unflatten(0, pixels.shape[:2]) for state in states] if pixels.ndim == 5 else states


def dtype_of(backbone: Backbone, default: torch.dtype = torch.float32) -> torch.dtype:
    """Type of a backbone's weights; ``default`` if it has none."""
    return next((parameter.dtype for parameter in backbone.parameters()), default)


def answer_together(models: Sequence[StatesAdapted], pixels: Tensor) -> list[Tensor]:
    """Logits of several adapters from one pass of the backbone that they share.

    Args:
        models: at least one; all on the same backbone object.
        pixels: as in :meth:`Adapted.vector`.

    Returns:
        One (B, classes) per model.

    Raises:
        InputError: no model, or models on different backbones.
    """
    if not models or any(model.backbone is not models[0].backbone for model in models):
        raise InputError(f"{len(models)} adapters", "at least one, all on the same backbone object")
    taps = sorted({tap % models[0].backbone.depth for model in models for tap in model.taps})
    states = dict(zip(taps, frozen_states(models[0].backbone, pixels, taps)))
    return [model.logits_of([states[tap % model.backbone.depth] for tap in model.taps]) for model in models]
