"""One video while it is being described: frames in, events out as they are known, and all of it can be put aside."""

from __future__ import annotations

import hashlib
import json
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from torch import Tensor

from whenwhere import __version__
from whenwhere.errors import InputError
from whenwhere.layers.beam import Hypothesis
from whenwhere.layers.memory import MemoryState
from whenwhere.media import Frame, MediaInfo, Reader
from whenwhere.results import Event, Gap, MediaRef, Timeline
from whenwhere.systems.describe_options import DescribeOptions, DescribeStats
from whenwhere.systems.frame_encoder import FrameEncoder
from whenwhere.systems.frame_feed import Decoded, FrameFeed
from whenwhere.systems.session import StreamOptions, StreamSession
from whenwhere.systems.streaming_dvc import StreamingDVC

_SCHEMA = "whenwhere.describe_run/2"
_FAR = 2.0  # times the trained rate, or a part of it: further than this is worth a remark


class DescribeRun:
    """Iterate over it for events, each as soon as it is known. Made by :meth:`Describer.stream`.

    Args:
        encoder: frames to tokens.
        captioner: in evaluation mode.
        video: open, read by this run alone and closed by it.
        options: what and how.
        model: name for the timeline.
        path: the media file if it is one, for reports that play it.
        size: shorter side in pixels at which frames are decoded; None for that of the video.
        on_frame: called with every frame that is looked at, before the events that it makes known.
        on_progress: called with the statistics after each group of frames.

    Attributes:
        media: what is known about the video.
        options: as given.
        events: all events known so far, in the order in which they became known; their ids count from 0.
        stats: where the run stands, up to date after each group of frames.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        captioner: StreamingDVC,
        video: Reader,
        options: DescribeOptions,
        *,
        model: str = "",
        path: Path | None = None,
        size: int | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        on_progress: Callable[[DescribeStats], None] | None = None,
    ) -> None:
        self.media: MediaInfo = video.info
        self.options, self.model, self.path = options, model, path
        self.on_frame, self.on_progress = on_frame, on_progress
        self.events: list[Event] = []
        self.stats = DescribeStats(position=options.start, start=options.start, duration=video.duration)
        self._encoder, self._captioner = encoder, captioner
        self._stream = captioner.config.stream
        if options.interval is not None:
            self._stream = replace(self._stream, interval=_interval(options, self._stream.horizon))
        self._system = _Timed(captioner, self.stats)
        self._session = self._new_session()
        self._feed = FrameFeed(video, options.rate, options.start, options.end, size)
        self._closing = weakref.finalize(self, self._feed.close)
        self._process = psutil.Process()
        self._ahead: Decoded | None = None  # decoded, but behind a gap that has to be dealt with first
        self._gaps: tuple[Gap, ...] = ()  # known where the description stands
        self._earlier_gaps: tuple[Gap, ...] = ()  # of the run that this one goes on from
        self._last: float | None = None  # seconds of the latest frame
        self._fresh = True  # no frame since the stretch began
        self._since = 0  # frames since the last decoding point
        self._given = 0  # events that the caller has
        self._begun = self._finished = False

    @property
    def reach(self) -> float:
        """Seconds that an event may lie back when it becomes known: how far the memory reaches, infinite if it does."""
        horizon = self._stream.horizon
        return math.inf if horizon is None else horizon / self.options.rate

    def remark(self) -> str:
        """What a person should know about the options: the rate, where it is far from the one that was trained at."""
        trained, rate, horizon = self._captioner.config.trained_rate, self.options.rate, self._stream.horizon
        if trained is None or horizon is None or 1 / _FAR <= rate / trained <= _FAR:
            return ""

        def span(a_second: float) -> str:
            return f"{horizon / 2 / a_second:g} to {horizon / a_second:g} s"

        return (
            f"at {rate:g} frames a second the model's memory reaches back {span(rate)}; "
            f"it was trained at {trained:g}, where that is {span(trained)}"
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Parts of the media that could not be decoded, up to where the description stands; all of them at the end."""
        return self._gaps

    @property
    def finished(self) -> bool:
        """Whether the part to describe was read to its end."""
        return self._finished

    def __iter__(self) -> DescribeRun:
        return self

    def __next__(self) -> Event:
        while self._given == len(self.events):
            if self._finished:
                raise StopIteration
            self._advance()
        self._given += 1
        return self.events[self._given - 1]

    def close(self) -> None:
        """Stop reading and let go of the video; what is known stays. Closing twice is allowed."""
        self._closing()

    def __enter__(self) -> DescribeRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def timeline(self, partial: str = "") -> Timeline:
        """All that is known so far.

        Args:
            partial: why it is not all of the video, such as "interrupted"; goes into the settings.
        """
        options, media = self.options, self.media
        settings: dict[str, Any] = {
            "rate": options.rate,
            "interval": self._stream.interval / options.rate,
            "memory": self._captioner.config.memory.size,
            "start": options.start,
            "end": options.end,
            "device": str(self._captioner.device),
            "version": __version__,
        }
        if partial:
            settings["partial"] = f"{partial} at {self.stats.position:.1f} s"
        duration = self._feed.duration
        if duration is not None:  # before the end it may be the container's claim, and too short
            duration = max([duration, *(event.end for event in self.events), *(gap.end for gap in self._gaps)])
        return Timeline(
            MediaRef(media.path, duration, media.width, media.height, media.rate),
            sorted(self.events, key=lambda event: (event.start, event.end)),
            gaps=sorted(self._gaps, key=lambda gap: (gap.start, gap.end)),
            model=self.model,
            settings=settings,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that a new run over the same video needs to go on from here, to the bit.

        It may be taken between two events, and in ``on_progress``.

        Returns:
            ``{"tensors": named tensors, "plain": JSON data}``.
        """
        session = self._session.state_dict()
        plain = {
            "schema": _SCHEMA,
            "model": self._fingerprint,
            "options": asdict(self.options),
            "media": [self.media.width, self.media.height],
            "session": session["plain"],
            "events": [event.to_dict() for event in self.events],
            "gaps": [gap.to_dict() for gap in self._gaps],
            "given": self._given,
            "last": self._last,
            "fresh": self._fresh,
            "since": self._since,
            "frames": self.stats.frames,
            "position": self.stats.position,
            "finished": self._finished,
            "duration": self._feed.duration,
        }
        return {"tensors": session["tensors"], "plain": plain}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; this run must be new, and of the same video, model and options.

        A video that cannot be sought in, such as a pipe, has to be given from its beginning again.

        Raises:
            InputError: the run has begun, or the state is not one of such a run.
        """
        if self._begun:
            raise InputError("a state for a run that has begun", "a new run of Describer.stream()")
        try:
            plain = state["plain"]
            size = [self.media.width, self.media.height]
            expected = {
                "schema": _SCHEMA,
                "model": self._fingerprint,
                "options": asdict(self.options),
                "media": size,
            }
            for name, value in expected.items():
                if plain[name] != value:
                    raise InputError(f"a state with {name} {plain[name]!r}", repr(value))
            tensors = {name: tensor.to(self._captioner.device) for name, tensor in state["tensors"].items()}
            events = [Event.from_dict(event) for event in plain["events"]]
            gaps = tuple(Gap.from_dict(gap) for gap in plain["gaps"])
            given, last, fresh = int(plain["given"]), plain["last"], bool(plain["fresh"])
            since, frames = int(plain["since"]), int(plain["frames"])
            position, finished = float(plain["position"]), bool(plain["finished"])
            duration = None if plain["duration"] is None else float(plain["duration"])
            session = {"tensors": tensors, "plain": plain["session"]}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"not the state of a run: {error!r}", "what state_dict() returned") from None
        self._session.load_state_dict(session)
        if last is not None:
            self._feed.resume_after(last)
        if finished:  # nothing will be read any more that could measure it
            self._feed.duration = self.stats.duration = duration
        self.events, self._gaps, self._earlier_gaps = events, gaps, gaps
        self._given, self._last, self._fresh, self._since, self._finished = given, last, fresh, since, finished
        self.stats.frames, self.stats.position, self.stats.events = frames, position, len(events)

    @cached_property
    def _fingerprint(self) -> str:
        """Tells models apart: a hash of the configurations and of the small parameters, norms and biases."""
        configs = [asdict(self._encoder.config), asdict(self._captioner.config)]
        digest = hashlib.sha256(json.dumps(configs, sort_keys=True).encode())
        for name, parameter in self._captioner.named_parameters():
            if parameter.ndim == 1:
                digest.update(name.encode() + parameter.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _new_session(self) -> StreamSession:
        return StreamSession(self._system, self.options.rate, self._stream)

    def _advance(self) -> None:
        """Describe one group of frames, and end a stretch where the frames end or a gap is too long."""
        self._begun = True
        with self.stats.timing("wall"):
            group, stop = self._collect()
            if group:
                self._take(group)
            if stop is not None:
                self._end_stretch(stop)
        self._report()

    def _collect(self) -> tuple[list[Decoded], float | None]:
        """Return the frames to encode together, and the seconds at which the stretch ends after them, if it does."""
        group: list[Decoded] = []
        last = None if self._fresh else self._last
        while len(group) < min(self.options.group, self._stream.interval - self._since):
            found = self._look()
            if found is None:
                self._finished = True
                self._gaps = self._all_gaps(self._feed.gaps)
                end = self._feed.position
                return group, end if self.options.end is None else min(end, self.options.end)
            stop = self._broken_off(last, found)
            if stop is not None:
                return group, stop
            group.append(found)
            self._ahead, last = None, found.frame.time
        return group, None

    def _look(self) -> Decoded | None:
        """Return the next frame, which stays the next until it is taken; None at the end."""
        if self._ahead is None:
            with self.stats.timing("waiting"):
                self._ahead = self._feed.get()
        return self._ahead

    def _broken_off(self, last: float | None, found: Decoded) -> float | None:
        """Return the seconds at which the stretch has to end, because too much was lost before the next frame."""
        if last is None:
            return None
        lost = [gap for gap in found.gaps if gap.end > last and gap.start < found.frame.time]
        seconds = sum(min(gap.end, found.frame.time) - max(gap.start, last) for gap in lost)
        return max(lost[0].start, last) if lost and seconds > self.options.longest_gap else None

    def _take(self, group: Sequence[Decoded]) -> None:
        with self.stats.timing("encoder"):
            tokens = self._encoder.encode([found.frame.pixels for found in group])
        for found, rows in zip(group, tokens):
            if self.on_frame is not None:
                self.on_frame(found.frame)
            self._last, self._fresh = found.frame.time, False
            self._since = (self._since + 1) % self._stream.interval
            self._gaps = self._all_gaps(found.gaps)
            self.stats.frames += 1
            self.stats.position = self._session.duration = found.ends  # no event ends later than what was decoded
            self._add(self._session.push(rows, found.frame.time))

    def _end_stretch(self, stop: float) -> None:
        """Say what was still going on, and start afresh."""
        if self._finished and not self.stats.frames:
            end = "" if self.options.end is None else f" to {self.options.end:g}"
            raise InputError(
                f"no picture from {self.options.start:g}{end} s in {self.media.path}",
                f"a part of its {self._feed.position:.2f} s",
            )
        if self._finished:
            self.stats.position = max(stop, self.stats.position)
        self._session.duration = max(stop, self._last or 0.0)
        self._add(self._session.finish())
        self._since, self._fresh = 0, True
        if not self._finished:
            self._session = self._new_session()

    def _add(self, events: Sequence[Event]) -> None:
        for event in events:
            self.events.append(replace(event, id=len(self.events)))

    def _all_gaps(self, gaps: Sequence[Gap]) -> tuple[Gap, ...]:
        """Gaps of the run before this one, and those that this one found after them."""
        known = max((gap.end for gap in self._earlier_gaps), default=-math.inf)
        return (*self._earlier_gaps, *(gap for gap in gaps if gap.end > known))

    def _report(self) -> None:
        stats = self.stats
        stats.events, stats.decode, stats.duration = len(self.events), self._feed.seconds, self._feed.duration
        stats.rss = self._process.memory_info().rss
        stats.peak_rss = max(stats.peak_rss, stats.rss)
        if self.on_progress is not None:
            self.on_progress(stats)


def _interval(options: DescribeOptions, horizon: int | None) -> int:
    """Return the frames between decoding points; a memory that slides must not forget frames that were never told."""
    assert options.interval is not None
    frames = max(1, round(options.interval * options.rate))
    if horizon is not None and frames > horizon // 2:
        raise InputError(
            f"an interval of {options.interval:g} seconds at {options.rate:g} frames a second",
            f"at most {horizon / 2 / options.rate:g} seconds, which the model's memory always reaches back",
        )
    return frames


class _Timed:
    """A captioner as a session sees it, with a stopwatch on remembering and on writing."""

    def __init__(self, captioner: StreamingDVC, stats: DescribeStats) -> None:
        self._captioner, self._stats = captioner, stats
        self.vocab, self.axis = captioner.vocab, captioner.axis
        self.prefix_form, self.marks_end = captioner.prefix_form, captioner.marks_end

    def empty_memory(self) -> MemoryState:
        return self._captioner.empty_memory()

    def remember(self, state: MemoryState, tokens: Tensor, position: float) -> MemoryState:
        with self._stats.timing("memory"):
            return self._captioner.remember(state, tokens, position)

    def generate(
        self, state: MemoryState, prefix: Sequence[int], options: StreamOptions, *, last_bin: int | None, ended: bool
    ) -> Hypothesis:
        with self._stats.timing("decoder"):
            return self._captioner.generate(state, prefix, options, last_bin=last_bin, ended=ended)
