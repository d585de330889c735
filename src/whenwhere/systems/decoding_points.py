"""Decoding points: what a streaming captioner is asked to say at which moments of a training video.

Zhou et al., Streaming Dense Video Captioning, CVPR 2024, section 3.2, in the forms of its released code. At each point
the model sees the memory so far and, as a prefix, captions that it is told it already said; its target is what has
finished and is not in the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from whenwhere.errors import InputError
from whenwhere.layers.time_bins import BinDecoding, seconds_to_bin

Span = Literal["seen", "window"]
PointForm = Literal["plain", "augmented", "bernoulli", "dynamic"]
PrefixForm = Literal["none", "captions", "timed"]


@dataclass(frozen=True)
class TimeAxis:
    """How times become time tokens.

    Args:
        frames: T, frames of a training video, and of the window if ``span`` is ``window``.
        n_bins: time tokens.
        span: what the bins divide. ``seen``: the part of the video seen so far, as in the paper. ``window``: always
            ``frames`` frames from the start of the memory, so that a bin is the same number of seconds at every point;
            it needs tokens that carry time (:class:`whenwhere.layers.time_features.TimeFeatures`).
        decoding: ``reference`` does what the public code does: bins of bins, rounded down each time, and an event is
            finished by the bin of its end. ``center`` takes bins from seconds, the middle of a bin for its time, and an
            event as finished only when a frame after its end was seen.

    Raises:
        InputError: a number is out of range or a name unknown.
    """

    frames: int = 64
    n_bins: int = 64
    span: Span = "seen"
    decoding: BinDecoding = "reference"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.n_bins < 2:
            raise InputError(f"{self.frames} frames and {self.n_bins} bins", "at least 1 frame and 2 bins")
        _check_name("span", self.span, get_args(Span))
        _check_name("bin decoding", self.decoding, get_args(BinDecoding))


@dataclass(frozen=True)
class DecodingPoints:
    """Where the decoding points of training are and what their prefixes hold.

    Args:
        count: D_train, points a video.
        form: ``plain``: the prefix is all that finished before the point's own stretch. ``augmented``: of that, what
            ended before a random cut. ``bernoulli``: of that, each event with probability ``keep``. ``dynamic``: random
            points, the last at the end, and each finished event in the prefix with probability ``keep``.
        keep: probability of the two last forms.
        prefix: what of an event the prefix shows: nothing, its caption, or its caption with times.
        plain_probability: chance of a point to be of the plain form, whatever ``form`` says. The augmented form alone
            never shows a prefix that holds everything, the usual state when nothing happened since the last point.
        train_empty: also learn to say nothing where nothing is to be said; the released code drops these points.
        end_probability: chance of a point to be the end of the video: what is going on then ends there, and the model
            is told so by a token. 0 leaves the last point alone to be the end, without a token.
        sample: points of a video that enter a training step, drawn at random; all if ``None``.
        order: ``given`` keeps the events as annotated; ``end`` sorts them by end, then start.

    Raises:
        InputError: a number is out of range or a name unknown.
    """

    count: int = 16
    form: PointForm = "augmented"
    keep: float = 0.5
    prefix: PrefixForm = "captions"
    plain_probability: float = 0.0
    train_empty: bool = False
    end_probability: float = 0.0
    sample: int | None = None
    order: Literal["given", "end"] = "given"

    def __post_init__(self) -> None:
        _check_name("decoding point form", self.form, get_args(PointForm))
        _check_name("prefix", self.prefix, get_args(PrefixForm))
        _check_name("event order", self.order, ("given", "end"))
        if self.count < 1 or (self.sample is not None and self.sample < 1):
            raise InputError(f"{self.count} decoding points, {self.sample} sampled", "at least 1")
        if not all(0 <= p <= 1 for p in (self.keep, self.plain_probability, self.end_probability)):
            raise InputError("a probability of the decoding points outside 0..1", "probabilities in 0..1")


class PlacedEvent(NamedTuple):
    """An event as a decoding point names it: its place in the list given, and the bins of its start and end."""

    event: int
    start: int
    end: int


class DecodingPoint(NamedTuple):
    """One decoding point.

    Attributes:
        number: i.
        end: e_i, the bin after the last one seen, over the whole video or window.
        frame: index of the last frame seen.
        prefix: events already said.
        target: events to say, possibly none.
        ended: the video ends here.
    """

    number: int
    end: int
    frame: int
    prefix: tuple[PlacedEvent, ...]
    target: tuple[PlacedEvent, ...]
    ended: bool


def decoding_targets(
    spans: Sequence[tuple[float, float]],
    duration: float,
    axis: TimeAxis,
    points: DecodingPoints,
    rng: np.random.Generator,
    *,
    frames: int | None = None,
) -> list[DecodingPoint]:
    """Lay out the decoding points of one video.

    Args:
        spans: (start, end) of each event in seconds; an end after ``duration`` means that the event goes on.
        duration: seconds of the video.
        axis: bins and frames.
        points: places and forms of the points.
        rng: random state; the same state gives the same points.
        frames: T of this video, if not ``axis.frames``; with the window span at most that.

    Returns:
        The points in order, those with an empty target included. Prefix and target of a point share no event, and
        together are the events finished by then (with ``reference`` decoding: ``bin(end) < e_i``).

    Raises:
        InputError: an event ends before it starts or starts before 0, or the video is longer than the window.
    """
    if any(not 0 <= start <= end for start, end in spans):
        raise InputError("an event that ends before it starts, or starts before 0", "0 <= start <= end")
    frames = axis.frames if frames is None else frames
    if frames < 1 or (axis.span == "window" and frames > axis.frames):
        raise InputError(f"a video of {frames} frames", f"1..{axis.frames} frames, the window of the bins")
    layout = _Layout(tuple(spans), duration, axis, frames)
    order = list(range(len(spans)))
    if points.order == "end":
        order.sort(key=lambda k: (spans[k][1], spans[k][0]))
    stride = (axis.n_bins - 1) // points.count + 1
    result = []
    for i in range(points.count):
        previous, end = i * stride, min((i + 1) * stride, layout.last_bin)
        if points.form == "dynamic":
            is_last = i == points.count - 1
            end = layout.last_bin if is_last else int(rng.integers(1, layout.last_bin + 1))
            previous = end
        elif previous >= layout.last_bin:
            break
        ended = end == layout.last_bin
        if points.end_probability:
            ended = bool(rng.random() < points.end_probability)
        before = [k for k in order if layout.finished(k, previous)]
        done = [k for k in order if layout.finished(k, end, ended)]
        said = set(_prefix(before, done, end, layout, points, rng))
        prefix = tuple(layout.place(k, end, ended) for k in order if k in said)
        target = tuple(layout.place(k, end, ended) for k in done if k not in said)
        result.append(DecodingPoint(i, end, layout.frame(end), prefix, target, ended))
    return result


def _prefix(
    before: list[int], done: list[int], end: int, layout: _Layout, points: DecodingPoints, rng: np.random.Generator
) -> list[int]:
    """Choose the events of the prefix among those that finished before."""
    if points.plain_probability and rng.random() < points.plain_probability:
        return before
    if points.form == "plain":
        return before
    if points.form == "augmented":
        latest = max((min(layout.end_bins[k], end) for k in done), default=0)
        cut = int(rng.integers(1, max(2, latest)))
        return [k for k in before if layout.end_bins[k] < cut]
    return [k for k in before if rng.random() < points.keep]


class _Layout:
    """The bins of one video's events, and what is finished when."""

    def __init__(self, spans: tuple[tuple[float, float], ...], duration: float, axis: TimeAxis, frames: int) -> None:
        self.spans, self.duration, self.axis, self.frames = spans, duration, axis, frames
        # Seconds that the n_bins bins divide when all of them were seen, and how many bins this video fills.
        self.full = duration if axis.span == "seen" else duration * axis.frames / frames
        self.last_bin = axis.n_bins if axis.span == "seen" else -(-axis.n_bins * frames // axis.frames)
        self.start_bins = [seconds_to_bin(start, self.full, axis.n_bins) for start, _ in spans]
        self.end_bins = [seconds_to_bin(min(end, duration), self.full, axis.n_bins) for _, end in spans]

    def frame(self, end_bin: int) -> int:
        """Index of the last frame before a bin; with T = n_bins, ``min(e, T) - 1``."""
        whole = self.frames if self.axis.span == "seen" else self.axis.frames
        return max(min(end_bin * whole // self.axis.n_bins, self.frames) - 1, 0)

    def seen(self, end_bin: int) -> float:
        """Seconds of the video up to a bin."""
        return min(end_bin / self.axis.n_bins * self.full, self.duration)

    def finished(self, k: int, end_bin: int, ended: bool = False) -> bool:
        """Whether event k is over when the bins below ``end_bin`` were seen."""
        if end_bin == 0:
            return False
        if self.axis.decoding == "reference":
            over = self.end_bins[k] < end_bin
        else:
            over = self.spans[k][1] <= self.frame(end_bin) * self.duration / self.frames
        return over or (ended and self.spans[k][0] < self.seen(end_bin))

    def place(self, k: int, end_bin: int, ended: bool) -> PlacedEvent:
        """Event k in the bins of a point."""
        n_bins, axis = self.axis.n_bins, self.axis
        if axis.span == "seen" and axis.decoding == "reference":
            start, end = (min(b * n_bins // end_bin, n_bins - 1) for b in (self.start_bins[k], self.end_bins[k]))
            return PlacedEvent(k, start, end)
        span, seen = self.full if axis.span == "window" else self.seen(end_bin), self.seen(end_bin)
        start, end = (seconds_to_bin(min(t, seen), span, n_bins) for t in self.spans[k])
        return PlacedEvent(k, start, end)


def _check_name(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InputError(f"{what} {name!r}", f"one of {', '.join(known)}")
