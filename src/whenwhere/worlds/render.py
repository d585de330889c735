"""Pictures of a scene, with what is in every pixel: analytic ray casting in plain torch, many frames at once.

Each object is tested only where its bounding sphere shows, and each shadow only where that of the bounding sphere can
fall, so that the work follows the pixels that are covered and not pixels times objects. Colours are mixed with +, -, *,
and square roots, light adding up in the square of the sRGB value (a gamma of 2): a frame is the same to the bit
whatever the batch it is rendered in, the number of threads or the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whenwhere.errors import InputError
from whenwhere.worlds.casting import Frames, Hits
from whenwhere.worlds.lighting import Floor, floor_of, shade_floor, shade_objects
from whenwhere.worlds.scene import Scene

_CHUNK = 1 << 17  # pixels rendered at once: the working memory stays below some 100 MB


@dataclass(frozen=True)
class Rendered:
    """T frames of H x W pixels of a scene with N objects. All arrays are numpy.

    Args:
        times: (T,) float64, seconds.
        rgb: (T, H, W, 3) uint8, sRGB.
        masks: (T, H, W) int16, index of the object that shows; -1 for floor and background.
        depth: (T, H, W) float32, distance along the camera's axis; infinity for the background.
        boxes: (T, N, 4) float32, x1, y1, x2, y2 in pixels around what is visible of each object (x2, y2 exclusive);
            NaN where nothing is.
        pixels: (T, N) int64, number of visible pixels.
        alone: (T, N) int64, number of pixels that would be visible if the object were the only one; 0 where it is
            outside the picture or under a cone.
        positions: (T, N, 3) float64, centres in the world.
        centres: (T, N, 3) float64, column and row of the projected centres in pixels (not clipped) and their depth.
    """

    times: np.ndarray
    rgb: np.ndarray
    masks: np.ndarray
    depth: np.ndarray
    boxes: np.ndarray
    pixels: np.ndarray
    alone: np.ndarray
    positions: np.ndarray
    centres: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """(T, N) bool: at least one pixel shows."""
        return self.pixels > 0

    @property
    def visible_fraction(self) -> np.ndarray:
        """(T, N) float64 in 0..1: visible pixels by those of the object alone; 0 where there are none."""
        return self.pixels / np.maximum(self.alone, 1)


def render(
    scene: Scene,
    times: Sequence[float] | np.ndarray,
    size: tuple[int, int],
    *,
    device: str | torch.device = "cpu",
    chunk: int | None = None,
    smooth: int = 1,
) -> Rendered:
    """Render a scene at the given times.

    Args:
        scene: what to render.
        times: (T,) seconds, in any order; T is at least 1.
        size: height and width in pixels.
        device: where to compute.
        smooth: above 1, each pixel of ``rgb`` is the mean of smooth x smooth rays, for soft edges, at smooth ** 2 times
            the cost; masks, depth and boxes are those of the rays through the pixel centres all the same.
        chunk: frames rendered at once; None takes as many as fit some 100 MB. The result does not depend on it.

    Raises:
        InputError: no time, or a size below one pixel.
    """
    height, width = size
    at = np.asarray(times, np.float64)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all():
        raise InputError(f"times of shape {at.shape}", "a list of at least one finite number of seconds")
    if height < 1 or width < 1 or smooth < 1 or (chunk is not None and chunk < 1):
        raise InputError(f"size {size}, smooth {smooth}, chunk {chunk}", "numbers above zero")
    chunk = chunk or max(1, _CHUNK // (height * width))
    with torch.inference_mode():
        starts = range(0, len(at), chunk)
        parts = [_batch(Frames([scene], at[first : first + chunk], size, torch.device(device))) for first in starts]
        if smooth > 1:
            fine = (height * smooth, width * smooth)
            step = max(1, chunk // smooth**2)
            for number, first in enumerate(starts):
                wide = [
                    _batch(Frames([scene], at[one : min(one + step, first + chunk)], fine, torch.device(device)))[0]
                    for one in range(first, min(first + chunk, len(at)), step)
                ]
                parts[number] = (_shrunk(np.concatenate(wide), smooth), *parts[number][1:])
    rgb, masks, depth, boxes, pixels, alone = (np.concatenate(part) for part in zip(*parts, strict=True))
    positions = scene.positions(at)
    centres = scene.camera.project(positions, at, size)
    return Rendered(at, rgb, masks, depth, boxes, pixels, alone, positions, centres)


def pictures(
    scenes: Sequence[Scene], size: tuple[int, int], *, smooth: int = 2, chunk: int | None = None
) -> np.ndarray:
    """Render the first moment of many scenes at once: the pixels alone, bit for bit those of :func:`render`.

    Much faster than one by one for small pictures.

    Args:
        scenes: at least one; floor, background and the camera's lens are the same in all, as are number and strength
            of the lights.
        size: height and width in pixels.
        smooth: as of :func:`render`.
        chunk: scenes rendered at once; None takes as many as fit some 100 MB. The result does not depend on it.

    Returns:
        (N, H, W, 3) uint8, sRGB.

    Raises:
        InputError: no scene, scenes that cannot be rendered together, or a size below one pixel.
    """
    with torch.inference_mode():
        found = [_shrunk(_batch(frames)[0], smooth) for frames in _batches(scenes, size, smooth, chunk)]
    return np.concatenate(found)


def first_moments(scenes: Sequence[Scene], size: tuple[int, int], *, smooth: int = 2) -> list[Rendered]:
    """Render the first moment of many scenes at once: of each what :func:`render` returns at second 0, bit for bit.

    Args:
        scenes: as of :func:`pictures`.
        size: height and width in pixels.
        smooth: as of :func:`render`.

    Raises:
        InputError: as of :func:`pictures`.
    """
    colours = pictures(scenes, size, smooth=smooth)
    with torch.inference_mode():
        found = [_batch(frames) for frames in _batches(scenes, size, 1, None)]
    some = [[row for part in found for row in part[kind]] for kind in range(1, 6)]  # batches differ in their objects
    time, rendered = np.zeros(1), []
    for scene, rgb, masks, depth, boxes, pixels, alone in zip(scenes, colours, *some, strict=True):
        count, positions = len(scene.objects), scene.positions(time)
        centres = scene.camera.project(positions, time, size)
        boxes, pixels, alone = (part[None, :count] for part in (boxes, pixels, alone))
        one = Rendered(time, rgb[None], masks[None], depth[None], boxes, pixels, alone, positions, centres)
        rendered.append(one)
    return rendered


def visible_pixels(scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """Count the pixels in which each object shows at second 0, as :func:`render` does, without drawing a picture.

    Args:
        scene: what to look at.
        size: height and width in pixels.

    Returns:
        (N,) int64.
    """
    with torch.inference_mode():
        frames = Frames([scene], np.zeros(1), size, torch.device("cpu"))
        _, _, seen = _nearest(frames, floor_of(frames), frames.cast())
        return torch.bincount(seen.rows, minlength=frames.total).numpy()


def _batches(scenes: Sequence[Scene], size: tuple[int, int], smooth: int, chunk: int | None) -> Iterator[Frames]:
    """Yield the first moments of scenes, as many at once as fit."""
    height, width = size
    if not scenes or height < 1 or width < 1 or smooth < 1 or (chunk is not None and chunk < 1):
        raise InputError(f"{len(scenes)} scenes, size {size}, smooth {smooth}, chunk {chunk}", "numbers above zero")
    if len({_common(scene) for scene in scenes}) > 1:
        raise InputError("scenes of several looks", "scenes with the same floor, lens and strength of lights")
    chunk = chunk or max(1, _CHUNK // (height * width * smooth**2))
    for first in range(0, len(scenes), chunk):
        some = scenes[first : first + chunk]
        yield Frames(some, np.zeros(len(some)), (height * smooth, width * smooth), torch.device("cpu"))


def _common(scene: Scene) -> tuple[object, ...]:
    """What must be the same in all scenes of a batch."""
    lights = tuple((light.strength, light.shadows) for light in scene.lights)
    looks = (scene.ambient, scene.floor, scene.background, scene.checks)
    return (*looks, scene.camera.focal, scene.camera.aspect, lights)


def _batch(frames: Frames) -> tuple[np.ndarray, ...]:
    """Pictures, masks, depth, boxes, visible pixels and pixels alone of a batch."""
    shape, count = (frames.frames, frames.height, frames.width), (frames.frames, frames.count)
    floor = floor_of(frames)
    found = frames.cast()
    alone = torch.bincount(found.rows, minlength=frames.total)
    depth, first, seen = _nearest(frames, floor, found)
    bare = first == frames.count
    channels = []
    for under, over in zip(shade_floor(frames, floor, bare), shade_objects(frames, seen), strict=True):
        light = under.index_put((seen.spots,), over).clamp(0, 1)
        channels.append((light.sqrt() * 255 + 0.5).to(torch.uint8))
    results = (
        torch.stack(channels, dim=-1).view(*shape, 3),
        torch.where(bare, -1, first).to(torch.int16).view(shape),
        depth.view(shape),
        _boxes(frames, seen.spots, seen.rows).view(*count, 4),
        torch.bincount(seen.rows, minlength=frames.total).view(count),
        alone.view(count),
    )
    return tuple(result.cpu().numpy() for result in results)


def _nearest(frames: Frames, floor: Floor, found: Hits) -> tuple[Tensor, Tensor, Hits]:
    """Of each spot the depth and the object that shows (the number of objects for none), and the hits that show."""
    ground = floor.depth.expand(frames.frames, frames.height, frames.width).reshape(-1)
    depth = ground.scatter_reduce(0, found.spots, found.depths, "amin")
    seen = found.pick(torch.nonzero(found.depths == depth[found.spots])[:, 0])
    ids = seen.rows % max(1, frames.count)
    nobody = torch.full_like(ground, frames.count, dtype=torch.int64)
    first = nobody.scatter_reduce(0, seen.spots, ids, "amin")  # of two at the same depth
    return depth, first, seen.pick(torch.nonzero(ids == first[seen.spots])[:, 0])


def _boxes(frames: Frames, spots: Tensor, rows: Tensor) -> Tensor:
    """Boxes around the spots of each row, (rows, 4), NaN where there is none."""
    column = (spots % frames.width).float()
    line = (torch.div(spots, frames.width, rounding_mode="floor") % frames.height).float()
    far = torch.full((frames.total,), torch.inf, device=frames.device)
    low = [far.scatter_reduce(0, rows, place, "amin") for place in (column, line)]
    high = [(-far).scatter_reduce(0, rows, place, "amax") + 1 for place in (column, line)]
    boxes = torch.stack([*low, *high], dim=-1)
    return torch.where(boxes.isinf(), torch.nan, boxes)


def _shrunk(rgb: np.ndarray, times: int) -> np.ndarray:
    """Average blocks of times x times pixels, rounded."""
    if times == 1:
        return rgb
    count, height, width, _ = rgb.shape
    blocks = rgb.reshape(count, height // times, times, width // times, times, 3)
    half = times * times // 2
    return ((blocks.sum(axis=(2, 4), dtype=np.int64) + half) // times**2).astype(np.uint8)
