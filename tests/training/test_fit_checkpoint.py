"""A checkpoint is whole or absent, whatever happens to the process or the disk."""

import json
import shutil

import pytest
import torch
from torch import nn
from training_runs import Toy

from whenwhere.errors import InputError, WeightsError
from whenwhere.training import TrainingError, load_module
from whenwhere.training import checkpoint as ckpt
from whenwhere.training.schedule import parameter_groups

resource = pytest.importorskip("resource", reason="limits on file size are a POSIX matter")


def write(folder, step, value=0.0, keep=9, size=10):
    return ckpt.write_checkpoint(folder, step, {"model": {"w": torch.full((size,), value)}}, {"loss": value}, keep)


def test_the_newest_keep_checkpoints_stay_and_latest_names_the_last(tmp_path):
    for step in (5, 10, 999_999, 1_000_000):
        write(tmp_path, step, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["LATEST", "step_1000000", "step_999999"]
    assert (tmp_path / "LATEST").read_text() == "step_1000000\n"
    assert ckpt.newest_checkpoint(tmp_path) == tmp_path / "step_1000000"


def test_a_step_written_again_replaces_the_first(tmp_path):
    write(tmp_path, 5, value=1.0)
    last = write(tmp_path, 5, value=2.0)
    assert ckpt.newest_checkpoint(tmp_path) == last
    assert ckpt.read_tensors(last, "model")["w"][0] == 2.0


def test_no_folder_and_an_empty_folder_have_no_checkpoint(tmp_path):
    assert ckpt.newest_checkpoint(tmp_path) is None
    assert ckpt.newest_checkpoint(tmp_path / "absent") is None


def flip_a_bit(path):
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)


