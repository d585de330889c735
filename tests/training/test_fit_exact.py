"""Killed runs end bit-equal, and several processes train what one process trains."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import training_runs
from training_runs import Sentences, toy_run
from video_runs import video_run

from whenwhere.training import Batches, FitConfig
from whenwhere.training import checkpoint as ckpt


def logged(folder, name="loss"):
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines}


def tensors(folder):
    """All that the last checkpoint holds: weights, moments, average."""
    last = ckpt.newest_checkpoint(folder)
    return {
        f"{path.stem}/{name}": tensor
        for path in last.glob("*.safetensors")
        for name, tensor in ckpt.read_tensors(last, path.stem).items()
    }


def run_in_child(target, *args):
    """A fresh process forked from a server that has torch loaded and has never used it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["whenwhere.training", "whenwhere.systems.streaming_dvc"])
    child = context.Process(target=target, args=args)
    child.start()
    return child


def kill_once_past(child, folder, step, deadline=120.0):
    """SIGKILL a moment after the log has passed a step: anywhere in a step, an update or a checkpoint."""
    log, end = folder / "metrics.jsonl", time.monotonic() + deadline
    while time.monotonic() < end and child.is_alive():
        if log.exists() and log.read_bytes().count(b"\n") >= step:
            time.sleep(random.uniform(0, 0.02))
            os.kill(child.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    child.join(deadline)
    return child.exitcode


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize(
    ("run", "precision", "steps", "kills"),
    [(toy_run, "32-true", 60, 3), (toy_run, "bf16-mixed", 60, 2), (video_run, "bf16-mixed", 18, 2)],
    ids=["toy", "toy bf16", "StreamingDVC bf16"],
)
def test_killed_at_random_moments_and_started_again_ends_with_the_same_bits(tmp_path, run, precision, steps, kills):
    """Dropout, average, clipping and decay are on; with a checkpoint every other step kills meet half-written ones."""
    config = FitConfig(
        steps=steps,
        batch=4,
        lr=3e-3,
        warmup=10,
        schedule="cosine",
        weight_decay=0.1,
        ema=0.9,
        precision=precision,
        log_every=1,
        checkpoint_every=2,
        accumulate=2,
        device="cpu",
    )
    whole = run_in_child(run, tmp_path / "whole", config, 0.2)
    whole.join(120)
    assert whole.exitcode == 0

    places = sorted(random.sample(range(3, steps // 2), kills))
    for step in places:
        child = run_in_child(run, tmp_path / "killed", config, 0.2)
        assert kill_once_past(child, tmp_path / "killed", step) == -signal.SIGKILL, f"kill planned at {places}"
    last = run_in_child(run, tmp_path / "killed", config, 0.2)
    last.join(120)
    assert last.exitcode == 0

    expected, found = tensors(tmp_path / "whole"), tensors(tmp_path / "killed")
    assert expected.keys() == found.keys() and len(expected) > 30
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), f"{name} differs after kills at {places}"
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")


CONFIG = FitConfig(steps=30, batch=8, lr=3e-3, weight_decay=0.1, log_every=1, checkpoint_every=10, device="cpu", seed=3)
PIECES = replace(CONFIG, accumulate=2)  # of each of two processes: four in all


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Runs by two processes, all started at once because that is what takes the time."""
    folder = tmp_path_factory.mktemp("two")
    cases = [
        {"name": "plain", "system": "toy", "config": asdict(CONFIG), "dropout": 0.0},
        {"name": "dropout", "system": "toy", "config": asdict(PIECES), "dropout": 0.2},
        {"name": "half", "system": "toy", "config": asdict(replace(PIECES, steps=15)), "dropout": 0.2},
        {"name": "video", "system": "video", "config": asdict(CONFIG), "dropout": 0.0},
    ]
    torchrun(2, training_runs.__file__, folder, json.dumps(cases))
    return folder


def torchrun(processes: int, script: str, *args: str | Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, args)], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr


def known_weights(folder):
    """The last weights, without the biases of attention keys, which no training determines.

    A key bias adds the same number to all scores of a query, so softmax drops it and its gradient is zero: what the
    optimizer sees is rounding, which Adam scales up to steps of its full length. They differ by up to 1e-5 here.
    """
    weights = ckpt.read_tensors(ckpt.newest_checkpoint(folder), "model")
    for name in [name for name in weights if name.endswith("qkv.bias")]:
        weights[name + " of q"], _, weights[name + " of v"] = weights.pop(name).chunk(3)
    return weights


def check_same_training(one, two, tolerance=1e-5):
    """Every step's loss and gradient norm, and the last weights, agree; returns the largest differences."""
    differences = {}
    for name in ("loss", "grad_norm"):
        first, second = logged(one, name), logged(two, name)
        assert first.keys() == second.keys() and len(first) > 0
        differences[name] = max(abs(first[step] - second[step]) for step in first)
    a, b = (known_weights(folder) for folder in (one, two))
    assert a.keys() == b.keys()
    differences["weights"] = max((a[name] - b[name]).abs().max().item() for name in a)
    assert max(differences.values()) < tolerance, differences
    return differences


def test_two_processes_train_as_one(two_processes, tmp_path):
    toy_run(tmp_path, CONFIG)
    check_same_training(tmp_path, two_processes / "plain")


def test_two_processes_train_the_tiny_streaming_captioner_as_one(two_processes, tmp_path):
    video_run(tmp_path, CONFIG)
    check_same_training(tmp_path, two_processes / "video")
    losses = logged(tmp_path)
    assert losses[30] < 0.8 * losses[1]
    assert len(set(logged(tmp_path, "words").values())) > 10, "batches should differ in their number of words"


def test_the_halves_of_the_batch_weigh_differently_so_the_test_above_means_something(tmp_path):
    halves = list(Batches(Sentences()).pieces(CONFIG.seed, range(1), 8, 2, range(2)))
    toy = training_runs.Toy()
    totals = [float(sum(counts)) for counts in zip(*(toy.units(half) for half in halves))]
    shares = sum(toy.loss(half, totals)["loss"].item() for half in halves)
    means = sum(toy.loss(half)["loss"].item() for half in halves) / 2
    assert abs(shares - means) > 1e-3
    toy_run(tmp_path, replace(CONFIG, steps=1))
    assert logged(tmp_path)[1] == pytest.approx(shares, abs=1e-6)
    used = {"full": 0, "not full": 0}
    for half in Batches(Sentences()).pieces(CONFIG.seed, range(CONFIG.steps), 8, 2, range(2)):
        used["full" if (half["length"] == training_runs.WORDS).any() else "not full"] += 1
    assert min(used.values()) > 3, "some weight should be used in some pieces only"


def test_two_processes_draw_the_dropout_of_one_process_with_as_many_pieces(two_processes, tmp_path):
    toy_run(tmp_path, replace(CONFIG, accumulate=4), dropout=0.2)
    check_same_training(tmp_path, two_processes / "dropout")


def test_one_process_goes_on_where_two_stopped(two_processes, tmp_path):
    toy_run(two_processes / "half", replace(CONFIG, accumulate=4), dropout=0.2)
    check_same_training(two_processes / "dropout", two_processes / "half")
