"""Records of one size on disk, by key: a few large files, appended to, mapped into memory for reading.

A store is a folder of numbered shards. ``0000.data`` holds records back to back; ``0000.index`` has an entry for each
in the same order: key, CRC-32 of the record, checksum of the entry. A record counts once its entry is there, and the
entry is written after the record. So a process that is killed leaves whole records, and a tail that the next writer
overwrites. Each writer has a shard of its own, by a lock that the operating system takes back when the process ends.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from whenwhere.adapt.places import KEY, Places
from whenwhere.errors import InputError, WhenwhereError

_ENTRY = np.dtype([("key", KEY), ("crc", "<u4"), ("check", "<u4")])
_FACTORS = np.array([2654435761 * (2 * i + 1) % 2**32 for i in range(9)], np.uint32)  # odd, so no bit is lost
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFull(InputError):
    """No room for more records; those that are there stay."""


class DamagedRecord(WhenwhereError, RuntimeError):
    """A record whose bytes are not those that were written; it no longer counts as there."""


class Store:
    """Records of ``record_bytes`` bytes by keys of 32 bytes; several processes may read and append at once.

    Args:
        folder: made if missing.
        record_bytes: of each record.
        shard_bytes: size at which a writer begins a new file.
    """

    def __init__(self, folder: str | os.PathLike[str], record_bytes: int, shard_bytes: int = 4 << 30) -> None:
        self.folder, self.record_bytes = Path(folder), record_bytes
        self.per_shard = max(1, shard_bytes // record_bytes)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._places = Places()
        self._seen: dict[int, int] = {}  # shard -> entries read
        self._doubtful: set[tuple[int, int]] = set()  # entries that did not check: half written as we read, or damaged
        self._maps: dict[int, mmap.mmap] = {}
        self._verified: dict[int, bytearray] = {}  # shard -> a byte for each record
        self._writer: _Writer | None = None
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("folder", "record_bytes", "per_shard")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self._places)

    def path(self, shard: int, kind: str) -> Path:
        """The file of a shard: "data", "index" or "lock"."""
        return self.folder / f"{shard:04d}.{kind}"

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self.folder).free

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Places of keys ``V32`` (n,) for :meth:`read`, -1 where there is none."""
        return self._places.find(keys)

    def refresh(self) -> None:
        """Take note of what other processes have appended."""
        for index in sorted(self.folder.glob("*.index")):
            shard = int(index.stem)
            seen = self._seen.get(shard, 0)
            whole = min(_size(index) // _ENTRY.itemsize, _size(self.path(shard, "data")) // self.record_bytes)
            if whole > seen:
                self._take(shard, seen, _entries(index, seen, whole - seen))
            for ordinal in [ordinal for other, ordinal in self._doubtful if other == shard and ordinal < seen]:
                self._take(shard, ordinal, _entries(index, ordinal, 1))

    def _take(self, shard: int, first: int, entries: np.ndarray) -> None:
        ordinals, fine = np.arange(first, first + len(entries)), _check(entries) == entries["check"]
        self._places.put(entries["key"][fine], shard << 32 | ordinals[fine])
        self._doubtful.difference_update((shard, int(ordinal)) for ordinal in ordinals[fine])
        self._doubtful.update((shard, int(ordinal)) for ordinal in ordinals[~fine])
        self._seen[shard] = max(self._seen.get(shard, 0), first + len(entries))

    def read(self, place: int) -> np.ndarray:
        """A record, as a read-only view of the mapped file.

        Args:
            place: as :meth:`find` gives it.

        Returns:
            uint8 (record_bytes,).

        Raises:
            DamagedRecord: its bytes are not those that were written. They are checked at the first reading.
        """
        shard, ordinal = place >> 32, place & 0xFFFFFFFF
        start, stop = ordinal * self.record_bytes, (ordinal + 1) * self.record_bytes
        data = self.path(shard, "data")
        size = _size(data)
        if size < stop:  # reading beyond the end of a mapped file would end the process
            self._strike_out(shard, ordinal, f"{data} is {size} bytes long, not {stop}")
        held = self._maps.get(shard)
        if held is None or len(held) < stop:
            with data.open("rb") as file:
                held = self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        record = np.frombuffer(held, np.uint8, self.record_bytes, start)
        verified = self._verified.setdefault(shard, bytearray(self.per_shard))
        if len(verified) <= ordinal:  # the shard is of a writer with larger ones
            verified.extend(bytes(ordinal + 1 - len(verified)))
        if not verified[ordinal]:
            entry = _entries(self.path(shard, "index"), ordinal, 1)
            if not len(entry) or _check(entry) != entry["check"] or zlib.crc32(record.data) != entry["crc"][0]:
                self._strike_out(shard, ordinal, f"record {ordinal} of {data} is damaged")
            verified[ordinal] = 1
        return record

    def _strike_out(self, shard: int, ordinal: int, why: str) -> None:
        """Blank the entry, so that no process takes the record for there, and raise."""
        index = self.path(shard, "index")
        if index.is_file():
            with index.open("r+b") as file:
                file.seek(ordinal * _ENTRY.itemsize)
                file.write(bytes(_ENTRY.itemsize))
        self._doubtful.add((shard, ordinal))
        self._places.drop(shard << 32 | ordinal)
        raise DamagedRecord(why, "the bytes that were written", "it is forgotten; fill the cache again to restore it")

    def append(self, keys: np.ndarray, records: np.ndarray) -> None:
        """Write records; they are there for all processes when this returns.

        Args:
            keys: ``V32`` (n,).
            records: uint8 (n, record_bytes).

        Raises:
            DiskFull: no room; what was appended before stays.
        """
        done = 0
        while done < len(keys):
            if self._writer is None or self._writer.count >= self.per_shard or self._writer.process != os.getpid():
                self._writer = self._next_writer()
            take = min(len(keys) - done, self.per_shard - self._writer.count)
            shard, first = self._writer.shard, self._writer.count
            entries = self._writer.write(keys[done : done + take], records[done : done + take])
            if shard in self._verified:
                self._verified[shard][first : first + take] = bytes(take)
            self._take(shard, first, entries)
            done += take

    def _next_writer(self) -> _Writer:
        """The first shard that is neither full nor held by another writer."""
        if self._writer is not None and self._writer.process != os.getpid():
            self._inherited = self._writer  # by a fork: the files and the lock are the parent's, who goes on using them
            self._writer = None
        self.close()
        shard = 0
        while True:
            if _size(self.path(shard, "index")) < self.per_shard * _ENTRY.itemsize:
                lock = FileLock(self.path(shard, "lock"))
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    shard += 1
                    continue
                writer = _Writer(self, shard, lock)
                if writer.count < self.per_shard:
                    return writer
                writer.close()
            shard += 1

    def close(self) -> None:
        """Give up the shard that this process appends to; the next append takes one again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def verify(self) -> int:
        """Read every record, forget the damaged ones, and say how many those were."""
        self.refresh()
        self._verified.clear()
        damaged = 0
        for shard, count in self._seen.items():
            for ordinal in range(count):
                if (shard, ordinal) not in self._doubtful:
                    try:
                        self.read(shard << 32 | ordinal)
                    except DamagedRecord:
                        damaged += 1
        return damaged


class _Writer:
    """The end of one shard, held by this process alone."""

    def __init__(self, store: Store, shard: int, lock: FileLock) -> None:
        self.shard, self.record_bytes, self.lock, self.process = shard, store.record_bytes, lock, os.getpid()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # the last on Windows alone
        self.data = os.open(store.path(shard, "data"), flags, 0o666)
        self.index = os.open(store.path(shard, "index"), flags, 0o666)
        sizes = os.fstat(self.data).st_size // self.record_bytes, os.fstat(self.index).st_size // _ENTRY.itemsize
        self.count = min(sizes)
        self._cut()  # what a killed writer left behind its last whole record

    def _cut(self) -> None:
        os.ftruncate(self.data, self.count * self.record_bytes)
        os.ftruncate(self.index, self.count * _ENTRY.itemsize)

    def write(self, keys: np.ndarray, records: np.ndarray) -> np.ndarray:
        """Append, first the records, then their entries."""
        entries = np.zeros(len(keys), _ENTRY)
        entries["key"] = keys
        entries["crc"] = [zlib.crc32(record.data) for record in records]
        entries["check"] = _check(entries)
        try:
            _write_all(self.data, np.ascontiguousarray(records), self.count * self.record_bytes)
            _write_all(self.index, entries, self.count * _ENTRY.itemsize)
        except OSError as error:
            self._cut()
            if error.errno not in _FULL:
                raise
            raise DiskFull(
                f"no room for {len(keys)} more records of {self.record_bytes} bytes ({error.strerror})",
                "a disk that holds all of them",
                "what was written stays: free some space, or choose another folder, and call again",
            ) from None
        self.count += len(keys)
        return entries

    def close(self) -> None:
        os.close(self.data)
        os.close(self.index)
        self.lock.release()


def _entries(index: Path, first: int, count: int) -> np.ndarray:
    return np.fromfile(index, _ENTRY, count, offset=first * _ENTRY.itemsize)


def _check(entries: np.ndarray) -> np.ndarray:
    words = np.ascontiguousarray(entries).view("<u4").reshape(-1, _ENTRY.itemsize // 4)[:, :9]
    return (words * _FACTORS).sum(1, dtype=np.uint32) + np.uint32(0x9E3779B9)  # blank entries do not check


def _write_all(file: int, array: np.ndarray, offset: int) -> None:
    view = array.view(np.uint8).reshape(-1).data
    os.lseek(file, offset, os.SEEK_SET)
    while view:
        view = view[os.write(file, view) :]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
