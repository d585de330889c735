"""Checkpoints that are whole or absent: written aside, flushed, renamed; never pickled.

A run folder holds::

    step_000123/model.safetensors      weights and buffers
    step_000123/optimizer.safetensors  AdamW moments, as "parameter/moment"
    step_000123/ema.safetensors        averaged weights, when asked for
    step_000123/state.json             step, what the run is (config, model, data), size and SHA-256 of the files above
    LATEST                             name of the newest, for people and other programs
    best.safetensors                   weights of the best evaluation; step and value in its metadata
    metrics.jsonl                      the log

A directory named ``step_*`` appears by one rename after everything in it is on the disk. What a kill leaves behind has
another name and is swept away at the next start; should a disk lose bytes after that, the hashes tell.

No state of a random generator is stored, because there is none to store: data order and noise are functions of
(seed, step), see `whenwhere.training.data`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whenwhere.errors import InputError, WeightsError
from whenwhere.results.files import let_read
from whenwhere.training.config import TrainingError

SCHEMA = "whenwhere.checkpoint/1"
STATE = "state.json"
LATEST = "LATEST"
BEST = "best.safetensors"

_log = logging.getLogger(__name__)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step_{step:06d}"


def write_checkpoint(
    folder: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int
) -> Path:
    """Write ``folder/step_NNNNNN``, point ``LATEST`` to it, and drop all but the newest ``keep``.

    Args:
        folder: the run folder; made if missing.
        step: updates done.
        files: name without suffix -> tensors of one safetensors file.
        state: JSON-able description of the run, stored beside the step and the file hashes.
        keep: newest checkpoints to leave, at least 1.

    Returns:
        The folder of the checkpoint.

    Raises:
        TrainingError: no space left or no right to write; nothing half-written stays.
    """
    final = checkpoint_path(folder, step)
    aside = folder / f".{final.name}.tmp"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        written = {}
        for name, tensors in files.items():
            path = aside / f"{name}.safetensors"
            save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, path)
            let_read(path)
            _flush(path)
            written[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        record = {"schema": SCHEMA, "step": step, **state, "files": written}
        _write_text(aside / STATE, json.dumps(record, indent=1, default=str))
        _flush(aside)
        if final.exists():
            _remove(final)
        os.replace(aside, final)
        _flush(folder)
        _write_text(folder / (LATEST + ".tmp"), final.name + "\n")
        os.replace(folder / (LATEST + ".tmp"), folder / LATEST)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise _write_error(f"checkpoint of step {step}", folder, error) from error
    for old in _checkpoints(folder)[keep:]:
        _remove(old)
    return final


def write_best(folder: Path, tensors: Mapping[str, Tensor], step: int, metric: str, value: float) -> Path:
    """Replace ``best.safetensors`` in one rename.

    Raises:
        TrainingError: no space left or no right to write; the older best file stays.
    """
    path = folder / BEST
    aside = folder / f".{BEST}.tmp"
    try:
        metadata = {"step": str(step), "metric": metric, "value": repr(value)}
        save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, aside, metadata=metadata)
        let_read(aside)
        _flush(aside)
        os.replace(aside, path)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        aside.unlink(missing_ok=True)
        raise _write_error(f"best weights of step {step}", folder, error) from error
    return path


def best_value(folder: Path) -> float | None:
    """Value of the metric that ``best.safetensors`` was kept for, or None where there is no such file."""
    path = folder / BEST
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        return float(file.metadata()["value"])


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run folder; what is torn is removed on the way.

    Args:
        folder: the run folder; need not exist.

    Returns:
        The newest ``step_*`` folder whose files have the size and hash that its state.json tells, or None.
    """
    for torn in folder.glob(".*.tmp"):  # left by a kill in the middle of writing
        shutil.rmtree(torn) if torn.is_dir() else torn.unlink()
    for path in _checkpoints(folder):
        fault = _fault(path)
        if fault is None:
            return path
        _log.warning("checkpoint %s is damaged (%s) and is removed", path, fault)
        _remove(path)
    return None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The state.json of a checkpoint folder."""
    return json.loads((checkpoint / STATE).read_text())


def read_tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one file of a checkpoint, on the CPU."""
    return load_file(checkpoint / f"{name}.safetensors")


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name, a tied tensor only under the first of its names (safetensors stores it once)."""
    seen: set[tuple[Any, ...]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else (name,)
        if place not in seen:
            seen.add(place)
            tensors[name] = tensor
    return tensors


def load_module(module: nn.Module, source: Path) -> None:
    """Load ``model.safetensors`` or ``best.safetensors`` into a module, in place.

    Args:
        module: of exactly the same names and shapes.
        source: the file.

    Raises:
        WeightsError: the file is missing, or a name or shape differs; the first one is named.
    """
    if not source.is_file():
        raise WeightsError(f"no weights at {source}", "a .safetensors file", "check the path")
    tensors = load_file(source)
    own = module_tensors(module)
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own or own[name].shape != tensors[name].shape:
            given = tuple(tensors[name].shape) if name in tensors else "missing"
            expected = f"shape {tuple(own[name].shape)}" if name in own else "no such tensor"
            raise WeightsError(
                f"{source}: {name} is {given}", expected, "build the module with the config it was saved with"
            )
    module.load_state_dict(tensors, strict=False)  # strict would miss the second names of tied tensors


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimizer moments, flat: "parameter name/moment name" -> tensor."""
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    states = optimizer.state_dict()["state"]
    return {f"{names[i]}/{key}": value for i, state in states.items() for key, value in state.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the moments of `optimizer_tensors` back."""
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    place = {name: i for i, name in enumerate(names)}
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, moment = key.rpartition("/")
        states.setdefault(place[name], {})[moment] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def require_same_run(saved: Mapping[str, Any], current: Mapping[str, Any], checkpoint: Path) -> None:
    """Refuse to resume a different run.

    Args:
        saved: what the run was, nested dicts from state.json.
        current: what the run is now, the same form.
        checkpoint: named in the message.

    Raises:
        InputError: a field differs; the message says which, e.g. ``config.lr``, and both values.
    """
    old, new = _flat(_as_json(saved)), _flat(_as_json(current))
    for field in [*new, *(field for field in old if field not in new)]:
        if old.get(field) != new.get(field):
            raise InputError(
                f"{field} is {new.get(field, 'absent')!r} in this run",
                f"{old.get(field, 'absent')!r} as in {checkpoint}",
                f"set {field} back to resume, or train in another folder",
            )


def _as_json(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of state.json gets: tuples are lists, and paths and dtypes their names."""
    return json.loads(json.dumps(tree, default=str))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _checkpoints(folder: Path) -> list[Path]:
    """Folders named step_<number>, newest first."""
    found = [path for path in folder.glob("step_*") if path.is_dir() and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def _fault(checkpoint: Path) -> str | None:
    """Why a checkpoint is not complete, or None."""
    try:
        state = read_state(checkpoint)
        for name, claim in state["files"].items():
            path = checkpoint / name
            if path.stat().st_size != claim["bytes"] or _sha256(path) != claim["sha256"]:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{STATE}: {error!r}"
    return None if state.get("schema") == SCHEMA else f"schema {state.get('schema')!r}, expected {SCHEMA!r}"


def _remove(checkpoint: Path) -> None:
    """Take the name away first, so that a kill in the middle leaves no half-empty checkpoint under it."""
    doomed = checkpoint.with_name(f".{checkpoint.name}.old.tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(checkpoint, doomed)
    shutil.rmtree(doomed)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)
    _flush(path)


def _flush(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power cut."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder; its renames are journalled
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_error(what: str, folder: Path, error: Exception) -> TrainingError:
    latest = folder / LATEST
    good = (
        f"{latest.read_text().strip()} is the last good checkpoint"
        if latest.exists()
        else "no checkpoint was written yet"
    )
    try:
        free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free in {folder}"
    except OSError:
        free = f"{folder} cannot be read"
    return TrainingError(
        f"cannot write the {what}: {error} ({free})",
        "room on the disk and the right to write",
        f"free some space or lower keep, then run the same command again; {good}",
    )
