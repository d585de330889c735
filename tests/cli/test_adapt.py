"""``whenwhere adapt`` and what goes with it: pictures in, an adapter out, killed or not; bad input told in a line."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_backbones import TINY_VIT, write_timm
from whenwhere.cli import main
from whenwhere.cli.progress import Bar
from whenwhere.media import write_image, write_video
from whenwhere.training.trained import TrainedAdapter

COLOURS = {"blue": (20, 40, 200), "green": (30, 190, 40), "red": (210, 30, 20)}
NEEDS_PEFT = pytest.mark.skipif(find_spec("peft") is None, reason="needs the extra adapt")
RESULTS = ("adapter/model.safetensors", "adapter/config.json", "predictions.jsonl")


@pytest.fixture(scope="session")
def backbones(tmp_path_factory) -> dict[str, Path]:
    """A transformer and a CNN, both tiny, as folders."""
    root = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(3)
    write_timm(root / "vit", "vit_tiny_patch16_224", **TINY_VIT)
    write_timm(root / "cnn", "resnet10t")
    return {"vit": root / "vit", "cnn": root / "cnn"}


def noisy(label, seed):
    noise = np.random.default_rng([seed, *label.encode()]).integers(-20, 21, (24, 30, 3))
    return np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path) -> Path:
    """Ten pictures of each of three colours; two of each will be held out."""
    for label in COLOURS:
        (tmp_path / "data" / label).mkdir(parents=True)
        for seed in range(10):
            write_image(tmp_path / "data" / label / f"{seed}.png", noisy(label, seed))
    return tmp_path / "data"


def accuracy(folder) -> float:
    return json.loads(Path(folder, "metrics.json").read_text())["accuracy"]["test"]


def contents(folder) -> list[bytes]:
    return [Path(folder, name).read_bytes() for name in RESULTS]


@pytest.mark.parametrize(
    ("method", "kind", "more"),
    [
        ("losa", "vit", ("--set", "taps=[0,2]", "rank=4")),
        ("losa", "cnn", ("--size", 64, "--mirror", "--views", 2)),
        ("linear", "cnn", ("--size", 64)),
        ("ladder", "vit", ()),
        ("adaptformer", "vit", ("--mirror",)),
        ("placed", "vit", ("--set", "edges=[[0,3],[6,2]]")),
        pytest.param("lora", "vit", ("--set", 'layers=["query"]'), marks=NEEDS_PEFT),
    ],
)
def test_from_pictures_to_predictions(run, data, backbones, method, kind, more):
    command = ("adapt", data, "--backbone", backbones[kind], "--method", method, "--epochs", 15, "--lr", 0.01, *more)
    code, out, err = run(*command, "--out", "mine")
    assert (code, err.splitlines()) == (
        0,
        ["no test split given: 6 of 30 examples, one in 5 of each class, are held out"],
    )
    assert "on 6 test examples" in out and "whenwhere predict mine IMAGE ..." in out
    facts = json.loads(Path("mine/metrics.json").read_text())
    assert facts["accuracy"]["test"] == 1.0 and facts["examples"] == {"train": 24, "test": 6}
    assert facts["recipe"]["method"] == method and np.trace(facts["confusion"]) == 6
    assert {p.name for p in Path("mine").iterdir()} == {
        "adapter", "card.md", "confusion.png", "curves.png", "metrics.json", "predictions.jsonl", "recipe.json", "run",
    }  # fmt: skip

    fresh = [Path(f"fresh-{label}.png") for label in COLOURS]
    for label, path in zip(COLOURS, fresh):
        write_image(path, noisy(label, 99))
    code, out, err = run("predict", "mine", *fresh)
    assert code == 0 and err == ""
    assert [line.split()[:2] for line in out.splitlines()] == [[f"fresh-{label}.png:", label] for label in COLOURS]
    code, out, _ = run("evaluate", "mine", data, "--json", "-", "--confusion", "c.png")
    assert code == 0 and json.loads(out)["accuracy"] == 1.0 and json.loads(out)["examples"] == 6
    assert Path("c.png").read_bytes()[:4] == b"\x89PNG"

    # Another run finds all states in the cache, and states decide nothing else: the result has the same bits.
    code, out, _ = run(*command, "--out", "again")
    assert code == 0 and contents("again") == contents("mine")
    assert ("states of 30 of 30 examples were in the cache" in out) == (method in ("losa", "linear", "ladder"))
    # The finished run is not touched.
    before = {path: path.stat().st_mtime_ns for path in Path("mine").rglob("*")}
    code, out, err = run(*command, "--out", "mine")
    assert code == 0 and "has come to its end before" in err and "accuracy 1.0000 on 6" in out
    assert before == {path: path.stat().st_mtime_ns for path in Path("mine").rglob("*")}


def test_clips(run, tmp_path, backbones):
    """The class is the order of two colours: frames alone do not tell it, as every clip has both."""
    rng = np.random.default_rng(0)
    for label, order in {"rises": ("blue", "red"), "sinks": ("red", "blue")}.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for number in range(8):
            frames = [noisy(order[at >= 4], rng.integers(1000)) for at in range(8)]
            write_video(tmp_path / "clips" / label / f"{number}.mp4", frames, 8)
    command = ("adapt", "clips", "--backbone", backbones["vit"], "--frames", 4, "--epochs", 60, "--lr", 0.02)
    code, out, err = run(*command, "--out", "mine")
    assert code == 0, err
    assert accuracy("mine") == 1.0
    assert "4 frames of each clip" in Path("mine/card.md").read_text()
    code, out, _ = run("predict", "mine", "clips/sinks/0.mp4", "clips/rises")
    assert code == 0 and [line.split()[1] for line in out.splitlines()] == ["sinks"] + ["rises"] * 8
    for method in ("linear", "ladder", "adaptformer"):  # of the others tests/adapt/test_clips.py
        command = (*command[:4], "--frames", 4, "--epochs", 1, "--method", method, "--out", method)
        code, out, err = run(*command)
        assert code == 0 and "on 2 test examples" in out, err
        assert run("evaluate", method, "clips")[0] == 0
        code, out, err = run("predict", method, "clips/sinks/0.mp4", "--jsonl", "--top", 2)
        (said,) = TrainedAdapter.load(method).predict(["clips/sinks/0.mp4"])
        told = {row["label"]: row["probability"] for row in json.loads(out)["classes"]}
        assert code == 0 and told == {label: pytest.approx(chance, abs=1e-6) for label, chance in said}
    code, out, err = run("search-placement", "clips", "--backbone", backbones["vit"], "--count", 2, "--frames", 3)
    assert code == 0 and out.rstrip().endswith("--placement placement.json --frames 3")
    assert json.loads(Path("placement.json").read_text())["settings"]["images"] == 14 * 3  # of 16 clips, 2 are held out


def test_a_clip_is_the_mean_of_its_frames_where_the_method_is_for_images(run, tmp_path, backbones):
    """Which of two colours is seen more often: a frame alone does not tell it."""
    rng = np.random.default_rng(0)
    for label, share in {"blue": 1, "red": 7}.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for number in range(5):
            frames = [noisy("red" if at < share else "blue", rng.integers(1000)) for at in rng.permutation(8)]
            write_video(tmp_path / "clips" / label / f"{number}.mp4", frames, 8)
    command = (
        "adapt",
        "clips",
        "--backbone",
        backbones["vit"],
        "--method",
        "adaptformer",
        "--epochs",
        20,
        "--lr",
        0.02,
    )
    assert (
        run(*command, "--out", "mine")[0] == 0 and accuracy("mine") == 1.0
    )  # with the 8 frames that are taken unasked
    code, out, _ = run("predict", "mine", "clips/red/0.mp4", "clips/blue")
    assert code == 0 and [line.split()[1] for line in out.splitlines()] == ["red"] + ["blue"] * 5


def test_a_set_by_name_is_data_everywhere(run, tmp_path, backbones):
    (tmp_path / "c").mkdir()
    for batch, count in (("data_batch_1", 12), ("test_batch", 4)):
        rows = [
            bytes([at % 2])
            + bytes([(230, 30)[at % 2]]) * 1024
            + bytes([(20, 190)[at % 2]]) * 1024
            + bytes(1023 * b"x")
            + bytes([at])
            for at in range(count)
        ]
        (tmp_path / "c" / f"{batch}.bin").write_bytes(b"".join(rows))
    (tmp_path / "c" / "batches.meta.txt").write_text("red\ngreen\n")
    backbone = ("--backbone", backbones["vit"])
    code, out, err = run("adapt", "cifar10:c", *backbone, "--epochs", 15, "--lr", 0.02, "--out", "mine")
    assert code == 0 and "accuracy 1.0000 on 4 test examples" in out and "1 of 5 training files" in err
    assert json.loads(Path("mine/predictions.jsonl").read_text().splitlines()[3])["file"] == "c/test_batch.bin!3"
    assert json.loads(Path("mine/recipe.json").read_text())["data"] == f"cifar10:{tmp_path / 'c'}"
    code, out, _ = run("evaluate", "mine", "cifar10:c")
    assert code == 0 and out.splitlines()[1:] == ["  green: 2 of 2", "  red: 2 of 2"]
    assert run("search-placement", "cifar10:c", *backbone, "--count", 1)[0] == 0
    for command in (("adapt",), ("evaluate", "mine"), ("search-placement",)):
        code, out, err = run(*command, "cifar:c", *(backbone if len(command) == 1 else ()))
        assert code == 2 and out == "" and "no reader 'cifar'" in err and "one of digits, cifar10:FOLDER" in err


def test_frames_among_the_settings_are_refused_before_anything_is_made(run, data, backbones):
    command = ("adapt", data, "--backbone", backbones["vit"], "--out", "mine")
    named, several = "the option frames, which sets it", "only clips have several frames"
    for wrong, said in (
        (("--set", "frames=3"), named),
        (("--set", "frames=1"), named),
        (("--frames", 2, "--set", "frames=3"), several),
    ):
        code, _, err = run(*command, *wrong)
        assert code == 2 and said in err and not Path("mine").exists()


def _start(arguments, folder):
    os.chdir(folder)
    raise SystemExit(main(arguments))


def _killed(arguments, folder, log, lines):
    """Run in another process and kill it once the journal is so long (0: as soon as the recipe is written)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["whenwhere.training.adapt_data"])
    child = context.Process(target=_start, args=([str(a) for a in arguments], str(folder)))
    child.start()
    end = time.monotonic() + 120
    while child.is_alive() and time.monotonic() < end:
        if log.exists() and log.read_bytes().count(b"\n") >= lines:
            os.kill(child.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    child.join(60)
    return child.exitcode


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize(("method", "cache"), [("losa", "kept"), ("adaptformer", "none")])
def test_killed_and_started_again_it_ends_with_the_same_bits(run, tmp_path, data, backbones, method, cache):
    command = ("adapt", data, "--backbone", backbones["vit"], "--method", method, "--epochs", 24, "--mirror")
    command = (*command, "--batch", 6, "--cache", cache)
    assert run(*command, "--out", "whole")[0] == 0
    shutil.rmtree("kept", ignore_errors=True)

    broken = (*command, "--out", "broken")
    assert _killed(broken, tmp_path, tmp_path / "broken" / "recipe.json", 1) == -signal.SIGKILL  # states, decoding
    assert _killed(broken, tmp_path, tmp_path / "broken" / "run" / "metrics.jsonl", 50) == -signal.SIGKILL
    code, _, err = run("predict", "broken", data / "red" / "0.png")
    assert code == 2 and "has not come to its end" in err and "run its command again" in err
    moved = data.rename(tmp_path / "moved")  # the same data, wherever they lie
    code, _, err = run("adapt", moved, *broken[2:])
    assert code == 0 and "going on after step" in err
    whole, again = contents("whole"), contents("broken")
    assert again[:2] == whole[:2]
    assert again[2].decode().replace("moved", "data") == whole[2].decode()
    assert "from step" in Path("broken/card.md").read_text()


def test_a_folder_holds_one_run_and_no_other(run, data, backbones, tmp_path):
    command = ("adapt", data, "--backbone", backbones["vit"], "--epochs", 2, "--out", "mine", "--set", "taps=[0,2]")
    assert run(*command)[0] == 0
    before = contents("mine")
    for change, told in (
        (("--lr", 0.5), "lr 0.001, not 0.5"),
        (("--epochs", 3), "epochs 2, not 3"),
        (("--set", "taps=[1,2]"), "settings"),
        (("--method", "linear", "--set"), "method"),
        (("--mirror",), "mirror False, not True"),
    ):
        code, _, err = run(*command, *change)
        assert code == 2 and told in err and "choose another --out" in err, err
    write_image(data / "red" / "0.png", noisy("red", 77))
    code, _, err = run(*command)
    assert code == 2 and "other data" in err
    write_image(data / "red" / "0.png", noisy("red", 0))
    (data / "red" / "1.png").rename(data / "blue" / "11.png")
    code, _, err = run(*command)
    assert code == 2 and "other data" in err
    assert contents("mine") == before

    Path("full").mkdir()
    Path("full/thesis.txt").write_text("mine")
    code, _, err = run(*command[:-4], "--out", "full")
    assert code == 2 and "holds other files" in err
    assert [path.name for path in Path("full").iterdir()] == ["thesis.txt"]


def test_unreadable_pictures_are_left_out_and_told(run, data, backbones):
    (data / "red" / "3.png").write_bytes(b"no picture")
    (data / "blue" / "3.png").write_bytes((data / "blue" / "4.png").read_bytes()[:60])
    for method in ("linear", "adaptformer"):
        command = ("adapt", data, "--backbone", backbones["vit"], "--method", method, "--epochs", 2)
        code, _, err = run(*command, "--out", f"strict-{method}", "--strict")
        assert code == 2 and "stopped: 2 files cannot be decoded" in err and "without --strict" in err
        assert "red/3.png" in err and not Path(f"strict-{method}").exists()
        code, _, err = run(*command, "--out", method)
        assert code == 0 and "left out: 2 files cannot be decoded" in err and "blue/3.png" in err
        facts = json.loads(Path(method, "metrics.json").read_text())
        assert sum(facts["examples"].values()) == 28
        assert sorted(facts["left_out"]) == [str(data / "blue" / "3.png"), str(data / "red" / "3.png")]
        assert "red/3.png" in Path(method, "card.md").read_text()
        for colour in COLOURS:  # the refused folder can be used once the data are mended
            write_image(data / colour / "3.png", noisy(colour, 3))
        assert run(*command, "--out", f"strict-{method}", "--strict")[0] == 0
        (data / "red" / "3.png").write_bytes(b"no picture")
        (data / "blue" / "3.png").write_bytes((data / "blue" / "4.png").read_bytes()[:60])
    code, out, err = run("evaluate", "linear", data, "--split", "all", "--json", "-")
    assert code == 0 and json.loads(out)["examples"] == 28 and "left out: 2 files cannot be decoded" in err


def test_the_same_file_in_two_splits_is_told(run, data, tmp_path, backbones):
    rows = ["image,label,split"] + [
        f"{path.relative_to(tmp_path)},{path.parent.name},{'test' if path.stem in '01' else 'train'}"
        for path in sorted(data.rglob("*.png"))
    ]
    (data / "red" / "0.png").write_bytes((data / "red" / "5.png").read_bytes())
    (tmp_path / "table.csv").write_text("\n".join(rows))
    code, _, err = run("adapt", "table.csv", "--backbone", backbones["vit"], "--epochs", 1, "--out", "mine")
    assert code == 0 and "1 file of one split is in another too" in err
    assert "red/5.png and" in err and "red/0.png" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--method", "magic"), "adaptation method 'magic'; expected one of losa"),
        (("--set", "rang=4"), "setting 'rang' of method 'losa'; expected one of channels"),
        (("--set", "rank=four"), "setting rank='four' of method 'losa'; expected int"),
        (("--set", "rank=true"), "setting rank=True"),
        (("--set", "scale=NaN"), "setting scale=nan"),
        (("--set", "taps=[0,[1]]"), "setting taps=(0, (1,)) of method 'losa'; expected tuple[int, ...] or None"),
        (("--set", "taps=[7]"), "taps [7] of"),
        (("--set", "rank"), "--set rank; expected NAME=VALUE"),
        (("--method", "linear", "--set", "rank=1"), "no setting: it has none"),
        (("--method", "placed", "--set", "edges=[[0,9]]"), "9"),
        (("--method", "losa", "--placement", "p.json"), "--placement with --method losa; expected --method placed"),
        (("--method", "placed", "--placement", "p.json"), "p.json"),
        (("--backbone", "nothing"), "unknown image backbone 'nothing'"),
        (("--lr", "nan"), "lr=nan; expected a finite number above 0"),
        (("--lr", "-1"), "lr=-1.0"),
        (("--weight-decay", "inf"), "weight_decay=inf"),
        (("--epochs", "0"), "epochs=0; expected 1 to"),
        (("--batch", "0"), "batch=0"),
        (("--seed", str(2**70)), f"seed={2**70}"),
        (("--size", "5"), "size=5; expected 16 to 4096"),
        (("--views", "0"), "views=0; expected 1 to 1024"),
        pytest.param(
            ("--device", "cuda"),
            "device cuda, which torch does not find on this machine; expected cpu or auto",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it is there"),
        ),
        (("--size", "48"), "size"),  # this transformer takes 32 only
    ],
)
def test_bad_options_are_one_line_before_anything_is_made(run, data, backbones, arguments, told):
    code, out, err = run("adapt", data, "--backbone", backbones["vit"], "--out", "mine", *arguments)
    lines = [line for line in err.splitlines() if not line.startswith("no test split given")]
    assert (code, out, len(lines)) == (2, "", 1) and told in lines[0], err
    assert not Path("mine").exists()


