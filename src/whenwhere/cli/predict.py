"""``whenwhere predict``: what an adapter of one's own says of pictures or clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from whenwhere.cli.errors import printable
from whenwhere.cli.inputs import complain, gather
from whenwhere.errors import InputError, WhenwhereError

Files = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="FILE ...",
        help="pictures (or clips, for an adapter of clips), folders with such at any depth, or patterns.",
        help_behavior_hint="(required)",
    ),
]
Adapter = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ADAPTER", help="the folder of whenwhere adapt.")]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere predict``."""
    return tyro.cli(predict, args=list(argv), prog="whenwhere predict", config=(tyro.conf.FlagCreatePairsOff,))


def predict(adapter: Adapter, files: Files, *, top: int = 1, jsonl: bool = False) -> int:
    """Say which class each picture or clip shows, one line each, the surest class first.

    A file that cannot be read gets a line on stderr, and the others are done all the same.

    Args:
        adapter: see above.
        files: see above.
        top: classes told of each.
        jsonl: print {"path", "classes": [{"label", "probability"}, ...]} as a line of JSON for each file.
    """
    if top < 1:
        raise InputError(f"--top {top}", "1 or more")
    if not files:
        raise InputError("no FILE given", "pictures or clips, folders, or patterns such as 'new/*.jpg'")
    from whenwhere.training.trained import TrainedAdapter

    trained = TrainedAdapter.load(adapter)
    failed = False
    found = gather(files, "video" if trained.takes == "clip" else "image", called=trained.takes, deep=True)
    for source in found:
        try:
            if isinstance(source, WhenwhereError):
                raise source
            if source.path is None or source.kind != "file":
                raise InputError(f"{source.name} is not a file", f"a {trained.takes} on disk")
            said = trained.predict([source.path])[0][:top]
        except (WhenwhereError, OSError) as error:
            if len(found) == 1:
                raise
            complain(error)
            failed = True
            continue
        if jsonl:
            classes = [{"label": label, "probability": round(probability, 6)} for label, probability in said]
            print(json.dumps({"path": source.name, "classes": classes}, ensure_ascii=False), flush=True)
        else:
            words = ", ".join(f"{printable(label)} {probability:.3f}" for label, probability in said)
            print(f"{printable(source.name)}: {words}", flush=True)
    return 2 if failed else 0
