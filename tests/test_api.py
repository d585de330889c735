"""The public functions, on small models that are loaded from folders as users load theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import whenwhere
from describe_models import random_describer, random_image_captioner, random_space, saved_space, scenes
from whenwhere import api
from whenwhere.errors import InputError, MediaError, WeightsError
from whenwhere.media import read_image, write_image
from whenwhere.reports import srt, vtt
from whenwhere.systems.describer import Describer
from whenwhere.systems.image_captioner import Caption, ImageCaptioner


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    space = saved_space(folder)
    random_describer(0, space).save(folder / "describer")
    random_image_captioner(0, space).save(folder / "captioner")
    return {"describe": folder / "describer", "caption": folder / "captioner", "space": space}


@pytest.fixture(scope="module")
def describer(models) -> Describer:
    return whenwhere.load(models["describe"], device="cpu")


@pytest.fixture(scope="module")
def captioner(models) -> ImageCaptioner:
    return whenwhere.load(models["caption"], device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return scenes(tmp_path_factory.mktemp("video") / "scenes.mp4", 8.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0)
    for number in range(3):
        looks = noise.integers(0, 256, (3, 4, 3), np.uint8)
        write_image(folder / f"photo{number}.png", np.repeat(np.repeat(looks, 16, 0), 16, 1))
    return sorted(folder.iterdir())


def test_load_tells_the_models_apart(describer, captioner):
    assert isinstance(describer, Describer) and describer.name == "describer"
    assert isinstance(captioner, ImageCaptioner) and not captioner.training


def test_the_default_models_go_by_name():
    assert set(api.MODELS) == {"describe", "caption"}
    assert all(folder.parent.name == "weights" for folder in api.MODELS.values())


def test_an_unknown_name_lists_the_names():
    with pytest.raises(InputError, match="unknown model 'descibe'; expected one of describe, caption, or a folder"):
        whenwhere.load("descibe")


def test_a_folder_with_another_model_is_refused(models):
    with pytest.raises(WeightsError, match=r"whenwhere\.streaming_dvc/1"):
        whenwhere.load(models["describe"] / "captioner")
    with pytest.raises(WeightsError, match=r"config\.json does not exist"):
        whenwhere.load(models["describe"].parent)


def test_a_device_that_is_not_there_says_which_are():
    missing = "mps" if torch.cuda.is_available() else "cuda"
    if torch.backends.mps.is_available() and torch.cuda.is_available():
        pytest.skip("all devices are there")
    with pytest.raises(InputError, match=rf"device '{missing}'; expected one that is there: auto, .*cpu"):
        whenwhere.load("describe", device=missing)


def test_streaming_is_one_loop(describer, video):
    for event in describer.stream(video):
        assert isinstance(event, whenwhere.Event)
        break
    else:
        pytest.fail("no events")


def test_describe_returns_the_timeline_and_writes_when_asked(describer, models, video, tmp_path):
    timeline = whenwhere.describe(video, model=describer)
    assert isinstance(timeline, whenwhere.Timeline) and timeline.events
    by_name = whenwhere.describe(str(video), model=models["describe"], device="cpu", out=tmp_path / "out")
    assert by_name == timeline
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"timeline.json", "captions.vtt", "captions.srt", "report.html"}
    assert whenwhere.Timeline.load(tmp_path / "out" / "timeline.json") == timeline
    for kind, name in ((vtt, "captions.vtt"), (srt, "captions.srt")):
        assert [e.text for e in kind.read(tmp_path / "out" / name)] == [e.text for e in timeline.events]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == len(timeline.events) and 'id="video-data"' in page


def test_describe_passes_its_options_on(describer, video):
    settings = whenwhere.describe(video, model=describer, rate=4.0, interval=2.0, memory=7, start=1.0, end=6.0).settings
    wanted = {"rate": 4.0, "interval": 2.0, "memory": 7, "start": 1.0, "end": 6.0}
    assert {name: settings[name] for name in wanted} == wanted


def test_describe_refuses_what_cannot_describe(captioner, video):
    with pytest.raises(InputError, match="a model that captions images; expected a describer"):
        whenwhere.describe(video, model=captioner)


def test_a_failure_leaves_no_folder(describer, video, tmp_path):
    with pytest.raises(InputError, match="no picture from"):
        whenwhere.describe(video, model=describer, start=100.0, out=tmp_path / "a" / "b" / "out")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_before_the_model_is_loaded(video, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is not a folder"):
        whenwhere.describe(video, model="no such model", out=tmp_path / "file")


def test_an_interrupted_run_keeps_what_is_known(describer, video, tmp_path):
    def stop(event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.record(describer.stream(video), tmp_path / "out", on_event=stop)
    timeline = whenwhere.Timeline.load(tmp_path / "out" / "timeline.json")
    assert timeline.events and timeline.settings["partial"].startswith("interrupted at ")


def test_caption_takes_paths_and_arrays(captioner, models, photos):
    captions = whenwhere.caption(photos, model=captioner)
    assert len(captions) == 3 and all(isinstance(found, Caption) and found.text for found in captions)
    assert all(0 < found.score <= 1 for found in captions)
    mixed = [str(photos[0]), photos[1], read_image(photos[2])]
    assert whenwhere.caption(mixed, model=models["caption"], device="cpu") == captions
    assert whenwhere.caption(photos[1], model=captioner) == [captions[1]]
    assert whenwhere.caption([], model=captioner) == []


def test_a_folder_is_read_again_when_it_was_written_again_and_where_the_path_leads(
    models, photos, tmp_path, monkeypatch
):
    for name, seed in (("one", 0), ("two", 1)):
        random_image_captioner(seed, models["space"]).save(tmp_path / name / "mine")

    def said(folder: Path) -> list[Caption]:
        monkeypatch.chdir(folder)
        return whenwhere.caption(photos[:1], model="mine")

    first, second = said(tmp_path / "one"), said(tmp_path / "two")
    assert first != second, "the same relative path means another folder there"
    random_image_captioner(1, models["space"]).save(tmp_path / "one" / "mine")
    assert said(tmp_path / "one") == second
    before = api._loaded_model.cache_info().hits
    assert said(tmp_path / "one") == second and api._loaded_model.cache_info().hits == before + 1


def test_caption_names_the_image_that_is_damaged(captioner, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(photos[0].read_bytes()[:50])
    with pytest.raises(MediaError, match=r"bad\.jpg"):
        whenwhere.caption([photos[0], tmp_path / "bad.jpg"], model=captioner)
    with pytest.raises(InputError, match="a int; expected a path or a uint8"):
        whenwhere.caption([3], model=captioner)


def test_images_and_texts_share_a_space(photos):
    space = random_space()
    images = whenwhere.embed(photos, space=space)
    assert images.dtype == np.float32 and images.shape == (3, space.dim)
    assert np.allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    arrays = np.stack([read_image(photo) for photo in photos])
    assert np.allclose(whenwhere.embed(arrays, space=space), images, atol=1e-5)
    assert np.allclose(whenwhere.embed(str(photos[2]), space=space), images[2:], atol=1e-5)
    assert whenwhere.embed([], space=space).shape == (0, space.dim)


def test_a_space_goes_by_folder(models, photos):
    by_folder = whenwhere.embed(photos, space=models["space"], device="cpu")
    assert np.allclose(by_folder, whenwhere.embed(photos, space=random_space()), atol=2e-2), "saved with 16 bits"


def test_what_a_string_means(monkeypatch, tmp_path, photos):
    space = random_space()
    monkeypatch.setattr(space, "embed_texts", lambda texts: torch.ones(len(texts), space.dim))  # MiniLM is not at hand
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a cat").write_bytes(photos[0].read_bytes())
    picture = whenwhere.embed(photos[0], space=space)
    assert np.allclose(whenwhere.embed("a cat", space=space), picture, atol=1e-5), "a file of that name is there"
    assert (whenwhere.embed("a cat", kind="text", space=space) == 1).all()
    rows = whenwhere.embed(["a dog", "a cat", "no\0file"], space=space)
    assert (rows[[0, 2]] == 1).all() and np.allclose(rows[1:2], picture, atol=1e-5)
    with pytest.raises(MediaError, match="a dog does not exist"):
        whenwhere.embed("a dog", kind="image", space=space)
    with pytest.raises(InputError, match="strings only"):
        whenwhere.embed([tmp_path / "a cat"], kind="text", space=space)
    with pytest.raises(InputError, match="kind 'sound'"):
        whenwhere.embed("a cat", kind="sound", space=space)


@pytest.mark.models
def test_the_real_space_puts_a_cat_near_a_cat():
    import skimage

    photos = [Path(skimage.__file__).parent / "data" / name for name in ("chelsea.png", "coffee.png")]
    rows = whenwhere.embed([*photos, "a cat", "a cup of coffee"], device="cpu")
    images, texts = rows[:2], rows[2:]
    assert len(rows) == 4 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert ((images @ texts.T).argmax(1) == [0, 1]).all()


def test_the_heavy_libraries_wait_for_the_first_use():
    code = "import sys, whenwhere as w; w.Event; print('torch' in sys.modules); w.load; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True"]
