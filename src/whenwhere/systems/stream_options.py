"""How a stream is decoded: when, how far back, with which search, and what of the text becomes an event."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from whenwhere.errors import InputError
from whenwhere.layers.event_stream import UntimedWords


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is decoded.

    Args:
        interval: frames between decoding points.
        horizon: H, frames; the memory covers the last H/2 to H frames. ``None`` never forgets.
        beam: beams.
        alpha: strength of the length penalty.
        max_tokens: longest text of a decoding point.
        prefix_tokens: longest prefix; whole captions are dropped, oldest first.
        caption_tokens: longest single caption in prefix and target.
        grammar: allow well-formed timed captions only.
        speak: say something wherever the model finds silence less likely than this. Beam search alone prefers silence,
            one token, to any caption, a dozen, however sure the model is that there is something to say. ``None``
            leaves it to the search.
        no_repeat_ngram: forbid this many words in a row to come twice in one text; 0 allows all.
        reversed_spans: what to do with an event that ends before it starts; without ``grammar`` only.
        untimed: what to do with words without a span; without ``grammar`` only.
        duplicate_tiou: do not emit an event again that has the text of an earlier one and a temporal IoU with it above
            this; ``None`` emits all.
        least_score: do not emit events whose score, the geometric mean probability of its tokens, is below this.
        capitalize: begin texts with a capital.
        snap: seconds by which a start or an end may move to the nearest cut, a place where two frames that follow each
            other have little in common; ``None`` leaves times as the model gives them. Together with ``speak`` it also
            makes sure that a shot which ended, and was longer than half of this, is told.
        cut_below: two frames are parted by a cut when the cosine of their mean tokens is below this.

    Raises:
        InputError: a number is out of range.
    """

    interval: int = 32
    horizon: int | None = None
    beam: int = 4
    alpha: float = 0.6
    max_tokens: int = 256
    prefix_tokens: int = 1024
    caption_tokens: int = 128
    grammar: bool = False
    speak: float | None = None
    no_repeat_ngram: int = 0
    reversed_spans: Literal["swap", "drop"] = "swap"
    untimed: UntimedWords = "keep"
    duplicate_tiou: float | None = None
    least_score: float = 0.0
    capitalize: bool = False
    snap: float | None = None
    cut_below: float = 0.6

    def __post_init__(self) -> None:
        if min(self.interval, self.beam, self.caption_tokens) < 1 or min(self.max_tokens, self.prefix_tokens) < 2:
            raise InputError("stream options with a size below its least", "interval and beam >= 1, token limits >= 2")
        if self.horizon is not None and (self.horizon < 2 or self.horizon % 2):
            raise InputError(f"a horizon of {self.horizon} frames", "an even number of frames, or None")
        if self.horizon is not None and self.interval > self.horizon // 2:
            raise InputError(
                f"an interval of {self.interval} frames with a horizon of {self.horizon}",
                f"at most {self.horizon // 2} frames, which the memory always reaches back: the rest was never told",
            )
        if self.speak is not None and not 0 <= self.speak <= 1:
            raise InputError(f"speak {self.speak}", "a probability, or None")
        if (self.snap is not None and not 0 <= self.snap < math.inf) or not -1 <= self.cut_below <= 1:
            raise InputError(f"snap {self.snap}, cut_below {self.cut_below}", "seconds >= 0 or None, a cosine")
