"""A trained adapter in use: what it says of files, and how often it is right."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.methods import load_adapted
from whenwhere.backbones.vision import Backbone
from whenwhere.datasets.labelled_files import SPLITS, Example, LabelledFiles, held_out, read_labelled
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.persistence import CONFIG_FILE, read_json
from whenwhere.media.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from whenwhere.training.adapt_content import fingerprint, hashes_of, in_order, place_of
from whenwhere.training.threads import idle_threads, threads_put_back

RECIPE, ADAPTER = "recipe.json", "adapter"
_TOLD = 5  # files named in a line on those left out

Tell = Callable[[str], None]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Tested:
    """What a model says of labelled examples.

    Args:
        labels: names of the classes.
        probabilities: float32 (n, classes), n at least 1.
        truth: int64 (n,).
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    truth: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return float((self.probabilities.argmax(1) == self.truth).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson's score interval)."""
        n, z, p = len(self.truth), 1.959964, self.accuracy
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def confusion(self) -> np.ndarray:
        """Counts (classes, classes): rows are the truth, columns what was said."""
        classes = len(self.labels)
        cells = self.truth * classes + self.probabilities.argmax(1)
        return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)

    def by_class(self) -> list[tuple[str, int, int]]:
        """(label, right, of) for every class that occurs."""
        matrix = self.confusion()
        return [
            (name, int(row[at]), int(row.sum())) for at, (name, row) in enumerate(zip(self.labels, matrix)) if row.sum()
        ]

    def facts(self) -> dict[str, Any]:
        """All figures, as JSON values."""
        low, high = self.interval
        return {
            "accuracy": self.accuracy,
            "interval": [low, high],
            "examples": len(self.truth),
            "classes": {name: {"right": right, "of": of} for name, right, of in self.by_class()},
            "confusion": self.confusion().tolist(),
        }


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter with what is needed to feed it.

    Args:
        model: on its backbone.
        frames: pictures it reads of each clip; 1 for images.
        clips: whether it takes clips, not pictures; None is where it reads several frames.
        trained_on: where the data lay that it was trained on, and what they held (see
            :func:`whenwhere.training.adapt_content.fingerprint`); None where that is not known.
    """

    model: Adapted
    frames: int = 1
    clips: bool | None = None
    trained_on: tuple[str, str] | None = None

    @property
    def takes(self) -> str:
        """What it is for: "clip" or "picture"."""
        return "clip" if (self.frames > 1 if self.clips is None else self.clips) else "picture"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.model.labels

    @classmethod
    def load(cls, folder: str | os.PathLike[str], backbone: Backbone | None = None) -> TrainedAdapter:
        """Read what ``whenwhere adapt`` wrote, the folder of a run.

        Args:
            folder: of the run, or of an adapter that was saved in Python.
            backbone: to put it on; default the one that it names.

        Raises:
            WeightsError: no adapter there, a run that has not come to its end, or weights that do not fit.
        """
        path = Path(folder)
        recipe = path / RECIPE
        if not recipe.is_file():
            if not (path / CONFIG_FILE).is_file():
                what = "is no adapter" if path.exists() else "does not exist"
                raise WeightsError(f"{path} {what}", "the folder of `whenwhere adapt` (its --out)")
            model = load_adapted(path, backbone)
            return cls(model, getattr(model.config, "frames", None) or 1)
        if not (path / ADAPTER).is_dir():
            raise WeightsError(
                f"{path} holds a run that has not come to its end", "an adapter", "run its command again"
            )
        facts = read_json(recipe)
        frames, clips, place, content = (facts.get(name) for name in ("frames", "clips", "data", "content"))
        if not isinstance(frames, int) or frames < 1:
            raise WeightsError(f"{recipe}: frames is {frames!r}", "1 or more")
        known = (place, content) if isinstance(place, str) and isinstance(content, str) else None
        clips = clips if isinstance(clips, bool) else None
        return cls(load_adapted(path / ADAPTER, backbone), frames, clips, known)

    def predict(self, files: Sequence[str | os.PathLike[str] | Example]) -> list[list[tuple[str, float]]]:
        """Classes of files with their probabilities, the surest first.

        Raises:
            InputError: a file that cannot be decoded, or is a picture where the adapter takes clips, or a clip where
                it takes pictures; the message names it.
        """
        examples = [file if isinstance(file, Example) else Example(Path(file), "") for file in files]
        for example in examples:
            self._check_kind(example)
        rows, bad = say(self.model, examples, self.frames)
        if bad:
            raise bad[0][1]
        orders = np.argsort(-rows, axis=1, kind="stable")
        return [[(self.labels[at], float(row[at])) for at in order] for row, order in zip(rows, orders)]

    @threads_put_back()
    def evaluate(
        self,
        data: str | os.PathLike[str],
        split: str = "auto",
        *,
        tell: Tell = lambda line: None,
        progress: Progress = lambda done, of, what: None,
    ) -> Tested:
        """Test it on labelled files.

        Args:
            data: as :func:`whenwhere.datasets.labelled_files.read_labelled` takes it.
            split: "train", "val", "test", or "all"; of data without val and test, "test" is one in five of each class.
                "auto" is "test" where the data have it, and where they are those that the adapter was trained on; else
                "all".
            tell: called with lines for a person.
            progress: called with (done, of, what).

        Raises:
            InputError: no such examples, a class that the adapter does not know, pictures where it takes clips (or
                clips where it takes pictures), or nothing that decodes.
        """
        files = read_labelled(data, labelled=False)
        unknown = sorted(set(files.classes) - set(self.labels))
        if unknown:
            raise InputError(
                f"{files.source} has the class {unknown[0]!r}", f"classes of this adapter: {', '.join(self.labels[:8])}"
            )
        if split not in ("auto", *SPLITS, "all"):
            raise InputError(f"split {split!r}", f"one of auto, {', '.join(SPLITS)}, all")
        if split == "auto":
            files, split = self._choose(files)
        elif split != "all":
            files = held_out(files)
        examples = files.examples if split == "all" else files.of(split)
        if not examples:
            raise InputError(f"{files.source} has no {split} examples", "another split")
        for example in examples:
            self._check_kind(example)
        for note in files.notes:
            tell(note)
        torch.set_num_threads(idle_threads())
        rows, bad = say(self.model, examples, self.frames, progress=progress)
        if not len(rows):
            raise InputError(f"none of {len(examples)} files can be decoded", "pictures or clips", str(bad[0][1]))
        if bad:
            tell(left_out(bad))
        lost = {example for example, _ in bad}
        index = {name: at for at, name in enumerate(self.labels)}
        truth = np.array([index[e.label] for e in examples if e not in lost], np.int64)
        return Tested(self.labels, rows, truth)

    def _check_kind(self, example: Example) -> None:
        """By the suffix; a file with none of a picture or clip is left to the decoder."""
        suffix = PurePosixPath(example.member or example.path.name).suffix.lower()
        takes = self.takes
        if suffix in (IMAGE_SUFFIXES if takes == "clip" else VIDEO_SUFFIXES):
            other = "picture" if takes == "clip" else "clip"
            raise InputError(
                f"{example.name} is a {other}, by its suffix", f"a {takes}, as this adapter takes {takes}s"
            )

    def _choose(self, files: LabelledFiles) -> tuple[LabelledFiles, str]:
        """What is tested where nobody says it: what the adapter has not been trained on. A note tells it."""
        divided = held_out(files)
        if not divided.made_split:
            return files, "test"
        held, count = len(divided.of("test")), len(files.examples)
        same = False
        if self.trained_on is not None:
            everything = in_order(divided)
            same = fingerprint(everything, hashes_of(everything)[0]) == self.trained_on[1]
        if same or (self.trained_on is not None and place_of(files) == self.trained_on[0]):
            changed = "" if same else ", but files have changed since, so some of them may have been trained on"
            note = (
                f"these are the data that the adapter was trained on{changed}: {held} of {count} examples are tested, "
                "the one in five of each class that is held out of training; --split all tests every one"
            )
            return replace(divided, notes=(*files.notes, note)), "test"
        unknown = "it is not known what the adapter was trained on"
        why = unknown if self.trained_on is None else "the adapter was not trained on these data"
        note = f"no test split given, and {why}: all {count} examples are tested; --split test tests one in five"
        return replace(files, notes=(*files.notes, note)), "all"


def undecodable(bad: Sequence[tuple[Example, InputError]]) -> str:
    """One line on files that cannot be decoded, with the reasons."""
    reasons = "; ".join(error.given for _, error in bad[:_TOLD])
    more = f"; and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
    return f"{len(bad)} file{'s' * (len(bad) > 1)} cannot be decoded: {reasons}{more}"


def left_out(bad: Sequence[tuple[Example, InputError]]) -> str:
    """One line on files that were left out."""
    return f"left out: {undecodable(bad)}"


def say(
    model: Adapted,
    examples: Sequence[Example],
    frames: int = 1,
    *,
    pictures: int = 32,
    progress: Progress = lambda done, of, what: None,
) -> tuple[np.ndarray, list[tuple[Example, InputError]]]:
    """Probabilities of files, decoded one batch at a time.

    Args:
        model: in any mode; it is put into evaluation mode.
        examples: pictures or clips.
        frames: pictures of each clip; 1 for images.
        pictures: in memory at a time, frames of clips counted each; a whole clip at least.
        progress: called with (done, of, what).

    Returns:
        Float32 (n, classes) of those that decode, in their order, and the others with the reason.
    """
    rows, bad, batch = [], [], max(1, pictures // frames)
    model.eval()
    for start in range(0, len(examples), batch):
        pixels = []
        for example in examples[start : start + batch]:
            try:
                clip = model.backbone.preprocess(example.pictures(frames))  # (T, 3, s, s)
                pixels.append(clip if frames > 1 else clip[0])
            except InputError as error:
                bad.append((example, error))
        if pixels:
            with torch.no_grad():
                rows.append(model(torch.stack(pixels)).float().softmax(1).cpu().numpy())
        progress(min(start + batch, len(examples)), len(examples), "testing")
    found = np.concatenate(rows) if rows else np.zeros((0, len(model.labels)), np.float32)
    return found, bad
