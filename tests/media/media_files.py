"""Small videos and images made on the spot, with the frame's number written into its pixels."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

BARS = 8  # bits of the number in a picture


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return uint8 (height, width, 3): eight vertical bars, white for the set bits of `number`, lowest bit left."""
    row = (number >> (np.arange(width) * BARS // width) & 1) * 215 + 20
    return np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8)


def number_in(pixels: np.ndarray) -> int:
    """Read the number that `picture` wrote."""
    width = pixels.shape[1]
    step = width / BARS
    bits = [int(pixels[pixels.shape[0] // 2, int((i + 0.5) * step)].mean() > 128) for i in range(BARS)]
    return sum(bit << i for i, bit in enumerate(bits))


def make_video(
    out: Path | io.BytesIO,
    count: int = 30,
    *,
    size: tuple[int, int] = (64, 48),
    rate: int = 10,
    codec: str = "libx264",
    container: str | None = None,
    pix_fmt: str | None = None,
    gop: int = 10,
    bframes: int = 2,
    times: Sequence[float] | None = None,
    audio: float = 0.0,
    faststart: bool = False,
    draw: Callable[[int, int, int], np.ndarray] = picture,
) -> Any:
    """Write a video of numbered pictures and return `out`.

    Args:
        times: seconds of each picture for variable frame rate; the clock then runs in milliseconds.
        audio: seconds of sound beside the pictures.
    """
    options = {"movflags": "faststart"} if faststart else {}
    target = str(out) if isinstance(out, Path) else out
    with av.open(target, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt or {"mjpeg": "yuvj420p", "png": "rgb24", "gif": "rgb8"}.get(codec, "yuv420p")
        base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        stream.codec_context.time_base = base
        if codec == "libx264":
            stream.options = {"g": str(gop), "bf": str(bframes), "crf": "18", "sc_threshold": "0", "threads": "1"}
        sound = file.add_stream("aac", rate=8000, layout="mono") if audio else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            frame.pts = number if times is None else round(times[number] * 1000)
            frame.time_base = base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound is not None:
            _add_sound(file, sound, audio)
    return out


def make_bytes(container: str, count: int = 30, **options: Any) -> bytes:
    """Return the bytes of a video: see `make_video`."""
    if not options.get("faststart"):
        return make_video(io.BytesIO(), count, container=container, **options).getvalue()
    with tempfile.TemporaryDirectory() as folder:  # the index is moved to the front in a second pass over a real file
        return make_video(Path(folder) / "a.mp4", count, **options).read_bytes()


def make_sound(path: Path, seconds: float = 1.0) -> Path:
    """Write a file with sound and no picture."""
    with av.open(str(path), "w") as file:
        _add_sound(file, file.add_stream("aac", rate=8000, layout="mono"), seconds)
    return path


def make_sound_with_cover(path: Path) -> Path:
    """Write sound whose only picture is its cover, in the tags where music players look for it."""
    data = make_sound(path).read_bytes()
    cover = io.BytesIO()
    Image.fromarray(picture(5)).save(cover, "PNG")
    png = _box(b"covr", _box(b"data", struct.pack(">II", 14, 0) + cover.getvalue()))
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = _box(b"udta", _box(b"meta", bytes(4) + handler + _box(b"ilst", png)))
    at = data.index(b"moov") - 4  # the last box of the file, so that it may grow
    assert at + int.from_bytes(data[at : at + 4], "big") == len(data)
    path.write_bytes(data[:at] + _box(b"moov", data[at + 8 :] + tags))
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Put a display matrix into an mp4: stored (column p, row q) shows at (a p + c q, b p + d q), shifted into view."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # type, version and flags, two times, track, length, and what is reserved between
    assert data[at : at + 4] == b"\0\1\0\0"
    one = 1 << 16
    data[at : at + 20] = struct.pack(">5i", a * one, b * one, 0, c * one, d * one)
    path.write_bytes(data)
    return path


def make_images(
    folder: Path, numbers: Sequence[int], name: str = "img_{:04d}.png", size: tuple[int, int] = (64, 48)
) -> Path:
    """Write one numbered image per number and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(picture(number, *size)).save(folder / name.format(number))
    return folder


def jpeg_avi(size: tuple[int, int], claimed: tuple[int, int], header: tuple[int, int] | None = None) -> bytes:
    """Return an AVI of JPEG pictures of `size` whose JPEG headers claim `claimed`, and its own header `header`."""
    data = bytearray(make_bytes("avi", 3, size=size, codec="mjpeg"))
    at = data.find(b"\xff\xc0")
    while at >= 0:  # start of frame: marker, length, precision, height, width
        data[at + 5 : at + 9] = struct.pack(">HH", claimed[1], claimed[0])
        at = data.find(b"\xff\xc0", at + 2)
    if header is not None:
        for where in (data.find(b"avih") + 8 + 32, data.find(b"strf") + 8 + 4):
            data[where : where + 8] = struct.pack("<II", *header)
    return bytes(data)


def h264_of_size(width: int, height: int) -> bytes:
    """Return a raw H.264 stream of small pictures whose parameter set claims width x height (multiples of 16)."""
    small = make_bytes("h264", 3, bframes=0)
    units = small.split(b"\0\0\0\1")
    claimed = [_parameter_set(width // 16, height // 16) if unit[:1] == b"\x67" else unit for unit in units]
    assert any(unit[:1] == b"\x67" for unit in units)
    return b"\0\0\0\1".join(claimed)


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header claims width x height."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def matroska_with_times(times_ms: Sequence[int]) -> bytes:
    """Return a Matroska file of key frames whose blocks carry these times, in this order; muxers would refuse them."""
    data = bytearray(make_bytes("matroska", len(times_ms), codec="mjpeg", rate=10))
    at = 0
    for time in times_ms:
        while True:  # SimpleBlock: id a3, size in two bytes, track 1, time, flags "key frame"
            at = data.index(b"\xa3", at) + 1
            if 0x40 <= data[at] < 0x80 and data[at + 2] == 0x81 and data[at + 5] == 0x80:
                break
        data[at + 3 : at + 5] = struct.pack(">h", time)
    return bytes(data)


def spoil(data: bytes, start: float, end: float) -> bytes:
    """Overwrite a share of the bytes, from `start` to `end` in parts of the whole, with noise."""
    first, last = int(len(data) * start), int(len(data) * end)
    noise = np.random.default_rng(1).integers(0, 256, last - first, dtype=np.uint8).tobytes()
    return data[:first] + noise + data[last:]


class OneWay(io.RawIOBase):
    """A binary file object that can only be read forwards, in small pieces; it may break off with an error."""

    def __init__(self, data: bytes, fail_after: int | None = None) -> None:
        self._data, self._at, self._fail_after = data, 0, fail_after

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        if self._fail_after is not None and self._at >= self._fail_after:
            raise ConnectionResetError("the other side went away")
        size = 1000 if size < 0 else min(size, 1000)
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def _add_sound(file: Any, stream: Any, seconds: float) -> None:
    for index in range(int(seconds * 8000 / 1024)):
        wave = np.sin(np.arange(1024) * 0.3).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, index * 1024
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def _parameter_set(columns: int, rows: int) -> bytes:
    """Return an H.264 sequence parameter set, high profile, of columns x rows macroblocks."""
    bits = format(100, "08b") + "00000000" + format(62, "08b")  # profile, constraints, level
    golomb = lambda n: "0" * ((n + 1).bit_length() - 1) + format(n + 1, "b")  # noqa: E731
    bits += golomb(0) + golomb(1) + golomb(0) + golomb(0) + "00"  # id, 4:2:0, 8 bit, 8 bit, no bypass, no matrix
    bits += golomb(0) + golomb(2) + golomb(4) + "0"  # frame_num bits, poc type, reference frames, no gaps
    bits += golomb(columns - 1) + golomb(rows - 1) + "1" + "1" + "0" + "0"  # size, frames only, direct, no crop, no vui
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    raw = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return b"\x67" + raw.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")