@pytest.mark.parametrize("command", ["adapt", "search-placement"])
def test_bad_data_are_one_line(run, data, backbones, tmp_path, command):
    backbone = ("--backbone", backbones["vit"])
    code, _, err = run(command, "nowhere", *backbone)
    assert code == 2 and "nowhere does not exist" in err
    code, _, err = run(command, data / "red", *backbone)
    assert code == 2 and "no class folders" in err
    (tmp_path / "one" / "only").mkdir(parents=True)
    write_image(tmp_path / "one" / "only" / "a.png", noisy("red", 1))
    code, _, err = run(command, "one", *backbone)
    assert code == 2 and "one class (only)" in err
    for path in data.rglob("*.png"):
        path.write_bytes(b"no picture")
    code, _, err = run(command, data, *backbone)
    assert code == 2 and "cannot be decoded" in err
    code, _, err = run(command)
    assert code == 2 and "DATA" in err


def test_predict_does_the_good_files_among_bad_ones(run, data, backbones):
    assert run("adapt", data, "--backbone", backbones["vit"], "--epochs", 15, "--lr", 0.01, "--out", "mine")[0] == 0
    Path("bad.png").write_bytes(b"no picture")
    good = (data / "red" / "1.png", data / "blue" / "1.png")
    code, out, err = run("predict", "mine", good[0], "gone.png", "bad.png", good[1], "--jsonl", "--top", 2)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and [row["path"] for row in rows] == [str(path) for path in good]
    assert [row["classes"][0]["label"] for row in rows] == ["red", "blue"]
    assert [len(row["classes"]) for row in rows] == [2, 2]
    assert all(row["classes"][0]["probability"] >= row["classes"][1]["probability"] for row in rows)
    assert len(err.splitlines()) == 2 and "gone.png" in err and "bad.png" in err
    for wrong, told in ((("bad.png",), "bad.png"), (("--top", 0, good[0]), "--top 0"), ((), "FILE")):
        code, out, err = run("predict", "mine", *wrong)
        assert code == 2 and out == "" and told in err
    code, _, err = run("predict", "elsewhere", good[0])
    assert code == 2 and "elsewhere" in err


