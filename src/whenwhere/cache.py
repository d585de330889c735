"""Where the program keeps files that it can fetch or compute again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Folder for files that can always be fetched or computed again.

    Returns:
        ``WHENWHERE_CACHE`` when set, else the platform's cache folder for this program (not created here).
    """
    if chosen := os.environ.get("WHENWHERE_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "whenwhere"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "whenwhere" / "Cache"
    # the XDG specification says that a relative path is to be ignored
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "whenwhere"
