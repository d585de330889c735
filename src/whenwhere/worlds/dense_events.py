"""Task "dense_events": what happens and when, with a sentence for each action; annotations of ActivityNet Captions."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from whenwhere.results import MediaRef, Timeline
from whenwhere.results.files import write_text
from whenwhere.worlds import grammar
from whenwhere.worlds.job import Job
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import SceneOptions, generator, make
from whenwhere.worlds.show import clip


def write(job: Job) -> None:
    """Write for each clip a video and a timeline with its events, and for all of them ``captions.json``."""
    found = {}
    for index in range(job.count):
        scene = make(job.seed, index, options(job.seconds))
        timeline = label(scene, job.media(index), generator(f"{job.seed}/words", index))
        clip(job, index, scene, [(event.start, event.end, event.text) for event in timeline.events])
        timeline.save(job.out / f"{job.name(index)}.json")
        found[job.name(index)] = timeline
    write_text(job.out / "captions.json", json.dumps(activitynet(found), indent=1) + "\n")


def options(seconds: float) -> SceneOptions:
    """Return scenes with about one action every two seconds."""
    return SceneOptions(seconds=seconds, motions=(max(1, round(seconds / 3)), max(2, round(seconds / 1.6))))


def label(scene: Scene, media: MediaRef, chance: random.Random | None = None, tense: str = "present") -> Timeline:
    """Return the events of a scene, with a sentence each, as the timeline of its video.

    Args:
        scene: what is in the video.
        media: the video.
        chance: of the wordings; None takes the first of each.
        tense: one of `whenwhere.worlds.grammar.TENSES`.

    Raises:
        InputError: the media is shorter than the events, or the tense is unknown.
    """
    return Timeline(media, grammar.events(scene, chance, tense), model="world dense_events")


def activitynet(timelines: Mapping[str, Timeline]) -> dict[str, dict[str, Any]]:
    """Return annotations in the form of ActivityNet Captions (Krishna et al., ICCV 2017).

    Args:
        timelines: by the name of the video; their media have durations.

    Returns:
        ``{name: {"duration": s, "timestamps": [[start, end], ...], "sentences": [...]}}``, seconds.
    """
    return {
        name: {
            "duration": timeline.media.duration,
            "timestamps": [[event.start, event.end] for event in timeline.events],
            "sentences": [event.text for event in timeline.events],
        }
        for name, timeline in timelines.items()
    }
