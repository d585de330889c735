"""Where records are, by key: sorted arrays, so that a million keys take 40 MB."""

from __future__ import annotations

import numpy as np

KEY = np.dtype("V32")
_MERGE = 65536  # keys that are kept in a dict before they are sorted in


class Places:
    """Keys of 32 bytes, evenly spread as hashes are, and a number from 0 for each."""

    def __init__(self) -> None:
        self._keys = np.zeros((0, 4), np.uint64)  # sorted by the first column
        self._places = np.zeros(0, np.int64)  # -1 where the key is forgotten
        self._recent: dict[bytes, int] = {}

    def __len__(self) -> int:
        return int((self._places >= 0).sum()) + sum(1 for key in self._recent if self._row(key) < 0)

    def put(self, keys: np.ndarray, places: np.ndarray) -> None:
        """Remember keys ``V32`` (n,) with int64 (n,), in the stead of what was known of them."""
        self._recent.update(zip(keys.tolist(), places.tolist()))
        if len(self._recent) > _MERGE:
            self._merge()

    def drop(self, place: int) -> None:
        """Forget the key of a place."""
        for key in [key for key, at in self._recent.items() if at == place]:
            del self._recent[key]
            self._forget_row(key)  # an older place of it
        self._places[self._places == place] = -1

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Places of keys ``V32`` (n,), -1 where unknown."""
        out = np.full(len(keys), -1, np.int64)
        for i, key in enumerate(keys.tolist()):
            place = self._recent.get(key)
            if place is None:
                row = self._row(key)
                place = self._places[row] if row >= 0 else -1
            out[i] = place
        return out

    def _row(self, key: bytes) -> int:
        words = np.frombuffer(key, np.uint64)
        row = int(np.searchsorted(self._keys[:, 0], words[0]))
        while row < len(self._keys) and self._keys[row, 0] == words[0]:
            if self._places[row] >= 0 and np.array_equal(self._keys[row], words):
                return row
            row += 1
        return -1

    def _forget_row(self, key: bytes) -> None:
        if (row := self._row(key)) >= 0:
            self._places[row] = -1

    def _merge(self) -> None:
        fresh = np.frombuffer(b"".join(self._recent), np.uint64).reshape(-1, 4)
        numbers = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        for key in self._recent if len(self._keys) else ():
            self._forget_row(key)
        kept = self._places >= 0
        keys, places = np.concatenate([self._keys[kept], fresh]), np.concatenate([self._places[kept], numbers])
        order = np.argsort(keys[:, 0], kind="stable")
        self._keys, self._places, self._recent = keys[order], places[order], {}
