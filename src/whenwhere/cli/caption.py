"""``whenwhere caption``: one line for each image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from whenwhere.cli.errors import printable
from whenwhere.cli.inputs import complain, gather
from whenwhere.errors import InputError, WhenwhereError

if TYPE_CHECKING:
    import numpy as np

    from whenwhere.media import Source
    from whenwhere.systems.image_captioner import ImageCaptioner

Images = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="IMAGE ...", help="files, folders, patterns such as 'photos/*.jpg', or - for standard input."
    ),
]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere caption``."""
    return tyro.cli(caption, args=list(argv), prog="whenwhere caption", config=(tyro.conf.FlagCreatePairsOff,))


def caption(
    images: Images,
    *,
    jsonl: bool = False,
    model: str = "caption",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> int:
    """Say what each image shows, one line an image.

    An image that cannot be read gets a line on stderr, and the others are done all the same.

    Args:
        images: see above.
        jsonl: print {"path", "text", "score"} as a line of JSON for each image.
        model: a name or a folder.
        device: where to compute; auto is the CPU, on which the default model is quick.
    """
    found = gather(images, "image")
    captioner = _captioner(model, device) if any(not isinstance(source, WhenwhereError) for source in found) else None
    failed = False
    for source in found:
        try:
            if isinstance(source, WhenwhereError):
                raise source
            assert captioner is not None
            (said,) = captioner.caption([_read(source)])
        except (InputError, OSError) as error:
            if len(found) == 1:
                raise
            complain(error)
            failed = True
            continue
        if jsonl:
            print(json.dumps({"path": source.name, "text": said.text, "score": said.score}), flush=True)
        else:
            print(f"{printable(source.name)}: {printable(said.text)}", flush=True)
    return 2 if failed else 0


def _read(source: Source) -> np.ndarray:
    from whenwhere.media import read_image

    if source.handle is not None:
        return read_image(source.handle)
    assert source.path is not None
    if source.kind == "file":
        return read_image(source.path)
    with open(source.path, "rb") as pipe:
        return read_image(pipe)


def _captioner(model: str, device: Literal["auto", "cpu", "cuda", "mps"]) -> ImageCaptioner:
    from rich.console import Console

    with Console(stderr=True).status("loading the model ..."):
        from whenwhere.api import load
        from whenwhere.systems.image_captioner import ImageCaptioner

        found = load(model, device=device)
        if not isinstance(found, ImageCaptioner):
            raise InputError(f"the model {model!r} describes videos", "one that captions images, such as 'caption'")
        return found
