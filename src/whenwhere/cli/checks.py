"""What ``whenwhere doctor`` looks at. Each check finds one fact, judges it, and knows the command that mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from whenwhere.errors import WhenwhereError

# "ok"; "note": works, but could be better or something optional is missing; "bad": has to be mended first
State = Literal["ok", "note", "bad"]

PYTHON = (3, 10)
FREE_BYTES = 1_000_000_000
_OPTIONAL_FOR = {
    "lm": "a language model as captioner",
    "adapt": "the methods lora and peft of adapt",
    "draw": "supervision.Detections",
    "demo": "the photos of the demo",
    "detection": "AP of boxes",
    "meteor": "METEOR",
}
_MODULES = {
    "pillow": "PIL",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}  # where the name to import cannot be guessed from the distribution's


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        group: heading it belongs under.
        name: what was looked at.
        state: "ok", "note" or "bad".
        found: what was found, in words.
        mend: the command or step that mends it; empty when there is nothing to do.
    """

    group: str
    name: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Requirement:
    """A line of the package's metadata: a distribution, its lowest version, and the extra that asks for it."""

    name: str
    least: str
    extra: str

    @classmethod
    def parse(cls, line: str) -> Requirement:
        """Read the forms that pyproject.toml uses: ``name>=1.2`` and ``name>=1.2; extra == "x"``."""
        name = re.match(r"[A-Za-z0-9._-]+", line)
        least = re.search(r">=\s*([0-9][0-9.]*)", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        return cls(name[0] if name else line, least[1] if least else "", extra[1] if extra else "")

    @property
    def pinned(self) -> str:
        """As pip reads it, quoted for a shell."""
        return f"'{self.name}>={self.least}'" if self.least else self.name


def all_checks() -> Iterator[Check]:
    """Every check, in the order of the report. Slow ones (imports) come one by one, so that progress can be shown."""
    yield from system()
    yield from required_packages()
    yield from optional_packages()
    yield from _guarded("compute", torch_and_devices)
    yield from _guarded("media", media_libraries)
    yield from default_models()
    yield from storage()


def system() -> Iterator[Check]:
    """Python, operating system, processor, memory."""
    version = platform.python_version()
    least = ".".join(map(str, PYTHON))
    fits = sys.version_info >= PYTHON
    mend = "" if fits else f"make a new environment with Python {least} or newer"
    yield Check("system", "python", "ok" if fits else "bad", f"{version} ({sys.executable})", mend)
    yield Check("system", "platform", "ok", platform.platform())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("system", "processor", "ok", f"{usable} of {os.cpu_count()} threads usable")
    try:
        import psutil
    except ImportError:
        return  # required_packages tells how to mend that
    memory = psutil.virtual_memory()
    yield Check("system", "memory", "ok", f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB available")


def required_packages() -> Iterator[Check]:
    """Each required package: present, new enough, and importable."""
    requirements = _requirements()
    if requirements is None:
        yield Check("packages", "whenwhere", "bad", "not installed, only on the path", "python -m pip install -e .")
        return
    yield Check("packages", "whenwhere", "ok", importlib.metadata.version("whenwhere"))
    for requirement in requirements:
        if not requirement.extra:
            yield _package(requirement, "packages", "bad")


def optional_packages() -> Iterator[Check]:
    """Packages of the extras that add something for users; their absence is a note."""
    for requirement in _requirements() or []:
        if requirement.extra in _OPTIONAL_FOR:
            yield _package(requirement, "optional", "note")


def torch_and_devices() -> Iterator[Check]:
    """The device that computes by default, its bfloat16, threads and instruction set."""
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        device, found = "cuda", f"cuda: {names} (CUDA {torch.version.cuda})"
    elif torch.backends.mps.is_available():
        device, found = "mps", "mps: Apple GPU"
    else:
        device, found = "cpu", "cpu: no usable GPU"
    yield Check("compute", "device", "ok", found)
    yield Check("compute", "bfloat16", "ok", _bfloat16(device))
    features = torch.backends.cpu.get_cpu_capability()
    yield Check("compute", "cpu", "ok", f"{features}, torch uses {torch.get_num_threads()} threads")


def media_libraries() -> Iterator[Check]:
    """FFmpeg as PyAV brings it, and its decoders."""
    from whenwhere.media.libraries import ffmpeg_libraries, missing_decoders

    versions = ffmpeg_libraries()
    shown = ", ".join(f"{name} {versions[name]}" for name in ("libavcodec", "libavformat") if name in versions)
    yield Check("media", "ffmpeg", "ok", f"{shown} (inside PyAV)")
    missing = missing_decoders()
    mend = "python -m pip install --force-reinstall --only-binary av av" if missing else ""
    found = f"without {', '.join(missing)}" if missing else "the common ones are there"
    yield Check("media", "video decoders", "note" if missing else "ok", found, mend)


def default_models() -> Iterator[Check]:
    """State of the default weights, by the cheap check."""
    from whenwhere.backbones import weights

    words: dict[str, tuple[State, str]] = {
        "ready": ("ok", "ready"),
        "missing": ("note", "not fetched yet"),
        "outdated": ("note", "of an older release"),
        "damaged": ("bad", "damaged"),
    }
    for found in weights.list_models():
        state, word = words[found.state]
        reason = f": {found.reason}" if found.reason else f" ({found.size / 1e6:.0f} MB)"
        yield Check("models", found.model.name, state, word + reason, found.remedy)
    yield Check("models", "model hub", "ok", "not needed: the default weights are Python packages")


def storage() -> Iterator[Check]:
    """The cache folder and the room on its disk."""
    from whenwhere.backbones import weights

    cache = weights.cache_dir()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    mend = "" if writable else f"make {existing} writable, or set WHENWHERE_CACHE to a folder that is"
    yield Check("storage", "cache", "ok" if writable else "bad", f"{cache} ({_words(existing, cache, writable)})", mend)
    free = shutil.disk_usage(existing).free
    need = FREE_BYTES + sum(2 * found.size for found in weights.list_models() if found.state == "missing")
    mend = "" if free > need else f"make room ({need / 1e9:.1f} GB), or point WHENWHERE_CACHE to another disk"
    yield Check("storage", "disk", "ok" if free > need else "note", f"{free / 1e9:.1f} GB free", mend)


def _guarded(group: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """A broken installation is a finding, not a crash."""
    try:
        yield from checks()
    except WhenwhereError as error:
        yield Check(group, "error", "bad", error.given, error.todo)
    except Exception as error:  # whatever a broken compiled package raises
        yield Check(group, "error", "bad", _first_line(error))


def _package(requirement: Requirement, group: str, otherwise: State) -> Check:
    use = _OPTIONAL_FOR.get(requirement.extra, "")
    purpose = f" (for {use})" if use else ""
    install = f"python -m pip install {requirement.pinned}"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Check(
            group, requirement.name, otherwise, f"missing{purpose}", f"python -m pip install {requirement.pinned}"
        )
    if _numbers(version) < _numbers(requirement.least):
        found = f"{version}, too old: {requirement.least} or newer is needed{purpose}"
        return Check(group, requirement.name, otherwise, found, install)
    module = _MODULES.get(requirement.name, requirement.name.replace("-", "_"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:  # compiled packages fail to import in many ways
        found = f"{version}, cannot be imported: {_first_line(error)}"
        command = f"python -m pip install --force-reinstall {requirement.pinned}"
        return Check(group, requirement.name, otherwise, found, command)
    return Check(group, requirement.name, "ok", version)


def _requirements() -> list[Requirement] | None:
    try:
        return [Requirement.parse(line) for line in importlib.metadata.requires("whenwhere") or []]
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Leading release numbers of a version, for comparing: "2.10.1+cpu" gives (2, 10, 1)."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def _bfloat16(device: str) -> str:
    import torch

    try:
        ones = torch.ones(2, 2, dtype=torch.bfloat16, device=device)
        works = bool((ones @ ones == 2).all())
    except (RuntimeError, TypeError):
        works = False
    if not works:
        return f"not on {device}"
    if device == "cuda":
        return "in hardware" if torch.cuda.is_bf16_supported(including_emulation=False) else "emulated, slow"
    if device == "mps":
        return "works"
    list_capabilities: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    hardware = [name for name, value in list_capabilities().items() if "bf16" in name and value is True]
    return f"in hardware ({', '.join(hardware)})" if hardware else "works, no instruction for it seen"


def _words(existing: Path, cache: Path, writable: bool) -> str:
    if not writable:
        return f"{existing} cannot be written"
    return "writable" if existing == cache else "will be made on first use"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
