"""``whenwhere doctor``: it finds what is wrong, and what it tells to type is right."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from whenwhere.backbones import weights
from whenwhere.backbones.default_models import MODELS
from whenwhere.cli import checks, main
from whenwhere.cli.checks import Check, Requirement


def site_with(folder, name: str, version: str, module: str):
    """An installed distribution, made on the spot: metadata, and a module with the given source."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / f"{name.replace('-', '_')}.py").write_text(module)
    return folder


def test_a_healthy_environment(cache):
    run = subprocess.run([sys.executable, "-m", "whenwhere", "doctor", "--json"], capture_output=True, text=True)
    report = json.loads(run.stdout)
    bad = [check for check in report["checks"] if check["state"] == "bad"]
    assert (run.returncode, report["ok"], bad) == (0, True, [])
    found = {(check["group"], check["name"]): check for check in report["checks"]}
    assert found["packages", "torch"]["state"] == "ok"
    assert "libavcodec" in found["media", "ffmpeg"]["found"]
    assert found["models", "minilm-l6"]["mend"] == "whenwhere models fetch minilm-l6"
    assert str(cache) in found["storage", "cache"]["found"]
    assert not cache.exists(), "a doctor changes nothing"


def test_a_damaged_model_is_the_exit_code_and_has_a_remedy(shelf, cache, monkeypatch, capsys):
    monkeypatch.setitem(MODELS, "tiny", shelf.model())
    (weights.fetch("tiny") / "model.bin").write_bytes(b"other")
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "tiny: whenwhere models fetch --force tiny" in said
    assert said.rstrip().endswith("Something needed is missing.")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy>=1.26", Requirement("numpy", "1.26", "")),
        ('gguf>=0.17; extra == "lm"', Requirement("gguf", "0.17", "lm")),
        ("lightning-fabric >= 2.5", Requirement("lightning-fabric", "2.5", "")),
        ('whenwhere[test]; extra == "dev"', Requirement("whenwhere", "", "dev")),
    ],
)
def test_requirement_lines(line, expected):
    assert Requirement.parse(line) == expected


def test_every_declared_requirement_is_understood():
    requirements = checks._requirements()
    assert requirements is not None
    assert {"torch", "av", "tyro"} <= {requirement.name for requirement in requirements if not requirement.extra}
    assert all(requirement.least for requirement in requirements if requirement.name != "whenwhere")


def test_a_missing_package():
    found = checks._package(Requirement("no-such-thing", "2.0", ""), "packages", "bad")
    assert found == Check("packages", "no-such-thing", "bad", "missing", "python -m pip install 'no-such-thing>=2.0'")


def test_a_package_that_is_too_old(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(site_with(tmp_path, "elder", "1.9.3", ""))
    found = checks._package(Requirement("elder", "1.10", "draw"), "optional", "note")
    assert (found.state, found.mend) == ("note", "python -m pip install 'elder>=1.10'")
    assert found.found.startswith("1.9.3, too old: 1.10 or newer is needed (for ")
    assert checks._package(Requirement("elder", "1.9", ""), "packages", "bad").state == "ok"


def test_a_package_that_cannot_be_imported(tmp_path, monkeypatch):
    source = "raise OSError('undefined symbol: nms\\nsecond line')"
    monkeypatch.syspath_prepend(site_with(tmp_path, "broken-thing", "3.0", source))
    found = checks._package(Requirement("broken-thing", "2.0", ""), "packages", "bad")
    assert found.state == "bad"
    assert found.found == "3.0, cannot be imported: OSError: undefined symbol: nms"
    assert found.mend == "python -m pip install --force-reinstall 'broken-thing>=2.0'"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHENWHERE_CACHE", str(tmp_path / "file" / "cache"))
    cache, _ = checks.storage()
    assert cache.state == "bad" and "WHENWHERE_CACHE" in cache.mend


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.10.1+cpu", (2, 10, 1)), ("1.0rc1", (1, 0)), ("18", (18,)), ("", ())]
)
def test_versions_compare_by_their_release_numbers(version, numbers):
    assert checks._numbers(version) == numbers


def test_every_installed_package_is_imported_by_its_own_name():
    """A wrong guess of the name to import would send people to reinstall what works."""
    found = {check.name: check.found for check in (*checks.required_packages(), *checks.optional_packages())}
    assert found["scikit-learn"] and [text for text in found.values() if "cannot be imported" in text] == []
