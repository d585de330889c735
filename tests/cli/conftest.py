"""How the tests of commands run them."""

from __future__ import annotations

import pytest

from whenwhere.cli import main


@pytest.fixture
def run(tmp_path, cache, capsys, monkeypatch):
    """Run a command in an empty folder with an empty cache: exit code, what it printed, what it complained of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
