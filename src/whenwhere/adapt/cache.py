"""A cache of what a frozen backbone gives: computed once, then read back in every epoch.

Methods that read the backbone's states and nothing else (LoSA, the linear probe) need no backbone after the first
epoch: its states are the same each time. They are kept on disk, by the content of the image, so that a changed file is
computed anew and a moved one is not; and by everything that makes the states what they are (weights of the backbone,
layers, size, normalisation, number type, view), so that nothing stale is ever read.

This goes beyond LoSA's paper, which trains from pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from whenwhere.adapt.adapted import StatesAdapted, frozen_states
from whenwhere.adapt.places import KEY
from whenwhere.adapt.shapes import shapes_to_keep, to_grid
from whenwhere.adapt.store import DamagedRecord, DiskFull, Store
from whenwhere.adapt.views import View
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError
from whenwhere.media import read_image

SCHEMA = "whenwhere.features/1"
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Deferred:
    """An item that is decoded only where its states are not there yet.

    Args:
        content: hash of what it holds, of any length.
        read: gives uint8 (H, W, 3), for clips (T, H, W, 3); raises InputError where it cannot.
    """

    content: bytes
    read: Callable[[], np.ndarray]


Item = str | os.PathLike[str] | np.ndarray | Deferred
"""A path of an image file; uint8 (H, W, 3), for clips uint8 (T, H, W, 3); or one that is decoded when needed."""


@dataclass(frozen=True)
class Cost:
    """What filling takes.

    Args:
        records: items times views.
        record_bytes: of one.
        bytes: of all.
        free: on the disk now.
    """

    records: int
    record_bytes: int
    bytes: int
    free: int


@dataclass
class Stats:
    """What a cache has done since it was opened: records found, computed and found damaged, and their bytes."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


