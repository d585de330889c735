"""Models on disk: ``config.json`` and ``model.safetensors`` in a folder. Never pickle."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whenwhere.errors import InputError, WeightsError
from whenwhere.results.files import let_read

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

ConfigT = TypeVar("ConfigT")


def save_model(folder: str | os.PathLike[str], module: nn.Module, schema: str, config: Any, dtype: torch.dtype) -> Path:
    """Write ``config.json`` and ``model.safetensors``, each to a temporary name first.

    Args:
        folder: created if missing.
        module: its state dict is written; tensors that share memory are written once.
        schema: name and version of the format, such as ``"whenwhere.streaming_dvc/1"``.
        config: frozen dataclass, nested ones allowed.
        dtype: of the floating point tensors on disk.

    Returns:
        The folder.

    Raises:
        InputError: the files cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    aliases = _aliases(module)
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous().clone()
        for name, tensor in module.state_dict().items()
        if name not in aliases
    }
    text = json.dumps({"schema": schema, "config": dataclasses.asdict(config)}, indent=1) + "\n"
    weights, settings = folder / WEIGHTS_FILE, folder / CONFIG_FILE
    for path in (weights, settings):
        temporary = path.with_name(path.name + ".part")
        try:
            if path is weights:
                save_file(tensors, temporary, metadata={"format": "pt"})
                let_read(temporary)
            else:
                temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        except (SafetensorError, OSError) as error:
            temporary.unlink(missing_ok=True)
            raise InputError(f"cannot write {path}: {error}", "a folder that you may write, with room") from error
    return folder


def read_config(folder: str | os.PathLike[str], schema: str, kind: type[ConfigT]) -> ConfigT:
    """Read the configuration that :func:`save_model` wrote.

    Raises:
        WeightsError: no such file, not of this schema, or unknown, missing or bad fields.
    """
    path = Path(folder) / CONFIG_FILE
    data = read_json(path)
    if data.get("schema") != schema:
        raise WeightsError(f"{path} is of schema {data.get('schema')!r}", repr(schema))
    try:
        return _dataclass(kind, data.get("config"), str(path))
    except InputError as error:
        raise WeightsError(f"{path} holds {error.given}", error.expected) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        WeightsError: no such file, or something else in it.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist", "a folder that a model was saved to") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise WeightsError(f"cannot read {path}: {error}") from None
    if not isinstance(data, dict):
        raise WeightsError(f"{path} holds {type(data).__name__}", "a JSON object")
    return data


def read_tensors(folder: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read all tensors of a folder: ``model.safetensors``, or the shards that ``model.safetensors.index.json`` names.

    Raises:
        WeightsError: missing, damaged, or there as pickles only.
    """
    folder = Path(folder)
    index = folder / (WEIGHTS_FILE + ".index.json")
    names = [WEIGHTS_FILE]
    if not (folder / WEIGHTS_FILE).is_file() and index.is_file():
        names = sorted({str(name) for name in dict(read_json(index).get("weight_map", {})).values()})
    tensors: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if Path(name).name != name:
            raise WeightsError(f"{index} names the file {name!r}", "files in the same folder")
        if not path.is_file():
            pickles = sorted(found.name for pattern in _PICKLES for found in folder.glob(pattern))
            if pickles:
                raise WeightsError(
                    f"{folder} holds {', '.join(pickles)}",
                    f"{WEIGHTS_FILE}: a pickle can run code when it is read, so it is never opened here",
                    "where you trust it, load it with transformers and write it again with save_pretrained(folder)",
                )
            raise WeightsError(f"{path} does not exist", "a folder with weights as safetensors")
        try:
            tensors.update(load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"cannot read {path}: {error}", "a whole safetensors file") from None
    return tensors


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a module's parameters and buffers, in the module's own dtypes.

    Raises:
        WeightsError: names are missing or unknown, or a shape differs; the module is then unchanged.
    """
    state, aliases = module.state_dict(), _aliases(module)
    missing = [name for name in state if name not in tensors and name not in aliases]
    unknown = [name for name in tensors if name not in state]
    if missing or unknown:
        shown = "; ".join(
            f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for what, names in (("lacks", missing), ("has unknown", unknown))
            if names
        )
        raise WeightsError(f"{source} {shown}", "exactly the tensors of this model")
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape or tensor.is_floating_point() != state[name].is_floating_point():
            raise WeightsError(
                f"{source}: {name} is {tuple(tensor.shape)} {tensor.dtype}",
                f"{tuple(state[name].shape)} {state[name].dtype}",
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)


def load_model(folder: str | os.PathLike[str], module: nn.Module) -> None:
    """Load the weights that :func:`save_model` wrote, whatever dtype they have on disk, into ``module``.

    Raises:
        WeightsError: the file is missing or damaged, or does not fit the module.
    """
    load_tensors(module, read_tensors(folder), str(Path(folder) / WEIGHTS_FILE))


def _aliases(module: nn.Module) -> set[str]:
    """Names in the state dict whose parameter is already there under an earlier name (tied weights)."""
    named = dict(module.named_parameters(remove_duplicate=False))
    first = {id(parameter): name for name, parameter in reversed(named.items())}
    return {name for name, parameter in named.items() if first[id(parameter)] != name}


def _dataclass(kind: type[ConfigT], data: Any, where: str) -> ConfigT:
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(data, dict) or set(data) - known:
        given = f"fields {sorted(set(data) - known)}" if isinstance(data, dict) else type(data).__name__
        raise WeightsError(f"{where} holds {given} for {kind.__name__}", f"an object with {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    values = {
        name: _dataclass(hints[name], value, where) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in data.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise WeightsError(f"{where} does not fit {kind.__name__}: {error}") from None
