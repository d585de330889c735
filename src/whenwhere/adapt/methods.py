"""The adaptation methods by name, imported when they are asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from whenwhere.adapt.adapted import SCHEMA, Adapted, AdaptedConfig
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import read_config

METHODS: dict[str, str] = {
    "losa": "losa:Losa",
    "linear": "linear:LinearProbe",
    "full": "own_weights:FullFineTuning",
    "bitfit": "own_weights:BitFit",
    "lora": "lora:Lora",
    "peft": "lora:PeftAdapted",
    "houlsby": "stream_adapters:Houlsby",
    "pfeiffer": "stream_adapters:Pfeiffer",
    "adaptformer": "stream_adapters:AdaptFormer",
    "vpt-shallow": "prompts:VptShallow",
    "vpt-deep": "prompts:VptDeep",
    "ssf": "scale_shift:ScaleShift",
    "ladder": "ladder:Ladder",
    "placed": "placement:PlacedAdapters",
}
"""Name of a method to ``module:class`` within this package."""


def method(name: str) -> type[Adapted]:
    """The class of an adaptation method.

    Args:
        name: a key of :data:`METHODS`.

    Raises:
        InputError: an unknown name; the known ones are listed.
    """
    if name not in METHODS:
        raise InputError(f"adaptation method {name!r}", f"one of {', '.join(METHODS)}")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(importlib.import_module(f"whenwhere.adapt.{module}"), attribute)


def for_any_backbone() -> tuple[str, ...]:
    """Names of the methods that take CNNs as well as transformers."""
    return tuple(name for name in METHODS if not method(name).transformers_only)


def load_adapted(folder: str | Path, backbone: Backbone | None = None) -> Adapted:
    """Read a saved adapter of any method.

    Args:
        folder: written by :meth:`~whenwhere.adapt.adapted.Adapted.save`.
        backbone: to put it on; default the one that it names.

    Raises:
        WeightsError: not a saved adapter, made for another backbone or by an unknown method, or damaged.
    """
    saved = read_config(folder, SCHEMA, AdaptedConfig)
    if saved.method not in METHODS:
        raise WeightsError(f"{folder} holds an adapter of method {saved.method!r}", f"one of {', '.join(METHODS)}")
    return method(saved.method).load(folder, backbone)
