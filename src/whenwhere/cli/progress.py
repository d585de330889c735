"""What a person sees while a command works: lines, and below them a bar that moves."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psutil

from whenwhere.cli.errors import printable
from whenwhere.reports.clock import stamp

if TYPE_CHECKING:
    from whenwhere.systems.describer import DescribeStats


class LiveProgress:
    """A bar on stderr where that is a terminal, nothing otherwise; use it as a context manager.

    Args:
        title: stands before the bar.
        shift: seconds at which the bar begins.
    """

    def __init__(self, title: str, shift: float = 0.0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._console, self._shift = Console(stderr=True), shift
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[title]}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[where]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            redirect_stdout=False,  # what goes to stdout must stay there
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None, title=printable(title), where="")

    def update(self, stats: DescribeStats) -> None:
        """Show where a run stands."""
        length = None if stats.duration is None else max(stats.duration - self._shift, 0.1)
        of = "" if stats.duration is None else f" / {stamp(stats.duration)}"
        where = f"{stamp(stats.position)}{of}  {stats.speed:.1f} x real time  {stats.rss / 1e6:.0f} MB"
        self._progress.update(self._task, completed=stats.position - self._shift, total=length, where=where)

    def say(self, text: str) -> None:
        """Print a line on stdout, at once and above the bar where both are on the screen."""
        if self._console.is_terminal and sys.stdout.isatty():
            self.remark(text)
        else:
            print(text, flush=True)

    def remark(self, text: str) -> None:
        """Print a line on stderr, above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> LiveProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Bar:
    """What a person sees of steps that can be counted: a line on stderr where that is a terminal, remarks above it.

    The line tells speed, resident memory and time left.

    Use it as a context manager.

    Args:
        interrupted: what to say after Ctrl-C.
    """

    def __init__(self, interrupted: str = "") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: Any = None
        self._begin = (0, 0.0)
        self._interrupted = interrupted

    def show(self, done: int, of: int, what: str) -> None:
        """Move the line; it goes away when all is done."""
        if self._task is None:
            self._task, self._begin = self._progress.add_task(what, total=of, rate=""), (done, time.perf_counter())
            self._progress.start()
        before, begin = self._begin
        rate = f"{(done - before) / max(time.perf_counter() - begin, 1e-9):.0f}/s" if done > before else ""
        rate += f" {psutil.Process().memory_info().rss / 1e6:.0f} MB"
        self._progress.update(self._task, completed=done, total=of, description=what, rate=rate)
        if done >= of:
            self._stop()

    def remark(self, text: str) -> None:
        """Print a line on stderr."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._interrupted and kind is not None and issubclass(kind, KeyboardInterrupt):
            self.remark(self._interrupted)
