"""The folder of one described video: timeline.json, captions.vtt, captions.srt and report.html."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from whenwhere.errors import InputError
from whenwhere.reports import html, srt, vtt
from whenwhere.results import Timeline

TIMELINE, SUBTITLES, SUBRIP, REPORT = "timeline.json", "captions.vtt", "captions.srt", "report.html"
_EMBED = 16_000_000  # bytes; embedding takes several times a video's size in memory, and this command stays small
_MOST_NAMES = 1000


def check(folder: str | os.PathLike[str]) -> None:
    """Say early, before any work, what :func:`claim` would refuse; nothing is made.

    Args:
        folder: where results shall go.

    Raises:
        InputError: something else is there, or the folder cannot be made or written.
    """
    path = Path(folder)
    check_place(path)
    if path.is_dir() and any(path.iterdir()) and owner(path) is None:
        raise InputError(
            f"the folder {path} holds other files",
            f"a new or empty folder, or one with a {TIMELINE} of an earlier run",
            "choose another with --out",
        )


def check_place(folder: str | os.PathLike[str]) -> None:
    """Check that a folder is there or could be made, and could be written to, whatever is in it.

    Raises:
        InputError: a file is in the way, or writing is not allowed.
    """
    path = Path(folder)
    nearest = next(place for place in (path, *path.parents, Path()) if os.path.lexists(place))
    if not nearest.is_dir():
        raise InputError(f"cannot make the folder {path}: {nearest} is not a folder", "a place that you may write to")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to the folder {nearest}", "a folder that you may write to")


def claim(folder: str | os.PathLike[str]) -> Path:
    """Make a folder for results, or take one that an earlier run made; nobody else's is touched.

    Args:
        folder: new, empty, or with a ``timeline.json`` that this program wrote. Its parent is made too.

    Raises:
        InputError: something else is there, or the folder cannot be made or written.
    """
    path = Path(folder)
    check(path)
    lacking = missing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remove(lacking)
        raise InputError(f"cannot make the folder {path}: {error.strerror}", "a place that you may write to") from error
    return path


def missing(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders that :func:`claim` would make, the innermost first."""
    path = Path(folder)
    return [place for place in (path, *path.parents) if not os.path.lexists(place)]


def remove(folders: Sequence[Path]) -> None:
    """Remove folders that a run made for nothing, the innermost first, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def free(stem: str, media: str | None, parent: str | os.PathLike[str] = ".") -> Path:
    """Return a folder for a video that needs no asking: ``STEM.whenwhere``, or ``STEM-2.whenwhere`` and so on.

    Args:
        stem: name of the video without its suffix.
        media: path of the video; a folder about another one is not taken, and one about the same is, however its path
            was spelled. None for what cannot be read twice, such as a pipe: its folder is always new.
        parent: where the folder shall be.

    Raises:
        InputError: all names are taken.
    """
    for number in range(1, _MOST_NAMES):
        path = Path(parent) / (f"{stem}.whenwhere" if number == 1 else f"{stem}-{number}.whenwhere")
        if not os.path.lexists(path) or (media is not None and _is_for(path, media)):
            return path
    raise InputError(f"all folders {stem}.whenwhere to {stem}-{number}.whenwhere are taken", "a free name", "use --out")


def _is_for(folder: Path, media: str) -> bool:
    """Whether a folder is empty, or has the results of this very video."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    about = owner(folder)
    return about is not None and os.path.realpath(about) == os.path.realpath(media)


def owner(folder: Path) -> str | None:
    """Return the video that a folder's timeline is about; None when the folder was not written by this program."""
    try:
        return Timeline.load(folder / TIMELINE).media.path
    except InputError:
        return None


def write(
    folder: str | os.PathLike[str],
    timeline: Timeline,
    *,
    video: str | os.PathLike[str] | None = None,
    thumbnails: Mapping[int, bytes] | None = None,
) -> Path:
    """Write the four files, each whole or not at all.

    Args:
        folder: as :func:`claim` returned it.
        timeline: what to write.
        video: the video file, for the report's player; None makes a report of thumbnails.
        thumbnails: JPEG file contents for events, by their ``id``.

    Returns:
        Path of the report.

    Raises:
        InputError: a file cannot be written.
    """
    folder = Path(folder)
    timeline.save(folder / TIMELINE)
    vtt.write(timeline.events, folder / SUBTITLES)
    srt.write(timeline.events, folder / SUBRIP)
    found = dict(thumbnails or {})
    shown = {at: found[e.id] for at, e in enumerate(timeline.events) if e.id is not None and e.id in found}
    html.write(timeline, folder / REPORT, video=video, thumbnails=shown, embed_limit=_EMBED)
    return folder / REPORT
