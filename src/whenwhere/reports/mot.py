"""MOT challenge text (https://motchallenge.net): one line for each box, ``frame,id,left,top,width,height,conf,...``.

Frames are counted from 1. Boxes are taken in the pixels of the frame as they are, like all common Python tools do,
although the challenge's own notes count pixels from 1 as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import Track, checks
from whenwhere.results.files import read_text, write_text
from whenwhere.results.record import floats

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LAST_FRAME = 1 << 40


def format(tracks: Iterable[Track], *, rate: float | None = None, times: Sequence[float] | None = None) -> str:
    """Return MOT text, sorted by frame, then id; the text of a track has no place in the format.

    Args:
        tracks: what to write; ids are >= 0. Boxes without ``scores`` get confidence 1.
        rate: frames a second, > 0, when the video's rate is constant: the frame is the nearest to each time.
        times: (frames,) seconds of every frame of the video, strictly increasing, when it is not. With neither,
            ``Track.frames`` says the frame.

    Raises:
        InputError: both ``rate`` and ``times`` are given, a track has neither of the three, two boxes of one track
            fall on one frame, or two tracks share an id.
    """
    clock = _Clock(rate, times)
    rows: dict[tuple[int, int], str] = {}
    seen: set[int] = set()
    for track in tracks:
        if track.id < 0 or track.id in seen:
            raise InputError(f"track has id {track.id}", "unique ids >= 0")
        seen.add(track.id)
        scores = [1.0] * len(track) if track.scores is None else floats(track.scores)
        for frame, (x1, y1, x2, y2), score in zip(clock.frames_of(track), floats(track.boxes), scores):
            if (frame, track.id) in rows:
                raise InputError(
                    f"track {track.id} has two boxes on frame {frame}", "one box a frame", "give the video's own rate"
                )
            numbers = ",".join(f"{number!r}" for number in (x1, y1, x2 - x1, y2 - y1, score))
            rows[frame, track.id] = f"{frame},{track.id},{numbers},-1,-1,-1\n"
    return "".join(rows[key] for key in sorted(rows))


def parse(text: str, *, rate: float | None = None, times: Sequence[float] | None = None) -> tuple[Track, ...]:
    """Return the tracks of MOT text (results or ground truth), sorted by id, with ``frames`` counted from 0.

    ``scores`` holds the confidence column, which in ground truth is 1 for boxes that count and 0 for others; it is
    ``None`` when all of a track's are 1 or the column is missing. Class, visibility and 3-D columns are passed over.

    Args:
        text: lines of at least six numbers, separated by commas or spaces.
        rate: frames a second, > 0: frame ``n`` (from 1) is at ``(n - 1) / rate`` seconds.
        times: (frames,) seconds of every frame of the video, strictly increasing. Give ``rate`` or ``times``.

    Raises:
        InputError: a line is not MOT, a box is repeated, or a frame is beyond ``times``; names the line.
    """
    clock = _Clock(rate, times)
    if clock.rate is None and clock.times is None:
        raise InputError("neither rate nor times is given", "one of them, as MOT counts frames", "pass rate=...")
    rows: dict[int, dict[int, list[float]]] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), 1):
        if not line.strip():
            continue
        frame, track, values = _row(number, line)
        if clock.times is not None and frame > len(clock.times):
            raise InputError(f"line {number}: frame {frame}", f"at most {len(clock.times)}, the number of times given")
        boxes = rows.setdefault(track, {})
        if frame in boxes:
            raise InputError(f"line {number}: track {track} has a second box on frame {frame}", "one box a frame")
        boxes[frame] = values
    return tuple(_track(number, rows[number], clock) for number in sorted(rows))


def write(
    tracks: Iterable[Track],
    path: str | os.PathLike[str],
    *,
    rate: float | None = None,
    times: Sequence[float] | None = None,
) -> None:
    """Write tracks to a MOT file, whole or not at all; see :func:`format`."""
    write_text(path, format(tracks, rate=rate, times=times))


def read(
    path: str | os.PathLike[str], *, rate: float | None = None, times: Sequence[float] | None = None
) -> tuple[Track, ...]:
    """Return the tracks of a MOT file; see :func:`parse`."""
    return parse(read_text(path, "MOT file"), rate=rate, times=times)


class _Clock:
    """The way from frame numbers (from 1) to seconds and back: a constant rate, or the time of every frame."""

    def __init__(self, rate: float | None, times: Sequence[float] | None) -> None:
        if rate is not None and times is not None:
            raise InputError("both rate and times are given", "one of them")
        self.rate = self.times = None
        if rate is not None:
            self.rate = checks.number("rate", rate)
            if self.rate <= 0:
                raise InputError(f"rate is {rate:g}", "more than 0 frames a second")
        elif times is not None:
            self.times = checks.array("times", times, np.float64, (None,))
            if len(self.times) == 0 or (np.diff(self.times) <= 0).any():
                raise InputError("times of the frames are not in order", "at least one, strictly increasing")

    def frames_of(self, track: Track) -> list[int]:
        """Return the frame of each box of a track."""
        if self.times is not None:
            after = np.searchsorted(self.times, track.times).clip(
                max=len(self.times) - 1
            )  # (n,) first frame not earlier
            before = (after - 1).clip(min=0)
            nearer = np.abs(track.times - self.times[before]) <= np.abs(self.times[after] - track.times)
            return (np.where(nearer, before, after) + 1).tolist()
        if self.rate is not None:
            frames = np.rint(track.times * self.rate) + 1
            if frames[-1] > _LAST_FRAME:
                raise InputError(f"track {track.id} reaches frame {frames[-1]:g}", f"at most {_LAST_FRAME}")
            return frames.astype(np.int64).tolist()
        if track.frames is None:
            raise InputError(f"track {track.id} has times but no frames", "frames", "pass rate=... or times=...")
        return (track.frames + 1).tolist()

    def times_of(self, frames: np.ndarray) -> np.ndarray:
        """Return the seconds of frames; they are known to exist."""
        if self.times is not None:
            return self.times[frames - 1]
        assert self.rate is not None  # parse does not start without one of the two
        return (frames - 1) / self.rate


def _row(number: int, line: str) -> tuple[int, int, list[float]]:
    """Return ``frame, id, [x1, y1, x2, y2, conf]`` of one line."""
    cells = [cell.strip() for cell in line.split(",")] if "," in line else line.split()
    if len(cells) < 6 or not all(_NUMBER.fullmatch(cell) for cell in cells[:7]):
        raise InputError(f"line {number} is {line[:60]!r}", "frame,id,left,top,width,height,conf,... in numbers")
    frame, track, left, top, width, height, conf = [float(cell) for cell in cells[:7]] + [1.0] * (len(cells) < 7)
    if not frame.is_integer() or not 1 <= frame <= _LAST_FRAME:
        raise InputError(f"line {number}: frame is {cells[0]}", "a whole number from 1")
    if not track.is_integer() or not 0 <= track <= _LAST_FRAME:
        raise InputError(f"line {number}: id is {cells[1]}", "a whole number from 0; -1 marks a box without track")
    if width < 0 or height < 0:
        raise InputError(f"line {number}: box is {cells[4]} x {cells[5]}", "no negative size")
    try:
        checks.array("box", [left, top, left + width, top + height, conf], np.float32, (5,))
    except InputError as error:
        raise InputError(f"line {number}: {error.given}", error.expected) from None
    return int(frame), int(track), [left, top, left + width, top + height, conf]


def _track(number: int, boxes: dict[int, list[float]], clock: _Clock) -> Track:
    frames = np.array(sorted(boxes), np.int64)  # (n,)
    rows = np.array([boxes[frame] for frame in frames.tolist()])  # (n, 5)
    scores = None if (rows[:, 4] == 1).all() else rows[:, 4]
    return Track(number, clock.times_of(frames), rows[:, :4], scores=scores, frames=frames - 1)
