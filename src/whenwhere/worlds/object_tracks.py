"""Task "object_tracks": where every object is in every frame, and a sentence of what it does.

Two forms: a timeline with a track and a sentence for each object, as in video localised narratives, and the
annotations of VidSTG (Zhang et al., CVPR 2020) with those of VidOR, which hold the boxes.
"""

from __future__ import annotations

import json
import math
import random
from typing import Any

from whenwhere.results import MediaRef, Timeline
from whenwhere.results.files import write_text
from whenwhere.worlds import grammar
from whenwhere.worlds.job import Job
from whenwhere.worlds.plain import tracks
from whenwhere.worlds.render import Rendered
from whenwhere.worlds.scene import Scene
from whenwhere.worlds.scenes import SceneOptions, generator, make
from whenwhere.worlds.show import clip


def write(job: Job) -> None:
    """Write for each clip a video, a timeline with its tracks and a VidOR file, and for all of them ``vidstg.json``."""
    rows = []
    for index in range(job.count):
        scene = make(job.seed, index, SceneOptions(seconds=job.seconds))
        name, media = job.name(index), job.media(index)
        seen = clip(job, index, scene)
        label(scene, seen, media, generator(f"{job.seed}/words", index)).save(job.out / f"{name}.json")
        rows += vidstg(scene, media, name, generator(f"{job.seed}/questions", index))
        write_text(job.out / f"{name}.vidor.json", json.dumps(vidor(scene, seen, media, name)) + "\n")
    write_text(job.out / "vidstg.json", json.dumps(rows, indent=1) + "\n")


def label(scene: Scene, seen: Rendered, media: MediaRef, chance: random.Random | None = None) -> Timeline:
    """Return a track with a sentence for each object that shows, as the timeline of the video.

    Args:
        scene: what is in the video.
        seen: its frames.
        media: the video.
        chance: of the wordings; None takes the first of each.
    """
    texts = [story(scene, number, chance) for number in range(len(scene.objects))]
    return Timeline(media, (), tracks(seen, texts), model="world object_tracks")


def story(scene: Scene, number: int, chance: random.Random | None = None) -> str:
    """Return a sentence of all that an object does: "The red cone slides to the left, then covers the snitch."."""
    parts = []
    for action in scene.actions:
        if action.actor == number:
            parts.append(grammar.predicate(scene, action, chance))
        elif action.target == number:
            parts.append(f"is covered by {grammar.refer(scene, action.actor, action.start, chance)}")
    said = ", then ".join(parts) or "stands still"
    return grammar.sentence(f"{grammar.refer(scene, number, 0.0, chance)} {said}")


def vidstg(scene: Scene, media: MediaRef, name: str, chance: random.Random | None = None) -> list[dict[str, Any]]:
    """Return an entry of VidSTG for each action: its time, a description and a question whose answer is the actor.

    Args:
        scene: what is in the video.
        media: the video, with duration and rate.
        name: of the video.
        chance: of the wordings; None takes the first of each.

    Returns:
        Frames are counted from 0; ``end_fid`` is the first frame after the span.
    """
    rate = media.rate or 1.0
    count = round((media.duration or 0.0) * rate)
    whole = {"begin_fid": 0, "end_fid": count}
    rows = []
    for action in scene.actions:
        span = {
            "begin_fid": min(count - 1, math.ceil(action.start * rate - 1e-6)),
            "end_fid": min(count, math.floor(action.end * rate + 1e-6) + 1),
        }
        other = action.actor if action.target is None else action.target
        said = {"type": scene.objects[action.actor].shape, "target_id": action.actor}
        question = f"Which object {grammar.predicate(scene, action, chance)}?"
        rows.append(
            {
                "vid": name,
                **_video(scene, media, count),
                "used_segment": whole,
                "used_relation": {"subject_tid": action.actor, "object_tid": other, "predicate": action.kind, **span},
                "temporal_gt": span,
                "captions": [{"description": grammar.clause(scene, action, chance), **said}],
                "questions": [{"description": question, **said}],
            }
        )
    return rows


def vidor(scene: Scene, seen: Rendered, media: MediaRef, name: str) -> dict[str, Any]:
    """Return an annotation of VidOR: the boxes of all objects in all frames, in whole pixels."""
    trajectories = []
    for boxes, shown in zip(seen.boxes, seen.visible, strict=True):
        frame = []
        for number in shown.nonzero()[0].tolist():
            sides = (int(side) for side in boxes[number])
            box = dict(zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))
            frame.append({"tid": number, "bbox": box, "generated": 0, "tracker": "none"})
        trajectories.append(frame)
    return {
        "version": "VERSION 1.0",
        "video_id": name,
        "video_path": media.path,
        **_video(scene, media, len(seen.times)),
        "trajectories": trajectories,
        "relation_instances": [],
    }


def _video(scene: Scene, media: MediaRef, count: int) -> dict[str, Any]:
    things = [{"tid": number, "category": thing.shape} for number, thing in enumerate(scene.objects)]
    size = {"frame_count": count, "fps": media.rate, "width": media.width, "height": media.height}
    return {**size, "subject/objects": things}
