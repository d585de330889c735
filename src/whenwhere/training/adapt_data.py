"""The functions of a person with labelled pictures: train an adapter on them, or find where adapters should go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.gradient_rank import RTOL, Score
from whenwhere.adapt.methods import method as named_method
from whenwhere.adapt.placement import PlacementConfig
from whenwhere.adapt.placement_file import Placement
from whenwhere.adapt.search import search_placement
from whenwhere.backbones.vision import vision
from whenwhere.cache import cache_dir
from whenwhere.datasets.labelled_files import LabelledFiles, read_labelled
from whenwhere.errors import InputError
from whenwhere.training.adapt_recipe import AdaptRecipe, alone
from whenwhere.training.adapt_trials import against_random
from whenwhere.training.adapting import AdaptResult, adapt_files
from whenwhere.training.trained import Progress, Tell, left_out, undecodable

CLIP_FRAMES = 8
_SMALL, _SMALL_SIZE = 64, 160  # pictures up to 64 pixels are fed to a CNN at 160
_LEARNING_RATES = {"full": 1e-4, "bitfit": 3e-3, "linear": 3e-3}
_LEARNING_RATE = 1e-3
_BATCH = 32
_HELD_OUT = 5  # one in so many, for trials
_LEAST_EPOCHS, _LEAST_STEPS, _MOST_EPOCHS = 5, 150, 100  # where nothing is said


def adapt_data(
    data: str | os.PathLike[str] | LabelledFiles,
    *,
    out: str | os.PathLike[str],
    method: str = "losa",
    settings: dict[str, Any] | None = None,
    backbone: str = "efficientnet-lite2",
    size: int | None = None,
    frames: int | None = None,
    epochs: int | None = None,
    batch: int = 64,
    lr: float | None = None,
    weight_decay: float = 1e-4,
    mirror: bool = False,
    views: int = 1,
    seed: int = 0,
    placement: str | os.PathLike[str] | Placement | None = None,
    cache: str | os.PathLike[str] | bool | None = True,
    device: str = "auto",
    strict: bool = False,
    tell: Tell = lambda line: None,
    progress: Progress = lambda done, of, what: None,
) -> AdaptResult:
    """Train a small model on labelled pictures or clips, on top of a frozen pretrained one.

    The same call goes on with a run that was interrupted.

    Args:
        data: as :func:`whenwhere.datasets.labelled_files.read_labelled` takes it, or gave it.
        out: folder of the run.
        method: see :data:`whenwhere.adapt.methods.METHODS`.
        settings: fields of the method's config.
        backbone: see :func:`whenwhere.backbones.vision.vision`.
        size: input side; None is 160 for small pictures on the default backbone, else the backbone's own.
        frames: of each clip; None is 8 for videos, and 1 for pictures.
        epochs: passes over the training examples; None is 5, or as many as make 150 steps, 100 at most.
        batch, weight_decay, mirror, views, seed: see :class:`whenwhere.training.adapt_recipe.AdaptRecipe`.
        lr: None is the method's own default: 1e-4 for full, 3e-3 for bitfit and linear, else 1e-3.
        placement: of :func:`place_adapters`, or a file of one; for the method "placed".
        cache: where the frozen backbone's states are kept: True is the program's cache folder; None nowhere, and they
            are computed in every step.
        device, strict, tell, progress: see :func:`whenwhere.training.adapting.adapt_files`.

    Returns:
        The adapter and its figures.

    Raises:
        InputError: data, recipe or folder cannot be used.
        WeightsError: weights that cannot be had.
    """
    named_method(method)  # an unknown name is told before the files are read
    settings = dict(settings or {})
    if placement is not None:
        if method != "placed":
            raise InputError(f"a placement with method {method!r}", "method 'placed'")
        placement = placement if isinstance(placement, Placement) else Placement.load(placement)
        settings["edges"] = placement.edges
    files = data if isinstance(data, LabelledFiles) else read_labelled(data)
    frames = _frames(files, frames)
    if method == "placed" and "edges" not in settings:
        tell(
            "no placement given: an adapter sits beside every sub-layer; for another one, run "
            "whenwhere search-placement and give its file as --placement"
        )
    if size is None and backbone == "efficientnet-lite2" and _small(files):
        size = _SMALL_SIZE
    if Path(backbone).expanduser().is_dir():
        backbone = str(Path(backbone).expanduser().absolute())  # the adapter is used from other folders too
    recipe = AdaptRecipe(
        method,
        settings,
        backbone,
        size,
        frames,
        _epochs(len(files.of("train")), batch) if epochs is None else epochs,
        batch,
        lr if lr is not None else _LEARNING_RATES.get(method, _LEARNING_RATE),
        weight_decay,
        mirror,
        views,
        seed,
    )
    if cache is True:
        cache = cache_dir() / "states"
    with alone(Path(out)):
        return adapt_files(
            files,
            recipe,
            out,
            placement=placement,
            cache=cache or None,
            device=device,
            strict=strict,
            tell=tell,
            progress=progress,
        )


def place_adapters(
    data: str | os.PathLike[str] | LabelledFiles,
    *,
    backbone: str = "vit-tiny",
    frames: int | None = None,
    count: int = 6,
    gamma: float = 0.6,
    kinds: Sequence[str] = ("sequential", "parallel", "long_range", "recurrent"),
    score: Score = "rank",
    rtol: float = RTOL,
    head: Literal["probe", "random"] = "probe",
    rank: int = 8,
    random: int = 0,
    examples: int = 512,
    seed: int = 0,
    tell: Tell = lambda line: None,
    progress: Progress = lambda done, of, what: None,
) -> tuple[Placement, str]:
    """Choose where a few adapters should go in a transformer, for labelled pictures or clips.

    Of clips every frame is measured as a picture of the clip's class.

    Args:
        data: as :func:`whenwhere.datasets.labelled_files.read_labelled` takes it, or gave it.
        backbone: a transformer; see :func:`whenwhere.backbones.vision.vision`.
        frames: of each clip; None is 8 for videos, and 1 for pictures.
        count, gamma, kinds, score, rtol, head, seed: see :func:`whenwhere.adapt.search.search_placement`.
        rank: of the adapters, for what they cost and for the trials.
        random: so many random sets of edges are tried too: they and the guided choice are trained briefly, each tested
            on the same fifth of the examples, and the best is taken. 0 tries none.
        examples: training pictures or clips to measure on, drawn at random; best more than the transformer is wide.
        tell, progress: called with lines for a person, and with (done, of, what).

    Returns:
        The placement, and a few lines that say what it is and costs.

    Raises:
        InputError: the data or the backbone cannot be used.
    """
    files = data if isinstance(data, LabelledFiles) else read_labelled(data)
    frames = _frames(files, frames)
    if examples < 2:
        raise InputError(f"examples={examples}", "2 or more")
    if not 1 <= frames <= 1024:
        raise InputError(f"frames={frames}", "1 to 1024")
    if not 0 <= random <= 10_000:
        raise InputError(f"random={random}", "0 to 10000")
    if not 0 < rtol < 1:
        raise InputError(f"rtol={rtol}", "between 0 and 1")
    PlacementConfig(rank=rank)  # tells a bad one
    encoder = vision(backbone)
    anatomy(encoder)  # a CNN is told before the files are read
    train = files.of("train")
    order = np.random.default_rng(seed).permutation(len(train))[:examples]
    clips, labels, bad = [], [], []
    for at, number in enumerate(order.tolist(), 1):
        try:
            clips.append(encoder.preprocess(train[number].pictures(frames)))
            labels.append(files.classes.index(train[number].label))
        except InputError as error:
            bad.append((train[number], error))
        progress(at, len(order), "reading")
    if len(bad) == len(order):
        raise InputError(undecodable(bad), "pictures that decode")
    if bad:
        tell(left_out(bad))
    held: list[tuple[Tensor, int]] = []
    if random:
        pairs = list(zip(clips, labels))
        held, used = pairs[::_HELD_OUT], [pair for at, pair in enumerate(pairs) if at % _HELD_OUT]
        if not used:
            raise InputError(f"{len(pairs)} examples that decode", "2 or more, of which one in five is held out")
        clips, labels = [clip for clip, _ in used], [label for _, label in used]
    pictures = len(clips) * frames
    if pictures < encoder.width:
        tell(f"{pictures} pictures are fewer than the transformer is wide ({encoder.width}): ranks are capped")
    at_once = max(1, _BATCH // frames)
    steps = -(-len(clips) // at_once)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(clips), at_once):
            some = slice(start, start + at_once)
            yield torch.cat(clips[some]), torch.tensor(labels[some]).repeat_interleave(frames)

    found = search_placement(
        encoder,
        batches,
        len(files.classes),
        count=count,
        gamma=gamma,
        kinds=kinds,
        score=score,
        rtol=rtol,
        head=head,
        seed=seed,
        progress=lambda what, done, of: progress(done, of or steps, what),
    )
    if not random:
        return found, found.summary(encoder, rank)

    def joined(some: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(some)) if frames > 1 else torch.cat(list(some))

    found, line = against_random(
        found,
        encoder,
        files.classes,
        (joined(clips), torch.tensor(labels)),
        (joined([clip for clip, _ in held]), torch.tensor([label for _, label in held])),
        draws=random,
        kinds=kinds,
        rank=rank,
        seed=seed,
        progress=lambda what, done, of: progress(done, of, what),
    )
    return found, f"{found.summary(encoder, rank)}\n{line}"


def _frames(files: LabelledFiles, given: int | None) -> int:
    """Pictures of an example; data of two kinds, and several frames of a picture, are refused."""
    clips = [example for example in files.examples if example.is_video]
    pictures = [example for example in files.examples if not example.is_video]
    if clips and pictures:
        (few, one), (many, other) = sorted(
            ((clips, "clip"), (pictures, "picture")), key=lambda pair: (len(pair[0]), pair[1])
        )
        raise InputError(
            f"{files.source} has {len(few)} {one}{'s' * (len(few) > 1)} (such as {few[0].name}) among "
            f"{len(many)} {other}{'s' * (len(many) > 1)}",
            "clips or pictures, not both",
            f"take the {one}{'s' * (len(few) > 1)} out",
        )
    if pictures and given is not None and given > 1:
        raise InputError(f"frames={given} for pictures", "1: only clips have several frames")
    return given if given is not None else CLIP_FRAMES if clips else 1


def _small(files: LabelledFiles) -> bool:
    """Whether the first pictures that decode are at most 64 pixels wide and high."""
    seen = []
    for example in files.examples[:5]:
        try:
            seen.append(max(example.pictures()[0].shape[:2]))
        except InputError:
            continue
    return bool(seen) and max(seen) <= _SMALL


def _epochs(examples: int, batch: int) -> int:
    """Passes over a training set: more of them over a small one."""
    wanted = -(-_LEAST_STEPS * min(batch, max(examples, 1)) // max(examples, 1))
    return min(max(_LEAST_EPOCHS, wanted), _MOST_EPOCHS)
