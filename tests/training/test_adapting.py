"""What ``whenwhere adapt`` is made of: stores that mend themselves, steps cut to the memory, errors of a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from tiny_backbones import TINY_VIT, write_timm
from whenwhere.adapt.store import DiskFull, Store
from whenwhere.adapt.views import View
from whenwhere.backbones.vision import vision
from whenwhere.datasets.labelled_files import read_labelled
from whenwhere.errors import InputError, WeightsError, WhenwhereError
from whenwhere.media import write_image
from whenwhere.training.adapt_content import fingerprint, hashes_of
from whenwhere.training.adapt_data import _epochs, adapt_data
from whenwhere.training.adapt_recipe import AdaptRecipe, alone
from whenwhere.training.adapt_stores import Computed, Pixels, States, examine, pieces
from whenwhere.training.trained import TrainedAdapter


@pytest.fixture(scope="module")
def backbone_folder(tmp_path_factory):
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("backbones") / "vit"
    write_timm(folder, "vit_tiny_patch16_224", **TINY_VIT)
    return folder


@pytest.fixture
def backbone(backbone_folder):
    return vision(backbone_folder)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for label, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            picture = rng.integers(shade - 30, shade + 30, (20, 20, 3), dtype=np.uint8)
            write_image(tmp_path / "data" / label / f"{number}.png", picture)
    return tmp_path / "data"


def quiet(*_):
    return None


@pytest.mark.parametrize(("examples", "batch", "passes"), [(2000, 64, 5), (640, 64, 15), (30, 64, 100), (10**6, 64, 5)])
def test_a_small_set_is_gone_over_more_often(examples, batch, passes):
    assert _epochs(examples, batch) == passes


def test_states_and_pixels_feed_the_same_examples(backbone, data, tmp_path):
    files = read_labelled(data)
    model = AdaptRecipe("linear").build(backbone, files.classes)
    hashes, bad = hashes_of(files.examples, quiet)
    assert len(hashes) == 10 and not bad
    views = AdaptRecipe("linear", mirror=True).cuts()
    states, pixels, computed = (
        States(model, 1, tmp_path / "cache", views),
        Pixels(model, 1, views),
        Computed(model, 1, views),
    )
    assert not any(store.take(hashes, quiet) for store in (states, pixels, computed))
    assert states.cached == (0, 10)
    chosen = [(files.examples[0], 0), (files.examples[7], 1)]
    labels = torch.tensor([0, 1])
    seen = pixels.batch(chosen, labels)["pixels"]
    assert torch.equal(seen[0], backbone.preprocess(files.examples[0].pictures())[0])
    assert torch.equal(seen[1], backbone.preprocess(files.examples[7].pictures())[0].flip(-1))
    kept, last = states.batch(chosen, labels)["states"][0], backbone.states(seen, [-1])[0]
    assert kept.dtype == torch.bfloat16 and kept.shape == (2, 32)  # a linear probe's are pooled: 64 bytes
    assert states.cache.record_bytes == 64
    torch.testing.assert_close(kept.float(), backbone.finish(last), rtol=0.01, atol=0.02)
    torch.testing.assert_close(computed.batch(chosen, labels)["states"][0], last)
    losa = States(AdaptRecipe("losa").build(backbone, files.classes), 1, tmp_path / "cache", views)
    assert losa.cache.record_bytes == 3 * 17 * 32 * 2  # three layers of 17 tokens

    again = States(model, 1, tmp_path / "cache", views)
    hashes = dict(list(hashes.items())[:4])
    assert not again.take(hashes, quiet) and again.cached == (4, 4)
    plain = States(model, 1, tmp_path / "other")
    assert not plain.take(hashes, quiet) and plain.cached == (0, 4)


def test_damaged_states_are_computed_again(backbone, data, tmp_path):
    files = read_labelled(data)
    model = AdaptRecipe("linear").build(backbone, files.classes)
    hashes, _ = hashes_of(files.examples, quiet)
    wanted = [(example, 0) for example in files.examples]
    labels = torch.zeros(10, dtype=torch.int64)
    store = States(model, 1, tmp_path / "cache")
    store.take(hashes, quiet)
    before = store.batch(wanted, labels)["states"][0]

    (shard,) = (tmp_path / "cache").rglob("*.data")
    size = store.cache.record_bytes
    spoilt = bytearray(shard.read_bytes())
    for record in (2, 5):
        spoilt[record * size + 7] ^= 255
    shard.write_bytes(spoilt)
    store = States(model, 1, tmp_path / "cache")
    store.take(hashes, quiet)
    assert store.cached == (10, 10)  # nobody has read them yet
    torch.testing.assert_close(store.batch(wanted, labels)["states"][0], before, rtol=0.01, atol=0.02)
    assert store.cache.stats.damaged == 2
    third = States(model, 1, tmp_path / "cache")
    third.take(hashes, quiet)
    assert third.cached == (10, 10)


def test_steps_are_cut_to_the_memory_that_is_free_and_stay_so(backbone_folder, backbone, data, tmp_path, monkeypatch):
    files = read_labelled(data)
    model = AdaptRecipe("adaptformer").build(backbone, files.classes)
    store = Pixels(model)
    store.take(hashes_of(files.examples, quiet)[0], quiet)
    assert pieces(model, store, files.examples[0], 8) == 1
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=300_000))
    few = pieces(model, store, files.examples[0], 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1_000_000))
    more = pieces(model, store, files.examples[0], 8)
    assert 8 >= few > more > 1 and 8 % few == 0

    # A run goes on with the pieces that it began with, however much memory is free by then.
    said = []
    options = {"method": "adaptformer", "backbone": str(backbone_folder), "batch": 8, "epochs": 3, "tell": said.append}
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1_000_000))
    adapt_data(data, out=tmp_path / "mine", **options)
    assert f"made of {more} pieces" in said[-1]
    (tmp_path / "mine" / "metrics.json").unlink()  # as if it had been killed before the papers
    monkeypatch.undo()
    said.clear()
    adapt_data(data, out=tmp_path / "mine", **options)
    assert f"made of {more} pieces" in said[1] and "going on after step 3 of 3" in said[2]


@contextmanager
def largest_file(size):
    """Files cannot grow beyond that, which stands for a disk that is full."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("method", "size"), [("losa", 20_000), ("full", 60_000)])
