"""What a run says while it works: a JSONL file for programs, a progress line for people."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from whenwhere.training.config import TrainingError

_log = logging.getLogger(__name__)


class Journal:
    """Appends one JSON object a line to ``metrics.jsonl`` and shows progress where there is a terminal.

    Args:
        path: the file. Lines of steps after ``start``, left by a run that died, are removed: they will come again.
        start: steps already done.
        steps: steps in all.
        batch: samples per step.
        write: false for all processes but the first, which then only keep the clock.
    """

    def __init__(self, path: Path, start: int, steps: int, batch: int, write: bool) -> None:
        self._path, self._steps, self._batch, self._write = path, steps, batch, write
        self._begin = self._clock = time.perf_counter()
        self._last = self._start = start
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[status]}"),
            console=console,
            disable=not (write and console.is_terminal),
        )
        self._task = self._bar.add_task("fit", total=steps, completed=start, status="")
        if write:
            _trim(path, start)

    def __enter__(self) -> Journal:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def samples_per_second(self) -> float:
        """Mean speed since the start, evaluations left out."""
        return (self._last - self._start) * self._batch / max(time.perf_counter() - self._begin, 1e-9)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step, with speed (samples/s), time left (s) and resident memory (MB)."""
        now = time.perf_counter()
        speed = (step - self._last) * self._batch / max(now - self._clock, 1e-9)
        left = (self._steps - step) * self._batch / max(speed, 1e-9)
        memory = psutil.Process().memory_info().rss / 1e6
        self._last, self._clock = step, now
        self.write({"step": step, **values, "samples_per_s": speed, "eta_s": left, "rss_mb": memory})
        right = f"  accuracy {values['accuracy']:.3f}" if "accuracy" in values else ""
        status = f"loss {values['loss']:.4f}{right}  {speed:.1f} samples/s  {_hms(left)} left  {memory:.0f} MB"
        self._bar.update(self._task, completed=step, status=status)
        if self._write:
            _log.info("step %d/%d  %s", step, self._steps, status)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record.

        Raises:
            TrainingError: the disk is full or the file cannot be written.
        """
        if not self._write:
            return
        line = json.dumps({key: _finite(value) for key, value in record.items()}) + "\n"
        try:
            with self._path.open("ab", buffering=0) as file:  # one write call a line: a kill leaves at most a torn tail
                file.write(line.encode())
        except OSError as error:
            raise TrainingError(
                f"cannot append to {self._path}: {error.strerror}",
                "room on the disk and the right to write",
                "free some space and run the same command again to go on",
            ) from error

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside the block does not count into the speed."""
        before = time.perf_counter()
        yield
        spent = time.perf_counter() - before
        self._clock += spent
        self._begin += spent


def _trim(path: Path, step: int) -> None:
    """Keep the lines up to a step; drop later ones and a torn last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step and step > 0:
                kept.append(line)
        except (ValueError, KeyError, TypeError):  # torn by a kill
            continue
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN


def _hms(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
