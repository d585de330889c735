"""Task "moments": when something is true of a video, in the forms of four public sets.

Moment queries as in QVHighlights (any number of windows, in clips of two seconds that are rated) and Charades-STA (one
window each), segments of action classes as in ActivityNet 1.3, and numbered steps of a task as in COIN.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

from whenwhere.datasets import activitynet, charades_sta, coin, qvhighlights
from whenwhere.results import Event, MediaRef, Timeline
from whenwhere.worlds import grammar
from whenwhere.worlds.dense_events import options
from whenwhere.worlds.job import Job
from whenwhere.worlds.scene import SHAPES, Action, Scene
from whenwhere.worlds.scenes import generator, make
from whenwhere.worlds.show import clip

LEAST = 0.25
"""Seconds of a clip that a moment must fill for the clip to be relevant."""
KINDS = {"slide": "slides", "rotate": "tumbles", "pick_place": "is carried", "contain": "covers something"}
"""Verb of the class of each action."""
# task -> the number of its first step; its steps are those of `_STEPS`
COIN_TASKS = ("cover something", "turn something over", "move something")
_STEPS = {
    "slide": "push a thing over the floor",
    "rotate": "turn a thing over",
    "pick_place": "pick up a thing and put it elsewhere",
    "contain": "put a cone over a thing",
}
_GENERAL = {
    "Something slides over the floor.": ("slide",),
    "Something turns over in place.": ("rotate",),
    "Something is lifted off the floor.": ("pick_place", "contain"),
    "A cone comes down over something.": ("contain",),
}
# phrases by place are true at one time only
_BY_PLACE = re.compile(r"(left|right) of the|in front of the|behind the|leftmost|rightmost|from the left")


@dataclass(frozen=True)
class Moments:
    """A query and all the times at which it is true.

    Args:
        text: the query.
        windows: (start, end) in seconds, sorted, none touching another.
    """

    text: str
    windows: tuple[tuple[float, float], ...]


def write(job: Job) -> None:
    """Write for each clip a video and a timeline, and for all of them a file in each of the four forms."""
    asked: list[qvhighlights.MomentQuery] = []
    single: list[charades_sta.CharadesMoment] = []
    videos: list[activitynet.ActivityVideo] = []
    tasks: list[coin.CoinVideo] = []
    for index in range(job.count):
        name, media = job.name(index), job.media(index)
        scene = make(job.seed, index, options(job.seconds))
        found = queries(scene, generator(f"{job.seed}/words", index))
        timeline = label(found, media)
        clip(job, index, scene, [(event.start, event.end, event.text) for event in timeline.events])
        timeline.save(job.out / f"{name}.json")
        asked += highlights(found, name, media.duration or job.seconds, len(asked))
        for item in found:
            if len(item.windows) == 1:
                event = Event(*item.windows[0], item.text, id=len(single))
                single.append(charades_sta.CharadesMoment(name, event, media.duration))
        videos.append(segments(scene, name, media))
        tasks.append(steps(scene, name, media))
    qvhighlights.write(job.out / "qvhighlights.jsonl", asked)
    charades_sta.write(job.out / "charades_sta.txt", single)
    charades_sta.write_durations(job.out / "charades_sta.csv", {item.video: item.duration for item in tasks})
    activitynet.write(job.out / "activitynet.json", activitynet.ActivityNet("world", taxonomy(), tuple(videos)))
    coin.write(job.out / "coin.json", tasks)


def label(found: list[Moments], media: MediaRef) -> Timeline:
    """Return the timeline of a video: an event for each window of each query, whose id is the query's place."""
    events = [Event(*window, item.text, id=number) for number, item in enumerate(found) for window in item.windows]
    return Timeline(media, sorted(events, key=lambda event: (event.start, event.end, event.id)), model="world moments")


