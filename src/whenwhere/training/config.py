"""What a training run is told: one frozen dataclass that refuses contradictions by the name of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from whenwhere.errors import InputError, WhenwhereError

Schedule = Literal["constant", "cosine", "step"]
Precision = Literal["32-true", "bf16-mixed"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Mode = Literal["max", "min"]


class TrainingError(WhenwhereError, RuntimeError):
    """A run that cannot go on: the loss is not finite, or the disk is full."""


@dataclass(frozen=True)
class FitConfig:
    """How to train, saved with every checkpoint.

    Args:
        steps: optimizer steps in all.
        batch: samples per optimizer step, over all processes and accumulated pieces together.
        lr: peak learning rate.
        warmup: steps of linear rise from ``lr / warmup`` to ``lr``.
        schedule: after the rise, "constant", "cosine" (to 0 at ``steps``) or "step" (times 0.1 at each of ``drops``).
        drops: steps at which "step" multiplies the rate by 0.1, ascending.
        weight_decay: AdamW's decoupled decay, applied to matrices only, never to biases, norms or other vectors.
        betas: AdamW's two decay rates.
        grad_clip: largest norm of the whole gradient; 0 switches clipping off.
        precision: "32-true", or "bf16-mixed" (weights in float32, autocast to bfloat16 inside ``loss``).
        seed: orders the data and seeds every sample and every dropout mask.
        accumulate: pieces each process cuts its share of the batch into, to save memory.
        ema: decay of the running average of the weights; 0 switches it off.
        log_every: steps between lines of ``metrics.jsonl``.
        checkpoint_every: steps between checkpoints; 0 writes only the last one.
        keep: newest checkpoints kept.
        evaluate_every: steps between calls of ``evaluate``; 0 never calls it.
        best: name of the evaluated metric whose best weights are kept in ``best.safetensors``; "" keeps none.
        best_mode: whether the larger ("max") or the smaller ("min") value of ``best`` is the better one.
        device: "auto" takes the accelerator this machine has.
        unused_parameters: with several processes, allow weights that get no gradient in some steps; switching it
            off saves a walk over the graph in each.

    Raises:
        InputError: a value out of range, or two fields that contradict each other; the message names the field.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 0
    schedule: Schedule = "constant"
    drops: tuple[int, ...] = ()
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    grad_clip: float = 1.0
    precision: Precision = "32-true"
    seed: int = 0
    accumulate: int = 1
    ema: float = 0.0
    log_every: int = 50
    checkpoint_every: int = 1000
    keep: int = 2
    evaluate_every: int = 0
    best: str = ""
    best_mode: Mode = "max"
    device: Device = "auto"
    unused_parameters: bool = True

    def __post_init__(self) -> None:
        drops = tuple(self.drops)
        ascending = all(0 < a < b for a, b in zip((*drops, self.steps), (*drops[1:], self.steps + 1)))
        self._require("steps", self.steps >= 1, "at least 1")
        self._require("batch", self.batch >= 1, "at least 1")
        self._require("lr", 0 < self.lr < math.inf, "a finite number above 0")
        self._require("warmup", 0 <= self.warmup < self.steps, f"at least 0 and less than steps={self.steps}")
        self._require("schedule", self.schedule in get_args(Schedule), f"one of {', '.join(get_args(Schedule))}")
        if self.schedule == "step":
            self._require("drops", bool(drops) and ascending, f"ascending steps between 1 and steps={self.steps}")
        else:
            self._require("drops", not drops, f"none with schedule={self.schedule!r} (they belong to 'step')")
        self._require("weight_decay", 0 <= self.weight_decay < math.inf, "a finite number, 0 or more")
        self._require("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)")
        self._require("grad_clip", 0 <= self.grad_clip < math.inf, "0 (off) or a finite number above 0")
        self._require("precision", self.precision in get_args(Precision), f"one of {', '.join(get_args(Precision))}")
        self._require("seed", self.seed >= 0, "0 or more")
        divides = self.accumulate >= 1 and self.batch % self.accumulate == 0
        self._require("accumulate", divides, f"a divisor of batch={self.batch}")
        self._require("ema", 0 <= self.ema < 1, "0 (off) or a decay below 1")
        self._require("log_every", self.log_every >= 1, "at least 1")
        self._require("checkpoint_every", self.checkpoint_every >= 0, "0 (only the last step) or more")
        self._require("keep", self.keep >= 1, "at least 1")
        self._require("evaluate_every", self.evaluate_every >= 0, "0 (never) or more")
        self._require("best", not self.best or self.evaluate_every > 0, "evaluate_every above 0 beside it")
        self._require("best_mode", self.best_mode in get_args(Mode), f"one of {', '.join(get_args(Mode))}")
        self._require("device", self.device in get_args(Device), f"one of {', '.join(get_args(Device))}")

    def _require(self, field: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(f"{field}={getattr(self, field)!r}", expected, f"change {field} of FitConfig")
