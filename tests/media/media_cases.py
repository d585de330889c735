"""Every odd, damaged or hostile input that the media layer is tested with, and the table of outcomes in docs/media.md.

``python tests/media/media_cases.py`` prints the table; with ``--write`` it also puts it into the page.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from media_files import (
    OneWay,
    h264_of_size,
    jpeg_avi,
    make_bytes,
    make_images,
    make_sound,
    make_sound_with_cover,
    make_video,
    matroska_with_times,
    picture,
    png_of_size,
    set_matrix,
    spoil,
)
from PIL import Image

from whenwhere.errors import MediaError
from whenwhere.media import Limits, open_video, read_image

PAGE = Path(__file__).parents[2] / "docs" / "media.md"
BEGIN, END = "<!-- cases: written by tests/media/media_cases.py -->", "<!-- end of cases -->"


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: what it is, for the table.
        make: puts it into an empty folder and returns what is given to `open_video` or `read_image`.
        outcome: expected row of the table.
        frames: pictures that were put in, for a video.
        options: further arguments.
        image: whether it goes to `read_image`.
        powerless: whether root, who may read everything, gives up its power for this case.
    """

    name: str
    make: Callable[[Path], Any]
    outcome: str
    frames: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    image: bool = False
    powerless: bool = False


def noisy(number: int, width: int, height: int) -> np.ndarray:
    """Return the numbered picture with noise in its upper third, so that its packets are large enough to be hit."""
    pixels = picture(number, width, height)
    noise = np.random.default_rng(number).integers(0, 256, (height // 3, width, 3), dtype=np.uint8)
    return np.concatenate([noise, pixels[height // 3 :]])


def cut(data: bytes, start: float, end: float) -> bytes:
    """Return the bytes from `start` to `end`, in parts of the whole."""
    return data[int(len(data) * start) : int(len(data) * end)]


def saved(name: str, data: Callable[[], bytes]) -> Callable[[Path], Path]:
    """Return a maker that writes `data` under a name."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data())
        return folder / name

    return make


def video(name: str, count: int = 30, **options: Any) -> Callable[[Path], Path]:
    """Return a maker that writes a sound video."""
    return lambda folder: make_video(folder / name, count, **options)


def damaged(name: str, damage: Callable[[bytes, float, float], bytes], start: float, end: float, **options: Any) -> Any:
    """Return a maker that writes 30 frames and then damages the file between `start` and `end`, parts of the whole."""
    container = {".mkv": "matroska", ".ts": "mpegts"}.get(Path(name).suffix, Path(name).suffix[1:])
    return saved(name, lambda: damage(make_bytes(container, draw=noisy, **options), start, end))


def _random_bytes() -> bytes:
    return np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes()


def _claims(seconds: int) -> bytes:
    """Return an AVI whose headers claim another length than its 30 pictures at 10 a second."""
    data = bytearray(make_bytes("avi", codec="mjpeg"))
    for where in (data.find(b"avih") + 8 + 16, data.find(b"strh") + 8 + 32):
        data[where : where + 4] = (seconds * 10).to_bytes(4, "little")
    return bytes(data[: data.find(b"idx1")])


def _folder_of_files(folder: Path) -> Path:
    for name in ("one.mp4", "two.mp4"):
        make_video(folder / name, 2)
    return folder


def _unreadable(folder: Path) -> Path:
    path = make_video(folder / "locked.mp4", 2)
    path.chmod(0)
    folder.chmod(0o755)
    return path


def _broken_sequence(folder: Path) -> Path:
    make_images(folder, [n for n in range(30) if n != 20])
    (folder / "img_0010.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


def _pipe_path(folder: Path) -> Path:
    """Make a named pipe with a writer behind it, as a shell does for `<(command)`."""
    import threading

    data = make_bytes("matroska")
    os.mkfifo(folder / "pipe")

    def write() -> None:
        with open(folder / "pipe", "wb") as pipe:
            pipe.write(data)

    threading.Thread(target=write, daemon=True).start()
    return folder / "pipe"


def _exif(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(5)).save(folder / "turned.jpg", exif=exif)
    return folder / "turned.jpg"


def _png(size: tuple[int, int]) -> Callable[[Path], Path]:
    return saved("picture.png", lambda: png_of_size(*size))


def _half_jpeg() -> bytes:
    out = io.BytesIO()
    Image.fromarray(noisy(1, 64, 48)).save(out, "JPEG")
    return cut(out.getvalue(), 0, 0.6)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n"
ALL = "every frame"
TAIL = "what decodes; gap at the end"
MIDDLE = "what decodes; gap in the middle"
HEAD = "what decodes; gap at the start"

CASES = {
    "Odd but sound": [
        Case("variable frame rate", video("a.mp4", 5, times=[0, 0.1, 0.5, 0.6, 3.0], bframes=0), ALL, 5),
        Case("variable frame rate with B-frames", video("a.mkv", 6, times=[0, 0.1, 0.5, 3.0, 3.1, 5.0]), ALL, 6),
        Case("rotation flag", lambda folder: set_matrix(make_video(folder / "a.mp4", 3), 0, 1, -1, 0), ALL, 3),
        Case("mirror flag", lambda folder: set_matrix(make_video(folder / "a.mp4", 3), -1, 0, 0, 1), ALL, 3),
        Case("odd width and height", video("a.mkv", 5, size=(65, 49), codec="ffv1"), ALL, 5),
        Case("B-frames", video("a.mp4", bframes=3), ALL, 30),
        Case("one frame", video("a.mp4", 1), ALL, 1),
        Case("10-bit 4:2:2 colours", video("a.mov", 5, codec="prores_ks", pix_fmt="yuv422p10le"), ALL, 5),
        Case("sound longer than picture", video("a.mp4", 20, audio=6.0), ALL, 20),
        Case(
            "frame size changes midway",
            saved("a.h264", lambda: make_bytes("h264", 10) + make_bytes("h264", 10, size=(128, 96))),
            ALL,
            20,
        ),
        Case("no timestamps (raw H.264)", saved("a.h264", lambda: make_bytes("h264")), ALL, 30),
        Case("clock restarts midway", saved("a.ts", lambda: 2 * make_bytes("mpegts", 10)), ALL, 20),
        Case("clock starts below zero", saved("a.mkv", lambda: matroska_with_times([-200, -100, 0])), ALL, 3),
        Case("animated GIF", saved("a.gif", lambda: make_bytes("gif", 5, codec="gif")), ALL, 5),
        Case("numbered images", lambda folder: make_images(folder, range(5)), ALL, 5),
        Case("pipe (standard input)", lambda folder: OneWay(make_bytes("matroska")), ALL, 30),
        Case("named pipe", _pipe_path, ALL, 30),
    ],
    "Damaged": [
        Case("mp4 cut short, index in front", damaged("a.mp4", cut, 0, 0.6, faststart=True), TAIL, 30),
        Case(
            "mp4 cut short, index at the end",
            damaged("a.mp4", cut, 0, 0.6),
            "refused: FILE is an mp4 whose index is missing or damaged",
        ),
        Case("mkv cut short", damaged("a.mkv", cut, 0, 0.6), TAIL, 30),
        Case(
            "mpeg-ts cut short (claims no length)",
            damaged("a.ts", cut, 0, 0.6, bframes=0),
            TAIL,
            30,
        ),
        Case("mpeg-ts that begins midway", damaged("a.ts", cut, 0.4, 1), HEAD, 30),
        Case("mp4 with spoilt bytes", damaged("a.mp4", spoil, 0.4, 0.5), MIDDLE, 30),
        Case("mkv with spoilt bytes", damaged("a.mkv", spoil, 0.4, 0.5), MIDDLE, 30),
        Case("mpeg-ts with spoilt bytes", damaged("a.ts", spoil, 0.4, 0.5), MIDDLE, 30),
        Case("avi with spoilt bytes", damaged("a.avi", spoil, 0.6, 0.65, codec="mpeg4"), MIDDLE, 30),
        Case("mkv with a spoilt beginning", damaged("a.mkv", spoil, 0.05, 0.2), HEAD, 30),
        Case(
            "two frames at one time",
            saved("a.mkv", lambda: matroska_with_times([0, 100, 100, 200])),
            "what decodes; no gap",
            4,
        ),
        Case(
            "a frame that steps back in time",
            saved("a.mkv", lambda: matroska_with_times([0, 200, 100, 300])),
            "what decodes; no gap",
            4,
        ),
        Case("pipe that breaks off", lambda folder: OneWay(make_bytes("matroska", draw=noisy), 8000), TAIL, 30),
        Case("numbered images, one missing, one broken", _broken_sequence, MIDDLE, 30),
        Case("image cut short", saved("a.jpg", _half_jpeg), "refused: FILE is damaged", image=True),
    ],
    "Not what it seems": [
        Case("missing file", lambda folder: folder / "none.mp4", "refused: FILE does not exist"),
        Case("empty file", saved("a.mp4", lambda: b""), "refused: FILE is empty"),
        Case("zeros only", saved("a.mp4", lambda: bytes(10_000)), "refused: FILE begins with 4096 zero bytes"),
        Case("text", saved("a.mp4", lambda: b"hello world\n" * 100), "refused: FILE is text, not a video"),
        Case("random bytes", saved("a.mp4", _random_bytes), "refused: FILE is not a video that can be read"),
        Case("PNG under a video's name", saved("a.mp4", lambda: png_of_size(8, 8)), "refused: FILE is a still image"),
        Case("sound only", lambda folder: make_sound(folder / "a.m4a"), "refused: FILE has only audio"),
        Case(
            "sound with a cover picture",
            lambda folder: make_sound_with_cover(folder / "a.m4a"),
            "refused: FILE has only audio",
        ),
        Case("folder of videos", _folder_of_files, "refused: FILE is a folder with 2 media files"),
        Case("file without permission to read", _unreadable, "refused: FILE cannot be opened", powerless=True),
        Case("endless device", lambda folder: "/dev/zero", "refused: FILE is a device or a socket"),
        Case("header claims more than there is", saved("a.avi", lambda: _claims(30)), TAIL, 300),
        Case("header claims less than there is", saved("a.avi", lambda: _claims(1)), ALL, 30),
        Case(
            "text as an image",
            saved("a.png", lambda: b"hello"),
            "refused: FILE is not an image that can be read",
            image=True,
        ),
        Case("photo stored sideways", _exif, "an image", image=True),
    ],
    "Hostile": [
        Case(
            "header claims 40,000 x 40,000",
            saved("a.avi", lambda: jpeg_avi((64, 48), (64, 48), (40_000, 40_000))),
            "refused: FILE claims frames of 40000x40000 pixels",
        ),
        Case(
            "small header, pictures of 40,000 x 40,000",
            saved("a.avi", lambda: jpeg_avi((64, 48), (40_000, 40_000))),
            "refused: FILE: no picture of its mjpeg stream can be decoded",
        ),
        Case(
            "raw H.264 of 16,384 x 16,384",
            saved("a.h264", lambda: h264_of_size(16_384, 16_384)),
            "refused: FILE: no picture of its h264 stream can be decoded",
        ),
        Case(
            "PNG of 50,000 x 50,000",
            _png((50_000, 50_000)),
            "refused: FILE has more pixels than Pillow accepts",
            image=True,
        ),
        Case("PNG of 12,000 x 12,000", _png((12_000, 12_000)), "refused: FILE has 12000x12000 pixels", image=True),
        Case("playlist that names other files", saved("a.mp4", lambda: PLAYLIST), "refused: FILE is text, not a video"),
        Case(
            "playlist behind a pipe",
            lambda folder: OneWay(PLAYLIST),
            "refused: <file object> is text, not a video",
        ),
        Case(
            "script that joins other files",
            saved("a.mp4", lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
            "refused: FILE is text, not a video",
        ),
        Case(
            "address without permission",
            lambda folder: "http://127.0.0.1:9/a.mp4",
            "refused: FILE is an address or a camera",
        ),
        Case(
            "video longer than the limit",
            video("a.mp4", 30),
            TAIL,
            30,
            {"limits": Limits(max_frames=12)},
        ),
        Case(
            "rare codec, rarely tested decoder",
            saved("a.avi", lambda: make_bytes("avi", 3, codec="asv1")),
            "refused: FILE is coded as asv1",
        ),
        Case(
            "mp4 on a pipe, index at the end",
            lambda folder: OneWay(make_bytes("mp4", 5, size=(480, 360), draw=noisy)),
            "refused: <file object> is an mp4 that cannot be read as it comes",
        ),
    ],
}


def outcome(case: Case, folder: Path) -> str:
    """Run a case and put what happened into the words of the table."""
    source = case.make(folder)
    root = case.powerless and os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        if case.image:
            read_image(source)
            return "an image"
        with open_video(source, **case.options) as reader:
            count = sum(1 for _ in reader.frames())
            gaps, length = reader.gaps, reader.duration or 0.0
    except MediaError as error:
        told = re.sub(r" \(.*\)", "", error.given).replace(str(source), "FILE")
        return f"refused: {told}"
    finally:
        if root:
            os.seteuid(0)
    if count == case.frames and not gaps:
        return ALL
    where = [
        "at the start" if gap.start == 0 else "at the end" if gap.end > length - 1e-6 else "in the middle"
        for gap in gaps
    ]
    places = ", ".join(dict.fromkeys(where))
    return "what decodes; " + (f"gap {places}" if where else "no gap")


def table() -> str:
    """Run every case and return the table in Markdown."""
    lines = []
    for group, cases in CASES.items():
        lines += [f"| {group} | outcome |", "|---|---|"]
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                lines.append(f"| {case.name} | {outcome(case, Path(folder))} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def table_in_page() -> str:
    """Return the table that the page shows."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    result = table()
    print(result)
    if "--write" in sys.argv[1:]:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{result}\n\n{END}{rest.split(END)[1]}")
