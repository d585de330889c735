"""Packets to pictures with times, through damage: what is lost is marked, what decodes goes on.

A hole between two pictures is marked as a gap only with evidence that something was lost there: a packet that gave no
picture, a picture that its decoder flagged as damaged, a packet that the container flagged, or bytes of the file that
belong to no packet. Without evidence a hole is a still picture in a video of variable frame rate.
"""

from __future__ import annotations

import heapq
import math
import time as clock_on_the_wall
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from whenwhere.media.clock import MAX_JUMP, Clock
from whenwhere.media.container import AV_ERRORS, reason
from whenwhere.media.records import Limits
from whenwhere.results import Gap

_REORDER = 256  # pts kept while their pictures are awaited; more than any decoder's delay
_SKIPPED_BYTES = 256  # bytes between two packets that block headers and tables do not explain
_READ_ERRORS = 8  # read errors in a row after which the container is taken to end
_SHORT_TAIL = 0.5  # seconds; claims of the header are believed no more exactly than this


@dataclass(frozen=True)
class Picture:
    """A decoded frame with its place in time: `time` and `length` in seconds."""

    frame: VideoFrame
    time: float
    length: float


class Decoder:
    """Decodes one stream from front to back.

    Args:
        container, stream: from `container.open_container` and `container.video_stream`.
        clock: of this stream.
        limits: where to stop.
        claimed_end: seconds that the container claims for this stream, or None.
        keep_damaged: also hand on pictures that the decoder patched up; they are marked as gaps all the same.
        failure: tells, after the end, why reading the bytes failed; nothing when it did not.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        clock: Clock,
        limits: Limits,
        *,
        claimed_end: float | None,
        keep_damaged: bool,
        failure: Callable[[], str],
    ) -> None:
        self._container, self._stream, self._context = container, stream, stream.codec_context
        self._clock, self._limits = clock, limits
        self._claimed_end, self._keep_damaged, self._failure = claimed_end, keep_damaged, failure
        self.gaps: list[Gap] = []
        self._first_error = ""
        self.ended = False  # the whole stream was read, or a limit stopped it
        self._decoded: deque[VideoFrame] = deque()
        self._awaited: list[int] = []  # heap of pts that went into the decoder and did not come out yet
        self._suspect: float | None = None  # time up to which something is known to be lost
        self._why = ""
        self._byte_end = -1  # where in the file the last packet ended
        self._barren = 0
        self._count = 0
        self._started = False  # a picture has been placed, or a seek has left the head behind
        self._drained = False
        self._source = self._packets()
        self._stopped = ""
        self._began = clock_on_the_wall.monotonic()

    @property
    def trouble(self) -> str:
        """What went wrong, in a few words, or nothing."""
        return self._failure() or self._stopped or self._first_error or self._why

    @property
    def position(self) -> float:
        """Seconds decoded so far."""
        return self._clock.ends

    def begin(self) -> None:
        """Start counting the seconds of work anew, because an iteration begins."""
        self._began = clock_on_the_wall.monotonic()

    def read(self) -> Picture | None:
        """Return the next picture in order of presentation, or None at the end; this object keeps no hold of it."""
        while not self.ended:
            while self._decoded:
                stop = self._limit_reached()
                if stop:
                    self._close(stop)
                    return None
                picture = self._place(self._decoded.popleft())
                if picture is not None:
                    return picture
            packet = next(self._source, None)
            if packet is not None:
                self._send(packet)
            elif not self._drained:
                self._drain()
            else:
                self._close("")
            if not self._decoded and not self.ended:
                stop = self._limit_reached()
                if stop:
                    self._close(stop)
        return None

    def seek(self, pts: int) -> bool:
        """Jump to the key frame at or before a pts, and say whether the container did. `read` goes on there."""
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
        except AV_ERRORS:
            return False
        self._decoded.clear()
        self._awaited.clear()
        self._clock.forget()
        self._suspect, self._byte_end, self._started = None, -1, True
        self._drained, self._source = False, self._packets()
        return True

    def _packets(self) -> Iterator[Packet]:
        """Read packets of all streams (the others tell which bytes of the file are accounted for)."""
        errors = 0
        while errors < _READ_ERRORS:
            try:
                for packet in self._container.demux():
                    if packet.size == 0:  # PyAV's own mark of the end; a true empty packet would end the decoder
                        continue
                    errors = 0
                    damaged = packet.is_corrupt or self._skipped_bytes(packet)
                    if packet.stream_index == self._stream.index:
                        if damaged:
                            self._suspect_at(packet.pts, "the file is damaged here")
                        yield packet
                return
            except AV_ERRORS as error:
                errors += 1
                self._note_error(error)
                self._suspect_at(None, "the file is damaged here")

    def _skipped_bytes(self, packet: Packet) -> bool:
        if packet.pos is None or packet.pos < 0:
            return False
        before, self._byte_end = self._byte_end, max(self._byte_end, packet.pos + packet.size)
        return 0 <= before < packet.pos - _SKIPPED_BYTES

    def _send(self, packet: Packet) -> None:
        pts = packet.pts
        if not packet.is_discard:
            self._clock.note_packet(pts)
            if pts is not None:
                heapq.heappush(self._awaited, pts)
        if len(self._awaited) > _REORDER:
            self._suspect_at(heapq.heappop(self._awaited), "pictures are missing")
        self._barren += 1
        try:
            self._decoded.extend(self._context.decode(packet))
        except EOFError:  # an odd packet ended the decoder; wake it up again
            self._context.flush_buffers()
            self._suspect_at(pts, "the data is damaged")
        except AV_ERRORS as error:
            self._note_error(error)
            self._suspect_at(pts, f"the data is damaged ({reason(error)})")

    def _drain(self) -> None:
        self._drained = True
        try:
            self._decoded.extend(self._context.decode(None))
        except AV_ERRORS as error:
            self._note_error(error)

    def _place(self, frame: VideoFrame) -> Picture | None:
        """Give a decoded frame its time, and mark the gap before it if there is one."""
        self._barren = 0
        self._count += 1
        clock = self._clock
        length = clock.length(frame.duration)
        self._settle(frame.pts)
        damaged = frame.is_corrupt
        if damaged and not self._keep_damaged:
            self._suspect_at(frame.pts, "the picture is damaged")
            clock.note_packet(frame.pts)
            return None
        before, hole_start = clock.last, clock.ends
        time = clock.place(frame.pts, length)
        if time is None:
            return None
        if not self._started:
            self._check_head(time, length)
        elif before is not None:
            self._check_hole(before, hole_start, time, length)
        self._started = True
        if damaged:
            self._mark(time, time + length, "the picture is damaged")
        return Picture(frame, time, length)

    def _settle(self, pts: int | None) -> None:
        """Compare a picture that came out with those that went in: earlier ones will not come any more."""
        if pts is None:
            return
        lost = None
        while self._awaited and self._awaited[0] <= pts:
            earliest = heapq.heappop(self._awaited)
            lost = earliest if earliest < pts else lost
        if lost is not None:
            self._suspect_at(lost, "pictures are missing")

    def _suspect_at(self, pts: int | None, why: str) -> None:
        if not self._why or self._suspect is None:
            self._why = why
        time = self._clock.seconds(pts)
        time = self._clock.ends if time is None else time
        self._suspect = time if self._suspect is None else max(self._suspect, time)

    def _check_head(self, time: float, length: float) -> None:
        if time > length / 2:
            self._mark(0.0, time, self._why or "the beginning cannot be decoded")
        self._suspect = None

    def _check_hole(self, before: float, start: float, time: float, length: float) -> None:
        if self._suspect is None:
            return
        lost = self._suspect >= before and time - start > length / 2
        if lost:
            self._mark(start, time, self._why)
        if lost or self._suspect < before:
            self._suspect = None

    def _mark(self, start: float, end: float, why: str) -> None:
        """Add a gap, joined to the last one where they touch."""
        start = max(0.0, start)
        if end <= start:
            return
        if self.gaps and start - self.gaps[-1].end < 1e-6:
            start, why = self.gaps.pop().start, why
        self.gaps.append(Gap(start, end, why))

    def _limit_reached(self) -> str:
        limits = self._limits
        if self._barren >= limits.max_barren_packets:
            return f"no picture in {self._barren} packets"
        if limits.max_frames is not None and self._count >= limits.max_frames:
            return f"stopped at the limit of {limits.max_frames} frames"
        if limits.max_seconds is not None and self._clock.ends >= limits.max_seconds:
            return f"stopped at the limit of {limits.max_seconds:g} seconds"
        worked = clock_on_the_wall.monotonic() - self._began
        if limits.max_wall_seconds is not None and worked >= limits.max_wall_seconds:
            return f"stopped after {limits.max_wall_seconds:g} seconds of work"
        return ""

    def _close(self, stopped: str) -> None:
        """Mark what the end leaves open: pictures that never came out, the container's claim, a limit, a failure."""
        self.ended, self._stopped = True, stopped
        clock = self._clock
        if not self._started:
            return
        length = clock.length(None)
        end, why = clock.ends, self._why or "the end cannot be decoded"
        lost = [self._suspect, clock.seconds(max(self._awaited, default=None))]
        last = max((t for t in lost if t is not None and t < end + MAX_JUMP), default=-math.inf)
        if not stopped and last > end - length / 2:
            end = last + length
        claimed = None if clock.jumped else self._claimed_end
        if claimed is not None and claimed - clock.ends > max(_SHORT_TAIL, 2 * length):
            end, why = max(end, claimed), f"the data ends here, though the header claims {claimed:.2f} s"
        failure = self._failure()
        if stopped or failure:
            # how much is missing may be unknown; the gap is then one picture long, so that it is seen
            end, why = max(end, clock.ends + length), stopped or f"reading failed ({failure})"
        self._mark(clock.ends, end, why)

    def _note_error(self, error: BaseException) -> None:
        if not self._first_error:
            self._first_error = reason(error)
