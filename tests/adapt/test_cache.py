"""The feature cache gives what the backbone gives, and nothing stale."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from adapt.conftest import MAKERS
from whenwhere.adapt.adapted import frozen_states
from whenwhere.adapt.cache import CachedDataset, FeatureCache
from whenwhere.adapt.linear import LinearProbe
from whenwhere.adapt.losa import Losa, LosaConfig
from whenwhere.adapt.views import View, random_views
from whenwhere.errors import InputError, MediaError
from whenwhere.media import write_image
from whenwhere.training import Batches, FitConfig, fit

FLIPPED = (View(), View(flip=True))


def images(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 40, 30, 3), np.uint8))


@pytest.mark.parametrize("kind", MAKERS)
def test_in_float32_a_cached_adapter_is_the_same_to_the_bit(make_backbone, tmp_path, kind):
    backbone, items = make_backbone(kind), images(4)
    model = Losa(backbone, "abc", LosaConfig(init="normal", scale=0.1))
    torch.nn.init.normal_(model.head.weight)
    cache = FeatureCache.of(tmp_path, model, dtype="float32")
    states = cache.batch(cache.fill(items, batch=4)[:, 0])
    pixels, label = backbone.preprocess(items), torch.tensor([0, 1, 2, 0])
    gradients = []
    for batch in ({"states": states}, {"pixels": pixels}):
        model.zero_grad()
        loss = model.loss({**batch, "label": label})["loss"]
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    assert all(torch.equal(cached, fresh) for cached, fresh in zip(*gradients))
    assert all(g.any() for g in gradients[0])


@pytest.mark.parametrize(("dtype", "share"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_shorter_numbers_are_as_close_as_their_mantissa(make_backbone, tmp_path, dtype, share):
    backbone, items = make_backbone("dinov2"), images(6)
    model = Losa(backbone, "abc")
    torch.nn.init.normal_(model.head.weight)
    cache = FeatureCache.of(tmp_path, model, dtype=dtype)
    states, fresh = cache.states(items), model.frozen_states(backbone.preprocess(items))
    for cached, state in zip(states, fresh):
        assert cached.dtype == getattr(torch, dtype)
        assert ((cached - state).abs() <= share * state.abs() + 1e-6).all()
    torch.testing.assert_close(model.logits_of(states), model.logits_of(fresh), atol=0.05, rtol=0.02)


def test_hits_misses_and_bytes_are_counted(make_backbone, tmp_path):
    cache = FeatureCache(tmp_path, make_backbone("clip"), [0, 2], views=FLIPPED)
    assert cache.record_bytes == 2 * 17 * 32 * 2
    seen = []
    keys = cache.fill(images(5), batch=2, progress=lambda done, total: seen.append((done, total)))
    assert keys.shape == (5, 2) and seen == [(2, 5), (4, 5), (5, 5)]
    assert (cache.stats.hits, cache.stats.misses, cache.stats.bytes_written) == (0, 10, 10 * cache.record_bytes)
    assert np.array_equal(cache.fill(images(7), batch=3)[:5], keys)
    assert (cache.stats.hits, cache.stats.misses) == (10, 14)
    cache.batch(keys[:, 1])
    assert cache.stats.bytes_read == 5 * cache.record_bytes
    cost = cache.cost(1000)
    assert (cost.records, cost.bytes) == (2000, 2000 * (cache.record_bytes + 40)) and cost.free > 0
    on_disk = sum(p.stat().st_size for p in cache.folder.iterdir() if p.suffix in (".data", ".index"))
    assert on_disk == cache.cost(7).bytes


def test_views_are_cut_and_mirrored_images(make_backbone, tmp_path):
    backbone, items = make_backbone("clip"), images(3)
    views = (View(), View((0.5, 0, 1, 0.5)), View((0.5, 0, 1, 0.5), flip=True))
    cache = FeatureCache(tmp_path, backbone, [1], dtype="float32", views=views)
    keys = cache.fill(items, batch=3)
    for v, cut in enumerate((lambda x: x, lambda x: x[:20, 15:], lambda x: x[:20, 15:][:, ::-1])):
        expected = frozen_states(backbone, backbone.preprocess([cut(item) for item in items]), [1])[0]
        torch.testing.assert_close(cache.batch(keys[:, v])[0], expected)


def test_random_views_are_the_same_for_a_seed_and_inside_the_image():
    views = random_views(9, seed=4)
    assert views == random_views(9, seed=4) != random_views(9, seed=5) and views[0] == View() and len(set(views)) == 9
    for view in views:
        left, top, right, bottom = view.box
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1 and (right - left) * (bottom - top) > 0.45
    assert {view.flip for view in views} == {True, False}


def test_files_are_known_by_their_content(make_backbone, tmp_path):
    backbone = make_backbone("clip")
    cache = FeatureCache(tmp_path / "cache", backbone, [2], dtype="float32")
    first, second, moved = (tmp_path / name for name in ("a.png", "b.png", "moved.png"))
    one, two = images(2)
    write_image(first, one)
    write_image(second, two)
    keys = cache.fill([first, second])
    os.rename(first, moved)
    assert cache.fill([str(moved)])[0] == keys[0] and cache.stats.misses == 2
    write_image(second, one[::-1])  # another picture under the same name
    changed = cache.states([second])[0]
    assert cache.stats.misses == 3
    torch.testing.assert_close(changed, frozen_states(backbone, backbone.preprocess([one[::-1]]), [2])[0])
    with pytest.raises(InputError, match="cannot read .*gone.png"):
        cache.fill([tmp_path / "gone.png"])
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(MediaError):
        cache.fill([tmp_path / "no.png"])


def test_caches_of_other_weights_layers_views_or_types_do_not_mix(make_backbone, tmp_path):
    items = images(2)
    caches = [
        FeatureCache(tmp_path, make_backbone("clip"), [0]),
        FeatureCache(tmp_path, make_backbone("siglip"), [0]),
        FeatureCache(tmp_path, make_backbone("clip"), [1]),
        FeatureCache(tmp_path, make_backbone("clip"), [0], dtype="float32"),
        FeatureCache(tmp_path, make_backbone("clip"), [0], views=[View(flip=True)]),
    ]
    other = make_backbone("clip")
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    for cache in [*caches, FeatureCache(tmp_path, other, [0])]:
        cache.fill(items)
        assert cache.stats.misses == 2 and cache.stats.hits == 0
    assert len({cache.folder for cache in caches}) == 4  # views live side by side
    again = FeatureCache(tmp_path, make_backbone("clip"), [0])
    again.fill(items)
    assert again.stats.hits == 2
    about = json.loads((again.folder / "about.json").read_text())
    assert about["backbone"].endswith("clip") and about["taps"] == [0]


def test_a_backbone_that_changed_is_noticed(make_backbone, tmp_path):
    backbone, items = make_backbone("clip"), images(3)
    before = FeatureCache(tmp_path, backbone, [0])
    before.fill(items[:1])
    backbone.bfloat16()
    after = FeatureCache(tmp_path, backbone, [0])
    after.fill(items[:1])
    assert after.stats.misses == 1 and after.folder != before.folder
    before.fill(items[:1])  # nothing to compute
    with pytest.raises(InputError, match="other weights or settings than when the cache was opened"):
        before.fill(items)


@pytest.mark.parametrize("pooled", [False, True])
def test_filled_under_autocast_it_holds_what_it_says(make_backbone, tmp_path, pooled):
    backbone, items = make_backbone("vit with class token"), images(2)
    under, plain = (
        FeatureCache(tmp_path / place, backbone, [0, 2], dtype="float32", pooled=pooled) for place in ("a", "b")
    )
    with torch.autocast("cpu", torch.bfloat16):
        under.fill(items)
    assert all(torch.equal(one, other) for one, other in zip(under.states(items), plain.states(items)))


def test_damage_is_noticed_and_computed_again(make_backbone, tmp_path):
    backbone, items = make_backbone("clip"), images(4)
    cache = FeatureCache(tmp_path, backbone, [0, 1])
    expected = cache.states(items)
    data = cache.folder / "0000.data"
    with data.open("r+b") as file:
        for record in (0, 2):
            file.seek(record * cache.record_bytes + 77)
            file.write(b"damage")
    again = FeatureCache(tmp_path, backbone, [0, 1])
    for fresh, known in zip(again.states(items), expected):
        torch.testing.assert_close(fresh, known)
    assert again.stats.damaged >= 2 and again.stats.misses == 2
    last = FeatureCache(tmp_path, backbone, [0, 1])
    last.states(items)
    assert (last.stats.damaged, last.stats.misses) == (0, 0)


def test_what_has_no_room_is_refused_before_it_is_computed(make_backbone, tmp_path):
    cache = FeatureCache(tmp_path, make_backbone("clip"), [0])
    with pytest.raises(InputError, match=r"features for 3 records, with .* GB free.*tap fewer layers"):
        cache.fill(images(3), keep_free=10**16)
    assert cache.stats.misses == 0 and not list(cache.folder.glob("*.data"))
    cache.fill(images(3))
    assert cache.fill(images(3), keep_free=10**16).shape == (3, 1)  # all there: nothing is needed


def test_two_processes_fill_one_cache(make_backbone, tmp_path):
    backbone, children = make_backbone("clip"), []
    for part in (slice(0, 40), slice(20, 60)):
        children.append(os.fork())
        if not children[-1]:
            try:
                FeatureCache(tmp_path, backbone, [0, 2]).fill(images(60)[part], batch=4)
                os._exit(0)
            finally:
                os._exit(1)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    cache = FeatureCache(tmp_path, backbone, [0, 2])
    keys = cache.fill(images(60))
    assert cache.stats.misses == 0
    fresh = frozen_states(backbone, backbone.preprocess(images(60)), [0, 2])
    for cached, state in zip(cache.batch(keys[:, 0]), fresh):
        torch.testing.assert_close(cached.float(), state, atol=0.02, rtol=0.01)


def test_maps_of_a_cnn_are_kept_at_the_grid_of_its_last_stage(make_backbone, tmp_path):
    model = Losa(make_backbone("resnet"), "ab")
    cache = FeatureCache.of(tmp_path, model, dtype="float32")
    assert cache.record_bytes == 4 * 4 * (64 + 64 + 128 + 256 + 512)  # 4 cells of each stage
    assert FeatureCache(tmp_path, model.backbone, [-1]).record_bytes == 4 * 512 * 2


def test_a_clip_is_one_record(make_backbone, tmp_path):
    backbone = make_backbone("siglip")
    model = Losa(backbone, "ab", LosaConfig(frames=2, init="normal"))
    torch.nn.init.normal_(model.head.weight)
    clips = [np.stack(images(2, seed)) for seed in range(3)]
    states = FeatureCache.of(tmp_path, model, dtype="float32").states(clips)
    assert states[0].shape == (3, 2, 16, 32)
    pixels = backbone.preprocess([frame for clip in clips for frame in clip]).unflatten(0, (3, 2))
    torch.testing.assert_close(model.logits_of(states), model(pixels))
    with pytest.raises(InputError, match=r"clip of 2 frames"):
        FeatureCache.of(tmp_path, model).fill(images(1))


@pytest.mark.parametrize("frames", [None, 2])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_probe_needs_the_pooled_vectors_alone(make_backbone, tmp_path, kind, frames):
    backbone = make_backbone(kind)
    probe = LinearProbe(backbone, "abc")
    torch.nn.init.normal_(probe.head.weight)
    items = images(4) if frames is None else [np.stack(images(2, seed)) for seed in range(4)]
    cache = FeatureCache.of(tmp_path, probe, dtype="float32", pooled=True, frames=frames)
    assert cache.record_bytes == 4 * backbone.width
    flat = items if frames is None else [frame for clip in items for frame in clip]
    pixels = backbone.preprocess(flat)
    expected = probe(pixels if frames is None else pixels.unflatten(0, (4, 2)))
    torch.testing.assert_close(probe.logits_of(cache.states(items)), expected)


def test_training_from_the_cache_never_runs_the_backbone(make_backbone, tmp_path, monkeypatch):
    backbone = make_backbone("clip")
    light, dark = np.full((8, 40, 30, 3), 200, np.uint8), np.full((8, 40, 30, 3), 40, np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (16, 40, 30, 3), np.uint8)
    items, labels = list(np.concatenate([light, dark]) + noise), [1] * 8 + [0] * 8
    torch.manual_seed(0)
    model = Losa(backbone, ["dark", "light"], LosaConfig(rank=2))
    cache = FeatureCache.of(tmp_path / "cache", model, views=FLIPPED)
    data = CachedDataset(cache, cache.fill(items), labels)
    with monkeypatch.context() as patch:
        patch.setattr(type(backbone), "states", None)  # any call would fail
        config = FitConfig(steps=60, batch=8, lr=1e-2, device="cpu")
        fit(model, Batches(data, data.collate), config, tmp_path / "run")
    assert (model.predict(items).argmax(1) == labels).all()


@pytest.mark.parametrize(
    "wrong", [{"taps": []}, {"taps": [3]}, {"taps": [0], "views": []}, {"taps": [0], "dtype": "int8"}]
)
def test_settings_that_make_no_sense_are_refused(make_backbone, tmp_path, wrong):
    with pytest.raises(InputError, match=r"layers in -3..2, at least one view, and one of float32"):
        FeatureCache(tmp_path, make_backbone("clip"), **wrong)


def test_boxes_keys_and_labels_that_make_no_sense_are_refused(make_backbone, tmp_path):
    with pytest.raises(InputError, match="left < right"):
        View((0.5, 0, 0.5, 1))
    with pytest.raises(InputError, match="count=0"):
        random_views(0)
    cache = FeatureCache(tmp_path, make_backbone("clip"), [0])
    keys = cache.fill(images(2))
    with pytest.raises(InputError, match="2 rows of keys and 3 labels"):
        CachedDataset(cache, keys, [0, 1, 0])
    with pytest.raises(InputError, match="1 of 2 keys are not in"):
        cache.batch(np.array([keys[0, 0], np.void(b"x" * 32)], keys.dtype))
