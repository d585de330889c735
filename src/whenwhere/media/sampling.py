"""A few pictures spread evenly over a whole video."""

from __future__ import annotations

from whenwhere.errors import InputError
from whenwhere.media.opening import open_video
from whenwhere.media.records import Frame, Limits, Reader
from whenwhere.media.sources import SourceLike

_BEYOND = 1.05  # a picture about this share of the claimed length or later proves it too short
_BELIEVED = 0.9  # a measured length below this share of the claimed one proves the header wrong


def sample(
    source: SourceLike, n: int, *, size: int | None = None, limits: Limits | None = None, allow_urls: bool = False
) -> list[Frame]:
    """Return `n` frames spread evenly: the pictures nearest to the middles of n equal parts.

    The length is the container's claim where that proves true. Where there is none (a pipe, a live recording) or the
    video ends early, the spacing is found in one pass that keeps at most 2 n pictures.

    Args:
        source: see `open_video`.
        n: 1 or more.
        size: pixels of the shorter side, or None for the size of the video.
        limits: see `open_video`.
        allow_urls: see `open_video`.

    Returns:
        Frames in order of time; fewer than `n` when the video has fewer pictures, never one twice.

    Raises:
        InputError: when n is below 1.
        MediaError: see `open_video`.
    """
    if n < 1:
        raise InputError(f"n={n}", "1 frame or more")
    with open_video(source, limits=limits, allow_urls=allow_urls) as video:
        claimed = video.info.duration
        if claimed is not None and video.seekable:
            beyond = _BEYOND * claimed  # a wish that is met only if the claim is too short
            frames = list(video.frames_at([*_middles(claimed, n), beyond], size))
            if not frames or frames[-1].time < claimed:
                measured = video.duration or 0.0
                if len(frames) == n or measured - sum(g.end - g.start for g in video.gaps) > _BELIEVED * claimed:
                    return frames
        return _spread(video, n, size)


def _middles(duration: float, n: int) -> list[float]:
    return [duration * (i + 0.5) / n for i in range(n)]


def _spread(video: Reader, n: int, size: int | None) -> list[Frame]:
    """Take every picture, and every other of those kept whenever 2 n are; then choose n by time."""
    kept: list[Frame] = []
    stride = 1
    for frame in video.frames(size=size):
        if frame.index % stride == 0:
            kept.append(frame)
        if len(kept) == 2 * n:
            kept, stride = kept[::2], 2 * stride
    if len(kept) <= n:
        return kept
    last = video.position
    chosen = sorted({min(range(len(kept)), key=lambda i: abs(kept[i].time - t)) for t in _middles(last, n)})
    return [kept[i] for i in chosen]
