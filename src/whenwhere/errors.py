"""Errors that a user can act on: each says what was given, what was expected and what to do next."""

from __future__ import annotations


class WhenwhereError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line and exits with code 2."""

    def __init__(self, given: str, expected: str = "", todo: str = "") -> None:
        self.given, self.expected, self.todo = given, expected, todo
        parts = [given]
        if expected:
            parts.append(f"expected {expected}")
        if todo:
            parts.append(todo)
        super().__init__("; ".join(parts))


class InputError(WhenwhereError, ValueError):
    """Bad input: a missing, damaged or hostile file, a wrong shape, a time out of range, an unknown name."""


class MediaError(InputError):
    """A video or image that cannot be used at all (missing, empty, not a video, no video stream, too large)."""


class WeightsError(WhenwhereError, RuntimeError):
    """Model weights that are missing, have the wrong hash, or do not fit the model."""


class MissingDependency(WhenwhereError, ImportError):
    """An optional package that this call needs is not installed."""
