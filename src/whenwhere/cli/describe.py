"""``whenwhere describe``: what happens in a video and when, printed while it is being read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from whenwhere.cli.errors import printable
from whenwhere.cli.inputs import complain, gather
from whenwhere.cli.progress import LiveProgress
from whenwhere.errors import InputError, WhenwhereError
from whenwhere.reports import folder as result_folder
from whenwhere.reports.clock import span

if TYPE_CHECKING:
    from whenwhere.media import Source
    from whenwhere.results import Event, Timeline
    from whenwhere.systems.describer import Describer, DescribeRun, DescribeStats

Videos = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="VIDEO ...",
        help="files, folders, patterns such as 'clips/*.mp4', numbered images, or - for standard input.",
    ),
]


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere describe``."""
    return tyro.cli(describe, args=list(argv), prog="whenwhere describe", config=(tyro.conf.FlagCreatePairsOff,))


def describe(
    videos: Videos,
    *,
    out: Path | None = None,
    jsonl: bool = False,
    rate: float = 2.0,
    interval: float | None = None,
    memory: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    model: str = "describe",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    allow_urls: bool = False,
) -> int:
    """Say what happens in a video and when, while it is being read.

    Each event is printed the moment it is known. At the end there are timeline.json, captions.vtt, captions.srt and
    report.html in the folder NAME.whenwhere, here or where --out says.

    Args:
        videos: see above.
        out: folder for the results; several videos get a folder each in it. Nobody else's folder is written to.
        jsonl: print each event as a line of JSON and nothing else on stdout; files are written only with --out.
        rate: frames a second that are looked at.
        interval: seconds between the moments at which events become known; the model's own if not given.
        memory: tokens that the visual memory keeps; the model's own if not given.
        start: seconds at which to begin.
        end: seconds at which to stop; the end of the video if not given.
        model: a name or a folder.
        device: where to compute; auto is the CPU, on which the default model is quick.
        allow_urls: open addresses (https, rtsp, ...) and cameras (camera:0) that are given as videos.
    """
    from whenwhere.systems.describe_options import DescribeOptions

    DescribeOptions(rate, interval, memory, start, end)  # a wrong number stops before the model is loaded
    found = gather(videos, "video", allow_urls=allow_urls)
    several = len(found) > 1
    stream: Callable[[Source], DescribeRun] | None = None
    if any(not isinstance(source, WhenwhereError) for source in found):
        _check_place(out, jsonl, several)
        stream = partial(
            _describer(model, device).stream,
            rate=rate,
            interval=interval,
            memory=memory,
            start=start,
            end=end,
            allow_urls=allow_urls,
        )
    failed = False
    for source in found:
        try:
            if isinstance(source, WhenwhereError):
                raise source
            assert stream is not None
            _follow(stream, source, out=out, jsonl=jsonl, several=several)
        except (InputError, OSError) as error:
            if not several or isinstance(error, BrokenPipeError):
                raise
            complain(error)
            failed = True
    return 2 if failed else 0


def _check_place(out: Path | None, jsonl: bool, several: bool) -> None:
    """Stop before the model is loaded when the results could not be written."""
    if out is not None and not several:
        result_folder.check(out)
    elif out is not None or not jsonl:
        result_folder.check_place(out or Path())


def _describer(model: str, device: Literal["auto", "cpu", "cuda", "mps"]) -> Describer:
    from rich.console import Console

    with Console(stderr=True).status("loading the model ..."):
        from whenwhere.api import load
        from whenwhere.systems.describer import Describer

        found = load(model, device=device)
        if not isinstance(found, Describer):
            raise InputError(f"the model {model!r} captions images", "one that describes videos, such as 'describe'")
        return found.prepare()


def _follow(
    stream: Callable[[Source], DescribeRun], source: Source, *, out: Path | None, jsonl: bool, several: bool
) -> None:
    """Describe one video: events as they come, then the files and a summary."""
    from whenwhere.api import record

    with stream(source) as run, LiveProgress(Path(source.name).name, run.options.start) as live:
        folder = _folder(source, out, jsonl, several)
        say = live.remark if jsonl else live.say  # with --jsonl stdout is for events alone
        if several:
            say(printable(source.name))
        if run.remark():
            live.remark(f"whenwhere: warning: {run.remark()}")
        run.on_progress = live.update
        show = (
            partial(_print_json, source.name)
            if jsonl
            else (lambda event: live.say(f"{span(event)}  {printable(event.text)}"))
        )
        try:
            timeline = record(run, folder, on_event=show)
        except KeyboardInterrupt:
            if folder is not None:
                live.remark(f"whenwhere: what was known by then is in {printable(str(folder))}")
            raise
    if not jsonl or folder is not None:
        say(_summary(timeline, run.stats))
    if folder is not None:
        say(f"report: {printable(str(folder / result_folder.REPORT))}")


def _folder(source: Source, out: Path | None, jsonl: bool, several: bool) -> Path | None:
    if out is None and jsonl:
        return None
    if out is not None and not several:
        return out
    stem = "stdin" if source.name == "-" else Path(source.name).stem
    if source.kind != "file":
        stem = re.sub(r"[^\w.-]+|%\d*d", "_", stem).strip("._") or "video"
    lasting = source.kind in ("file", "sequence") and source.handle is None  # else it is another video the next time
    return result_folder.free(stem, source.name if lasting else None, out or Path())


def _print_json(path: str, event: Event) -> None:
    print(json.dumps({"path": path, **event.to_dict()}), flush=True)


def _summary(timeline: Timeline, stats: DescribeStats) -> str:
    count = "1 event" if len(timeline.events) == 1 else f"{len(timeline.events)} events"
    seconds = stats.position - stats.start
    parts = [f"{count} in {seconds:.1f} s of video", f"{stats.speed:.1f} x real time", f"{stats.peak_rss / 1e6:.0f} MB"]
    if timeline.gaps:
        lost = sum(gap.end - gap.start for gap in timeline.gaps)
        parts.append(f"{lost:.1f} s could not be decoded")
    return ", ".join(parts)
