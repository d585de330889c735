"""Every task writes the same bytes in another process and with other batches."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from whenwhere.cli import main
from whenwhere.cli.world import TASKS
from whenwhere.worlds import render

FEW = ["--seed", "val", "--count", "1", "--height", "64", "--width", "64", "--rate", "15", "--seconds", "2"]
CODE = (
    "import sys; from whenwhere.cli import main\n"
    "for task in sys.argv[2].split(','):\n"
    "    assert main(['world', task, '--out', f'{sys.argv[1]}/{task}', *sys.argv[3:]]) == 0"
)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The files of all tasks, made by another process with other hashes of words."""
    out = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, str(out), ",".join(TASKS), *FEW]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return out


@pytest.mark.parametrize("task", TASKS)
def test_the_same_bytes_in_another_process_and_in_other_batches(task, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_CHUNK", 64 * 64 * 3)  # three frames at once
    assert main(["world", task, "--out", str(tmp_path), *FEW]) == 0
    one, two = (
        {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (elsewhere / task, tmp_path)
    )
    assert one.keys() == two.keys() and len(one) >= 2
    assert [name for name in one if one[name] != two[name]] == []
