"""The bytes of a source as FFmpeg reads them: from a file or a pipe, a failure told from an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from whenwhere.errors import MediaError
from whenwhere.media.sources import Source


class ByteStream:
    """Reads a source's bytes; when reading fails midway it ends there and keeps the reason in `failure`.

    FFmpeg would print such an error and go on as if nothing had happened.

    Args:
        source: of kind "file" or "stream".

    Raises:
        MediaError: when the source cannot be opened.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.failure = ""
        self._seekable = source.kind == "file"
        self._ours = source.handle is None
        if source.handle is not None:
            self._handle: BinaryIO = source.handle
        else:
            assert source.path is not None
            try:
                self._handle = open(source.path, "rb", buffering=0 if self._seekable else -1)  # noqa: SIM115
            except OSError as error:
                given = f"{source.name} cannot be opened ({(error.strerror or str(error)).lower()})"
                raise MediaError(given, "a file that you may read") from error
        if self._seekable:
            self._handle.seek(0)
        # read1 returns what is there; read would wait until a live source has filled the whole buffer
        self._read: Callable[[int], bytes] = getattr(self._handle, "read1", self._handle.read)
        self._head = b""

    def peek(self, size: int) -> bytes:
        """Return up to `size` first bytes without consuming them; to be called before `read`."""
        while len(self._head) < size:
            more = self._guarded(size - len(self._head))
            if not more:
                break
            self._head += more
        head = self._head[:size]
        if self._seekable:
            self.seek(0)
            self._head = b""
        return head

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, and none only at the end or after a failure."""
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._guarded(size)

    def seekable(self) -> bool:
        """Say whether `seek` may be called."""
        return self._seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as file objects do."""
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        """Return the position as file objects do."""
        return self._handle.tell()

    def close(self) -> None:
        """Close the file if it was opened here; the caller's own stays open."""
        if self._ours:
            self._handle.close()

    def _guarded(self, size: int) -> bytes:
        if self.failure:
            return b""
        try:
            return self._read(size) or b""
        except (OSError, ValueError) as error:  # ValueError: the caller closed the file
            self.failure = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
            return b""