def test_evaluate_takes_what_fits_the_classes(run, data, backbones, tmp_path):
    assert run("adapt", data, "--backbone", backbones["vit"], "--epochs", 15, "--lr", 0.01, "--out", "mine")[0] == 0
    (tmp_path / "new" / "test" / "red").mkdir(parents=True)  # one class, no training files
    for seed in range(3):
        write_image(tmp_path / "new" / "test" / "red" / f"{seed}.png", noisy("red", 50 + seed))
    code, out, _ = run("evaluate", "mine", "new")
    assert code == 0 and out.splitlines() == ["accuracy 1.0000 on 3 examples (95 %: 0.4385 to 1.0000)", "  red: 3 of 3"]
    code, _, err = run("evaluate", "mine", "new", "--split", "train")
    assert code == 2 and "no train examples" in err
    (tmp_path / "new" / "test" / "mauve").mkdir()
    write_image(tmp_path / "new" / "test" / "mauve" / "0.png", noisy("red", 1))
    code, _, err = run("evaluate", "mine", "new")
    assert code == 2 and "has the class 'mauve'" in err and "blue, green, red" in err


def test_a_searched_placement_is_trained(run, data, backbones):
    search = ("search-placement", data, "--backbone", backbones["vit"], "--count", 2)
    code, out, _ = run(*search, "--out", "found/p.json")
    assert code == 0 and "2 adapters of rank 8" in out and "--placement found/p.json" in out
    assert Path("found/p.png").read_bytes()[:4] == b"\x89PNG"
    edges = json.loads(Path("found/p.json").read_text())["edges"]
    assert len(edges) == 2
    command = ("adapt", data, "--backbone", backbones["vit"], "--method", "placed", "--placement", "found/p.json")
    code, _, err = run(*command, "--epochs", 2, "--out", "mine")
    assert code == 0, err
    trained = json.loads(Path("mine/adapter/config.json").read_text())["config"]["settings"]["edges"]
    assert trained == [[edge["from"], edge["to"]] for edge in edges]
    assert run("predict", "mine", data / "red" / "1.png")[0] == 0

    Path("found/p.json").write_text(Path("found/p.json").read_text().replace('"nodes": 7', '"nodes": 9'))
    code, _, err = run(*command, "--epochs", 2, "--out", "other")
    assert code == 2 and not Path("other").exists()
    for wrong, told in (
        (("--backbone", backbones["cnn"]), "cnn"),
        (("--out", "p.txt"), "a name ending in .json"),
        (("--examples", 1), "examples=1"),
        (("--count", 0), "0 edges to choose"),
        (("--gamma", 1.5), "gamma"),
    ):
        code, out, err = run(*search, *wrong)
        assert code == 2 and told in err and "Traceback" not in err, err


