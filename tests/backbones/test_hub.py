"""A hub that is not there is told in seconds, and a filled cache needs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from whenwhere.backbones.hub import hub_file
from whenwhere.backbones.vision import vision
from whenwhere.errors import InputError, WeightsError

# In a process of its own, because the hub client reads its environment once. Prints what came of each case.
CODE = """
import json, os, socket, sys, time
import timm, torch
from pathlib import Path
from safetensors.torch import save_file
from whenwhere.backbones.vision import vision
from whenwhere.errors import WhenwhereError

repository = timm.get_pretrained_cfg("resnet10t").hf_hub_id
folder = Path(os.environ["HF_HOME"]) / "hub" / ("models--" + repository.replace("/", "--"))

def attempt():
    start = time.monotonic()
    try:
        vision("timm:resnet10t")
        said = "loaded"
    except WhenwhereError as error:
        said = str(error)
    return said, time.monotonic() - start

found = [attempt()]
(folder / "refs").mkdir(parents=True)
(folder / "refs" / "main").write_text("c0ffee")
(folder / "snapshots" / "c0ffee").mkdir(parents=True)
file = folder / "snapshots" / "c0ffee" / "model.safetensors"
save_file({"conv1.weight": torch.zeros(1)}, file)
found.append(attempt())
torch.manual_seed(0)
model = timm.create_model("resnet10t", pretrained=False)
save_file(model.state_dict(), file)
found.append(attempt())
found.append(bool(torch.equal(vision("timm:resnet10t").model.layer1[0].conv1.weight, model.layer1[0].conv1.weight)))
print(json.dumps(found))
"""


@pytest.fixture
def silent_port():
    """A server that takes a connection and never says anything."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _outcome(tmp_path, port):
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "WHENWHERE_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    env = {name: value for name, value in os.environ.items() if name not in names and "proxy" not in name.lower()}
    env |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": f"http://127.0.0.1:{port}"}
    run = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def test_a_hub_that_refuses_or_is_silent_is_told_in_seconds_and_a_filled_cache_needs_none(tmp_path, silent_port):
    for name, port, problem in (("a", 9, "cannot be reached"), ("b", silent_port, "no answer in 5 s")):
        (said, seconds), wrong, right, same = _outcome(tmp_path / name, port)
        assert said.startswith("timm:resnet10t: ") and problem in said and "give the folder with config.json" in said
        assert seconds < 15  # five for the hub; the rest is a busy machine
        assert "does not fit" in wrong[0]
        assert right[0] == "loaded" and same


def test_offline_by_the_environment_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WHENWHERE_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match=r"timm:resnet10t: .*WHENWHERE_OFFLINE is set.*unset WHENWHERE_OFFLINE.*give the folder"
    ):
        vision("timm:resnet10t")


def test_names_without_weights_are_told():
    with pytest.raises(InputError, match=r"no weights 'resnet50\.no_such_tag'.*such as resnet50\.\w+"):
        vision("timm:resnet50.no_such_tag")
    with pytest.raises(WeightsError, match="timm:coatnet_0_224: no weights on the hub"):
        vision("timm:coatnet_0_224")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pth"])
def test_a_pickle_is_never_asked_for(name):
    with pytest.raises(WeightsError, match="can run code"):
        hub_file("someone/something", name, "timm:x")