def queries(scene: Scene, chance: random.Random | None = None) -> list[Moments]:
    """Return queries with all the times at which they are true.

    Of three kinds: what one object does ("The red cone slides to the left."), what anything does ("Something slides
    over the floor."), and what is covered ("The snitch is under a cone."). Objects are named by what they look like,
    not by their place, which changes; what could only be named by its place is not asked for.

    Args:
        scene: what is in the video.
        chance: of the wordings; None takes the first of each.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for action in scene.actions:
        plain = grammar.clause(scene, action)
        if not _BY_PLACE.search(plain) and plain not in found:
            found[plain] = [(other.start, other.end) for other in scene.actions if _covers(scene, action, other)]
    said = {plain: grammar.sentence(plain) for plain in found}
    if chance is not None:
        first = {grammar.clause(scene, action): action for action in reversed(scene.actions)}
        said = {plain: grammar.sentence(grammar.clause(scene, first[plain], chance)) for plain in found}
    result = [Moments(said[plain], merged(windows)) for plain, windows in found.items()]
    for text, kinds in _GENERAL.items():
        result.append(Moments(text, merged([(a.start, a.end) for a in scene.actions if a.kind in kinds])))
    for number in sorted({item.inner for item in scene.containments}):
        phrase = grammar.refer(scene, number, 0.0, chance)
        if not _BY_PLACE.search(phrase):
            spans = [(item.start, item.end) for item in scene.containments if item.inner == number]
            result.append(Moments(grammar.sentence(f"{phrase} is under a cone"), merged(spans)))
    return [item for item in result if item.windows]


def merged(windows: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return spans of time sorted, those that touch joined; spans of no length are left out."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(window for window in windows if window[0] < window[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def highlights(found: list[Moments], name: str, duration: float, first: int = 0) -> list[qvhighlights.MomentQuery]:
    """Return queries in the form of QVHighlights.

    A clip of two seconds is relevant if the query is true for `LEAST` seconds of it; every annotator rates it by the
    part of it that is filled, in quarters, rounded up. A query without a relevant clip is left out.

    Args:
        found: of one video.
        name: of the video.
        duration: of the video, seconds.
        first: number of the first query.
    """
    rows: list[qvhighlights.MomentQuery] = []
    count = math.ceil(duration / qvhighlights.CLIP - 1e-9)
    for item in found:
        filled = {clip: _filled(item, clip) for clip in range(count)}
        clips = tuple(clip for clip, seconds in filled.items() if seconds >= LEAST)
        if not clips:
            continue
        rates = [math.ceil(qvhighlights.BEST * filled[clip] / qvhighlights.CLIP - 1e-9) for clip in clips]
        spans = [(clip * qvhighlights.CLIP, min(duration, (clip + 1) * qvhighlights.CLIP)) for clip in clips]
        scores = tuple((rate,) * qvhighlights.ANNOTATORS for rate in rates)
        number = first + len(rows)
        rows.append(qvhighlights.MomentQuery(number, item.text, duration, name, merged(spans), clips, scores))
    return rows


def taxonomy() -> tuple[activitynet.ActivityNode, ...]:
    """Return the tree of action classes: a root, the four verbs, and below each what can do it ("cube slides")."""
    nodes = [activitynet.ActivityNode(0, "Root", None, None)]
    for number, (kind, verb) in enumerate(KINDS.items(), 1):
        nodes.append(activitynet.ActivityNode(number, verb, 0, "Root"))
        for shape in {"rotate": ("cube", "cylinder"), "contain": ("cone",)}.get(kind, SHAPES):
            nodes.append(activitynet.ActivityNode(10 * number + SHAPES.index(shape), f"{shape} {verb}", number, verb))
    return tuple(nodes)


def segments(scene: Scene, name: str, media: MediaRef, subset: str = "training") -> activitynet.ActivityVideo:
    """Return the actions of a scene as segments of classes of :func:`taxonomy`."""
    events = [Event(a.start, a.end, f"{scene.objects[a.actor].shape} {KINDS[a.kind]}") for a in scene.actions]
    size = f"{media.width}x{media.height}"
    return activitynet.ActivityVideo(name, media.duration or scene.seconds, subset, tuple(events), size)


def steps(scene: Scene, name: str, media: MediaRef, subset: str = "training") -> coin.CoinVideo:
    """Return the actions of a scene as steps of a task, one at a time: a step ends at the latest where the next begins.

    The task is the first of `COIN_TASKS` that the scene shows; steps of another task have other numbers.
    """
    kinds = {action.kind for action in scene.actions}
    recipe = 0 if "contain" in kinds else 1 if "rotate" in kinds else 2
    numbers = {kind: 1 + len(_STEPS) * recipe + place for place, kind in enumerate(_STEPS)}
    found = []
    actions = scene.actions
    for action, after in zip(actions, [*(a.start for a in actions[1:]), math.inf], strict=False):
        end = min(action.end, after)
        if action.start < end:
            found.append(Event(action.start, end, _STEPS[action.kind], id=numbers[action.kind]))
    start, end = (found[0].start, found[-1].end) if found else (0.0, 0.0)
    duration = media.duration or scene.seconds
    return coin.CoinVideo(name, duration, COIN_TASKS[recipe], subset, start, end, tuple(found), recipe)


def _covers(scene: Scene, asked: Action, other: Action) -> bool:
    """Whether the plain clause of one action is true of another one too, which may have more to it."""
    if (asked.actor, asked.kind, asked.target) != (other.actor, other.kind, other.target):
        return False
    one, two = grammar.predicate(scene, asked), grammar.predicate(scene, other)
    if one == two:
        return True
    if asked.kind == "slide":  # what is under it may be left unsaid
        return one == two.partition(" with ")[0]
    # and so may what is uncovered
    return one.startswith("is picked up and placed ") and one.split(" placed ")[1] == two.split(" placed ")[-1]


def _filled(item: Moments, clip: int) -> float:
    low, high = clip * qvhighlights.CLIP, (clip + 1) * qvhighlights.CLIP
    return sum(max(0.0, min(high, end) - max(low, start)) for start, end in item.windows)