def test_a_full_disk_is_one_error_and_the_run_goes_on_later(backbone_folder, data, tmp_path, method, size):
    """It fills up with states or a checkpoint; later with the adapter or a picture."""
    mine = tmp_path / "mine"
    options = {"method": method, "backbone": str(backbone_folder), "epochs": 2, "cache": tmp_path / "c", "out": mine}
    with largest_file(size), pytest.raises(WhenwhereError, match="room|too large"):
        adapt_data(data, **options)
    adapt_data(data, **options)
    adapter = (mine / "adapter" / "model.safetensors").read_bytes()
    (mine / "metrics.json").unlink()  # as if it had been killed before the papers
    with largest_file(9_000), pytest.raises(WhenwhereError, match="room|too large"):
        adapt_data(data, **options)
    assert not (mine / "metrics.json").exists()
    adapt_data(data, **options)
    assert (mine / "adapter" / "model.safetensors").read_bytes() == adapter
    assert not [path for path in mine.rglob("*") if path.suffix in (".part", ".tmp", ".partial")]


@pytest.mark.parametrize("why", ["disk", "none"])
def test_without_a_cache_states_are_computed_in_every_step(backbone_folder, data, tmp_path, monkeypatch, why):
    """Where the disk has no room for the states, and where none is wanted; it is said, and the run stays so."""
    cache, mine, said = tmp_path / "cache", tmp_path / "mine", []
    options = {"backbone": str(backbone_folder), "epochs": 3, "out": mine, "tell": said.append}
    if why == "disk":
        monkeypatch.setattr(
            Store, "free_bytes", lambda self: (1 << 30) + 30_000
        )  # 1 GiB stays free; 32,640 + 400 needed
    result = adapt_data(data, cache=cache if why == "disk" else None, **options)
    told = "0.00 GB of features for 10 records, with 1.07 GB free" if why == "disk" else "no cache"
    assert told in said[-1] and "computed from the pictures in every step" in said[-1]
    assert result.cached == (0, 0) and not list(tmp_path.rglob("*.data"))
    assert "computed from the pictures" in (mine / "card.md").read_text()
    assert json.loads((mine / "metrics.json").read_text())["cache"] == said[-1]
    adapter = (mine / "adapter" / "model.safetensors").read_bytes()

    (mine / "metrics.json").unlink()  # as if it had been killed before the papers
    monkeypatch.undo()
    said.clear()
    adapt_data(data, cache=cache, **options)
    assert any("as when the run began" in line for line in said) and not list(tmp_path.rglob("*.data"))
    assert (mine / "adapter" / "model.safetensors").read_bytes() == adapter


