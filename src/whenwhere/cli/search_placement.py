"""``whenwhere search-placement``: where in a transformer a few adapters should go, from one gradient measurement."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from whenwhere.cli.adapt import Data
from whenwhere.cli.progress import Bar
from whenwhere.errors import InputError

Kinds = tuple[Literal["sequential", "parallel", "long_range", "recurrent"], ...]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere search-placement``."""
    return tyro.cli(
        search_placement, args=list(argv), prog="whenwhere search-placement", config=(tyro.conf.FlagCreatePairsOff,)
    )


def search_placement(
    data: Data,
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("placement.json"),
    backbone: str = "vit-tiny",
    frames: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 8, of pictures 1)")
    ] = None,
    count: int = 6,
    gamma: float = 0.6,
    kinds: Kinds = ("sequential", "parallel", "long_range", "recurrent"),
    score: Literal["rank", "frobenius", "spectral", "nuclear", "stable_rank"] = "rank",
    rtol: float = 1e-3,
    head: Literal["probe", "random"] = "probe",
    rank: int = 8,
    random: int = 0,
    examples: int = 512,
    seed: int = 0,
) -> int:
    """Choose the edges of a vision transformer at which adapters help most, by the rank of their gradients.

    Writes the placement, and beside it a picture of the scores of all edges. Nothing is trained but a linear head.

    Args:
        data: see above; only training examples are used.
        out: the placement, .json; the picture has the same name and .png.
        backbone: vit-tiny, timm:NAME, or a folder; a transformer.
        frames: pictures of each clip; 8 where the data are videos. Each counts as a picture of the clip's class.
        count: adapters to place.
        gamma: how much an edge near a chosen one loses, 0 (nothing) to below 1.
        kinds: of edges allowed; a recurrent one costs up to a second pass.
        score: number that is made of an edge's gradient.
        rtol: for the score rank: singular values below so much of the largest count as zero.
        head: a linear head that is fitted first, or a random one.
        rank: of the adapters; changes what they cost, not which edges are chosen.
        random: random sets of edges to try against the choice, each trained briefly; the best on held-out training
            examples is taken.
        examples: training examples to measure the gradients on.
        seed: of the choice of these, and of what is drawn at random.
    """
    if out.suffix.lower() != ".json":
        raise InputError(f"--out {out}", "a name ending in .json")
    from whenwhere.reports.folder import check_place
    from whenwhere.training.adapt_data import place_adapters

    check_place(out.parent)

    with Bar() as bar:
        found = place_adapters(
            data,
            backbone=backbone,
            frames=frames,
            count=count,
            gamma=gamma,
            kinds=kinds,
            score=score,
            rtol=rtol,
            head=head,
            rank=rank,
            random=random,
            examples=examples,
            seed=seed,
            tell=bar.remark,
            progress=bar.show,
        )
    placement, summary = found
    out.parent.mkdir(parents=True, exist_ok=True)
    placement.save(out)
    placement.draw(out.with_suffix(".png"))
    print(summary)
    print(f"in {out} and {out.with_suffix('.png')}; train with it:")
    place, source = shlex.quote(str(out)), shlex.quote(str(data))
    more = ("" if rank == 8 else f" --set rank={rank}") + ("" if frames is None else f" --frames {frames}")
    print(f"  whenwhere adapt {source} --method placed --backbone {shlex.quote(backbone)} --placement {place}{more}")
    return 0
