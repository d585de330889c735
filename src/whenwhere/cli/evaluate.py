"""``whenwhere evaluate``: how often an adapter is right on labelled pictures or clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from whenwhere.cli.adapt import Data
from whenwhere.cli.errors import printable
from whenwhere.cli.predict import Adapter
from whenwhere.cli.progress import Bar


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere evaluate``."""
    return tyro.cli(evaluate, args=list(argv), prog="whenwhere evaluate", config=(tyro.conf.FlagCreatePairsOff,))


def evaluate(
    adapter: Adapter,
    data: Data,
    *,
    split: Literal["auto", "train", "val", "test", "all"] = "auto",
    out: Annotated[str, tyro.conf.arg(name="json", metavar="FILE", help_behavior_hint="(default: not written)")] = "",
    confusion: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: not drawn)")] = None,
) -> int:
    """Test an adapter on labelled files, by the classes it knows.

    Args:
        adapter: see above.
        data: see above.
        split: which examples; "all" takes every one, and "test", where the data has no splits, one in five. "auto" is
            "test" where the data has it or is what the adapter was trained on, else "all".
        out: write the figures here as JSON; - prints them instead.
        confusion: a .png to draw the confusion matrix to.
    """
    from whenwhere.results.files import write_text
    from whenwhere.training.trained import TrainedAdapter

    trained = TrainedAdapter.load(adapter)
    with Bar() as bar:
        found = trained.evaluate(data, split, tell=bar.remark, progress=bar.show)
    text = json.dumps(found.facts(), indent=1, ensure_ascii=False, allow_nan=False)
    if confusion is not None:
        from whenwhere.reports import charts

        charts.confusion(confusion, found.confusion(), trained.labels, title=f"{found.accuracy:.1%} right")
    if out == "-":
        print(text)
        return 0
    if out:
        write_text(out, text + "\n")
    low, high = found.interval
    print(f"accuracy {found.accuracy:.4f} on {len(found.truth):,} examples (95 %: {low:.4f} to {high:.4f})")
    for label, right, of in found.by_class():
        print(f"  {printable(label)}: {right} of {of}")
    return 0
