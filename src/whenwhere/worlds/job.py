"""What a task is asked to write, checked before anything heavy is imported."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from whenwhere.errors import InputError
from whenwhere.results import MediaRef

_MOST_RATE = 120.0
_MOST_SIDE = 2048
_MOST_PIXELS = 500_000_000  # of a clip, all frames together: 9 bytes of colour, object and depth each are kept


@dataclass(frozen=True)
class Job:
    """What to write, and where.

    Args:
        out: an existing folder.
        seed: name of the split; clip number i is made from it and i.
        count: number of clips.
        size: height and width in pixels, both even.
        rate: frames per second.
        seconds: length of a clip.
        show: whether to write pictures for people of every clip; without it, of the first alone.

    Raises:
        InputError: a number is out of range.
    """

    out: Path
    seed: str = "train"
    count: int = 4
    size: tuple[int, int] = (240, 320)
    rate: float = 12.0
    seconds: float = 10.0
    show: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"{self.count} clips", "at least one")
        if not 16 <= min(self.size) <= max(self.size) <= _MOST_SIDE or any(side % 2 for side in self.size):
            raise InputError(
                f"a size of {self.size[0]} x {self.size[1]}", f"even numbers of pixels, 16 to {_MOST_SIDE}"
            )
        if not (math.isfinite(self.rate) and 0 < self.rate <= _MOST_RATE):
            raise InputError(f"{self.rate} frames per second", f"above 0, at most {_MOST_RATE:g}")
        if not (math.isfinite(self.seconds) and 2 <= self.seconds <= 600):
            raise InputError(f"clips of {self.seconds} seconds", "2 to 600")

    def name(self, index: int) -> str:
        """Return the name of a clip, without a suffix."""
        return f"{index:05d}"

    def shown(self, index: int, first: int = 1) -> bool:
        """Whether a picture for people is wanted of clip ``index``; without ``show``, of the first ones only."""
        return self.show or index < first

    @property
    def frames(self) -> int:
        """Number of frames of a clip."""
        return math.ceil(self.seconds * self.rate - 1e-6)

    def media(self, index: int) -> MediaRef:
        """Return what is known of a clip's file."""
        height, width = self.size
        return MediaRef(f"{self.name(index)}.mp4", self.frames / self.rate, width, height, self.rate)

    def check_clip(self) -> None:
        """Raise an InputError where a clip of this size, rate and length is too large to be held in memory."""
        pixels = self.frames * self.size[0] * self.size[1]
        if pixels > _MOST_PIXELS:
            raise InputError(
                f"clips of {self.frames} frames of {self.size[0]} x {self.size[1]}",
                f"at most {_MOST_PIXELS // 10**6} million pixels a clip, not {pixels // 10**6} million",
                "take fewer --seconds, a lower --rate or a smaller picture",
            )

    def check_seed(self) -> None:
        """Raise an InputError where the seed cannot be part of the names of files and folders."""
        if not re.fullmatch(r"\w[\w.-]*", self.seed):
            raise InputError(f"split {self.seed!r}", "letters and digits, as files are named after it")
