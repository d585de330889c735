"""``whenwhere adapt``: from a folder of labelled pictures or clips to a small model of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import tyro

from whenwhere.cli.errors import UsageError, printable

Data = Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="DATA",
        help="a folder of class folders (CLASS/FILE or SPLIT/CLASS/FILE), a .zip of one, or a .csv or .jsonl table "
        "with the columns image, label and perhaps split.",
    ),
]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere adapt``."""
    return tyro.cli(adapt, args=list(argv), prog="whenwhere adapt", config=(tyro.conf.FlagCreatePairsOff,))


def adapt(
    data: Data,
    *,
    out: Path = Path("adapted"),
    method: str = "losa",
    backbone: str = "efficientnet-lite2",
    size: int | None = None,
    frames: int | None = None,
    epochs: int = 10,
    batch: int = 64,
    lr: float | None = None,
    weight_decay: float = 1e-4,
    mirror: bool = False,
    seed: int = 0,
    set: tuple[str, ...] = (),
    placement: Path | None = None,
    cache: str = "",
    strict: bool = False,
) -> int:
    """Train a small model on labelled pictures or clips, on top of a frozen pretrained one.

    The same command goes on with a run that was interrupted, and does nothing twice.

    Args:
        data: see above.
        out: folder for the adapter, its card, figures and pictures.
        method: losa, linear, ladder, lora, adaptformer, bitfit, full, ...; docs/adapt.md compares them.
        backbone: efficientnet-lite2, vit-tiny, timm:NAME, or a folder.
        size: input side in pixels, for backbones that take any; the default looks at the pictures.
        frames: pictures of each clip; 8 where the data are videos.
        epochs: passes over the training examples.
        batch: examples of a step.
        lr: peak learning rate; the default is the method's own.
        weight_decay: of AdamW.
        mirror: also train on mirror images.
        seed: of weights and order.
        set: settings of the method, as NAME=VALUE, such as rank=16.
        placement: file of whenwhere search-placement, for the method placed.
        cache: folder where the frozen backbone's states are kept for other runs; "none" keeps them with this run only.
        strict: stop at files that cannot be decoded instead of leaving them out.
    """
    from whenwhere.reports.adapted import usage
    from whenwhere.training.adapt_data import adapt_data

    settings = _settings(set)
    if placement is not None:
        if method != "placed":
            raise UsageError(f"--placement with --method {method}", "--method placed")
        settings["edges"] = _edges(placement)
    with Bar() as bar:
        result = adapt_data(
            data,
            out=out,
            method=method,
            settings=settings,
            backbone=backbone,
            size=size,
            frames=frames,
            epochs=epochs,
            batch=batch,
            lr=lr,
            weight_decay=weight_decay,
            mirror=mirror,
            seed=seed,
            cache=None if cache == "none" else (cache or True),
            strict=strict,
            tell=bar.remark,
            progress=bar.show,
        )
    low, high = result.interval
    had, total = result.cached
    times = ", ".join(f"{name} {value:.1f} s" for name, value in result.seconds.items())
    print(f"accuracy {result.accuracy:.4f} on {result.tested:,} test examples (95 %: {low:.4f} to {high:.4f})")
    print(f"{times}; {had:,} of {total:,} examples were in the cache" if total else times)
    print(f"in {result.folder}: adapter, card.md, metrics.json, predictions.jsonl, confusion.png, curves.png")
    for line in usage(result.folder):
        print(f"  {line}")
    return 0


class Bar:
    """One moving line on stderr where that is a terminal; remarks above it. Use it as a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: Any = None

    def show(self, done: int, of: int, what: str) -> None:
        """Move the line; it goes away when all is done."""
        if self._task is None:
            self._task = self._progress.add_task(what, total=of)
            self._progress.start()
        self._progress.update(self._task, completed=done, total=of, description=what)
        if done >= of:
            self._stop()

    def remark(self, text: str) -> None:
        """Print a line on stderr."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()


def _settings(given: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for item in given:
        name, mark, value = item.partition("=")
        if not mark or not name.strip():
            raise UsageError(f"--set {item}", "NAME=VALUE, such as rank=16")
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value
    return settings


def _edges(path: Path) -> list[list[int]]:
    from whenwhere.adapt.placement_file import Placement

    return [list(edge) for edge in Placement.load(path).edges]
