"""VTAB-1k means: published rows, and what is refused."""

from __future__ import annotations

import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.vtab import TASKS, vtab_means

# Rows of 19 accuracies, and the means that the tables print: natural, specialized, structured, group mean, task mean
ROWS = """
68.9 87.7 64.3 97.2 86.9 87.4 38.8 79.7 95.7 84.2 73.9 56.3 58.6 41.7 65.5 57.5 46.7 25.7 29.1=75.9 83.4 47.6 69.0 65.6
63.4 85.0 63.2 97.0 86.3 36.6 51.0 78.5 87.5 68.6 74.0 34.3 30.6 33.2 55.4 12.5 20.0 9.6 19.2=68.9 77.2 26.9 57.6 52.9
67.1 91.4 69.4 98.8 90.4 85.3 54.0 84.9 95.3 84.4 73.6 82.9 69.2 49.8 78.5 75.7 47.1 31.0 44.0=79.5 84.6 59.8 74.6 72.3
59.5 91.5 69.0 99.2 89.9 79.5 54.6 86.9 95.9 85.3 74.1 81.8 61.8 52.2 81.0 71.7 49.5 33.7 45.2=77.6 85.6 59.6 74.3 71.7
"""
PUBLISHED = dict(zip(("full", "linear", "LoRA", "LST"), ROWS.strip().split("\n"), strict=True))


def row(method: str) -> dict[str, float]:
    return dict(zip(TASKS, map(float, PUBLISHED[method].split("=")[0].split()), strict=True))


@pytest.mark.parametrize("method", PUBLISHED)
def test_means_of_published_rows(method):
    means = tuple(map(float, PUBLISHED[method].split("=")[1].split()))
    found = vtab_means(row(method))
    assert tuple(found) == ("natural", "specialized", "structured", "group_mean", "task_mean")
    assert tuple(found.values()) == pytest.approx(means, abs=0.0501)
    assert vtab_means(dict(reversed(row(method).items()))) == pytest.approx(found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"svhn": float("nan")}, "svhn: nan"),
        ({"svhn": 101}, "svhn: 101; expected an accuracy in 0..100"),
        ({"imagenet": 1.0}, "an accuracy of 'imagenet'"),
        ({"svhn": None}, "svhn: None"),
    ],
)
def test_names_the_bad_task(change, told):
    with pytest.raises(InputError, match=told):
        vtab_means({**row("full"), **change})


def test_nineteen_tasks_or_none():
    with pytest.raises(InputError, match="no accuracy of dmlab"):
        vtab_means({task: 50.0 for task in TASKS if task != "dmlab"})