def test_search_placement_has_the_options_of_the_search_and_carries_the_rank(run, data, backbones):
    search = ("search-placement", data, "--backbone", backbones["vit"], "--count", 2)
    code, out, err = run(*search, "--rank", 3, "--score", "nuclear", "--head", "random", "--random", 2)
    assert code == 0, err
    assert "2 adapters of rank 3: 454 trained numbers" in out  # 2 (2 * 32 * 3 + 32 + 3)
    assert out.rstrip().endswith("--placement placement.json --set rank=3")
    settings = json.loads(Path("placement.json").read_text())["settings"]
    assert (settings["score"], settings["head"], settings["images"]) == ("nuclear", "random", 19)  # 5 of 24 held out
    trials = settings["trials"]
    assert trials["held_out"] == 5 and len(trials["random"]) == 2 and trials["rank"] == 3
    best = max(trials["guided"], *trials["random"])
    assert best == 1.0  # three colours are easy
    assert settings["method"] == ("gradient guided" if trials["guided"] == best else "random")
    assert f"guided {trials['guided']:.4f}, 2 random sets {sum(trials['random']) / 2:.4f} on average and" in out
    assert run(*search, "--rtol", 0.1, "--out", "loose.json")[0] == 0
    assert json.loads(Path("loose.json").read_text())["settings"]["rtol"] == 0.1
    for wrong, told in (
        (("--rank", 0), "rank=0"),
        (("--rtol", 2), "rtol=2.0; expected between 0 and 1"),
        (("--random", -1), "random=-1; expected 0 to 10000"),
        (("--score", "best"), "best"),
    ):
        code, out, err = run(*search, *wrong)
        assert code == 2 and told in err and "Traceback" not in err, err


