"""Describe a video: from a file, a pipe or numbered images to timed captions, live and in constant memory.

Decoding runs ahead by a few frames in a thread of its own; frames are encoded (one by one unless asked
otherwise) and remembered by the streaming captioner, and what it has to say at a decoding point is handed on at once.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whenwhere.layers.memory import build_memory
from whenwhere.media import Frame, Limits, as_source, open_video
from whenwhere.media.sources import SourceLike
from whenwhere.results import Timeline
from whenwhere.systems.describe_options import DescribeOptions, DescribeStats
from whenwhere.systems.describe_run import DescribeRun
from whenwhere.systems.frame_encoder import FrameEncoder
from whenwhere.systems.streaming_dvc import StreamingDVC

__all__ = ["DescribeOptions", "DescribeRun", "DescribeStats", "Describer"]

ENCODER, CAPTIONER = "frame_encoder", "captioner"
"""Sub-folders of a saved describer."""


class Describer:
    """A frame encoder and a streaming captioner, ready for video.

    Args:
        encoder: turns frames into tokens of ``captioner.config.token_width`` channels.
        captioner: remembers them and tells events.
        name: goes into timelines as the model's name.
    """

    def __init__(self, encoder: FrameEncoder, captioner: StreamingDVC, name: str = "describe") -> None:
        self.encoder, self.captioner, self.name = encoder.eval(), captioner.eval(), name

    @property
    def device(self) -> torch.device:
        """Where the captioner computes."""
        return self.captioner.device

    def to(self, device: torch.device | str) -> Describer:
        """Move encoder, shared space and captioner, loading them first where need be; return this object."""
        for part in (self.encoder, self.encoder.space, self.encoder.bank, self.captioner):
            part.to(device)
        return self

    def prepare(self) -> Describer:
        """Load now what would be loaded with the first frame, which may fetch weights; return this object.

        Raises:
            WeightsError: weights that cannot be had, or do not fit.
        """
        self.encoder.encode([np.zeros((8, 8, 3), np.uint8)])
        return self

    def stream(
        self,
        source: SourceLike,
        *,
        rate: float = 2.0,
        interval: float | None = None,
        memory: int | None = None,
        start: float = 0.0,
        end: float | None = None,
        group: int = 1,
        limits: Limits | None = None,
        allow_urls: bool = False,
        on_frame: Callable[[Frame], None] | None = None,
        on_progress: Callable[[DescribeStats], None] | None = None,
    ) -> DescribeRun:
        """Open a video and return its events as an iterator that gives each one as soon as it is known.

        ``for event in describer.stream("video.mp4"): ...`` is all it takes. The run also has the statistics, the gaps
        and, at any time, the timeline; leaving the loop early needs no cleaning up.

        Args:
            source: a path, "-" for standard input, an open binary file, a folder or pattern of numbered images, a
                ``Source``; an address or a camera where ``allow_urls`` is set.
            rate, interval, memory, start, end, group: see :class:`DescribeOptions`.
            limits: bounds on what the file may make us do; see :class:`whenwhere.media.Limits`.
            allow_urls: whether an address or camera may be opened; without it nothing is ever fetched.
            on_frame, on_progress: see :class:`DescribeRun`.

        Returns:
            The run; the video is open and its first picture was decoded.

        Raises:
            InputError: an option is out of range.
            MediaError: the video is missing, empty, unreadable, no video, too large, or nothing in it can be decoded.
        """
        options = DescribeOptions(rate, interval, memory, start, end, group)
        captioner = self.captioner if memory is None else _with_memory(self.captioner, memory)
        found = as_source(source, allow_urls=allow_urls)
        video = open_video(found, limits=limits, allow_urls=allow_urls)
        try:
            return DescribeRun(
                self.encoder,
                captioner,
                video,
                options,
                model=self.name,
                path=found.path if found.kind == "file" else None,
                size=self._decoded_size(video.info.width, video.info.height),
                on_frame=on_frame,
                on_progress=on_progress,
            )
        except BaseException:
            video.close()
            raise

    def describe(self, source: SourceLike, **options: Any) -> Timeline:
        """Describe a whole video; the options are those of :meth:`stream`."""
        with self.stream(source, **options) as run:
            for _ in run:
                pass
            return run.timeline()

    def save(self, folder: str | os.PathLike[str], dtype: torch.dtype = torch.float16) -> Path:
        """Write encoder and captioner into sub-folders; the shared space is named, not copied."""
        self.encoder.save(Path(folder) / ENCODER)
        self.captioner.save(Path(folder) / CAPTIONER, dtype)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Describer:
        """Read what :meth:`save` wrote, on the CPU, in evaluation mode.

        Raises:
            WeightsError: a file is missing or damaged, or does not fit.
        """
        folder = Path(folder)
        encoder, captioner = FrameEncoder.load(folder / ENCODER), StreamingDVC.load(folder / CAPTIONER)
        return cls(encoder, captioner, folder.resolve().name)

    def _decoded_size(self, width: int, height: int) -> int | None:
        """Shorter side at which to decode: the encoder squashes frames to its own size, more would be for nothing."""
        backbone: Any = self.encoder.space.image_backbone
        return None if min(width, height) <= backbone.size else int(backbone.size)


def _with_memory(captioner: StreamingDVC, tokens: int) -> StreamingDVC:
    """Return the captioner with another memory size: the same parameters, of which the memory has none."""
    changed = copy.copy(captioner)
    changed.config = replace(captioner.config, memory=replace(captioner.config.memory, size=tokens))
    changed.memory = build_memory(changed.config.memory)
    return changed
