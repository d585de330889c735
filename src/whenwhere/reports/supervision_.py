"""Regions and tracks as ``supervision.Detections``, for drawing and for the tools that speak it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whenwhere.errors import InputError, MissingDependency
from whenwhere.results import Region, Track, checks

if TYPE_CHECKING:
    import supervision


def from_regions(regions: Iterable[Region]) -> supervision.Detections:
    """Return regions as detections: boxes, masks if all have one, confidence if all have a score, texts as class names.

    Raises:
        InputError: masks of different sizes.
        MissingDependency: supervision is not installed.
    """
    regions = list(regions)
    masks = [region.mask for region in regions if region.mask is not None]
    if len({mask.shape for mask in masks}) > 1:
        raise InputError("masks of different sizes", "regions of one picture")
    return _detections(
        boxes=[region.box for region in regions],
        texts=[region.text for region in regions],
        scores=[region.score for region in regions],
        mask=np.stack(masks) if masks and len(masks) == len(regions) else None,
    )


def from_tracks(
    tracks: Iterable[Track], *, time: float | None = None, frame: int | None = None, bridge: float = 0.5
) -> supervision.Detections:
    """Return the boxes of tracks at one moment, with track ids as ``tracker_id`` and texts as class names.

    Args:
        tracks: the tracks, such as ``timeline.tracks``.
        time: seconds. Between two boxes at most ``bridge`` seconds apart the box is interpolated; before the first,
            behind the last and inside longer holes the object is not there.
        frame: index of the frame, from 0, looked up in ``Track.frames``. Give ``time`` or ``frame``.
        bridge: longest time in seconds to interpolate over, >= 0.

    Raises:
        InputError: not one of ``time`` and ``frame`` is given, or a track has no ``frames`` to look up.
        MissingDependency: supervision is not installed.
    """
    if (time is None) == (frame is None):
        raise InputError("time and frame are both given or both missing", "one of them")
    bridge = checks.number("bridge", bridge, least=0.0)
    found = []
    for track in tracks:
        place = _at_time(track, checks.number("time", time), bridge) if frame is None else _at_frame(track, frame)
        if place is not None:
            found.append((track, *place))
    return _detections(
        boxes=[box for _, box, _ in found],
        texts=[track.text for track, _, _ in found],
        scores=[track.score if score is None else score for track, _, score in found],
        tracker_id=np.array([track.id for track, _, _ in found], np.int64),
    )


def _at_time(track: Track, time: float, bridge: float) -> tuple[np.ndarray, float | None] | None:
    after = int(np.searchsorted(track.times, time))
    if after < len(track) and track.times[after] == time:
        return track.boxes[after], None if track.scores is None else float(track.scores[after])
    if after in (0, len(track)) or track.times[after] - track.times[after - 1] > bridge:
        return None
    start, end = track.times[after - 1], track.times[after]
    weight = (time - start) / (end - start)
    box = (1 - weight) * track.boxes[after - 1] + weight * track.boxes[after]  # (4,)
    if track.scores is None:
        return box, None
    return box, float((1 - weight) * track.scores[after - 1] + weight * track.scores[after])


def _at_frame(track: Track, frame: int) -> tuple[np.ndarray, float | None] | None:
    if track.frames is None:
        raise InputError(f"track {track.id} has no frames", "tracks that know their frames", "ask by time instead")
    at = np.flatnonzero(track.frames == checks.integer("frame", frame))
    if not len(at):
        return None
    return track.boxes[at[0]], None if track.scores is None else float(track.scores[at[0]])


def _detections(
    boxes: Sequence[np.ndarray], texts: Sequence[str], scores: Sequence[float | None], **others: Any
) -> supervision.Detections:
    try:
        import supervision
    except ImportError:
        raise MissingDependency(
            "supervision is not installed", "it, to make supervision.Detections", "run: pip install 'whenwhere[draw]'"
        ) from None
    if not boxes:
        return supervision.Detections.empty()
    known = [score for score in scores if score is not None]
    return supervision.Detections(
        xyxy=np.stack(boxes).astype(np.float32),
        confidence=np.array(known, np.float32) if len(known) == len(boxes) else None,
        class_id=np.unique(np.array(texts), return_inverse=True)[1].astype(np.int64).reshape(-1),
        data={"class_name": np.array(texts)},
        **others,
    )