DAMAGE = {
    "weights cut short": lambda path: (path / "model.safetensors").write_bytes(b"x" * 9),
    "one bit flipped": flip_a_bit,
    "weights lost": lambda path: (path / "model.safetensors").unlink(),
    "state lost": lambda path: (path / "state.json").unlink(),
    "state cut short": lambda path: (path / "state.json").write_text('{"schema": "whenwh'),
    "state of zero bytes": lambda path: (path / "state.json").write_text(""),
    "state not an object": lambda path: (path / "state.json").write_text("[1]"),
    "files not an object": lambda path: (path / "state.json").write_text('{"files": [1]}'),
    "another schema": lambda path: (path / "state.json").write_text('{"schema": "other/9", "files": {}}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_passed_over_and_swept_away(tmp_path, damage):
    good, torn = write(tmp_path, 5), write(tmp_path, 10)
    damage(torn)
    assert ckpt.newest_checkpoint(tmp_path) == good
    assert not torn.exists()


def test_what_a_kill_left_half_written_is_swept_away(tmp_path):
    good = write(tmp_path, 5)
    shutil.copytree(good, tmp_path / ".step_000010.tmp")
    (tmp_path / ".best.safetensors.tmp").write_bytes(b"half")
    assert ckpt.newest_checkpoint(tmp_path) == good
    assert sorted(p.name for p in tmp_path.iterdir()) == ["LATEST", "step_000005"]


@pytest.fixture
def small_files_only():
    """The kernel refuses writes beyond 64 kB in one file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_clearly_and_the_older_checkpoint_stays(tmp_path, small_files_only):
    good = write(tmp_path, 5)
    with pytest.raises(
        TrainingError, match=r"checkpoint of step 10: .*MB free in .*free some space.*step_000005 is the last good"
    ):
        write(tmp_path, 10, size=100_000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["LATEST", "step_000005"]
    assert ckpt.newest_checkpoint(tmp_path) == good
    ckpt.write_best(tmp_path, {"w": torch.ones(3)}, 5, "score", 0.5)
    with pytest.raises(TrainingError, match="best weights of step 10"):
        ckpt.write_best(tmp_path, {"w": torch.ones(100_000)}, 10, "score", 0.7)
    assert ckpt.best_value(tmp_path) == 0.5


def test_a_full_disk_before_the_first_checkpoint_says_that_there_is_none(tmp_path, small_files_only):
    with pytest.raises(TrainingError, match="no checkpoint was written yet"):
        write(tmp_path, 10, size=100_000)


def test_weights_and_moments_come_back_to_the_bit_with_tied_weights_stored_once(tmp_path):
    def made():
        toy = Toy()
        return toy, torch.optim.AdamW(parameter_groups(toy, 0.1, lambda name: 0.5 if "head" in name else 1.0))

    toy, optimizer = made()
    for _ in range(3):
        toy(torch.randn(2, 4, 8)).square().sum().backward()
        optimizer.step()
    files = {"model": ckpt.module_tensors(toy), "optimizer": ckpt.optimizer_tensors(optimizer)}
    assert "embed.weight" in files["model"] and "twin.weight" not in files["model"]
    assert files["optimizer"]["norm.bias/exp_avg"].shape == (16,)
    path = ckpt.write_checkpoint(tmp_path, 3, files, {}, keep=1)

    fresh, second = made()
    load_module(fresh, path / "model.safetensors")
    ckpt.load_optimizer(second, ckpt.read_tensors(path, "optimizer"))
    assert fresh.twin.weight is fresh.embed.weight
    for (name, a), (_, b) in zip(toy.state_dict().items(), fresh.state_dict().items()):
        assert torch.equal(a, b), name
    before, after = optimizer.state_dict(), second.state_dict()
    assert before["param_groups"] == after["param_groups"]
    assert before["state"].keys() == after["state"].keys()
    for i, moments in before["state"].items():
        assert all(torch.equal(tensor, after["state"][i][key]) for key, tensor in moments.items())


def test_weights_of_another_module_are_refused_by_name(tmp_path):
    path = ckpt.write_best(tmp_path, nn.Linear(2, 3).state_dict(), 1, "score", 0.0)
    with pytest.raises(WeightsError, match=r"weight is \(3, 2\).*expected shape \(3, 4\)"):
        load_module(nn.Linear(4, 3), path)
    with pytest.raises(WeightsError, match=r"bias is \(3,\).*no such tensor"):
        load_module(nn.Linear(2, 3, bias=False), path)
    with pytest.raises(WeightsError, match=r"0\.bias is missing"):
        load_module(nn.Sequential(nn.Linear(2, 3)), path)
    with pytest.raises(WeightsError, match="no weights at"):
        load_module(nn.Linear(2, 3), tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"config": {"lr": 0.2, "betas": (0.9, 0.99)}}, r"config\.lr is 0\.2.*expected 0\.1"),
        ({"config": {"lr": 0.1, "betas": (0.9, 0.95)}}, r"config\.betas is \[0\.9, 0\.95\]"),
        ({"config": {"lr": 0.1, "betas": (0.9, 0.99), "new": 1}}, r"config\.new is 1.*expected 'absent'"),
        ({"config": {"betas": (0.9, 0.99)}}, r"config\.lr is 'absent'.*expected 0\.1"),
    ],
)
def test_another_run_is_refused_by_the_name_of_the_field(tmp_path, now, message):
    saved = {"config": {"lr": 0.1, "betas": [0.9, 0.99]}}
    ckpt.require_same_run(saved, {"config": {"lr": 0.1, "betas": (0.9, 0.99)}}, tmp_path)
    with pytest.raises(InputError, match=message):
        ckpt.require_same_run(saved, now, tmp_path)


def test_state_is_plain_json_with_hashes(tmp_path):
    state = json.loads((write(tmp_path, 5, value=0.5) / "state.json").read_text())
    assert (state["schema"], state["step"], state["loss"]) == ("whenwhere.checkpoint/1", 5, 0.5)
    assert state["files"]["model.safetensors"]["bytes"] > 40
    assert len(state["files"]["model.safetensors"]["sha256"]) == 64
