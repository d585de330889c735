"""Every odd, damaged and hostile input has the outcome that the page says, and no other exception."""

from __future__ import annotations

import pytest
from media_cases import CASES, Case, outcome, table_in_page

ALL_CASES = [case for cases in CASES.values() for case in cases]


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
def test_outcome(case: Case, tmp_path, capfd):
    """The input is read, marked or refused as expected, and nothing is printed by the libraries below."""
    assert outcome(case, tmp_path) == case.outcome
    assert capfd.readouterr().err == ""


def test_the_page_shows_these_cases():
    """docs/media.md holds one row per case with its outcome (written by media_cases.py --write)."""
    rows = []
    for group, cases in CASES.items():
        rows += [f"| {group} | outcome |", "|---|---|", *(f"| {case.name} | {case.outcome} |" for case in cases), ""]
    assert table_in_page() == "\n".join(rows).strip()


def test_names_differ():
    """A row of the table means one case."""
    assert len({case.name for case in ALL_CASES}) == len(ALL_CASES)
