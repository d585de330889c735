"""A stream being described: frames go in one by one, events come out as they are known, the state stays small."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from whenwhere.errors import InputError
from whenwhere.layers.beam import Hypothesis
from whenwhere.layers.event_stream import ReversedSpans
from whenwhere.layers.memory import MemoryState
from whenwhere.layers.time_bins import bins_to_seconds, seconds_to_bin
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.results.files import let_read
from whenwhere.systems.cuts import TURNS, Cuts
from whenwhere.systems.decoding_points import PrefixForm, TimeAxis
from whenwhere.systems.stream_options import StreamOptions
from whenwhere.systems.training_rows import prefix_ids

__all__ = ["StreamOptions", "StreamSession", "StreamingSystem"]

_SCHEMA = "whenwhere.stream/2"
_REMEMBERED = 256  # emitted events kept for the prefix and the duplicate guard where no horizon bounds them
_TOLERANCE = 0.05  # frames; a time stamp rounded to milliseconds that falls just before a boundary counts as on it


class StreamingSystem(Protocol):
    """What a captioner offers to be streamed."""

    @property
    def vocab(self) -> Vocab: ...
    @property
    def axis(self) -> TimeAxis: ...
    @property
    def prefix_form(self) -> PrefixForm: ...
    @property
    def marks_end(self) -> bool: ...
    def empty_memory(self) -> MemoryState:
        """Return the memory before the first frame, for one stream."""

    def remember(self, state: MemoryState, tokens: Tensor, position: float) -> MemoryState:
        """Return the memory after a frame (N_f, D) at a position in frames from the memory's start."""

    def generate(
        self, state: MemoryState, prefix: Sequence[int], options: StreamOptions, *, last_bin: int | None, ended: bool
    ) -> Hypothesis:
        """Return the text of a decoding point."""


@dataclass
class _Slot:
    """One of the two staggered memories: the half-horizon in which it began, and its state."""

    epoch: int
    memory: MemoryState


@dataclass
class _Said:
    """An event that was emitted: where, and in which words."""

    start: float
    end: float
    text: str
    words: list[int] = field(default_factory=list)


