"""``whenwhere adapt``: from a folder of labelled pictures or clips to a small model of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from whenwhere.cli.errors import UsageError, printable
from whenwhere.cli.progress import Bar

Data = Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="DATA",
        help="a folder of class folders (CLASS/FILE or SPLIT/CLASS/FILE), a .zip of one, a .csv, .tsv or .jsonl table "
        "with the columns image (or video), label and perhaps split, or digits, cifar10:FOLDER, cifar100:FOLDER or "
        "mnist:FOLDER.",
    ),
]


def _number(default: str) -> Any:
    """A whole number whose default follows from something else."""
    return tyro.conf.arg(metavar="INT", help_behavior_hint=f"(default: {default})")


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere adapt``."""
    return tyro.cli(adapt, args=list(argv), prog="whenwhere adapt", config=(tyro.conf.FlagCreatePairsOff,))


def adapt(
    data: Data,
    *,
    out: Path = Path("adapted"),
    method: str = "losa",
    backbone: str = "efficientnet-lite2",
    size: Annotated[int | None, _number("by the pictures")] = None,
    frames: Annotated[int | None, _number("8, of pictures 1")] = None,
    epochs: Annotated[int | None, _number("5 or more")] = None,
    batch: int = 64,
    lr: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: by the method)")] = None,
    weight_decay: float = 1e-4,
    mirror: bool = False,
    views: int = 1,
    seed: int = 0,
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="(default: none)")] = (),
    placement: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None,
    cache: Annotated[
        str, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(default: the program's cache folder)")
    ] = "",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    strict: bool = False,
) -> int:
    """Train a small model on labelled pictures or clips, on top of a frozen pretrained one.

    The same command goes on with a run that was interrupted, and does nothing twice.

    Args:
        data: see above.
        out: folder for the adapter, its card, figures and pictures.
        method: losa, linear, ladder, lora, adaptformer, bitfit, full, ...; docs/adapt_methods.md has all.
        backbone: efficientnet-lite2, vit-tiny, timm:NAME, or a folder.
        size: input side in pixels, for backbones that take any; the default looks at the pictures.
        frames: pictures of each clip; 8 where the data are videos.
        epochs: passes over the training examples; the default is 5, or as many as make 150 steps, 100 at most.
        batch: examples of a step.
        lr: peak learning rate; the default is the method's own (1e-4 for full, 3e-3 for bitfit and linear, else 1e-3).
        weight_decay: of AdamW.
        mirror: also train on mirror images.
        views: cuts of each picture to train on: the whole and random ones, the same of all pictures.
        seed: of weights and order.
        set: settings of the method, as NAME=VALUE, such as rank=16.
        placement: file of whenwhere search-placement, for the method placed.
        cache: folder where the frozen backbone's states are kept; none: nowhere, they are computed in every step.
        device: where to compute; auto is cuda where it is there.
        strict: stop at files that cannot be decoded instead of leaving them out.
    """
    from whenwhere.reports.adapted import usage
    from whenwhere.training.adapt_data import adapt_data

    settings = _settings(set)
    if placement is not None and method != "placed":
        raise UsageError(f"--placement with --method {method}", "--method placed")
    with Bar(interrupted="type the same command again to go on") as bar:
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
            views=views,
            seed=seed,
            placement=placement,
            cache=None if cache == "none" else (cache or True),
            device=device,
            strict=strict,
            tell=bar.remark,
            progress=bar.show,
        )
    low, high = result.interval
    had, total = result.cached
    facts = [f"{name} {value:.1f} s" for name, value in result.seconds.items()]
    if total:
        facts.append(f"states of {had:,} of {total:,} examples were in the cache")
    print(f"accuracy {result.accuracy:.4f} on {result.tested:,} test examples (95 %: {low:.4f} to {high:.4f})")
    if facts:
        print(", ".join(facts))
    place = printable(str(result.folder))
    print(f"in {place}: adapter, card.md, metrics.json, predictions.jsonl, confusion.png, curves.png")
    for line in usage(result.folder, clips=result.clips):
        print(f"  {printable(line)}")
    return 0


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
