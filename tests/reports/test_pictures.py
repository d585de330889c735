"""The pictures of a report: near their events, however far these lie back, in bounded memory."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from whenwhere.media import Frame
from whenwhere.reports.pictures import Pictures
from whenwhere.results import Event


def frame(time: float) -> Frame:
    """A grey frame whose brightness tells its time."""
    return Frame(0, time, np.full((32, 48, 3), int(time) % 256, np.uint8))


def shown(pictures: Pictures, number: int) -> float:
    return float(np.asarray(Image.open(io.BytesIO(pictures.kept[number]))).mean())


def test_an_early_event_of_a_long_interval_has_its_picture():
    pictures = Pictures(reach=240.0)
    for second in range(240):
        pictures.see(frame(second))
    pictures.keep(Event(2.0, 4.0, "early", id=0))
    pictures.keep(Event(230.0, 234.0, "late", id=1))
    assert abs(shown(pictures, 0) - 3) < 2 and abs(shown(pictures, 1) - 232) < 2


def test_what_no_event_can_reach_is_dropped():
    pictures = Pictures(reach=10.0)
    for second in range(100):
        pictures.see(frame(second))
    assert [time for time, _ in pictures._ring] == [float(second) for second in range(89, 100)]
    pictures.keep(Event(20.0, 21.0, "gone", id=0))
    assert pictures.kept == {}


def test_the_bytes_are_bounded_and_the_reach_stays():
    pictures = Pictures(most_bytes=20_000)
    for second in range(1000):
        pictures.see(frame(second))
        assert sum(len(jpeg) for _, jpeg in pictures._ring) <= 20_000
    assert len(pictures._ring) > 8
    pictures.keep(Event(0.0, 400.0, "a long one", id=0))
    assert pictures.kept, "early frames are still there, further apart"
