"""Still images: upright, 8-bit RGB, bounded."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_cases import noisy
from media_files import make_images, make_video, number_in, picture, png_of_size
from PIL import Image

from whenwhere.errors import InputError, MediaError
from whenwhere.media import Frame, Limits, open_video, probe, read_image, thumbnail, write_image
from whenwhere.media.images import image_format

CORNER = np.zeros((16, 24, 3), np.uint8)
CORNER[:8, :8] = (255, 0, 0)  # red top left


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "TGA", "JPEG", "JPEG2000", "AVIF"])
def test_formats(tmp_path, kind):
    """From a path, from bytes and from an open file, the picture is the one that was saved."""
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(picture(77)), kind, **options)
    (tmp_path / f"image.{kind.lower()}").write_bytes(data)
    for source in (tmp_path / f"image.{kind.lower()}", data, io.BytesIO(data)):
        pixels = read_image(source)
        assert pixels.shape == (48, 64, 3)
        assert pixels.dtype == np.uint8
        assert number_in(pixels) == 77
    assert probe(tmp_path / f"image.{kind.lower()}").kind == "image"
    if kind not in ("PPM", "TGA", "JPEG2000"):
        assert image_format(data) == kind.lower()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    """Whatever way the camera was held, red ends up top left when the stored picture says so."""
    undo = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(undo[orientation](CORNER))
    path = tmp_path / "image.png"
    path.write_bytes(encoded(Image.fromarray(stored), exif=exif))
    assert np.array_equal(read_image(path), CORNER)
    info = probe(path)
    assert (info.width, info.height) == (24, 16)
    assert info.rotation == {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}.get(orientation, 0)


def test_odd_modes():
    """Grey, palette, CMYK, transparency over white, 16 bits, floats: all become RGB of the same look."""
    grey = np.linspace(0, 255, 64, dtype=np.uint8)[None].repeat(4, 0)
    rgb = np.repeat(grey[:, :, None], 3, 2)
    assert np.array_equal(read_image(encoded(Image.fromarray(grey))), rgb)
    assert np.abs(read_image(encoded(Image.fromarray(rgb).quantize(256))).astype(int) - rgb).max() <= 1
    assert np.abs(read_image(encoded(Image.fromarray(rgb).convert("CMYK"), "TIFF")).astype(int) - rgb).max() <= 1
    deep = (grey.astype(np.uint16) * 257).astype(np.uint16)
    assert np.array_equal(read_image(encoded(Image.fromarray(deep))), rgb)
    assert np.array_equal(read_image(encoded(Image.fromarray(grey / np.float32(255)), "TIFF")), rgb)
    holes = np.dstack([rgb, np.where(np.arange(64) < 32, 0, 255)[None].repeat(4, 0).astype(np.uint8)])
    over_white = np.where(np.arange(64)[None, :, None] < 32, 255, rgb)
    assert np.array_equal(read_image(encoded(Image.fromarray(holes))), over_white)
    assert read_image(encoded(Image.fromarray(grey > 100))).shape == (4, 64, 3)
    assert np.array_equal(read_image(encoded(Image.fromarray(holes)), alpha=True), holes)
    opaque = read_image(encoded(Image.fromarray(deep)), alpha=True)
    assert np.array_equal(opaque[..., :3], rgb) and (opaque[..., 3] == 255).all()


def test_animations(tmp_path):
    """read_image gives the first picture; probe says video where the picture moves."""
    path = make_video(tmp_path / "a.gif", 5, codec="gif")
    assert number_in(read_image(path)) == 0
    assert (probe(path).kind, probe(path).frames_claimed) == ("video", 5)
    still = make_video(tmp_path / "b.gif", 1, codec="gif")
    assert probe(still).kind == "image"


def test_size_is_checked_before_memory_is_taken(tmp_path):
    """Neither reading nor probing touches the pixels of a picture above the limit."""
    small = Limits(max_image_pixels=64 * 48)
    for size, limits in (((50_000, 50_000), Limits()), ((12_000, 12_000), Limits()), ((65, 48), small)):
        for call in (read_image, probe):
            path = tmp_path / "bomb.png"
            path.write_bytes(png_of_size(*size))
            with pytest.raises(MediaError, match=r"max_image_pixels|raise Limits"):
                call(path, limits=limits)
    assert read_image(encoded(Image.fromarray(picture(1))), limits=small).shape == (48, 64, 3)


def test_what_is_no_image(tmp_path):
    make_video(tmp_path / "video.mp4", 2).rename(tmp_path / "video.png")
    (tmp_path / "empty.png").touch()
    for source, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "none.png", "does not exist"),
        (tmp_path / "empty.png", "is empty"),
        (tmp_path / "video.png", "is not an image"),
        ("/dev/zero", "device"),
        (b"", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),  # would start a program
    ):
        with pytest.raises(MediaError, match=message):
            read_image(source)
    with pytest.raises(MediaError, match="read_image"):
        open_video(make_images(tmp_path / "images", [1]) / "img_0001.png")


BASE = {
    "png": encoded(Image.fromarray(noisy(3, 64, 48))),
    "jpeg": encoded(Image.fromarray(noisy(3, 64, 48)), "JPEG", exif=Image.Exif()),
    "webp": encoded(Image.fromarray(noisy(3, 64, 48)), "WEBP"),
    "tiff": encoded(Image.fromarray(noisy(3, 64, 48)), "TIFF"),
    "gif": encoded(Image.fromarray(noisy(3, 64, 48)), "GIF"),
    "bmp": encoded(Image.fromarray(noisy(3, 64, 48)), "BMP"),
    "avif": encoded(Image.fromarray(noisy(3, 64, 48)), "AVIF"),
    "j2k": encoded(Image.fromarray(noisy(3, 64, 48)), "JPEG2000"),
}


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(sorted(BASE)),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    end=st.floats(0, 1) | st.just(1.0),
)
def test_damaged_images_never_surprise(kind, hits, end):
    """Any damage gives a picture within the limit or a MediaError."""
    data = bytearray(BASE[kind])
    for where, value in hits:
        data[int(where**3 * (len(data) - 1))] = value  # more often near the front, where the headers are
    data = data[: int(len(data) * end)]
    try:
        pixels = read_image(bytes(data), limits=Limits(max_image_pixels=1_000_000))
    except MediaError as error:
        assert str(error)
    else:
        assert pixels.ndim == 3
        assert pixels.dtype == np.uint8
        assert 0 < pixels.shape[0] * pixels.shape[1] <= 1_000_000


def test_thumbnail():
    """At most the width asked for, the shape kept, small pictures left alone; a JPEG."""
    big = picture(7, 640, 480)
    for given_picture in (big, Frame(0, 0.0, big)):
        data = thumbnail(given_picture, 64)
        assert data.startswith(b"\xff\xd8\xff")
        assert read_image(data).shape == (48, 64, 3)
        assert number_in(read_image(data)) == 7
    assert read_image(thumbnail(picture(7), 320)).shape == (48, 64, 3)
    assert read_image(thumbnail(np.zeros((1, 500, 3), np.uint8), 10)).shape == (1, 10, 3)
    assert len(thumbnail(big, 64, quality=20)) < len(thumbnail(big, 64, quality=95))
    with pytest.raises(InputError, match="width=0"):
        thumbnail(big, 0)
    with pytest.raises(InputError, match="RGB"):
        thumbnail(big[:, :, :1])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_write_image(tmp_path, name):
    write_image(tmp_path / name, picture(99))
    assert number_in(read_image(tmp_path / name)) == 99
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(InputError, match="expected"):
        write_image(tmp_path / "a.gif", picture(1))
    with pytest.raises(InputError, match="does not exist"):
        write_image(tmp_path / "none" / name, picture(1))
    with pytest.raises(InputError, match="RGB"):
        write_image(tmp_path / name, picture(1)[:, :, 0])


class Endless(io.RawIOBase):
    """A pipe on which zeros come for ever."""

    given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.given += size
        return b"\0" * size


def test_a_pipe_is_read_whole_and_no_further_than_allowed(tmp_path):
    write_image(tmp_path / "a.png", np.full((8, 9, 3), 7, np.uint8))
    reader, writer = os.pipe()
    os.write(writer, (tmp_path / "a.png").read_bytes())
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert read_image(pipe).shape == (8, 9, 3)
    endless = Endless()
    with pytest.raises(MediaError, match="more than 5,000,000 bytes; expected one encoded image"):
        read_image(endless, limits=Limits(max_image_bytes=5_000_000))
    assert endless.given == 5_000_001
