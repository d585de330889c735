"""From a decoded frame to an upright RGB array, and the arithmetic of sizes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from whenwhere.errors import MediaError

_BT709, _BT601 = 1, 5
_KNOWN_COLOURS = (_BT709, 4, _BT601, 6, 7, 9)  # AVColorSpace values that swscale has tables for
_HD_HEIGHT = 720  # untagged video is taken for BT.709 from here on and for BT.601 below, as players do


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to show a stored picture upright: transpose first, then mirror the axes."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def degrees(self) -> int:
        """Clockwise quarter turn; a mirrored picture reports the turn that is left when the mirror is undone."""
        if self.transpose:
            return 270 if self.flip_rows else 90
        return 180 if self.flip_rows else 0

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return uint8 (H, W, 3) upright; contiguous."""
        if self == Turn():
            return pixels
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)  # (H, W, 3) -> (W, H, 3)
        return np.ascontiguousarray(pixels[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1])


def turn_of(frame: VideoFrame) -> Turn:
    """Read the display matrix that travels with a frame.

    The matrix [[a, b, .], [c, d, .], ...] maps stored (column p, row q) to shown (column a p + c q, row b p + d q).
    Angles between quarter turns are taken for the nearest one.
    """
    entry: Any = frame.side_data.get("DISPLAYMATRIX")  # a buffer, which PyAV's type annotations do not say
    data = b"" if entry is None else bytes(entry)
    if len(data) < 36:
        return Turn()
    a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
    if abs(b) > abs(a):
        return Turn(transpose=True, flip_rows=b < 0, flip_columns=c < 0)
    return Turn(flip_rows=d < 0, flip_columns=a < 0)


def short_side(width: int, height: int, size: int | None, max_pixels: int) -> tuple[int, int]:
    """Return (width, height) scaled so that the shorter side is `size`, the shape kept.

    Raises:
        MediaError: when the result would be above `max_pixels` (a sliver of 1 x 10,000 scaled to 384 rows is a bomb).
    """
    if size is None:
        return width, height
    if size < 1:
        raise MediaError(f"size={size}", "pixels of the shorter side, 1 or more")
    scale = size / min(width, height)
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    if scaled[0] * scaled[1] > max_pixels:
        raise MediaError(
            f"a picture of {width}x{height} scaled to a shorter side of {size} has {scaled[0]}x{scaled[1]} pixels",
            f"at most {max_pixels:,} pixels",
            "choose a smaller size",
        )
    return scaled


class Converter:
    """Turns decoded frames into upright RGB arrays; holds the scaler's tables between frames of equal format."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def rgb(self, frame: VideoFrame, turn: Turn, width: int, height: int) -> np.ndarray:
        """Return uint8 (height, width, 3) RGB.

        Args:
            frame: as decoded, any pixel format and size.
            turn: how to show it upright.
            width, height: of the result, upright. The scaling runs before the turn, in the decoder's own colours,
                so that a small picture is converted, not a large one.
        """
        stored = (height, width) if turn.transpose else (width, height)
        smaller = stored[0] * stored[1] < frame.width * frame.height
        colours = frame.colorspace
        if colours not in _KNOWN_COLOURS:
            colours = _BT709 if frame.height >= _HD_HEIGHT else _BT601
        picture = self._scaler.reformat(
            frame,
            width=stored[0],
            height=stored[1],
            format="rgb24",
            src_colorspace=colours,
            src_color_range=frame.color_range if frame.color_range in (1, 2) else 0,
            interpolation="AREA" if smaller else "BICUBIC",
            threads=1,
        )
        return turn.apply(picture.to_ndarray())
