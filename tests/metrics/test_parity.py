"""The committed table of agreement with other programs: what it holds, and that it comes out again."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAST = ("mot", "boxes", "vos", "moments")  # tasks that do not need METEOR's tables


@pytest.fixture(scope="module")
def parity():
    spec = importlib.util.spec_from_file_location("parity", ROOT / "benchmarks" / "parity.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / "parity.json").read_text(encoding="utf-8"))


def test_the_committed_table_is_whole_and_within_the_bounds(parity, committed):
    assert committed.keys() == parity.CASES.keys()
    for name, row in committed.items():
        case = parity.CASES[name]
        assert row["bound"] == case.bound <= (2e-3 if "METEOR" in name else 1e-6), name
        assert row["largest difference"] <= (1e-9 if "METEOR" in name else case.bound), name
    assert parity.table(committed) in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_recorded_case_is_in_the_table(parity, shared_data):
    """Each JSON of recorded figures that lies in the folder of the scorers is compared."""
    names = {path.relative_to(shared_data).as_posix() for path in (shared_data / "scorers").rglob("*expected.json")}
    names |= {
        path.relative_to(shared_data).as_posix() for path in (shared_data / "scorers" / "captions").glob("*.json")
    }
    assert names == {case.files[2] for case in parity.CASES.values()}


def test_fast_cases_come_out_again(parity, committed, shared_data):
    fast = {name: case for name, case in parity.CASES.items() if case.task in FAST}
    assert len(fast) == 5
    for name, case in fast.items():
        found = parity.measure(case, shared_data)
        assert found["figures"] == committed[name]["figures"], name
        assert found["largest difference"] <= case.bound, name


def test_a_figure_that_is_off_shows(parity, shared_data, tmp_path):
    case = parity.CASES["DAVIS car-shadow"]
    *sides, expected = case.files
    off = json.loads((shared_data / expected).read_text(encoding="utf-8"))
    off["trackeval"]["J-Mean"] += 0.001
    for part in sides:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).symlink_to(shared_data / part)
    (tmp_path / expected).write_text(json.dumps(off), encoding="utf-8")
    found = parity.measure(case, tmp_path)
    assert found["of"] == "J-Mean" and found["largest difference"] == pytest.approx(0.001)
