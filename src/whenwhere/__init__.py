"""whenwhere: say what happens in a video or image, when and where.

Every public name is loaded on first use, so that ``import whenwhere`` stays fast and needs no network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module that defines it
_PUBLIC = {
    "load": "whenwhere.api",
    "describe": "whenwhere.api",
    "caption": "whenwhere.api",
    "embed": "whenwhere.api",
    "adapt_data": "whenwhere.training.adapt_data",
    "TrainedAdapter": "whenwhere.training.trained",
    "Event": "whenwhere.results",
    "Track": "whenwhere.results",
    "Region": "whenwhere.results",
    "Word": "whenwhere.results",
    "LabelMap": "whenwhere.results",
    "Timeline": "whenwhere.results",
    "WhenwhereError": "whenwhere.errors",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from whenwhere.api import caption as caption
    from whenwhere.api import describe as describe
    from whenwhere.api import embed as embed
    from whenwhere.api import load as load
    from whenwhere.errors import WhenwhereError as WhenwhereError
    from whenwhere.results import Event as Event
    from whenwhere.results import LabelMap as LabelMap
    from whenwhere.results import Region as Region
    from whenwhere.results import Timeline as Timeline
    from whenwhere.results import Track as Track
    from whenwhere.results import Word as Word
    from whenwhere.training.adapt_data import adapt_data as adapt_data
    from whenwhere.training.trained import TrainedAdapter as TrainedAdapter


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'whenwhere' has no attribute {name!r}; public names: {', '.join(_PUBLIC)}")


def __dir__() -> list[str]:
    return sorted(__all__)
