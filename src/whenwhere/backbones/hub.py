"""One file of a model hub, or a clear refusal within seconds.

The hub's own client tries again and again for minutes when nobody answers. So the cache is asked first, then the hub is
asked once whether it has the file, and only then is the file fetched.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

from whenwhere.errors import WeightsError

SECONDS = 5.0
"""How long the hub has to answer that it has a file."""

_OFFLINE = ("WHENWHERE_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TODO = "download the model where there is a network, and give the folder with config.json and model.safetensors"


def hub_file(repository: str, name: str, what: str) -> Path:
    """A file of the hub, from its cache on this machine or fetched into it.

    Args:
        repository: as the hub calls it, ``OWNER/NAME``.
        name: of the file; only safetensors.
        what: how error messages call the model.

    Returns:
        Where the file is.

    Raises:
        WeightsError: not a safetensors file, not in the cache while ``HF_HUB_OFFLINE``, ``TRANSFORMERS_OFFLINE`` or
            ``WHENWHERE_OFFLINE`` is set, no answer within :data:`SECONDS`, or a download that broke.
    """
    from transformers.utils import cached_file

    if not name.endswith(".safetensors"):
        raise WeightsError(
            f"{what}: its weights are {name}, which can run code when opened",
            "model.safetensors",
            "convert the file with safetensors where you trust it, and give the folder",
        )
    try:
        return Path(str(cached_file(repository, name, local_files_only=True)))
    except OSError:
        pass  # not in the cache
    if said := [key for key in _OFFLINE if os.environ.get(key, "0").lower() not in ("", "0", "off", "no", "false")]:
        raise WeightsError(
            f"{what}: its weights are not in the hub's cache, and {said[0]} is set",
            f"{name} of {repository}",
            f"unset {' and '.join(said)}, or {_TODO}",
        )
    if problem := _problem(repository, name):
        raise WeightsError(f"{what}: {problem}", f"a hub that has {name} of {repository}, or a filled cache", _TODO)
    try:
        return Path(str(cached_file(repository, name)))
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{what}: the download broke ({reason})", f"{name} of {repository}", _TODO) from error


def _problem(repository: str, name: str) -> str:
    """What speaks against a download, found out by one request and in bounded time; empty if nothing does."""
    from transformers.utils import has_file

    problems: list[str] = []

    def ask() -> None:
        try:
            there = has_file(repository, name)
        except Exception as error:  # the hub client raises a dozen types of its own
            problems.append(" ".join(str(error).split())[:200] or type(error).__name__)
        else:
            problems.append("" if there else "the hub cannot be reached, or does not have its weights")

    # in a thread, because looking up a host name cannot be given a time limit
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return problems[0] if problems else f"the hub gave no answer in {SECONDS:g} s"
