"""Task "scenes": videos with everything that is known of them: objects, actions, containments, boxes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from whenwhere.results import Timeline, Track
from whenwhere.results.files import write_text
from whenwhere.worlds import grammar
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import Rendered
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import SceneOptions, make
from whenwhere.worlds.show import clip


def write(job: Job) -> None:
    """Write for each clip a video and a timeline with tracks and events, and for all of them ``scenes.json``."""
    facts = []
    for index in range(job.count):
        scene = make(job.seed, index, SceneOptions(seconds=job.seconds))
        seen = clip(job, index, scene)
        names = [grammar.name(scene, number) for number in range(len(scene.objects))]
        timeline = Timeline(job.media(index), grammar.events(scene), tracks(seen, names), model="world scenes")
        timeline.save(job.out / f"{job.name(index)}.json")
        facts.append({"video": f"{job.name(index)}.mp4", **state(scene, seen)})
    write_text(job.out / "scenes.json", json.dumps(facts, indent=1) + "\n")


def tracks(seen: Rendered, texts: list[str]) -> list[Track]:
    """Return a track for each object that shows in some frame: boxes of the frames where it shows, and its words."""
    found = []
    for number, text in enumerate(texts):
        at = np.flatnonzero(seen.visible[:, number])
        if len(at):
            found.append(Track(number, seen.times[at], seen.boxes[at, number], text, frames=at))
    return found


def state(scene: Scene, seen: Rendered) -> dict[str, Any]:
    """Return a scene's facts as plain JSON data: objects with positions per frame, actions, containments, camera."""
    objects = []
    for number, thing in enumerate(scene.objects):
        words = {"shape": thing.shape, "colour": thing.colour, "material": thing.material, "size": thing.size}
        positions = np.round(seen.positions[:, number], 4).tolist()
        shown = np.round(seen.visible_fraction[:, number], 4).tolist()
        objects.append({**words, "radius": thing.radius, "positions": positions, "visible_fraction": shown})
    return {
        "seed": scene.seed,
        "seconds": scene.seconds,
        "times": np.round(seen.times, 6).tolist(),
        "objects": objects,
        "actions": [dataclasses.asdict(action) for action in scene.actions],
        "containments": [dataclasses.asdict(item) for item in scene.containments],
        "camera": dataclasses.asdict(scene.camera),
    }
