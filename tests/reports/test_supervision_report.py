"""supervision.Detections from regions and from tracks at a moment."""

import sys

import numpy as np
import pytest

from whenwhere.errors import InputError, MissingDependency
from whenwhere.reports import supervision_
from whenwhere.results import Region, Track

WALKER = Track(
    7, [1.0, 1.2, 3.0], [[0, 0, 10, 10], [10, 0, 20, 10], [50, 0, 60, 10]], "walker", 0.6, [0.5, 0.7, 0.9], [25, 30, 75]
)
CAR = Track(9, [1.0, 1.4], [[100, 100, 200, 200], [104, 100, 204, 200]], "car", 0.25, frames=[25, 35])


@pytest.fixture
def sv():
    return pytest.importorskip("supervision", reason="supervision is an optional extra: pip install 'whenwhere[draw]'")


def test_regions(sv):
    mask = np.eye(5, 8, dtype=bool)
    regions = [
        Region([0, 0, 4, 5], "dog", 0.5, mask),
        Region([1, 1, 8, 5], "cat", 0.25, ~mask),
        Region([0, 0, 1, 1], "dog", 1, mask),
    ]
    found = supervision_.from_regions(regions)
    assert isinstance(found, sv.Detections)
    assert found.xyxy.tolist() == [[0, 0, 4, 5], [1, 1, 8, 5], [0, 0, 1, 1]]
    assert found.confidence.tolist() == [0.5, 0.25, 1]
    assert found.class_id.tolist() == [1, 0, 1]
    assert found["class_name"].tolist() == ["dog", "cat", "dog"]
    assert np.array_equal(found.mask, np.stack([mask, ~mask, mask]))
    assert found[found.confidence > 0.4].xyxy.shape == (2, 4)


def test_regions_without_all_scores_or_masks_give_none(sv):
    found = supervision_.from_regions(
        [Region([0, 0, 4, 5], "a", 0.5, np.ones((5, 5), bool)), Region([0, 0, 1, 1], "b")]
    )
    assert found.confidence is None and found.mask is None
    assert len(supervision_.from_regions([])) == 0


def test_masks_of_different_pictures_are_refused():
    regions = [Region([0, 0, 1, 1], "a", mask=np.ones(shape, bool)) for shape in ((5, 5), (6, 5))]
    with pytest.raises(InputError, match="different sizes"):
        supervision_.from_regions(regions)


def test_tracks_at_a_time_are_interpolated_over_short_holes_only(sv):
    found = supervision_.from_tracks([WALKER, CAR], time=1.1)
    np.testing.assert_allclose(found.xyxy, [[5, 0, 15, 10], [101, 100, 201, 200]], rtol=1e-6)
    np.testing.assert_allclose(found.confidence, [0.6, 0.25], rtol=1e-6)
    assert found.tracker_id.tolist() == [7, 9]
    assert found["class_name"].tolist() == ["walker", "car"]
    assert len(supervision_.from_tracks([WALKER, CAR], time=2.0)) == 0
    assert supervision_.from_tracks([WALKER], time=2.1, bridge=2).xyxy.tolist() == [[30, 0, 40, 10]]
    assert supervision_.from_tracks([WALKER], time=3.0).xyxy.tolist() == [[50, 0, 60, 10]]
    for time in (0.99, 3.01):
        assert len(supervision_.from_tracks([WALKER], time=time, bridge=9)) == 0


def test_tracks_at_a_frame(sv):
    assert supervision_.from_tracks([WALKER, CAR], frame=25).tracker_id.tolist() == [7, 9]
    assert supervision_.from_tracks([WALKER, CAR], frame=30).xyxy.tolist() == [[10, 0, 20, 10]]
    assert len(supervision_.from_tracks([WALKER, CAR], frame=26)) == 0


def test_the_moment_must_be_clear():
    for arguments in ({}, {"time": 1, "frame": 1}, {"time": float("nan")}, {"time": 1, "bridge": -1}, {"frame": 1.5}):
        with pytest.raises(InputError):
            supervision_.from_tracks([WALKER], **arguments)
    with pytest.raises(InputError, match="ask by time"):
        supervision_.from_tracks([Track(1, [0], [[0, 0, 1, 1]])], frame=0)


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependency, match="pip install 'whenwhere\\[draw\\]'"):
        supervision_.from_regions([])
