"""Cuts in a stream, and three aids that use them. All are ours for live use, not of the paper, which knows no cuts.

The first aid moves times: a small model tells the moment at which something changed to within a second or two, while a
cut shows it to the frame. The second makes sure that a shot which ended is told: a decoder trained on short texts tends
to tell the latest shot alone where several ended since the last decoding point. The third waits one decoding point with
an event that seems to have ended just now without a cut: the shot is likely still going on.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

TURNS = 4
"""Texts at one decoding point at most. Each is asked for only while an ended shot is untold and the last one told
something new; the bound keeps a decoding point's cost bounded where cuts come faster than a model can tell them."""

_REMEMBERED = 256  # cuts, where no horizon bounds them


class Cuts:
    """The cuts that an event of a stream may still move to.

    A cut lies half-way between two frames that follow each other and have little in common. The first frame of the
    stream is one too, and so is its end.

    Args:
        snap: seconds by which a time may move; ``None`` finds no cuts at all.
        cut_below: two frames are parted by a cut when the cosine of their mean tokens is below this.
    """

    def __init__(self, snap: float | None, cut_below: float) -> None:
        self._snap, self._cut_below = snap, cut_below
        self._times: list[float] = []  # seconds
        self._look: Tensor | None = None  # unit mean token of the latest frame

    def see(self, tokens: Tensor, last: float, time: float) -> None:
        """Take the tokens (N_f, D) of a frame at ``time`` seconds, after one at ``last`` seconds."""
        if self._snap is None:
            return
        look = F.normalize(tokens.detach().float().mean(dim=0), dim=0)
        if self._look is None:
            self._times.append(time)
        elif float(self._look @ look.to(self._look)) < self._cut_below:
            self._times.append((last + time) / 2)
        self._look = look

    def end(self, time: float) -> None:
        """Note that the stream, and with it the last shot, ends at ``time`` seconds."""
        if self._snap is not None:
            self._times.append(time)

    def forget(self, before: float) -> None:
        """Drop the cuts before a time in seconds: nothing moves to where the memory does not reach."""
        self._times = [cut for cut in self._times if cut >= before][-_REMEMBERED:]

    def snapped(self, start: float, end: float) -> tuple[float, float]:
        """Return a span in seconds with each end at its nearest cut, if near enough; as it was if nothing were left."""
        if self._snap is None:
            return start, end
        moved = self._nearest(start), self._nearest(end)
        return moved if moved[0] < moved[1] else (start, end)

    def untold(self, told: float) -> bool:
        """Whether a shot ended of which nothing was said, where all was told up to ``told`` seconds.

        The end of what was told may itself lie ``snap`` away from the cut that it means. Half of that is the
        compromise: an event that stops a little short of its cut still counts as having told the shot, and a shot
        longer than half of ``snap`` is not passed over in silence.
        """
        return self._snap is not None and any(cut > told + self._snap / 2 for cut in self._times)

    def open(self, end: float, now: float) -> bool:
        """Whether an event said to end at ``end``, shortly before ``now``, may well be going on: no cut is there."""
        return self._snap is not None and now - end < self._snap and end not in self._times

    def state(self) -> tuple[list[float], Tensor | None]:
        """Return the seconds of the cuts (plain JSON data) and the latest frame's unit mean token (D,), if any."""
        return list(self._times), None if self._look is None else self._look.clone()

    def load(self, times: Sequence[float], look: Tensor | None) -> None:
        """Go on from a :meth:`state`."""
        self._times, self._look = list(times), look

    def _nearest(self, seconds: float) -> float:
        assert self._snap is not None
        nearest = min(self._times, key=lambda cut: abs(cut - seconds), default=seconds)
        return nearest if abs(nearest - seconds) <= self._snap else seconds
