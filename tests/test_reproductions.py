"""The scripts of ``reproductions``: they run, and the page says what their results say."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(monkeypatch):
    """Import a script, or a module beside it, by name."""
    monkeypatch.syspath_prepend(str(ROOT / "reproductions"))
    return importlib.import_module


def test_a_toy_arm_is_trained_and_scored(script):
    toy = script("_toy_captioner")
    size = toy.Size(train=6, test=2, steps=3, batch=3, start_clips=6, start_steps=2)
    start = toy.common_start(size, 0)
    result = toy.run(toy.Arm(frames=16), size, 0, start)
    assert set(result["scores"]) == {"1", "2", "8"}
    assert all(math.isfinite(value) for row in result["scores"].values() for value in row.values())
    assert math.isfinite(result["loss"]) and result["state_bytes"] == 24 * 36 * 4 + 24 * 8
    model, loss = toy.train(toy.Arm(frames=16), size, 0, start)
    assert round(loss, 4) == result["loss"] and not torch.equal(start["norm.weight"], model.decoder.norm.weight)


@pytest.mark.parametrize(("kind", "points"), [("kmeans", 8), ("spatial_pool", 8), ("none", 1)])
def test_memories_made_before_give_the_loss_of_the_real_captioner(script, kind, points):
    toy, videos = script("_toy_captioner"), script("_toy_videos")
    clips = videos.make_videos(3, 16, 0)
    model = toy.build(toy.Arm(kind, 16, points=points), toy.Size(), 0)
    model.prepare(clips.tokens)
    batch = toy.NumberedVideos(clips).collate([(0, 5), (1, 6), (2, 7)])
    real = toy.StreamingDVC(model.config, model.vocab)
    real.load_state_dict(model.state_dict())
    whole = toy.VideoBatch(clips.tokens, batch.events, batch.durations, batch.seeds)
    torch.testing.assert_close(model.loss(batch)["loss"], real.loss(whole)["loss"])
    assert len(model.rows(batch)) == (3 if points == 1 else 12)


def test_toy_videos_have_one_structure_at_every_rate(script):
    videos = script("_toy_videos")
    few, many = videos.make_videos(2, 16, 3), videos.make_videos(2, 64, 3)
    assert few.events == many.events and 4 <= len(few.events[0]) <= 5
    assert few.tokens.shape == (2, 16, 6, 24) and many.tokens.shape == (2, 64, 6, 24)
    words = few.events[0][0].text.split()
    event = many.events[0][0]
    middle = int((event.start + event.end) / 2 * 64 / videos.SECONDS)
    clean = videos.make_videos(1, 64, 3, videos.VideoConfig(token_noise=0.0, event_noise=0.0)).tokens[0, middle]
    vectors = videos.word_vectors()
    found = clean @ torch.stack([vectors[word] for word in (words[1], words[6], words[4])]).T
    shown = clean.unique(dim=0)
    assert len(shown) == 3 and sorted((clean[:, None] == shown).all(-1).sum(0).tolist()) == [1, 2, 3]
    assert found.shape == (6, 3)


def test_the_page_says_what_the_results_say(script):
    table = script("_claims_table")
    record = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.with_section(page, record) == page, "run python reproductions/_claims_table.py"
    claims = script("streaming_claims")
    assert set(record["runs"]) == {
        f"{arm}/{seed}" for arms in claims.ARMS.values() for arm in arms for seed in (0, 1, 2)
    }
    assert record["settings"] == claims.settings(script("_toy_captioner").Size())


@pytest.mark.parametrize(
    ("figures", "kind", "verdict"),
    [
        (((5, 6, 7), (4, 5, 6)), "more", "holds"),
        (((5, 6, 9), (4, 7, 6)), "more", "mixed"),
        (((5, 6, 6), (4, 7, 8)), "more", "does not hold"),
        (((1, 1, 1), (2, 3, 4)), "less", "holds"),
        (((100, 98, 101), (105, 104, 103)), "flat", "holds"),
        (((80, 80, 80), (100, 100, 100)), "flat", "does not hold"),
        (((120, 120, 120), (100, 100, 100)), "flat", "rises"),
    ],
)
def test_a_claim_is_judged_seed_by_seed(script, figures, kind, verdict):
    table = script("_claims_table")
    runs = {
        f"{arm}/{seed}": {"scores": {"1": {"CIDEr": float(value)}}}
        for arm, row in zip(("a", "b"), figures)
        for seed, value in enumerate(row)
    }
    claim = table.Claim("a is better", ("a", "1"), ("b", "1"), "-", kind=kind)
    assert table.verdict({"runs": runs}, claim) == verdict


def test_nested_arms_get_equal_training_and_are_scored(script):
    arms = script("_nested_arms")
    size = arms.Size(width=32, steps=4, batch=4, tests=20)
    dense = arms.vit(size, arms.Arm("dense")).flops()
    for arm in (arms.Arm("nested", 0.4), arms.Arm("nested", None), arms.Arm("widths"), arms.Arm("dropping", 0.4)):
        _, cost = arms.build(size, arm)
        result = arms.run(arm, size, 0)
        assert abs(result["steps"] * cost - size.steps * dense) <= cost / 2
        assert all(0 <= value <= 100 for value in result["accuracy"].values())
    for kind in ("merging", "dropping"):
        model, cost = arms.build(size, arms.Arm(kind, 0.4))
        most = arms.vit(size, arms.Arm("dense")).flops(0.4)
        assert 0.85 * most < model.flops() <= most
    assert arms.run(arms.Arm("nested", 0.4, equal_steps=True), size, 0)["steps"] == 4


def test_tuned_arms_start_from_the_trained_dense_model(script, monkeypatch):
    arms = script("_nested_arms")
    size = arms.Size(width=32, steps=4, batch=4, tests=20)
    dense = arms.trained_dense(size, 6, 0)
    seen = []
    monkeypatch.setattr(arms, "train", lambda model, size, steps, *_: seen.append((steps, model.state_dict())))
    arms.run(arms.Arm("nested", 0.4, start=6, widths_first=0.5), size, 0)
    (wide, first), (nested, second) = seen
    assert all(torch.equal(first[name], dense[name]) and torch.equal(second[name], dense[name]) for name in dense)
    cost = {kind: arms.build(size, arms.Arm(kind, 0.4))[1] for kind in ("dense", "widths", "nested")}
    assert abs(wide * cost["widths"] - 2 * cost["dense"]) <= cost["widths"] / 2
    assert abs(nested * cost["nested"] - 2 * cost["dense"]) <= cost["nested"] / 2


def test_canvases_show_the_digit_where_they_say(script):
    task = script("_cluttered_digits")
    drawn = task.Canvases(test=True).draw(np.random.default_rng(0), 200)
    images = (drawn["pixels"][:, 0] + 0.4) / 2
    inside = torch.stack(
        [image[y : y + task.DIGIT, x : x + task.DIGIT] for image, (y, x) in zip(images, drawn["corner"].tolist())]
    )
    assert inside.mean() > images.mean() + 0.1
    train, test = task.digits(False)[0], task.digits(True)[0]
    assert len(train) + len(test) == 1797 and len(test) == task.TEST_DIGITS


def test_the_share_of_full_experts_on_the_digit_is_counted(script):
    arms = script("_nested_arms")
    test = {"pixels": torch.zeros(2, 1, 48, 48), "corner": torch.tensor([[0, 0], [32, 16]])}
    experts = torch.zeros(2, 6, 6, dtype=torch.int64)
    experts[0, 0, 0] = experts[0, 1, 1] = experts[0, 2, 2] = experts[1, 4, 3] = 3

    class Fixed:
        def routing(self, pixels, budget):
            return experts, None

    assert arms.on_the_digit(Fixed(), test, 0.4) == 75


def test_the_page_says_what_the_results_about_nested_experts_say(script):
    table, claims = script("_mone_table"), script("mone_claims")
    record = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    page = script("_claims_table").PAGE.read_text(encoding="utf-8")
    assert table.section(record) in page, "run python reproductions/_mone_table.py"
    assert {name.rpartition("/")[0] for name in record["runs"]} <= set(claims.ARMS)
    assert record["settings"] == dataclasses.asdict(script("_nested_arms").Size())
    named = {arm for claim in (*table.CLAIMS, *table.TUNED_CLAIMS) for arm, _ in (claim.better, claim.worse)}
    named |= {arm for _, arm, _, _ in (*table.ROWS, *table.TUNED_ROWS)}
    assert named <= set(claims.ARMS)


@pytest.mark.parametrize(
    ("found", "least", "wanted"),
    [
        ((0.1, 2, 3), 0, "holds"),
        ((-0.5, 2, 3), 0, "mixed"),
        ((-3, 1, 1), 0, "does not hold"),
        ((-0.5, -0.9), -1, "holds"),
        ((-0.5, -1.4), -1, "mixed"),
    ],
)
def test_a_claim_about_nested_experts_is_judged_seed_by_seed(script, found, least, wanted):
    assert script("_mone_table").verdict(list(found), least) == wanted


def test_the_picture_of_the_router_shows_photographs_above_their_experts(script):
    made = script("mone_router_picture")
    model, pool = made.train(steps=1, batch=2)
    drawn = made.picture([model], pool)
    assert drawn.shape == (2 * made.TILE, len(made.SHOWN) * made.TILE, 3)
    photos, experts = drawn[: made.TILE].astype(int), drawn[made.TILE :].astype(int)
    same = np.abs(photos - experts).max(axis=2) == 0
    full = made.NestedViT.shares(model, made.BUDGET)[-1]
    assert 0.5 * full < same.mean() < 0.5  # patches of the full expert stay as they are, the others get darker
    assert experts.mean() < 0.8 * photos.mean()


def _suite_record(**arms):
    run = {"train_cpu_s": 1800.0, "lr": 0.01, "loss": 0.0, "head": 10}
    runs = {
        name: {what: {**run, "accuracy": value, "adapter": weights} for what, value in rows.items()}
        for name, (weights, rows) in arms.items()
    }
    return {"settings": {"fit": {"steps": 5, "batch": 2}, "tuned_on": ["a"], "side": 64}, "tuning": {}, "runs": runs}


def test_the_suite_averages_tasks_then_seeds(script, tmp_path, monkeypatch):
    table = script("_vtab_table")
    rows = {"a/0": 0.5, "b/0": 0.7, "a/1": 0.6, "b/1": 0.8, "a/2": 0.9}  # the third seed is not through
    record = _suite_record(linear=(0, {"a/0": 0.25}), losa=(1500, rows))
    assert table.front(record)["losa"] == pytest.approx((1500, 65.0, math.sqrt(50)))
    assert "linear" not in table.front(record)
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(table, "PICTURE", tmp_path / "front.png")
    table.PAGE.write_text("# Page\n\nbefore\n")
    table.write_page(record)
    page = table.PAGE.read_text(encoding="utf-8")
    assert "| losa | 1,500 | 0.01 | 1800 | 66.7 ± 20.8 | 75.0 ± 7.1 | 65.0 ± 7.1 | 2 |" in page
    assert "| linear | 0 | 0.01 | 1800 | 25.0 | - | - | 0 |" in page and "3.0 hours" in page
    assert table.PICTURE.stat().st_size > 1000 and page.startswith("# Page\n\nbefore")
    assert table.with_section(page, record) == page


def test_the_suite_takes_the_rate_that_is_best_over_the_tasks_it_is_tuned_on(script):
    suite = script("vtab_suite")
    found = {0.001: (0.9, 0.1, 0.1), 0.003: (0.5, 0.5, 0.3), 0.01: (0.4, 0.4, 0.4)}
    runs = {
        f"{task}/{rate}": {"accuracy": accuracy}
        for rate, row in found.items()
        for task, accuracy in zip(suite.TUNED_ON, row)
    }
    assert suite.chosen_rate(suite.Arm("losa"), runs) == 0.003
    record = {"tuning": {}, "runs": {}}
    left, rates = list(suite.jobs(record)), 9 * len(suite.ARMS)
    assert len(left) == rates + 24 * len(suite.ARMS)
    assert {what for _, _, what in left[rates:][: 8 * len(suite.ARMS)]} == {f"{task}/0" for task in suite.TASKS}
    record["tuning"]["losa"] = {"count/0.001": {}}
    record["runs"]["full"] = {"digits/0": {}}
    again = list(suite.jobs(record))
    assert len(again) == len(left) - 2 and ("runs", "full", "digits/0") not in again


def test_training_pictures_of_the_suite_are_mixed(script, shared_data, tmp_path):
    """800 of them are trained on and 200 judged when a learning rate is chosen: both need all classes."""
    labels = script("vtab_suite").read_task("cifar10", shared_data, tmp_path).train.labels
    assert set(labels[:800]) == set(labels[800:1000]) == set(range(10))


def test_a_row_of_the_suite_is_trained_and_scored(script, tmp_path, monkeypatch):
    from adapt.conftest import MAKERS
    from whenwhere.backbones.vision import vision

    suite = script("vtab_suite")
    torch.manual_seed(0)
    MAKERS["vit with mean pooling"](tmp_path / "vit")
    backbone = vision(tmp_path / "vit")
    monkeypatch.setattr(suite, "FIT", dataclasses.replace(suite.FIT, steps=12, warmup=2))
    task = suite.read_task("digits", tmp_path, tmp_path)
    assert task.train.pixels.shape == (1000, 8, 8, 3) and task.test.pixels.shape == (797, 8, 8, 3)
    small = task.train.part(slice(60))
    for name, states in (("ladder", True), ("adaptformer", False)):
        inputs = suite.Inputs(backbone, small, states)
        rows = []
        for _ in range(2):
            torch.manual_seed(3)
            model = suite.ARMS[name].build(backbone, task.classes)
            rows.append(suite.train_and_score(model, 3e-3, 3, inputs, inputs, tmp_path))
        assert rows[0]["loss"] < math.log(10) and 0 <= rows[0]["accuracy"] <= 1
        assert {k: v for k, v in rows[0].items() if k != "train_cpu_s"} == {
            k: v for k, v in rows[1].items() if k != "train_cpu_s"
        }


def test_the_page_says_what_the_suite_found(script):
    table = script("_vtab_table")
    page = table.PAGE.read_text(encoding="utf-8")
    if table.OUT.is_file():
        record = json.loads(table.OUT.read_text(encoding="utf-8"))
        assert table.with_section(page, record) == page, "run python reproductions/vtab_suite.py --only-table"
    else:
        assert table.BEGIN not in page
