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
    from whenwhere.api import caption, describe, embed, load
    from whenwhere.errors import WhenwhereError
    from whenwhere.results import Event, LabelMap, Region, Timeline, Track, Word


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'whenwhere' has no attribute {name!r}; public names: {', '.join(_PUBLIC)}")


def __dir__() -> list[str]:
    return sorted(__all__)