class StreamSession:
    """One stream through one captioner.

    With a horizon of H frames there are two memories, each begun afresh every H frames, half a horizon apart. Every
    frame enters both, the older one is read, so what the decoder sees always reaches back between H/2 and H frames
    (less at the start) and the state never grows. Times inside count from the start of the memory that is read; events
    are turned into seconds of the stream when they are emitted, and captions leave the prefix once they end before
    that start. Nothing emitted is revised.

    Args:
        system: the captioner, in evaluation mode.
        rate: frames a second that will be pushed, about; gaps and jitter are fine.
        options: how to decode.
        duration: seconds of the whole media if known; no event will end later.
    """

    def __init__(
        self, system: StreamingSystem, rate: float, options: StreamOptions, *, duration: float | None = None
    ) -> None:
        if not 0 < rate < math.inf:
            raise InputError(f"a rate of {rate:g} frames a second", "a positive, finite rate")
        axis = system.axis
        if axis.span == "window" and (options.horizon is None or options.horizon > axis.frames):
            raise InputError(
                f"a horizon of {options.horizon} frames for time bins over a window of {axis.frames}",
                f"a horizon of at most {axis.frames} frames",
            )
        self.system, self.rate, self.options, self.duration = system, float(rate), options, duration
        self._slots: dict[int, _Slot] = {}
        self._said: list[_Said] = []
        self._origin: float | None = None  # seconds of the first frame
        self._last = -math.inf  # seconds of the latest frame
        self._waiting = 0  # frames since the last decoding point
        self._emitted = 0
        self._finished = False
        self._cuts = Cuts(options.snap, options.cut_below)
        self._waited = False  # with an event, at the last decoding point

    @property
    def position(self) -> float:
        """Seconds of the stream that were seen: the latest frame's time, plus the time it stands for."""
        if self._origin is None:
            return 0.0
        now = self._last + 1 / self.rate
        return now if self.duration is None else min(now, self.duration)

    @torch.no_grad()
    def push(self, tokens: Tensor, time: float) -> list[Event]:
        """Take one more frame.

        Args:
            tokens: (N_f, D) tokens of the frame.
            time: seconds of the frame in the stream, later than the one before.

        Returns:
            The events that became known, sorted by start; empty between decoding points.

        Raises:
            InputError: the time does not increase, the shape is wrong, or the stream is finished.
        """
        if self._finished:
            raise InputError("a frame after the stream was finished", "no more frames", "open a new session")
        if not math.isfinite(time) or time <= self._last or time < 0:
            raise InputError(f"a frame at {time:g} s after one at {self._last:g} s", "finite, increasing times")
        if self._origin is None:
            self._origin = time
        self._cuts.see(tokens, self._last, time)
        self._last = time
        position = (time - self._origin) * self.rate
        epoch, half = self._epoch(position)
        for number in (0, 1) if epoch else (0,):
            begun = epoch - (epoch - number) % 2  # latest half-horizon at which this memory begins
            if number not in self._slots or self._slots[number].epoch != begun:
                self._slots[number] = _Slot(begun, self.system.empty_memory())
            slot = self._slots[number]
            slot.memory = self.system.remember(slot.memory, tokens, position - begun * half)
        self._waiting += 1
        return self._decode() if self._waiting >= self.options.interval else []

    @torch.no_grad()
    def finish(self) -> list[Event]:
        """End the stream and return the events of its last stretch; further frames are refused."""
        # A model that can be told of the end may know more of the very same frames once it is.
        decode = not self._finished and self._slots and (self._waiting > 0 or self._waited or self.system.marks_end)
        events = self._decode(ended=True) if decode else []
        self._finished = True
        return events

    def nbytes(self) -> int:
        """Bytes of the state: the memories and what is remembered of the events."""
        return sum(slot.memory.nbytes() for slot in self._slots.values()) + len(json.dumps(self._plain_state()))

    def state_dict(self) -> dict[str, Any]:
        """Return the state as ``{"tensors": named tensors, "plain": JSON data}``."""
        tensors = {
            f"memory.{number}.{name}": tensor.clone()
            for number, slot in self._slots.items()
            for name, tensor in slot.memory.tensors().items()
        }
        look = self._cuts.state()[1]
        if look is not None:
            tensors["look"] = look
        return {"tensors": tensors, "plain": self._plain_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`; the output is then equal to the bit.

        Raises:
            InputError: the state is not one of a session with this rate and these options.
        """
        try:
            plain, tensors = state["plain"], state["tensors"]
            for name, value in (("schema", _SCHEMA), ("rate", self.rate), ("options", asdict(self.options))):
                if plain[name] != value:
                    raise InputError(f"a stream state with {name} {plain[name]!r}", repr(value))
            slots = {}
            for number, epoch in plain["epochs"]:
                head = f"memory.{number}."
                named = {name[len(head) :]: tensor for name, tensor in tensors.items() if name.startswith(head)}
                slots[int(number)] = _Slot(int(epoch), self._fitting(MemoryState.from_tensors(named)))
            said = [_Said(**event) for event in plain["said"]]
            origin, last, waiting = plain["origin"], plain["last"], int(plain["waiting"])
            emitted, finished = int(plain["emitted"]), bool(plain["finished"])
            cuts, look = [float(cut) for cut in plain["cuts"]], tensors.get("look")
            waited = bool(plain["waited"])
            if look is not None and (look.ndim != 1 or not look.is_floating_point()):
                raise InputError(f"a stream state whose look has shape {tuple(look.shape)}", "(D,)")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"not a stream state: {error!r}", "what state_dict() returned") from None
        self._slots, self._said, self._origin = slots, said, origin
        self._last = -math.inf if last is None else last
        self._waiting, self._emitted, self._finished = waiting, emitted, finished
        self._waited = waited
        self._cuts.load(cuts, look)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to one safetensors file."""
        from safetensors.torch import save_file

        state, path = self.state_dict(), Path(path)
        temporary = path.with_name(path.name + ".part")
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state["tensors"].items()}
        save_file(tensors, temporary, metadata={"state": json.dumps(state["plain"])})
        let_read(temporary)
        os.replace(temporary, path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a state that :meth:`save` wrote.

        Raises:
            InputError: the file is missing, damaged, or of another rate or other options.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                plain = json.loads((file.metadata() or {}).get("state", "null"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise InputError(f"cannot read the stream state {path}: {error}") from None
        device = self.system.empty_memory().tokens.device
        self.load_state_dict({"plain": plain, "tensors": {name: t.to(device) for name, t in tensors.items()}})

    def _fitting(self, memory: MemoryState) -> MemoryState:
        """Return a memory that was saved, if it can be one of this captioner's."""
        empty = self.system.empty_memory()
        given, expected = memory.tokens, empty.tokens
        if given.shape[::2] != expected.shape[::2] or given.dtype != expected.dtype:
            raise InputError(
                f"a stream state with memory tokens {tuple(given.shape)} {given.dtype}",
                f"({expected.shape[0]}, S, {expected.shape[2]}) {expected.dtype}, as this captioner has",
            )
        if memory.counts.dtype != empty.counts.dtype or (memory.times is None) != (empty.times is None):
            raise InputError(f"a stream state with counts {memory.counts.dtype}", f"counts {empty.counts.dtype}")
        return memory

    def _plain_state(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "rate": self.rate,
            "options": asdict(self.options),
            "epochs": [[number, slot.epoch] for number, slot in self._slots.items()],
            "said": [asdict(event) for event in self._said],
            "origin": self._origin,
            "last": None if self._origin is None else self._last,
            "waiting": self._waiting,
            "emitted": self._emitted,
            "finished": self._finished,
            "cuts": self._cuts.state()[0],
            "waited": self._waited,
        }

    def _epoch(self, position: float) -> tuple[int, float]:
        """Return the number of the current half-horizon and its length in frames."""
        if self.options.horizon is None:
            return 0, 0.0
        half = self.options.horizon / 2
        return math.floor((position + _TOLERANCE) / half), half

    def _decode(self, ended: bool = False) -> list[Event]:
        """One decoding point: say what is new since the captions of the prefix."""
        assert self._origin is not None
        self._waiting = 0
        position = (self._last - self._origin) * self.rate
        epoch, half = self._epoch(position)
        slot = self._slots[max(epoch - 1, 0) % 2]  # the older one
        if ended:
            self._cuts.end(self.position)
        begun = self._origin + slot.epoch * half / self.rate  # seconds at which the memory begins
        self._said = [event for event in self._said if event.end >= begun][-_REMEMBERED:]
        self._cuts.forget(begun)
        axis, seen = self.system.axis, (position - slot.epoch * half + 1) / self.rate
        span, last_bin = seen, None
        if axis.span == "window":
            span = axis.frames / self.rate
            last_bin = seconds_to_bin(seen, span, axis.n_bins)
        events: list[Event] = []
        may_wait, self._waited = not (ended or self._waited), False
        for _ in range(TURNS):
            untold = self._untold(begun)
            if events and not untold:
                break
            options = replace(self.options, speak=1.0) if untold else self.options
            prefix = prefix_ids(self._prefix(begun, span), self.system.vocab, self.options.prefix_tokens)
            text = self.system.generate(slot.memory, prefix, options, last_bin=last_bin, ended=ended)
            new = self._emit(text, begun, span, may_wait)
            if not new:
                break
            events += new
        return sorted(events, key=lambda event: (event.start, event.end))

    def _untold(self, begun: float) -> bool:
        """Whether a shot has ended of which nothing was said: then silence is no answer."""
        told = max((event.end for event in self._said), default=begun)
        return self.options.speak is not None and self._cuts.untold(told)

    def _prefix(self, begun: float, span: float) -> list[list[int]]:
        form, axis, vocab = self.system.prefix_form, self.system.axis, self.system.vocab
        if form == "none":
            return []
        if form == "captions":
            return [event.words for event in self._said]

        def to_bin(seconds: float) -> int:
            return seconds_to_bin(max(seconds - begun, 0.0), span, axis.n_bins)

        return [vocab.event(to_bin(event.start), to_bin(event.end), event.words) for event in self._said]

    def _emit(self, text: Hypothesis, begun: float, span: float, may_wait: bool) -> list[Event]:
        """Turn decoded tokens into events of the stream, in seconds, at once and for good."""
        vocab, axis, options = self.system.vocab, self.system.axis, self.options
        now, new = self.position, []
        reversed_spans: ReversedSpans = options.reversed_spans
        for found in vocab.parse(text.tokens, reversed_spans=reversed_spans, untimed=options.untimed):
            start, end = bins_to_seconds(found.start, found.end, span, axis.n_bins, axis.decoding)
            start, end = (max(min(begun + t, now), min(begun, now)) for t in (start, end))
            start, end = self._cuts.snapped(start, end)
            said = vocab.decode(found.words, capitalize=options.capitalize)
            score = math.exp(sum(text.logprobs[k] for k in found.positions) / len(found.positions))
            if not said or score < options.least_score or self._is_duplicate(said, start, end):
                continue
            if may_wait and self._cuts.open(end, now):
                self._waited = True
                continue
            self._said.append(_Said(start, end, said, list(found.words[: options.caption_tokens])))
            new.append(Event(start, end, said, score=score, emitted_at=now))
        new.sort(key=lambda event: (event.start, event.end))
        numbered = [Event(e.start, e.end, e.text, e.score, e.emitted_at, self._emitted + k) for k, e in enumerate(new)]
        self._emitted += len(new)
        return numbered

    def _is_duplicate(self, text: str, start: float, end: float) -> bool:
        least = self.options.duplicate_tiou
        if least is None:
            return False
        return any(said.text == text and _tiou(said.start, said.end, start, end) > least for said in self._said)


def _tiou(start1: float, end1: float, start2: float, end2: float) -> float:
    """Temporal intersection over union of two spans in seconds; 1 for two equal instants."""
    overlap, union = min(end1, end2) - max(start1, start2), max(end1, end2) - min(start1, start2)
    return 1.0 if union == 0 else max(overlap, 0.0) / union
