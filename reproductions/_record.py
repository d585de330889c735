"""A record of runs on disk, which a second call goes on with."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def read_record(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The results so far; a new record if there are none.

    Raises:
        SystemExit: the file holds results of other settings.
    """
    if not out.exists():
        return {"settings": settings, "runs": {}}
    record: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if record["settings"] != settings:
        raise SystemExit(f"{out} holds results of other settings: move it away, or give --out")
    return record


def write_record(record: dict[str, Any], out: Path, packages: Sequence[str]) -> None:
    """Write whole or not at all, with the versions of these packages."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    record["versions"] = {name: version(name) for name in packages}
    record["machine"] = f"{platform.machine()}, {torch.get_num_threads()} thread"
    part.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, out)