class FeatureCache:
    """States of a frozen backbone on disk.

    Several processes may use one folder at once. A process that is killed leaves whole records only. A full disk is an
    error that loses nothing. Records carry checksums, which are compared when a record is first read.

    Args:
        folder: made if missing; may be shared by caches of any settings, which keep apart in it.
        backbone: frozen.
        taps: layers whose states are kept. Tap few: each costs ``N * D`` numbers an image.
        dtype: on disk. "float32" gives back what was computed, to the bit. Filling runs without autocast.
        views: cuts of each image.
        frames: T if items are clips.
        pooled: keep the backbone's pooled vector (of clips, its mean over the frames) instead of states: all that a
            linear probe needs.
        shard_bytes: size at which a writer begins a new file.

    Raises:
        InputError: settings that make no sense.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        backbone: Backbone,
        taps: Sequence[int],
        *,
        dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
        views: Sequence[View] = (View(),),
        frames: int | None = None,
        pooled: bool = False,
        shard_bytes: int = 4 << 30,
    ) -> None:
        depth = backbone.depth
        if dtype not in _TYPES or not taps or not views or any(not -depth <= tap < depth for tap in taps):
            raise InputError(
                f"taps {list(taps)[:9]}, {len(views)} views, dtype {dtype!r}",
                f"layers in {-depth}..{depth - 1}, at least one view, and one of {', '.join(_TYPES)}",
            )
        self.backbone, self.frames, self.pooled, self.views = backbone, frames, pooled, tuple(views)
        self.taps, self.stats = tuple(tap % depth for tap in taps), Stats()
        shapes: list[tuple[int, ...]] = list(shapes_to_keep(backbone, self.taps))
        if pooled:
            self.taps, shapes = (depth - 1,), [(backbone.width,)]
        kept = [shape if frames is None or pooled else (frames, *shape) for shape in shapes]
        self._made_for = backbone.fingerprint()
        about = {
            "schema": SCHEMA,
            "backbone": backbone.name,
            "fingerprint": self._made_for,
            "taps": self.taps,
            "shapes": kept,
            "dtype": dtype,
            "pooled": pooled,
            "size": backbone.size,
            "mean": backbone.mean,
            "std": backbone.std,
            **({"frames": frames} if pooled and frames else {}),
        }
        identity = hashlib.sha256(json.dumps({**about, "backbone": ""}, sort_keys=True).encode()).hexdigest()
        self.folder = Path(folder) / identity[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._describe(about)
        self.features = Features(self.folder, kept, dtype, shard_bytes, self.stats)

    @classmethod
    def of(cls, folder: str | os.PathLike[str], model: StatesAdapted, **options: Any) -> FeatureCache:
        """The cache that a model needs: its backbone, its taps, its frames; ``options`` as in the constructor."""
        frames = getattr(model.config, "frames", None)
        return cls(folder, model.backbone, model.taps, **{"frames": frames, **options})

    def _describe(self, about: dict[str, Any]) -> None:
        path = self.folder / "about.json"
        if not path.is_file():
            temporary = path.with_name(f"about.{os.getpid()}.part")
            temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            os.replace(temporary, path)

    @property
    def record_bytes(self) -> int:
        """Bytes of one view of one item."""
        return self.features.store.record_bytes

    def cost(self, items: int) -> Cost:
        """Bytes for so many items, none of which is there yet, and the room on the disk."""
        records = items * len(self.views)
        return Cost(records, self.record_bytes, records * (self.record_bytes + 40), self.features.store.free_bytes())

    def fill(
        self,
        items: Sequence[Item],
        *,
        batch: int = 16,
        progress: Callable[[int, int], None] | None = None,
        keep_free: int = 1 << 30,
    ) -> np.ndarray:
        """Compute what is missing and write it.

        Args:
            items: images or clips.
            batch: items that go through the backbone at once.
            progress: called with (items done, items in all) after each batch.
            keep_free: bytes that stay free on the disk.

        Returns:
            Keys ``V32`` (len(items), len(views)), to ask for records with.

        Raises:
            InputError: the backbone is not what it was when the cache was opened.
            DiskFull: the disk has not room for it, told before anything is computed; or it filled up meanwhile, and
                what was written stays.
            MediaError: an image that cannot be read.
        """
        store = self.features.store
        self.require_room(items, keep_free)
        self._same = False
        out = np.zeros((len(items), len(self.views)), KEY)
        try:
            for start in range(0, len(items), batch):
                chunk = items[start : start + batch]
                out[start : start + len(chunk)] = self._fill_batch(chunk)
                if progress:
                    progress(start + len(chunk), len(items))
        finally:
            store.close()
        return out

    def require_room(self, items: Sequence[Item], keep_free: int = 1 << 30) -> None:
        """Refuse items whose states would not fit on the disk.

        Args:
            items: as for :meth:`fill`.
            keep_free: bytes that stay free.

        Raises:
            DiskFull: not enough room; says how much there is and what to do.
        """
        cost = self.cost(len(items))
        if cost.bytes <= cost.free - keep_free:
            return  # even if none of it is there
        missing = int((~self.has(items)).sum())
        need = missing * (self.record_bytes + 40)
        if missing and need > cost.free - keep_free:
            raise DiskFull(
                f"{need / 1e9:.2f} GB of features for {missing} records, with {cost.free / 1e9:.2f} GB free",
                f"that and {keep_free / 1e9:.2f} GB that stay free",
                "tap fewer layers, store bfloat16, take fewer views, or choose another folder",
            )

    def has(self, items: Sequence[Item]) -> np.ndarray:
        """Which records are there: bool (len(items), len(views))."""
        store = self.features.store
        store.refresh()
        rows = [store.find(self._keys(_content(item))) >= 0 for item in items]
        return np.stack(rows) if rows else np.zeros((0, len(self.views)), bool)

    def states(self, items: Sequence[Item], view: int = 0) -> list[Tensor]:
        """States of items, computed where they are not there or damaged; as :meth:`batch`."""
        return self.read(items, self.fill(items, batch=max(1, len(items)))[:, view])

    def read(self, items: Sequence[Item], keys: np.ndarray) -> list[Tensor]:
        """States by key, ``V32`` (len(items),); computed again from the items where they are damaged."""
        try:
            return self.batch(keys)
        except DamagedRecord:
            for key in keys:  # find all that are damaged, so that one filling restores them
                try:
                    self.features.check(key)
                except DamagedRecord:
                    continue
            self.fill(items, batch=max(1, len(items)))
            return self.batch(keys)

    def batch(self, keys: np.ndarray) -> list[Tensor]:
        """States by key; see :meth:`Features.batch`."""
        return self.features.batch(keys)

    def _keys(self, content: bytes) -> np.ndarray:
        parts = [content + json.dumps(dataclasses.astuple(view)).encode() for view in self.views]
        return np.frombuffer(b"".join(hashlib.sha256(part).digest() for part in parts), KEY)

    def _fill_batch(self, items: Sequence[Item]) -> np.ndarray:
        store = self.features.store
        store.refresh()  # another process may have been here
        read = [_read(item) for item in items]
        keys = np.stack([self._keys(content) for content, _ in read])  # (items, views)
        places = store.find(keys.reshape(-1)).reshape(keys.shape)
        wanted = {key.tobytes(): (i, v) for (i, v), key in np.ndenumerate(keys) if places[i, v] < 0}
        self.stats.hits += int((places >= 0).sum())
        self.stats.misses += len(wanted)
        if wanted and not self._same:
            self._require_same()
        for start in range(0, len(wanted), len(items)):
            some = list(wanted.values())[start : start + len(items)]
            frames = {i: self._frames(read[i][1]()) for i in {i for i, _ in some}}
            cuts = [self.views[v].of(frame) for i, v in some for frame in frames[i]]
            pixels = self.backbone.preprocess(cuts)
            if self.frames is not None:
                pixels = pixels.unflatten(0, (-1, self.frames))  # (B, T, 3, s, s)
            records = self.features.packed(self._computed(pixels))
            store.append(np.array([keys[i, v] for i, v in some], KEY), records)
            self.stats.bytes_written += records.nbytes
        return keys

    def _require_same(self) -> None:
        if self.backbone.fingerprint() != self._made_for:
            raise InputError(
                f"{self.backbone.name} with other weights or settings than when the cache was opened",
                "an unchanged backbone",
                "open the cache anew",
            )
        self._same = True  # for the rest of this filling

    def _computed(self, pixels: Tensor) -> list[Tensor]:
        device = next((p.device for p in self.backbone.parameters()), pixels.device)
        with torch.autocast(device.type, enabled=False):  # records are what their dtype says, whoever fills
            states = frozen_states(self.backbone, pixels.to(device), self.taps)
            if not self.pooled:
                return [to_grid(state, shape[-2]) for state, shape in zip(states, self.features.shapes)]
            with torch.no_grad():
                vectors = self.backbone.finish(states[0].flatten(0, -3)).float()  # (B * T, width)
        return [vectors if self.frames is None else vectors.unflatten(0, (-1, self.frames)).mean(1)]

    def _frames(self, pixels: np.ndarray) -> list[np.ndarray]:
        if self.frames is None:
            return [pixels]
        if pixels.ndim != 4 or len(pixels) != self.frames:
            raise InputError(f"an item of shape {pixels.shape}", f"a clip of {self.frames} frames, (T, H, W, 3)")
        return list(pixels)


class Features:
    """Reading side of a cache: no backbone, so that it goes to worker processes.

    Args:
        folder: of one kind of features.
        shapes: of each state of one record.
        dtype: on disk.
        shard_bytes: as for the cache.
        stats: counted into.
    """

    def __init__(
        self,
        folder: Path,
        shapes: Sequence[tuple[int, ...]],
        dtype: str,
        shard_bytes: int,
        stats: Stats | None = None,
    ) -> None:
        self.shapes, self.dtype = [tuple(shape) for shape in shapes], _TYPES[dtype]
        self.stats = stats or Stats()
        self._bytes = [int(np.prod(shape)) * self.dtype.itemsize for shape in self.shapes]
        self.store = Store(folder, sum(self._bytes), shard_bytes)

    def packed(self, states: Sequence[Tensor]) -> np.ndarray:
        """States of a batch as records, uint8 (B, record_bytes)."""
        rows = []
        for state, shape in zip(states, self.shapes):
            if tuple(state.shape[1:]) != shape:
                raise InputError(f"states of shape {tuple(state.shape[1:])}", str(shape))
            kept = state.detach().to("cpu", self.dtype).contiguous()
            rows.append(kept.view(len(kept), -1).view(torch.uint8).numpy())
        return np.concatenate(rows, 1)

    def batch(self, keys: np.ndarray) -> list[Tensor]:
        """Read records.

        Args:
            keys: ``V32`` (B,), as :meth:`FeatureCache.fill` gives them.

        Returns:
            One tensor (B, N, D) per tap, (B, T, N, D) for clips, in the dtype on disk.

        Raises:
            InputError: a key that is not there.
            DamagedRecord: a record whose bytes changed on disk; fill again to restore it.
        """
        keys = np.asarray(keys, KEY)
        places = self.store.find(keys)
        if (places < 0).any():
            self.store.refresh()
            places = self.store.find(keys)
        if (places < 0).any():
            raise InputError(
                f"{int((places < 0).sum())} of {len(keys)} keys are not in {self.store.folder}",
                "keys that fill() gave",
                "fill the cache again",
            )
        out = [torch.empty((len(keys), *shape), dtype=self.dtype) for shape in self.shapes]
        views = [state.view(len(keys), -1).view(torch.uint8).numpy() for state in out]
        for row, place in enumerate(places.tolist()):
            record, start = self._record(place), 0
            for view, size in zip(views, self._bytes):
                view[row] = record[start : start + size]
                start += size
        self.stats.bytes_read += len(keys) * self.store.record_bytes
        return out

    def check(self, key: np.ndarray) -> None:
        """Raise :class:`DamagedRecord` if the record of a key is damaged."""
        place = int(self.store.find(np.asarray([key], KEY))[0])
        if place >= 0:
            self._record(place)

    def _record(self, place: int) -> np.ndarray:
        try:
            return self.store.read(place)
        except DamagedRecord:
            self.stats.damaged += 1
            raise


class CachedDataset:
    """Cached features as a data set for :func:`whenwhere.training.fit`: batches of "states" and "label", no backbone.

    Args:
        cache: filled.
        keys: what :meth:`FeatureCache.fill` gave, (items, views); each draw takes one of the views.
        labels: a class number per item.
    """

    def __init__(self, cache: FeatureCache, keys: np.ndarray, labels: Sequence[int]) -> None:
        if len(keys) != len(labels):
            raise InputError(f"{len(keys)} rows of keys and {len(labels)} labels", "one label per item")
        self.features, self.keys, self.labels = cache.features, keys, np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, int]:
        """Key and label of an item, in a random view."""
        return self.keys[index, rng.integers(self.keys.shape[1])], int(self.labels[index])

    def collate(self, samples: Sequence[tuple[np.ndarray, int]]) -> dict[str, Any]:
        """The batch that :meth:`StatesAdapted.loss` takes; pass it to ``Batches``."""
        keys = np.array([key for key, _ in samples], KEY)
        return {"states": self.features.batch(keys), "label": torch.tensor([label for _, label in samples])}


def _content(item: Item) -> bytes:
    """Hash of what an item holds."""
    if isinstance(item, Deferred):
        return item.content
    if isinstance(item, np.ndarray):
        head = f"{item.dtype} {item.shape};".encode()
        return hashlib.sha256(head + np.ascontiguousarray(item).tobytes()).digest()
    return hashlib.sha256(_file(item)).digest()


def _read(item: Item) -> tuple[bytes, Callable[[], np.ndarray]]:
    """Hash of an item, and what gives its pixels, from the very bytes that were hashed."""
    if isinstance(item, Deferred):
        return item.content, item.read
    if isinstance(item, np.ndarray):
        return _content(item), lambda: item
    encoded = _file(item)
    return hashlib.sha256(encoded).digest(), lambda: read_image(encoded)


def _file(item: str | os.PathLike[str]) -> bytes:
    try:
        return Path(item).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {item}: {error.strerror}", "an image file") from None
