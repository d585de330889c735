"""``whenwhere world``: labelled videos of the procedural world."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from whenwhere.cli.errors import UsageError
from whenwhere.errors import InputError

# task -> the module whose write(job) makes it, and its line in the help
TASKS: dict[str, tuple[str, str]] = {
    "scenes": ("whenwhere.worlds.plain", "everything known of a scene: objects, positions, actions, boxes"),
    "dense_events": ("whenwhere.worlds.dense_events", "what happens and when, as ActivityNet Captions"),
    "object_tracks": ("whenwhere.worlds.object_tracks", "boxes and a sentence of each object, as VidSTG and VidOR"),
    "cater": ("whenwhere.worlds.cater", "where the hidden snitch is at the end, in the files of CATER"),
    "acre": ("whenwhere.worlds.acre", "which objects light the machine, pictures in the files of ACRE"),
    "moments": ("whenwhere.worlds.moments", "when sentences hold, as QVHighlights, Charades-STA, ActivityNet, COIN"),
    "narratives": ("whenwhere.worlds.narratives", "pictures, spoken words and the mouse, as Localized Narratives"),
    "referring": ("whenwhere.worlds.referring", "phrases that mean one object, as RefCOCO in the form of MDETR"),
    "region_captions": ("whenwhere.worlds.region_captions", "pictures with described regions, as Visual Genome"),
    "segmentation": ("whenwhere.worlds.segmentation", "a class for every pixel, as PASCAL VOC"),
    "glyphnews": ("whenwhere.worlds.glyphnews", "news of persons with emblems, and the articles that tell the rest"),
}
_TASKS = "\n".join(f"{name}: {line}." for name, (_, line) in TASKS.items())
Task = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK", help=_TASKS)]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere world``."""
    return tyro.cli(world, args=list(argv), prog="whenwhere world", config=(tyro.conf.FlagCreatePairsOff,))


def world(
    task: Task = "scenes",
    *,
    out: Path = Path("world"),
    seed: str = "train",
    count: int = 4,
    height: int = 240,
    width: int = 320,
    rate: float = 12.0,
    seconds: float = 10.0,
    show: bool = False,
) -> int:
    """Write videos of a made world of which everything is known, with labels for a task.

    The same seed gives the same files.

    Args:
        task: see above.
        out: folder, made if it is not there.
        seed: name of the split; the clips of another seed are others.
        count: number of clips.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        rate: frames per second.
        seconds: length of a clip.
        show: also write videos and sheets with boxes, names and sentences drawn in.
    """
    if task not in TASKS:
        raise UsageError(f"there is no task {task!r}", f"one of {', '.join(TASKS)}", "run: whenwhere world --help")
    from whenwhere.worlds.show import Job

    job = Job(out, seed, count, (height, width), rate, seconds, show)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {out} cannot be made ({error.strerror})", "a folder that you may write"
        ) from error
    importlib.import_module(TASKS[task][0]).write(job)
    print(f"{count} {'clip' if count == 1 else 'clips'} in {out}")
    return 0
