"""Build the demo video, describe it as ``whenwhere describe`` does, and say how that compares with the truth.

Command: ``python -m whenwhere.recipes.demo --out demo_out`` (needs ``pip install 'whenwhere[demo]'``)
Cost: about a minute and a half on two cores, most of it the description.
Score: printed, and written to ``demo.scores.json`` beside the video; see the README.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whenwhere.errors import InputError
from whenwhere.recipes import demo_video
from whenwhere.reports.clock import span
from whenwhere.reports.folder import REPORT
from whenwhere.results import Event, Timeline
from whenwhere.results.files import write_text

NEAR = 1.0
"""Seconds by which both ends of an event may miss the cuts and still count as right."""


@dataclass(frozen=True)
class SceneScore:
    """How one scene was told.

    Attributes:
        what: what there is to see.
        kind: "photograph", "film" or "animation".
        start, end: seconds, exact.
        said: text of the event that overlaps the scene best; empty when none does.
        said_start, said_end: seconds of that event, or None.
        error: seconds, the larger of the two distances between its ends and the cuts, or None.
        named: whether one of the names of the main thing is in the text.
    """

    what: str
    kind: str
    start: float
    end: float
    said: str = ""
    said_start: float | None = None
    said_end: float | None = None
    error: float | None = None
    named: bool = False

    @property
    def right(self) -> bool:
        """Both ends within :data:`NEAR` of the cuts, and the main thing named."""
        return self.named and self.error is not None and self.error <= NEAR


def score(timeline: Timeline, truth: Mapping[str, Any]) -> list[SceneScore]:
    """Compare a description with the truth of :func:`whenwhere.recipes.demo_video.truth`, scene by scene.

    To each scene belongs the event with the largest temporal IoU, whatever it says.
    """
    scores = []
    for scene in truth["scenes"]:
        start, end = scene["start"], scene["end"]
        best = max(timeline.events, key=lambda event: _tiou(event, start, end), default=None)
        told = SceneScore(scene["what"], scene["kind"], start, end)
        if best is not None and _tiou(best, start, end) > 0:
            error = max(abs(best.start - start), abs(best.end - end))
            named = bool(set(re.findall(r"[a-z]+", best.text.lower())) & set(scene["words"]))
            told = SceneScore(
                scene["what"], scene["kind"], start, end, best.text, best.start, best.end, round(error, 3), named
            )
        scores.append(told)
    return scores


def main(out: Path = Path("demo_out"), model: str = "describe") -> None:
    """Make the demo.

    Args:
        out: folder for the video, its truth and its description; new, empty, or of an earlier demo.
        model: what describes it, a name or a folder.
    """
    from whenwhere.api import load, record
    from whenwhere.systems.describer import Describer

    video = out / "demo.mp4"
    if out.is_dir() and any(out.iterdir()) and not (out / "demo.truth.json").is_file():
        raise InputError(f"the folder {out} holds other files", "a new or empty one", "choose another with --out")
    out.mkdir(parents=True, exist_ok=True)
    print(f"cutting {video} together ...", flush=True)
    demo_video.build(out)
    describer = load(model)
    if not isinstance(describer, Describer):
        raise InputError(f"the model {model!r} captions images", "one that describes videos")
    folder = out / "demo.whenwhere"
    print(f"describing it, as by: whenwhere describe {video} --out {folder}\n", flush=True)
    began = time.perf_counter()
    with describer.stream(video) as run:
        timeline = record(run, folder, on_event=lambda event: print(f"{span(event)}  {event.text}", flush=True))
    seconds = time.perf_counter() - began
    shutil.copyfile(out / "CREDITS.txt", folder / "CREDITS.txt")
    truth = json.loads((out / "demo.truth.json").read_text(encoding="utf-8"))
    scores = score(timeline, truth)
    write_text(out / "demo.scores.json", json.dumps([asdict(scene) for scene in scores], indent=1) + "\n")
    show(scores)
    length = truth["duration"]
    print(f"{length:.1f} s of video in {seconds:.1f} s, {length / seconds:.1f} x real time")
    print(f"report: {folder / REPORT}")


def show(scores: Sequence[SceneScore]) -> None:
    """Print the scores as a table, the wrong ones too."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What was there, and what was said", title_justify="left")
    for name in ("scene", "true span", "said", "off by", "named"):
        table.add_column(name, justify="right" if name == "off by" else "left", overflow="fold")
    for scene in scores:
        said = f"{scene.said}\n{scene.said_start:.1f} - {scene.said_end:.1f}" if scene.said else "nothing"
        error = "" if scene.error is None else f"{scene.error:.1f} s"
        span = f"{scene.start:.1f} - {scene.end:.1f}"
        table.add_row(f"{scene.what}\n({scene.kind})", span, said, error, "yes" if scene.named else "no")
    console = Console(markup=False)
    console.print(table)
    right = sum(scene.right for scene in scores)
    real = [scene for scene in scores if scene.kind != "animation"]
    console.print(
        f"{right} of {len(scores)} scenes have both ends within {NEAR:g} s and their main thing named "
        f"({sum(scene.right for scene in real)} of {len(real)} that were photographed or filmed)."
    )


def _tiou(event: Event, start: float, end: float) -> float:
    overlap = min(event.end, end) - max(event.start, start)
    union = max(event.end, end) - min(event.start, start)
    return max(overlap, 0.0) / union if union > 0 else 0.0


if __name__ == "__main__":
    import sys

    import tyro

    from whenwhere.errors import WhenwhereError

    try:
        tyro.cli(main)
    except WhenwhereError as problem:
        print(f"whenwhere: error: {problem}", file=sys.stderr)
        sys.exit(2)
