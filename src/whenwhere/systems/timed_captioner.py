"""What the streaming captioners share: text and time on both ends, the loss, decoding, sessions, and files.

A concrete captioner adds how frames are remembered and how text is scored given what is remembered and what was said.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from whenwhere.errors import InputError
from whenwhere.layers.beam import Constraint, Hypothesis, NoRepeatNgram, Stepper, beam_search
from whenwhere.layers.losses import caption_loss, no_loss, smoothed_cross_entropy
from whenwhere.layers.memory import MemoryState
from whenwhere.layers.persistence import load_model, read_config, save_model
from whenwhere.layers.time_grammar import TimeGrammar
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.systems.decoding_points import DecodingPoints, PrefixForm, TimeAxis
from whenwhere.systems.session import StreamOptions, StreamSession
from whenwhere.systems.training_rows import TrainingRows, VideoBatch, training_rows

CaptionerT = TypeVar("CaptionerT", bound="TimedCaptioner")


@dataclass(frozen=True)
class CaptionerConfig:
    """What every streaming captioner is told.

    Args:
        encoder: name of the frozen image encoder that the tokens come from.
        token_width: D, channels of a frame token.
        tokens_per_frame: N_f.
        words: V, word vocabulary.
        axis: frames and time bins.
        points: decoding points in training.
        stream: decoding in inference; its token limits hold in training too.
        smoothing: label smoothing.
        time_weight: weight of the mean loss of time tokens against that of words; ``None`` for one mean over both.

    Raises:
        InputError: a size is out of range.
    """

    encoder: str = "clip-vit-l14"
    token_width: int = 1024
    tokens_per_frame: int = 257
    words: int = 30522
    axis: TimeAxis = field(default_factory=TimeAxis)
    points: DecodingPoints = field(default_factory=DecodingPoints)
    stream: StreamOptions = field(default_factory=StreamOptions)
    smoothing: float = 0.1
    time_weight: float | None = 0.5

    def __post_init__(self) -> None:
        sizes = (self.token_width, self.tokens_per_frame, self.words)
        if min(sizes) < 1:
            raise InputError(f"token width, tokens a frame and words of {sizes}", "at least 1 each")
        if not 0 <= self.smoothing < 1:
            raise InputError(f"label smoothing {self.smoothing:g}", "in [0, 1)")


class TimedCaptioner(nn.Module, ABC):
    """A captioner that can be trained on :class:`VideoBatch` and run on a stream.

    Args:
        config: the model.
        vocab: words and time tokens; may be missing where no text is handled, such as on the meta device.

    Raises:
        InputError: the vocabulary has not the sizes of the configuration.
    """

    schema: ClassVar[str]
    config_type: ClassVar[type[CaptionerConfig]]
    config: CaptionerConfig

    def __init__(self, config: CaptionerConfig, vocab: Vocab | None = None) -> None:
        super().__init__()
        if vocab is not None and (vocab.words, vocab.n_bins) != (config.words, config.axis.n_bins):
            raise InputError(
                f"a vocabulary of {vocab.words} words and {vocab.n_bins} time bins",
                f"{config.words} words and {config.axis.n_bins} bins, as configured",
            )
        self.config, self._vocab = config, vocab

    @abstractmethod
    def empty_memory(self) -> MemoryState:
        """Return the memory of one stream before its first frame."""

    @abstractmethod
    def remember(self, state: MemoryState, tokens: Tensor, position: float) -> MemoryState:
        """Return the memory after one more frame.

        Args:
            state: memory of one stream.
            tokens: (N_f, D) of the frame.
            position: frames since the memory began, fractions allowed.
        """

    @abstractmethod
    def stepper(self, state: MemoryState, prefix: Sequence[int], ended: bool) -> Stepper:
        """Return a word-by-word decoder that sees a memory of at least one frame, and a prefix BOS .. EOS."""

    @abstractmethod
    def final_rows(self, tokens: Tensor, rows: TrainingRows) -> Tensor:
        """Return the decoder's last hidden rows (R, L - 1, width) for frame tokens (B, T, N_f, D)."""

    @abstractmethod
    def logits(self, rows: Tensor) -> Tensor:
        """Return (..., V + n_bins) logits of hidden rows (..., width)."""

    @property
    def vocab(self) -> Vocab:
        """Words and time tokens.

        Raises:
            InputError: the model was built without a vocabulary.
        """
        if self._vocab is None:
            raise InputError("text for a model without a vocabulary", "a model built with one: Model(config, vocab)")
        return self._vocab

    @property
    def axis(self) -> TimeAxis:
        """Frames and time bins."""
        return self.config.axis

    @property
    def prefix_form(self) -> PrefixForm:
        """What a prefix shows of an event."""
        return self.config.points.prefix

    @property
    def marks_end(self) -> bool:
        """Whether the decoder is told where the video ends."""
        return False

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def forward(self, batch: VideoBatch, totals: tuple[float, float] | None = None) -> dict[str, Tensor]:
        """The same as :meth:`loss`, for wrappers that call the module."""
        return self.loss(batch, totals)

    def loss(
        self, batch: VideoBatch, totals: tuple[float, float] | None = None, rows: TrainingRows | None = None
    ) -> dict[str, Tensor]:
        """Return the training loss of a batch of videos.

        Args:
            batch: videos of equal length.
            totals: words and time tokens of the whole batch if this is a part of it
                (see :func:`whenwhere.layers.losses.caption_loss`).
            rows: of :meth:`rows`, if they are known already.

        Returns:
            Scalars ``loss``, ``word_loss``, ``time_loss``, and the counts ``words`` and ``times``.
        """
        rows = self.rows(batch) if rows is None else rows
        if not len(rows):
            return no_loss(self.parameters())
        final = self.final_rows(batch.tokens.to(self.device), rows)
        targets = rows.text[:, 1:].to(self.device)
        spoken = targets != self.vocab.pad
        nats = smoothed_cross_entropy(self.logits(final[spoken]), targets[spoken], self.config.smoothing)
        return caption_loss(nats, targets[spoken], self.config.words, self.config.time_weight, totals)

    def units(self, batch: VideoBatch) -> tuple[float, float]:
        """Count the words and time tokens of a batch's targets, so that parts of a batch can be weighted."""
        rows = self.rows(batch)
        return float(rows.words), float(rows.times)

    def rows(self, batch: VideoBatch) -> TrainingRows:
        """Return the decoding points of a batch as ids; ``rows.words`` and ``rows.times`` count its targets."""
        config, stream = self.config, self.config.stream
        return training_rows(
            batch,
            self.vocab,
            config.axis,
            config.points,
            text_limit=stream.max_tokens,
            prefix_limit=stream.prefix_tokens,
            caption_limit=stream.caption_tokens,
        )

    @torch.no_grad()
    def generate(
        self,
        state: MemoryState,
        prefix: Sequence[int],
        options: StreamOptions,
        *,
        last_bin: int | None = None,
        ended: bool = False,
    ) -> Hypothesis:
        """Decode one text.

        Args:
            state: memory of one stream, at least one frame.
            prefix: ids of what was already said, BOS .. EOS.
            options: search.
            last_bin: latest time bin that can be meant, where the grammar is on.
            ended: the video ends here.

        Returns:
            The best text.

        Raises:
            InputError: the model is in training mode.
        """
        if self.training:
            raise InputError("inference with dropout on", "the model in evaluation mode", "call .eval() first")
        vocab = self.vocab
        constraints: list[Constraint] = []
        if options.grammar:
            constraints.append(TimeGrammar(vocab, last_bin))
        if options.no_repeat_ngram:
            constraints.append(NoRepeatNgram(options.no_repeat_ngram, len(vocab), vocab.words))
        if options.speak is not None and not self._is_silent(self.stepper(state, prefix, ended), options.speak):
            constraints.append(self._not_at_once)
        texts = beam_search(
            self.stepper(state, prefix, ended),
            bos=vocab.bos,
            eos=vocab.eos,
            beam=options.beam,
            max_length=options.max_tokens - 1,  # BOS is the first of max_tokens
            alpha=options.alpha,
            constraints=constraints,
        )
        return texts[0][0]

    def _is_silent(self, stepper: Stepper, threshold: float) -> bool:
        """Whether the model finds it at least this likely that there is nothing to say."""
        first = stepper.step(torch.full((stepper.batch, 1), self.vocab.bos))
        return float(first[0, 0, self.vocab.eos].exp()) >= threshold

    def _not_at_once(self, texts: Tensor) -> Tensor:
        """A constraint for the search: the text does not end where it begins."""
        allowed = torch.ones(*texts.shape[:2], len(self.vocab), dtype=torch.bool)
        if texts.shape[2] == 1:
            allowed[..., self.vocab.eos] = False
        return allowed

    def session(
        self, rate: float, options: StreamOptions | None = None, *, duration: float | None = None
    ) -> StreamSession:
        """Open a stream; puts the model into evaluation mode.

        Args:
            rate: frames a second that will be pushed.
            options: how to decode, instead of ``config.stream``.
            duration: seconds of the media if known.
        """
        self.eval()
        return StreamSession(self, rate, self.config.stream if options is None else options, duration=duration)

    def predict(self, tokens: Tensor, duration: float, options: StreamOptions | None = None) -> list[Event]:
        """Describe a whole clip.

        Args:
            tokens: (T, N_f, D), frame t at ``t * duration / T`` seconds.
            duration: seconds.
            options: how to decode; D_test points are an interval of T // D_test frames.

        Returns:
            The events, sorted by start.
        """
        rate = tokens.shape[0] / duration
        session = self.session(rate, options, duration=duration)
        events = [event for t, frame in enumerate(tokens) for event in session.push(frame, t / rate)]
        return sorted(events + session.finish(), key=lambda event: (event.start, event.end))

    def save(self, folder: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> Path:
        """Write ``config.json``, ``model.safetensors`` and the vocabulary into a folder.

        Args:
            folder: created if missing.
            dtype: of the weights on disk; bfloat16 or float16 halves the file.
        """
        save_model(folder, self, self.schema, self.config, dtype)
        if self._vocab is not None:
            self._vocab.save(folder)
        return Path(folder)

    @classmethod
    def load(cls: type[CaptionerT], folder: str | os.PathLike[str]) -> CaptionerT:
        """Read a model that :meth:`save` wrote, in float32 on the CPU, in evaluation mode.

        Raises:
            WeightsError: a file is missing or damaged, or the weights do not fit the configuration.
            InputError: the vocabulary is missing or does not fit.
        """
        config = read_config(folder, cls.schema, cls.config_type)
        model = cls(config, Vocab.from_file(folder, config.axis.n_bins, words=config.words))
        load_model(folder, model)
        return model.eval()
