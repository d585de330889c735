"""How examples reach a method that is trained: as states of the frozen backbone, cached or computed, or as pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from whenwhere.adapt.adapted import Adapted, StatesAdapted
from whenwhere.adapt.cache import Deferred, FeatureCache
from whenwhere.adapt.store import DiskFull
from whenwhere.adapt.views import View
from whenwhere.datasets.labelled_files import Example
from whenwhere.errors import InputError
from whenwhere.training.data import to_device
from whenwhere.training.trained import Progress, Tested

_SHARE_OF_MEMORY = 0.4  # of what is free, for the activations of one piece
_SHARE_FOR_PICTURES = 0.25  # of what is free, for decoded pictures
_TEST_PICTURES = 64  # in a batch, frames of clips counted each
_AT_ONCE = 16  # pictures in a pass of the frozen backbone, frames of clips counted each
_FILL = 32  # examples between two reports of progress


class Store(Protocol):
    """Examples, ready for a method."""

    cached: tuple[int, int]
    frames: int

    def take(self, hashes: Mapping[Example, str], progress: Progress) -> list[tuple[Example, InputError]]:
        """Read examples, given with the hashes of their content; returns those that cannot be decoded."""

    def batch(self, examples: Sequence[tuple[Example, int]], labels: Tensor) -> dict[str, Any]:
        """A batch for ``loss``: (example, number of its view) and labels int64 (n,)."""


class Labelled:
    """Numbers of examples, as the loop draws them; the batch is made when all of it is known."""

    def __init__(self, store: Store, examples: Sequence[Example], labels: np.ndarray, views: int) -> None:
        self.store, self.examples, self.labels, self.views = store, examples, labels, views

    def __len__(self) -> int:
        return len(self.examples)

    def sample(self, rng: np.random.Generator, index: int) -> tuple[int, int]:
        """(number, view that it is seen in this time)."""
        return index, int(rng.integers(self.views)) if self.views > 1 else 0

    def collate(self, drawn: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """The batch of the numbers drawn."""
        labels = torch.from_numpy(self.labels[[number for number, _ in drawn]])
        return self.store.batch([(self.examples[number], view) for number, view in drawn], labels)


class Pixels:
    """Pictures, squashed to the input square and kept as bytes while a quarter of the free memory suffices.

    Args:
        model: whose backbone they are for.
        frames: pictures of a clip; 1 for images.
        views: cuts of each picture, the whole first.
    """

    def __init__(self, model: Adapted, frames: int = 1, views: Sequence[View] = (View(),)) -> None:
        self.model, self.frames, self.views, self.cached = model, frames, tuple(views), (0, 0)
        self._kept: dict[tuple[Example, View], Tensor] = {}  # by views that are not mirrored
        self._room = int(_SHARE_FOR_PICTURES * psutil.virtual_memory().available)

    def take(self, hashes: Mapping[Example, str], progress: Progress) -> list[tuple[Example, InputError]]:
        """As :meth:`Store.take`; every file is decoded once."""
        bad: list[tuple[Example, InputError]] = []
        for at, example in enumerate(hashes, 1):
            try:
                pictures = example.pictures(self.frames)
                for view in dict.fromkeys(replace(view, flip=False) for view in self.views):
                    squashed = self._squashed(pictures, view)
                    if squashed.nbytes <= self._room:
                        self._kept[example, view] = squashed
                        self._room -= squashed.nbytes
            except InputError as error:
                bad.append((example, error))
            progress(at, len(hashes), "decoding")
        return bad

    def _squashed(self, pictures: Sequence[np.ndarray], view: View) -> Tensor:
        """uint8 (3, s, s), of clips (T, 3, s, s)."""
        clip = self.model.backbone.squash([view.of(picture) for picture in pictures])
        return clip if self.frames > 1 else clip[0]

    def _seen(self, example: Example, number: int) -> Tensor:
        view = replace(self.views[number], flip=False)
        found = self._kept.get((example, view))
        squashed = self._squashed(example.pictures(self.frames), view) if found is None else found
        return squashed.flip(-1) if self.views[number].flip else squashed

    def batch(self, examples: Sequence[tuple[Example, int]], labels: Tensor) -> dict[str, Any]:
        """As :meth:`Store.batch`, with "pixels", normalised (n, 3, s, s) or (n, T, 3, s, s)."""
        squashed = [self._seen(example, number) for example, number in examples]
        return {"pixels": self.model.backbone.normalise(torch.stack(squashed)), "label": labels}


class Computed(Pixels):
    """States of the frozen backbone, computed from the pictures in every step; nothing is kept on disk."""

    model: StatesAdapted

    def batch(self, examples: Sequence[tuple[Example, int]], labels: Tensor) -> dict[str, Any]:
        """As :meth:`Store.batch`, with "states" in the type of the backbone."""
        pixels = super().batch(examples, labels)["pixels"].to(self.model.head.weight.device)
        parts = [self.model.frozen_states(part) for part in pixels.split(max(1, _AT_ONCE // self.frames))]
        return {"states": [torch.cat(states) for states in zip(*parts)], "label": labels}


class States:
    """States of the frozen backbone, kept on disk by :class:`whenwhere.adapt.cache.FeatureCache`.

    Of a method that reads the pooled vectors alone, those.

    Args:
        model: whose backbone and taps they are for.
        frames: pictures of a clip; 1 for images.
        folder: of the cache.
        views: cuts of each picture, the whole first.

    Attributes:
        cached: examples all of whose states were there before, and all.
    """

    def __init__(self, model: StatesAdapted, frames: int, folder: Path, views: Sequence[View] = (View(),)) -> None:
        clip, pooled = frames if frames > 1 else None, model.reads_pooled
        try:
            self.cache = FeatureCache(folder, model.backbone, model.taps, views=views, frames=clip, pooled=pooled)
        except OSError as error:
            raise InputError(
                f"the cache {folder} cannot be made ({error.strerror})", "a folder that you may write", "use --cache"
            ) from error
        self.frames, self.cached = frames, (0, 0)
        self._items: dict[Example, Deferred] = {}
        self._keys: dict[Example, np.ndarray] = {}

    def lack(self, hashes: Mapping[Example, str]) -> str:
        """What is wrong with the room on the disk for the states of these examples; "" if it suffices."""
        try:
            self.cache.require_room(list(self._deferred(hashes).values()))
        except DiskFull as error:
            return f"{error.given} ({error.expected} are needed)"
        return ""

    def _deferred(self, hashes: Mapping[Example, str]) -> dict[Example, Deferred]:
        return {e: Deferred(bytes.fromhex(digest), partial(self._read, e, digest)) for e, digest in hashes.items()}

    def take(self, hashes: Mapping[Example, str], progress: Progress) -> list[tuple[Example, InputError]]:
        """As :meth:`Store.take`; only files whose states are not there are decoded."""
        self._items = self._deferred(hashes)
        there = np.asarray(self.cache.has(list(self._items.values())).all(1))
        self.cached = (int(there.sum()), len(there))
        self.cache.require_room(list(self._items.values()))
        bad: list[tuple[Example, InputError]] = []
        examples = list(self._items)
        for start in range(0, len(examples), _FILL):
            part = examples[start : start + _FILL]
            try:
                self._fill(part)
            except DiskFull:
                raise
            except InputError:  # find out which, and keep the others
                for example in part:
                    try:
                        self._fill([example])
                    except DiskFull:
                        raise
                    except InputError as error:
                        bad.append((example, error))
            progress(start + len(part), len(examples), "states")
        return bad

    def _fill(self, examples: Sequence[Example]) -> None:
        keys = self.cache.fill([self._items[example] for example in examples], batch=max(1, _AT_ONCE // self.frames))
        self._keys.update(zip(examples, keys))

    def _read(self, example: Example, digest: str) -> np.ndarray:
        pictures = example.pictures(self.frames)
        if example.hash() != digest:  # else its new states would be kept under its old content
            raise InputError(f"{example.name} changed while it was read", "files that stay as they are")
        return pictures[0] if self.frames == 1 else np.stack(pictures)

    def batch(self, examples: Sequence[tuple[Example, int]], labels: Tensor) -> dict[str, Any]:
        """As :meth:`Store.batch`, with "states"; damaged ones are computed again from their files."""
        keys = np.array([self._keys[example][view] for example, view in examples])
        states = self.cache.read([self._items[example] for example, _ in examples], keys)
        return {"states": states, "label": labels}


def store_for(
    model: Adapted,
    frames: int,
    views: Sequence[View],
    cache: Path | None,
    hashes: Mapping[Example, str],
    fed: str | None = None,
) -> tuple[Store, str]:
    """Choose how a method is fed: from cached states where it reads no more, and where the disk has room for them.

    Args:
        model: to be trained.
        frames, views: as the stores take them.
        cache: folder of the cache; None is none.
        hashes: of all examples.
        fed: "states" or "pixels", as a run that goes on began; None for a new one.

    Returns:
        The store, and where a method of states has to do without a cache, why, for a person; else "".

    Raises:
        InputError: a run that began with cached states cannot have them.
    """
    if not isinstance(model, StatesAdapted):
        return Pixels(model, frames, views), ""
    computed = "the frozen backbone's states are computed from the pictures in every step"
    if fed == "pixels":
        return Computed(model, frames, views), f"{computed}, as when the run began"
    if cache is None:
        if fed == "states":
            raise InputError("no cache, for a run that began with one", "a cache", "leave --cache none away")
        return Computed(model, frames, views), f"no cache: {computed}"
    states = States(model, frames, cache, views)
    lack = states.lack(hashes)
    if lack and fed == "states":
        raise DiskFull(lack, "room for the cache that the run began with", "free some space, or choose another --cache")
    return (Computed(model, frames, views), f"{lack}: {computed}") if lack else (states, "")


def examine(
    model: Adapted, store: Store, examples: Sequence[Example], labels: np.ndarray, progress: Progress | None = None
) -> Tested:
    """What a model says of examples that a store has taken."""
    model.eval()
    rows, at_once, device = [], max(1, _TEST_PICTURES // store.frames), model.head.weight.device
    for start in range(0, len(examples), at_once):
        part = examples[start : start + at_once]
        batch = store.batch([(example, 0) for example in part], torch.from_numpy(labels[start : start + len(part)]))
        with torch.no_grad():
            rows.append(_logits(model, to_device(batch, device)).float().softmax(1).cpu().numpy())
        if progress:
            progress(start + len(part), len(examples), "testing")
    return Tested(model.labels, np.concatenate(rows), labels)


def pieces(model: Adapted, store: Store, example: Example, batch: int) -> int:
    """Into how many equal pieces a step must be cut so that its activations fit into the memory that is free.

    Measured on a batch of one and of two: what autograd keeps for the backward pass.
    """
    model.train()
    label, device = torch.zeros(1, dtype=torch.int64), model.head.weight.device
    kept = []
    for count in (1, 2):
        total = 0

        def count_bytes(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        with saved_tensors_hooks(count_bytes, lambda tensor: tensor):
            model.loss(to_device(store.batch([(example, 0)] * count, label.repeat(count)), device))
        kept.append(total)
    each = max(kept[1] - kept[0], 1)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    most = max(1, int(_SHARE_OF_MEMORY * free / each))
    return next(cut for cut in range(1, batch + 1) if batch % cut == 0 and batch // cut <= most)


def _logits(model: Adapted, batch: dict[str, Any]) -> Tensor:
    if "states" in batch:
        assert isinstance(model, StatesAdapted)
        return model.logits_of(batch["states"])
    logits: Tensor = model(batch["pixels"])
    return logits