def test_a_run_that_began_with_a_cache_goes_on_with_one(backbone_folder, data, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    options = {"method": "linear", "backbone": str(backbone_folder), "epochs": 2, "out": mine}
    adapt_data(data, cache=tmp_path / "cache", **options)
    assert "| cache | states of 10 examples |" in (mine / "card.md").read_text()
    (mine / "metrics.json").unlink()
    with pytest.raises(InputError, match="no cache, for a run that began with one"):
        adapt_data(data, cache=None, **options)
    monkeypatch.setattr(Store, "free_bytes", lambda self: 1 << 30)
    with pytest.raises(InputError, match="room for the cache that the run began with"):
        adapt_data(data, cache=tmp_path / "other", **options)
    adapt_data(data, cache=tmp_path / "cache", **options)  # all of it is there


def test_a_disk_that_fills_up_meanwhile_loses_no_example(backbone, data, tmp_path, monkeypatch):
    """An example for whose states there is no room is not one that cannot be decoded."""
    files = read_labelled(data)
    store = States(AdaptRecipe("losa").build(backbone, files.classes), 1, tmp_path / "cache")
    room = [1 << 40]
    monkeypatch.setattr(Store, "free_bytes", lambda self: room.pop() if room else 1 << 30)
    with pytest.raises(DiskFull, match="10 records"):
        store.take(hashes_of(files.examples, quiet)[0], quiet)


@pytest.mark.parametrize("method", ["linear", "adaptformer"])
def test_views_are_cuts_that_states_and_pixels_agree_on(backbone, data, tmp_path, method):
    files = read_labelled(data)
    views = AdaptRecipe(method, views=3, mirror=True).cuts()
    assert len(set(views)) == 6 and views[0] == View() and views[3] == View(flip=True)
    assert [view.flip for view in views] == [False] * 3 + [True] * 3
    assert AdaptRecipe(method, views=5).cuts()[:3] == views[:3]  # what is cached for few serves many
    hashes, _ = hashes_of(files.examples[:2], quiet)
    model = AdaptRecipe(method).build(backbone, files.classes)
    labels, chosen = torch.zeros(6, dtype=torch.int64), [(files.examples[0], number) for number in range(6)]
    kept, fresh = Pixels(model, 1, views), Pixels(model, 1, views)
    kept.take(hashes, quiet)
    seen = kept.batch(chosen, labels)["pixels"]
    assert torch.equal(seen, fresh.batch(chosen, labels)["pixels"]) and len(kept._kept) == 6 and not fresh._kept
    picture = files.examples[0].pictures()[0]
    for number, view in enumerate(views):
        torch.testing.assert_close(seen[number], backbone.preprocess([view.of(picture)])[0], rtol=0, atol=0.02)
    if method == "linear":
        states = States(model, 1, tmp_path / "cache", views)
        states.take(hashes, quiet)
        found = states.batch(chosen, labels)["states"][0].float()
        torch.testing.assert_close(found, backbone.pooled(seen), rtol=0.02, atol=0.04)


def test_the_fingerprint_is_of_content_split_class_and_order(data):
    files = read_labelled(data)
    hashes, _ = hashes_of(files.examples, quiet)
    first = fingerprint(files.examples, hashes)
    moved = read_labelled(data.rename(data.with_name("moved")))
    assert fingerprint(moved.examples, hashes_of(moved.examples, quiet)[0]) == first
    assert fingerprint(files.examples[::-1], hashes) != first
    lost = dict(list(hashes.items())[1:])
    assert fingerprint(files.examples, lost) != first
    swapped = [moved.examples[0].__class__(e.path, e.label, "train") for e in moved.examples]
    assert fingerprint(swapped, hashes_of(swapped, quiet)[0]) != first


def test_settings_are_checked_and_lists_become_tuples():
    recipe = AdaptRecipe("placed", {"edges": [[0, 2], [3, 3]], "rank": 4})
    assert recipe.settings["edges"] == ((0, 2), (3, 3))
    assert AdaptRecipe("losa", {"taps": None, "scale": 1, "init": "normal"}).settings["scale"] == 1
    assert AdaptRecipe("peft", {"kind": "VERA", "options": {"r": 4}}).settings["options"] == {"r": 4}
    for name, value in (("init", "best"), ("rank", 1.5), ("rank", None), ("channels", 1), ("scale", "1")):
        with pytest.raises(InputError, match=name):
            AdaptRecipe("losa", {name: value})
    assert AdaptRecipe("lora", frames=4).frames == 4


def test_python_has_the_same_and_gives_the_model_back(backbone_folder, data, tmp_path):
    result = adapt_data(data, out=tmp_path / "mine", backbone=str(backbone_folder), epochs=12, lr=0.01, cache=None)
    assert result.accuracy == 1.0 and result.tested == 2 and result.cached == (0, 0)
    assert result.interval[0] < 1 and set(result.seconds) == {"prepare", "train", "test"}
    trained = TrainedAdapter.load(tmp_path / "mine")
    files = read_labelled(data)
    picture = files.of("test")[0]
    ((label, chance), (_, rest)) = trained.predict([picture.path])[0]
    assert label == picture.label and chance > rest and chance + rest == pytest.approx(1, abs=1e-6)
    said = result.model.predict(picture.pictures())[0]
    assert said.max() == pytest.approx(chance, abs=1e-6)
    tested = trained.evaluate(data)
    assert tested.accuracy == 1.0 and tested.confusion().tolist() == [[1, 0], [0, 1]]
    with pytest.raises(InputError, match="x.png is empty"):
        (data / "x.png").write_bytes(b"")
        trained.predict([data / "x.png"])
    settings = json.loads((tmp_path / "mine" / "recipe.json").read_text())
    (tmp_path / "mine" / "recipe.json").write_text(json.dumps({**settings, "frames": "many"}))
    with pytest.raises(WeightsError, match="frames is 'many'"):
        TrainedAdapter.load(tmp_path / "mine")


def test_what_is_tested_is_every_example_once(backbone, data):
    files = read_labelled(data)
    model = AdaptRecipe("linear").build(backbone, files.classes)
    with torch.no_grad():
        model.head.bias[1] = 5.0  # says "light" of everything
    store = Pixels(model)
    hashes, _ = hashes_of(files.examples, quiet)
    store.take(hashes, quiet)
    steps = []
    tested = examine(model, store, files.examples, files.labels(files.examples), lambda *step: steps.append(step))
    assert tested.confusion().tolist() == [[0, 5], [0, 5]] and tested.accuracy == 0.5
    assert steps == [(10, 10, "testing")]
    low, high = tested.interval  # Wilson's of 5 in 10, by hand: 0.5 -+ 0.2634
    assert (low, high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert tested.by_class() == [("dark", 0, 5), ("light", 5, 5)]


def test_a_run_uses_the_threads_that_were_idle_when_it_began(backbone_folder, data, tmp_path, monkeypatch):
    said, used = [], []
    options = {"backbone": str(backbone_folder), "epochs": 2, "cache": None, "out": tmp_path / "mine"}
    options |= {"tell": said.append, "progress": lambda done, of, what: used.append((what, torch.get_num_threads()))}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 70.0)  # 1.2 of 4 are idle
        adapt_data(data, **options)
        assert "1 of 2 threads are used" in said[1] and ("testing", 1) in used
        assert torch.get_num_threads() == 2
        (tmp_path / "mine" / "metrics.json").unlink()
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 0.0)
        used.clear()
        adapt_data(data, **options)  # goes on as it began
        assert ("testing", 1) in used and torch.get_num_threads() == 2
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 99.0)
        used.clear()
        TrainedAdapter.load(tmp_path / "mine").evaluate(data, progress=options["progress"])
        assert used == [("testing", 1)] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_folder_is_trained_by_one_process_at_a_time(tmp_path):
    with alone(tmp_path / "mine"), alone(tmp_path / "other"):
        code = (
            "from pathlib import Path; from whenwhere.training.adapt_recipe import alone\n"
            f"with alone(Path({str(tmp_path / 'mine')!r})): pass"
        )
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert found.returncode and "trained by another process" in found.stderr
    with alone(tmp_path / "mine"):
        pass


def test_a_foreign_recipe_is_nobodys_to_overwrite(data, tmp_path, backbone_folder):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "recipe.json").write_text('{"soup": "tomato"}')
    with pytest.raises(InputError, match="holds other files"):
        adapt_data(data, out=mine, backbone=str(backbone_folder))
    assert (mine / "recipe.json").read_text() == '{"soup": "tomato"}'


def test_a_cache_that_was_asked_for_stays(data, tmp_path, backbone_folder):
    states = tmp_path / "mine" / "states"
    adapt_data(data, out=tmp_path / "mine", backbone=str(backbone_folder), epochs=1, cache=states)
    assert list(states.rglob("*.data"))