def test_a_bar_tells_the_memory(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Bar() as bar:
        bar.show(1, 4, "gradients")
        bar.show(4, 4, "gradients")
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert re.search(r"gradients 4/4 .* \d+/s \d{2,5} MB", said), said


def test_a_backbone_named_by_its_folder_is_found_from_elsewhere(run, data, backbones, tmp_path, monkeypatch):
    monkeypatch.chdir(backbones["vit"].parent)
    out = tmp_path / "mine"
    assert run("adapt", data, "--backbone", "vit", "--epochs", 1, "--out", out)[0] == 0
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", "mine", data / "red" / "1.png")
    assert code == 0, err
    code, _, err = run("adapt", "data", "--backbone", backbones["vit"], "--epochs", 1, "--out", "mine")
    assert code == 0 and "has come to its end" in err  # other spellings of the same backbone, data and folder


def test_a_folder_inside_of_the_data_is_refused(run, data, backbones, monkeypatch):
    monkeypatch.chdir(data)
    code, _, err = run("adapt", ".", "--backbone", backbones["vit"])
    assert code == 2 and "lies inside of the data" in err and not (data / "adapted").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_file_names_that_are_not_unicode(run, data, backbones, tmp_path):
    odd = os.fsdecode(b"pl\xe4ce")
    data.rename(tmp_path / odd)
    (tmp_path / odd / "red" / "1.png").rename(tmp_path / odd / "red" / os.fsdecode(b"b\xe4r.png"))
    code, _, err = run("adapt", odd, "--backbone", backbones["vit"], "--epochs", 1, "--out", "mine")
    assert code == 0, err
    assert run("evaluate", "mine", odd, "--split", "all")[0] == 0
    (tmp_path / odd / "red").rename(tmp_path / odd / os.fsdecode(b"r\xe4d"))
    code, _, err = run("adapt", odd, "--backbone", backbones["vit"], "--epochs", 1, "--out", "other")
    assert code == 2 and "class names that can be printed" in err


def test_a_cache_that_cannot_be_made_is_one_line(run, data, backbones):
    Path("file").write_text("x")
    code, _, err = run("adapt", data, "--backbone", backbones["vit"], "--cache", "file", "--out", "mine")
    assert code == 2 and "the cache file cannot be made" in err and "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent")
def test_ctrl_c_says_how_to_go_on(run, data, backbones, monkeypatch):
    from whenwhere.training import adapting

    def stop(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    command = ("adapt", data, "--backbone", backbones["vit"], "--epochs", 1, "--out", "mine")
    monkeypatch.setattr(adapting, "fit", stop)
    code, _, err = run(*command)
    assert code == 130 and "type the same command again" in err and "interrupted" in err
    monkeypatch.undo()
