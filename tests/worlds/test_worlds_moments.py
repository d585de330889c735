"""Moments: sentences are true exactly in their windows, and the files of the four forms read back equal."""

from __future__ import annotations

import random

import pytest

from whenwhere.datasets import activitynet, charades_sta, coin, qvhighlights
from whenwhere.results import MediaRef, Timeline
from whenwhere.worlds import dense_events, grammar, moments, stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.scenes import make

MEDIA = MediaRef("a.mp4", 10.0, 64, 48, 8.0)


def scenes(count=25):
    return [make("moments", index, dense_events.options(10.0)) for index in range(count)]


def test_windows_of_what_anything_does():
    for scene in scenes():
        found = {item.text: item.windows for item in moments.queries(scene, random.Random(1))}
        for text, kinds in (
            ("Something slides over the floor.", {"slide"}),
            ("Something turns over in place.", {"rotate"}),
            ("Something is lifted off the floor.", {"pick_place", "contain"}),
            ("A cone comes down over something.", {"contain"}),
        ):
            spans = [(a.start, a.end) for a in scene.actions if a.kind in kinds]
            assert (text in found) == bool(spans)
            for step in range(1000):
                time = step / 100 + 0.005
                assert any(s <= time <= e for s, e in spans) == any(s <= time <= e for s, e in found.get(text, ()))


def test_windows_of_what_one_object_does():
    several = 0
    for scene in scenes():
        plain = {item.text: item.windows for item in moments.queries(scene)}
        several += sum(len(windows) > 1 for windows in plain.values())
        for action in scene.actions:
            text = grammar.sentence(grammar.clause(scene, action))
            if text not in plain:
                assert " of the " in text or "behind" in text or "most " in text or "from the left" in text
                continue
            assert any(s <= action.start and action.end <= e for s, e in plain[text])
            alike = [
                other
                for other in scene.actions
                if grammar.predicate(scene, other) == grammar.predicate(scene, action) and other.actor == action.actor
            ]
            assert len(plain[text]) >= len(alike)
    assert several > 0


def test_windows_of_what_is_covered():
    covered = 0
    for scene in scenes():
        for item in moments.queries(scene):
            if item.text.endswith(" is under a cone."):
                name = item.text.removesuffix(" is under a cone.").lower()
                (number,) = [n for n in range(len(scene.objects)) if grammar.refer(scene, n, 0.0) == name]
                middles = [(start + end) / 2 for start, end in item.windows]
                assert scene.hidden(middles)[:, number].all()
                assert not scene.hidden([max(0.0, start - 0.01) for start, _ in item.windows])[:, number].any()
                covered += 1
    assert covered > 2


def test_merged_spans():
    assert moments.merged([(3, 4), (1, 2), (2, 2.5), (5, 5), (3.5, 3.7)]) == ((1, 2.5), (3, 4))


def test_clips_are_rated_by_what_is_filled():
    found = [moments.Moments("a", ((1.0, 2.5), (7.9, 8.1))), moments.Moments("b", ((3.9, 4.1),))]
    (query,) = moments.highlights(found, "v", 9.0, first=5)
    # 1 s of the clip 0..2 and 0.5 s of the clip 2..4; the rest fills less than a quarter of a second
    assert query.qid == 5 and query.clips == (0, 1) and query.saliency == ((2, 2, 2), (1, 1, 1))
    assert query.windows == ((0.0, 4.0),)
    (end,) = moments.highlights([moments.Moments("a", ((8.2, 9.0),))], "v", 9.0)
    assert end.windows == ((8.0, 9.0),) and end.clips == (4,)


def test_segments_and_steps():
    kinds = set()
    for scene in scenes():
        names = {node.name for node in moments.taxonomy()}
        segments = moments.segments(scene, "v", MEDIA)
        assert [(e.start, e.end) for e in segments.events] == [(a.start, a.end) for a in scene.actions]
        assert {event.text for event in segments.events} <= names
        steps = moments.steps(scene, "v", MEDIA)
        assert all(one.end <= two.start for one, two in zip(steps.steps, steps.steps[1:]))
        assert all(4 * steps.recipe < step.id <= 4 * steps.recipe + 4 for step in steps.steps)
        assert steps.task == moments.COIN_TASKS[steps.recipe]
        kinds.add(steps.recipe)
    assert len(kinds) > 1
    nodes = {node.id: node for node in moments.taxonomy()}
    assert len(nodes) == len(moments.taxonomy()) == 1 + 4 + 13
    assert all(nodes[node.parent].name == node.parent_name for node in nodes.values() if node.parent is not None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("moments")
    moments.write(Job(out, "files", size=(16, 16), rate=2.0, seconds=6.0, count=3))
    return out


def test_the_files_read_back_equal(folder, tmp_path):
    queries = qvhighlights.read(folder / "qvhighlights.jsonl")
    qvhighlights.write(tmp_path / "a", queries)
    assert (tmp_path / "a").read_bytes() == (folder / "qvhighlights.jsonl").read_bytes()
    single = charades_sta.read(folder / "charades_sta.txt", charades_sta.read_durations(folder / "charades_sta.csv"))
    charades_sta.write(tmp_path / "b", single)
    assert (tmp_path / "b").read_bytes() == (folder / "charades_sta.txt").read_bytes()
    segments, steps = activitynet.read(folder / "activitynet.json"), coin.read(folder / "coin.json")
    wanted = []
    for index in range(3):
        name = f"{index:05d}"
        scene = make("files", index, dense_events.options(6.0))
        media = Timeline.load(folder / f"{name}.json").media
        assert segments.videos[index] == moments.segments(scene, name, media)
        assert steps[index] == moments.steps(scene, name, media)
        found = moments.queries(scene, moments.generator("files/words", index))
        assert Timeline.load(folder / f"{name}.json") == moments.label(found, media)
        wanted += moments.highlights(found, name, media.duration, len(wanted))
        ones = [(item.text, item.windows[0]) for item in found if len(item.windows) == 1]
        read = [(m.event.text, (m.event.start, m.event.end)) for m in single if m.video == name]
        assert read == ones
    assert queries == wanted and segments.taxonomy == moments.taxonomy()


def test_a_clip_in_which_nothing_happens():
    scene, media = stills.still("nothing", 0), MediaRef("a.mp4", 2.0, 64, 48, 8.0)
    assert moments.queries(scene) == [] and moments.segments(scene, "a", media).events == ()
    assert moments.steps(scene, "a", media).steps == ()


def test_the_same_seed_gives_the_same_files(folder, tmp_path):
    moments.write(Job(tmp_path, "files", size=(16, 16), rate=2.0, seconds=6.0, count=1))
    assert (tmp_path / "00000.json").read_bytes() == (folder / "00000.json").read_bytes()
    assert (tmp_path / "00000.mp4").read_bytes() == (folder / "00000.mp4").read_bytes()
    text = (tmp_path / "qvhighlights.jsonl").read_text()
    assert (folder / "qvhighlights.jsonl").read_text().startswith(text)
