"""``whenwhere world``: labelled videos and pictures of the procedural world."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from whenwhere.cli.errors import UsageError
from whenwhere.errors import InputError


@dataclass(frozen=True)
class Row:
    """A task: the module with its ``write``, its line in the help, what it makes, how many how large, video or not."""

    module: str
    line: str
    unit: str = "clip"
    units: str = "clips"
    count: int = 4
    size: tuple[int, int] = (240, 320)
    video: bool = True


_PICTURE = ("picture", "pictures", 4, (240, 320), False)
_SET = ("picture", "pictures", 1000, (64, 64), False)
_STRUCTURED = "whenwhere.worlds.structured"
TASKS: dict[str, Row] = {
    "scenes": Row("whenwhere.worlds.plain", "everything known of a scene: objects, positions, actions, boxes"),
    "dense_events": Row("whenwhere.worlds.dense_events", "what happens and when, as ActivityNet Captions"),
    "object_tracks": Row("whenwhere.worlds.object_tracks", "boxes and a sentence of each object, as VidSTG and VidOR"),
    "cater": Row(
        "whenwhere.worlds.cater",
        "where the hidden snitch is at the end, in the files of CATER",
        "clip of each kind of camera",
        "clips of each kind of camera",
    ),
    "acre": Row(
        "whenwhere.worlds.acre",
        "which objects light the machine, pictures in the files of ACRE",
        "problem of each regime",
        "problems of each regime",
        video=False,
    ),
    "moments": Row("whenwhere.worlds.moments", "when sentences hold, as QVHighlights, Charades-STA, ActivityNet, COIN"),
    "narratives": Row(
        "whenwhere.worlds.narratives", "pictures, spoken words and the mouse, as Localized Narratives", *_PICTURE
    ),
    "referring": Row(
        "whenwhere.worlds.referring", "phrases that mean one object, as RefCOCO in the form of MDETR", *_PICTURE
    ),
    "region_captions": Row(
        "whenwhere.worlds.region_captions", "pictures with described regions, as Visual Genome", *_PICTURE
    ),
    "segmentation": Row("whenwhere.worlds.segmentation", "a class for every pixel, as PASCAL VOC", *_PICTURE),
    "glyphnews": Row("whenwhere.worlds.glyphnews", "news of persons with emblems, and the articles that tell the rest"),
    "count": Row(_STRUCTURED, "how many objects there are, 3 to 10, after CLEVR", *_SET),
    "distance": Row(_STRUCTURED, "how far the nearest object is, 6 classes, after CLEVR", *_SET),
    "location": Row(_STRUCTURED, "in which of 16 columns a sprite is, after dSprites", *_SET),
    "orientation": Row(_STRUCTURED, "which of 16 ways a sprite points, after dSprites", *_SET),
    "azimuth": Row(_STRUCTURED, "by which of 18 angles a toy is turned, after smallNORB", *_SET),
    "elevation": Row(_STRUCTURED, "from which of 9 heights a toy is seen, after smallNORB", *_SET),
}
_TASKS = "\n".join(f"{name}: {row.line}." for name, row in TASKS.items())
Number = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]  # None: that of the task
Task = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK", help=_TASKS)]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere world``."""
    return tyro.cli(world, args=list(argv), prog="whenwhere world", config=(tyro.conf.FlagCreatePairsOff,))


def world(
    task: Task = "scenes",
    *,
    out: Path = Path("world"),
    seed: str = "train",
    count: Number = None,
    height: Number = None,
    width: Number = None,
    rate: float = 12.0,
    seconds: float = 10.0,
    show: bool = False,
) -> int:
    """Write videos or pictures of a made world of which everything is known, with labels for a task.

    The same seed gives the same files.

    Args:
        task: see above.
        out: folder, made if it is not there.
        seed: name of the split; the clips of another seed are others.
        count: number of clips, pictures or problems; 4, or 1000 pictures of count to elevation.
        height: of the picture, in pixels; 240, or 64 of count to elevation.
        width: of the picture, in pixels; 320, or 64 of count to elevation.
        rate: frames per second of a clip.
        seconds: length of a clip.
        show: also write videos with boxes, names and sentences drawn in, and sheets of all, not of the first only.
    """
    if task not in TASKS:
        raise UsageError(f"there is no task {task!r}", f"one of {', '.join(TASKS)}", "run: whenwhere world --help")
    from whenwhere.worlds.job import Job

    row = TASKS[task]
    number = row.count if count is None else count
    size = (row.size[0] if height is None else height, row.size[1] if width is None else width)
    job = Job(out, seed, number, size, rate, seconds, show)
    if row.video:
        job.check_clip()
    if out.exists() and not out.is_dir():
        raise InputError(f"the folder {out} cannot be made (a file is in the way)", "a folder that you may write")
    from rich.console import Console

    module = importlib.import_module(row.module)  # imports torch, which takes its time
    if hasattr(module, "check"):
        module.check(job)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {out} cannot be made ({error.strerror})", "a folder that you may write"
        ) from error
    made = f"{number} {row.unit if number == 1 else row.units}"
    with Console(stderr=True).status(f"making {made} of {task} ..."):  # a spinner, on a terminal only
        if row.module == _STRUCTURED:
            module.write(task, job)
        else:
            module.write(job)
    print(f"{made} in {out}")
    return 0
