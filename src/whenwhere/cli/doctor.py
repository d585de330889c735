"""``whenwhere doctor``: is everything there, and if not, what to type."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Annotated

import tyro

from whenwhere.cli.checks import Check, all_checks

_STYLES = {"ok": "green", "note": "yellow", "bad": "bold red"}


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere doctor``; 0 if everything needed is fine, else 1."""
    return tyro.cli(doctor, args=list(argv), prog="whenwhere doctor", config=(tyro.conf.FlagCreatePairsOff,))


def doctor(*, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """Tell what is installed, what is missing, and the command to mend it. Contacts nothing.

    Args:
        as_json: print one JSON object instead of a table.
    """
    checks = _gather(quiet=as_json)
    healthy = all(check.state != "bad" for check in checks)
    if as_json:
        print(json.dumps({"ok": healthy, "checks": [dataclasses.asdict(check) for check in checks]}, indent=2))
    else:
        _show(checks, healthy)
    return 0 if healthy else 1


def _gather(quiet: bool) -> list[Check]:
    from rich.console import Console

    checks: list[Check] = []
    with Console(stderr=True, quiet=quiet).status("looking ...") as status:  # a spinner, on a terminal only
        for check in all_checks():
            checks.append(check)
            status.update(f"looking ... {check.group}: {check.name}")
    return checks


def _show(checks: list[Check], healthy: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    group = ""
    for check in checks:
        heading = check.group if check.group != group else ""
        group = check.group
        verdict = Text(check.state, style=_STYLES[check.state])
        table.add_row(Text(heading, style="bold"), verdict, Text(check.name), Text(check.found))
    console = Console()
    console.print(table)
    for title, state in (("Has to be mended:", "bad"), ("Could be better:", "note")):
        steps = [check for check in checks if check.state == state and check.mend]
        if steps:
            console.print(f"\n{title}", style="bold")
        for check in steps:  # never wrapped: these lines are there to be copied
            console.print(f"  {check.name}: {check.mend}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print("Everything needed is there." if healthy else "Something needed is missing.", style="bold")
