"""What ``whenwhere adapt`` and its companions tell a person: what was tested, what does not belong, what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_backbones import TINY_VIT, write_timm
from whenwhere.adapt.methods import METHODS, for_any_backbone, method
from whenwhere.backbones.vision import vision
from whenwhere.errors import InputError, WeightsError
from whenwhere.media import write_image, write_video
from whenwhere.training.adapt_data import adapt_data
from whenwhere.training.trained import TrainedAdapter

SHADES = {"dark": 40, "light": 200}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("backbones") / "vit"
    write_timm(folder, "vit_tiny_patch16_224", **TINY_VIT)
    return folder


def shaded(label, seed):
    return np.random.default_rng(seed).integers(SHADES[label] - 30, SHADES[label] + 30, (20, 20, 3), dtype=np.uint8)


def pictures(folder: Path, count=5, first=0) -> Path:
    for label in SHADES:
        (folder / label).mkdir(parents=True)
        for number in range(first, first + count):
            write_image(folder / label / f"{number}.png", shaded(label, number))
    return folder


def clips(folder: Path, count=3) -> Path:
    for label in SHADES:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            write_video(folder / label / f"{number}.mp4", [np.full((32, 32, 3), SHADES[label], np.uint8)] * 4, 4)
    return folder


def adapt(run, data, backbone, *more, out="mine"):
    return run("adapt", data, "--backbone", backbone, "--method", "linear", "--epochs", 2, "--out", out, *more)


def test_other_pictures_are_tested_whole_and_those_of_the_training_are_not(run, tmp_path, backbone):
    data = pictures(tmp_path / "data", 10)
    assert adapt(run, data, backbone)[0] == 0
    assert "were held out by whenwhere" in Path("mine/card.md").read_text()
    trained = TrainedAdapter.load("mine")

    other = pictures(tmp_path / "other", 6, first=50)
    code, out, err = run("evaluate", "mine", other)
    assert code == 0 and "on 12 examples" in out
    assert (
        "the adapter was not trained on these data: all 12 examples are tested; --split test tests one in five" in err
    )
    code, out, err = run("evaluate", "mine", other, "--split", "test")
    assert code == 0 and "on 2 examples" in out and "2 of 12" in err
    assert [len(trained.evaluate(other).truth), len(trained.evaluate(other, "test").truth)] == [12, 2]

    code, out, err = run("evaluate", "mine", data)
    assert code == 0 and "on 4 examples" in out and "4 of 20 examples are tested" in err and "--split all" in err
    moved = data.rename(tmp_path / "moved")  # the same data by what they hold
    code, out, err = run("evaluate", "mine", moved)
    assert code == 0 and "on 4 examples" in out and "was trained on: 4 of 20" in err
    back = moved.rename(data)
    (back / "dark" / "0.png").unlink()  # the same data by their place
    code, out, err = run("evaluate", "mine", back)
    assert code == 0 and "on 3 examples" in out and "files have changed since" in err

    said = []
    bare = TrainedAdapter.load("mine/adapter")  # says nothing of its data
    assert len(bare.evaluate(back, tell=said.append).truth) == 19 and "it is not known what" in said[0]
    with pytest.raises(InputError, match="split 'half'; expected one of auto, train, val, test, all"):
        bare.evaluate(back, "half")


def test_predict_searches_folders_at_any_depth(run, tmp_path, backbone):
    data = pictures(tmp_path / "data")
    assert adapt(run, data, backbone)[0] == 0
    (data / ".hidden").mkdir()
    shutil.copy(data / "dark" / "1.png", data / ".hidden" / "1.png")
    shutil.copy(data / "dark" / "1.png", data / "light" / ".1.png")
    shutil.copy(data / "dark" / "1.png", data / "dark" / "10.png")
    code, out, err = run("predict", "mine", "data")
    assert code == 0, err
    names = [line.partition(":")[0] for line in out.splitlines()]
    assert names == [f"data/dark/{at}.png" for at in (0, 1, 2, 3, 4, 10)] + [f"data/light/{at}.png" for at in range(5)]
    Path("empty/inside").mkdir(parents=True)
    code, _, err = run("predict", "mine", "empty")
    assert code == 2 and "there is no picture in empty; expected files such as .jpg, .png, .webp\n" in err
    code, _, err = run("predict", "mine", "gone.png")
    assert code == 2 and "gone.png does not exist; expected a picture" in err and "video" not in err


def test_pictures_and_clips_are_not_taken_for_each_other(run, tmp_path, backbone):
    pictures(tmp_path / "data"), clips(tmp_path / "films")
    assert adapt(run, "data", backbone)[0] == 0
    code, out, err = adapt(run, "films", backbone, "--frames", 1, out="clipm")
    assert code == 0 and "whenwhere predict clipm CLIP ..." in out, err
    card = Path("clipm/card.md").read_text()
    assert "classes a clip shows" in card and "predict clipm CLIP" in card
    code, out, err = run("predict", "clipm", "data/dark/0.png", "films/dark/0.mp4")
    assert code == 2 and out.startswith("films/dark/0.mp4: ") and len(out.splitlines()) == 1
    assert "data/dark/0.png is a picture, by its suffix; expected a clip, as this adapter takes clips" in err
    code, out, err = run("predict", "mine", "films/dark/0.mp4")
    assert (code, out) == (2, "") and "0.mp4 is a clip, by its suffix; expected a picture" in err
    code, out, err = run("evaluate", "mine", "films")
    assert (code, out) == (2, "") and "is a clip" in err

    shutil.copy("data/dark/0.png", "films/dark/still.png")
    for command in ("adapt", "search-placement"):
        code, _, err = run(command, "films", "--backbone", backbone)
        assert code == 2 and "has 1 picture (such as " in err and "still.png) among 6 clips" in err, err
        assert "take the picture out" in err
        code, _, err = run(command, "data", "--backbone", backbone, "--frames", 4)
        assert code == 2 and "frames=4 for pictures; expected 1" in err
    assert not Path("adapted").exists()


def test_placed_without_a_placement_tells_where_it_adapts(run, tmp_path, backbone):
    data = pictures(tmp_path / "data")
    for more, told in (((), True), (("--set", "edges=[[0,3]]"), False)):
        command = ("adapt", data, "--backbone", backbone, "--method", "placed", "--epochs", 1, "--out", f"placed{told}")
        code, _, err = run(*command, *more)
        assert code == 0 and ("an adapter sits beside every sub-layer" in err) == told, err
        assert ("--placement" in err) == told


def test_other_data_in_the_same_folder_are_told_as_such(run, tmp_path, backbone):
    pictures(tmp_path / "two"), pictures(tmp_path / "three", 5, first=20)
    assert adapt(run, "two", backbone)[0] == 0
    for more in ((), ("--lr", 0.5), ("--mirror",)):
        code, _, err = adapt(run, "three", backbone, *more)
        assert code == 2 and f"mine holds a run of other data: {tmp_path / 'two'}, not {tmp_path / 'three'}" in err
    code, _, err = adapt(run, "two", backbone, "--size", 64)
    assert code == 2 and "size the default, not 64" in err and "None" not in err


def test_strict_leaves_nothing_and_says_that_it_stopped(run, tmp_path, backbone):
    data = pictures(tmp_path / "data")
    (data / "dark" / "9.png").write_bytes(b"no picture")
    code, _, err = adapt(run, data, backbone, "--strict")
    assert code == 2 and "stopped: 1 file cannot be decoded" in err and "take it out, or do without --strict" in err
    assert "left out" not in err and not Path("mine").exists()
    Path("mine").mkdir()
    assert adapt(run, data, backbone, "--strict")[0] == 2 and list(Path("mine").iterdir()) == []
    code, _, err = adapt(run, data, backbone)
    left = json.loads(Path("mine/metrics.json").read_text())["examples"]
    assert code == 0 and "left out: 1 file cannot be decoded: " in err
    assert f"; that leaves {left['train']} train and {left['test']} test" in err and sum(left.values()) == 10


def test_a_class_that_is_not_tested_is_told(run, tmp_path, backbone):
    pictures(tmp_path / "data" / "train"), pictures(tmp_path / "data" / "test", 2, first=30)
    shutil.rmtree(tmp_path / "data" / "test" / "light")
    code, _, err = adapt(run, "data", backbone)
    assert code == 0 and "no test example of light: the accuracy says nothing of it" in err
    card = Path("mine/card.md").read_text()
    assert "There is no test example of light" in card and "held out" not in card


def test_a_folder_that_is_no_adapter_is_told(run, tmp_path):
    pictures(tmp_path / "data")
    for folder, told in (("data", "data is no adapter"), ("gone", "gone does not exist")):
        code, _, err = run("predict", folder, "data")
        assert code == 2 and f"{told}; expected the folder of `whenwhere adapt`" in err
    with pytest.raises(WeightsError, match="no adapter"):
        TrainedAdapter.load("data")


def test_methods_for_cnns_are_those_that_take_one(tmp_path):
    torch.manual_seed(1)
    write_timm(tmp_path / "cnn", "resnet10t")
    cnn = vision(tmp_path / "cnn", size=64)
    refused = {}
    for name in METHODS:
        try:
            method(name)(cnn, ["a", "b"])
        except InputError as error:
            refused[name] = str(error)
        except ImportError:  # peft, which is not installed everywhere, is for transformers
            refused[name] = ""
    assert set(METHODS) - set(refused) == set(for_any_backbone()) >= {"losa", "linear", "bitfit", "ssf", "full"}
    assert f"the methods {', '.join(for_any_backbone())} work on CNNs too" in refused["ladder"]


def test_layers_are_named_as_a_person_counts_them(tmp_path, backbone, cache):
    data = pictures(tmp_path / "data")
    with pytest.raises(InputError, match=r"taps \[7\] of .*; expected layers 0 to 2, or -3 to -1 from the end"):
        adapt_data(data, out=tmp_path / "mine", backbone=str(backbone), settings={"taps": [7]})


@pytest.mark.parametrize("command", ["adapt", "predict", "evaluate", "search-placement"])
def test_the_help_shows_no_python(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    for odd in ("{None}", "(default: )", "(default: '')", "(default: None)"):
        assert odd not in out
    assert ".tsv" in out or command == "predict"


def test_one_picture_a_class_leaves_none_to_test(run, tmp_path, backbone):
    code, _, err = adapt(run, pictures(tmp_path / "few", count=1), backbone)
    assert code == 2 and "has no test examples" in err and "two or more files of a class" in err
    assert not (tmp_path / "mine").exists()
