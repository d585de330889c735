"""Still images: read upright and bounded, write, and make thumbnails."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from whenwhere.errors import InputError, MediaError
from whenwhere.media.records import Frame, Limits, MediaInfo

# Formats that cameras, browsers and tools write; not those of which reading starts a program (EPS, PDF).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA")
# A damaged file makes Pillow's readers raise nearly any type. This is caught around calls of Pillow only.
_ERRORS = (Exception,)
_PIECE = 1 << 20  # bytes read at a time
_EXIF_ORIENTATION = 0x0112
_EXIF_DEGREES = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
_MAGIC = (
    (b"\xff\xd8\xff", 0, "jpeg"),
    (b"\x89PNG\r\n", 0, "png"),
    (b"GIF8", 0, "gif"),
    (b"WEBP", 8, "webp"),
    (b"BM", 0, "bmp"),
    (b"II*\0", 0, "tiff"),
    (b"MM\0*", 0, "tiff"),
    (b"ftypavif", 4, "avif"),
    (b"ftypheic", 4, "heic"),
    (b"jP  \r\n", 4, "jpeg2000"),
)
_SUFFIX_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
ImageLike = str | os.PathLike[str] | bytes | BinaryIO


def read_image(source: ImageLike, *, limits: Limits | None = None, alpha: bool = False) -> np.ndarray:
    """Read one image, upright.

    EXIF orientation is applied; transparent parts show white; 16-bit and float images are scaled to 8 bits; of an
    animation the first picture is read.

    Args:
        source: path, encoded bytes, or an open binary file; one that cannot seek, such as a pipe, is read to its end.
        limits: `max_image_pixels` is checked before memory for the pixels is taken, `max_image_bytes` while a pipe is
            read.
        alpha: whether transparent parts are told instead, in a fourth channel: 0 where nothing shows.

    Returns:
        uint8 (height, width, 3) RGB, or (height, width, 4) with `alpha`.

    Raises:
        MediaError: when it is missing, no image, damaged or too large.
    """
    name, shown = _name(source), "RGBA" if alpha else "RGB"
    with _open(source, limits or Limits()) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of damage that does not touch the pixels
                image.load()
                upright = ImageOps.exif_transpose(image)
                see_through = alpha and upright.has_transparency_data
                return np.array(upright.convert("RGBA") if see_through else _to_rgb(upright).convert(shown))
        except _ERRORS as error:
            raise MediaError(f"{name} is damaged ({_reason(error)})", "a complete image", "copy it again") from error


def probe_image(source: ImageLike, *, limits: Limits | None = None) -> MediaInfo:
    """Read an image's header only.

    Raises:
        MediaError: when it is missing, no image or too large.
    """
    with _open(source, limits or Limits()) as image:
        degrees = _EXIF_DEGREES.get(_orientation(image), 0)
        width, height = image.size if degrees % 180 == 0 else image.size[::-1]
        kind = (image.format or "").lower()
        return MediaInfo(_name(source), "image", width, height, degrees, codec=kind, container=kind, frames_claimed=1)


def image_format(head: bytes) -> str | None:
    """Name the still image format that a file's first bytes (12 or more) belong to, such as "png", or None."""
    for magic, at, name in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return name
    return None


def is_animation(path: Path) -> bool:
    """Say whether an image file holds more than one picture in time (GIF, APNG, animated WebP)."""
    try:
        with _open(path, Limits()) as image:
            return bool(getattr(image, "is_animated", False)) and image.format in ("GIF", "PNG", "WEBP")
    except MediaError:
        return False


def thumbnail(picture: Frame | np.ndarray, width: int = 320, *, quality: int = 80) -> bytes:
    """Return a small JPEG of a picture, for reports.

    Args:
        picture: a frame, or uint8 (H, W, 3) RGB.
        width: pixels at most; a narrower picture keeps its size.
        quality: JPEG quality, 1 to 95.

    Raises:
        InputError: on another shape or type, or a width below 1.
    """
    pixels = check_pixels(picture.pixels if isinstance(picture, Frame) else picture)
    if width < 1:
        raise InputError(f"width={width}", "1 pixel or more")
    image = Image.fromarray(pixels)
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def write_image(path: str | os.PathLike[str], pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as .png, .jpg or .webp, in one step: the file is complete or not there.

    Raises:
        InputError: on another shape, type or suffix, or when the folder is missing.
    """
    target = Path(path)
    if target.suffix.lower() not in _SUFFIX_FORMATS:
        raise InputError(f"{target.name}", f"a name ending in one of {', '.join(_SUFFIX_FORMATS)}")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist", "an existing folder")
    image = Image.fromarray(check_pixels(pixels))
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        image.save(partial, _SUFFIX_FORMATS[target.suffix.lower()], quality=92)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` when it is uint8 (H, W, 3) with H, W >= 1, made contiguous.

    Raises:
        InputError: otherwise.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(f"an array of {pixels.dtype} {pixels.shape}", "uint8 (height, width, 3) RGB")
    return np.ascontiguousarray(pixels)


def _open(source: ImageLike, limits: Limits) -> Image.Image:
    name = _name(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if os.path.isdir(path):
            raise MediaError(f"{name} is a folder", "an image file", "name one of its files")
        if not os.path.isfile(path):
            found = "is a device or a pipe" if os.path.exists(path) else "does not exist"
            raise MediaError(f"{name} {found}", "an image file")
        opened: Path | BinaryIO = path
    else:
        opened = io.BytesIO(source) if isinstance(source, (bytes, bytearray)) else _seekable(source, name, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of size and of odd metadata; the size is checked below
            image = Image.open(opened, formats=list(FORMATS))
    except Image.DecompressionBombError as error:
        raise _too_large(name, "more pixels than Pillow accepts", limits) from error
    except _ERRORS as error:
        raise _unopened(name, opened, error) from error
    if image.width * image.height > limits.max_image_pixels:
        size = f"{image.width}x{image.height} pixels"
        image.close()
        raise _too_large(name, size, limits)
    return image


def _seekable(source: BinaryIO, name: str, limits: Limits) -> BinaryIO:
    """Return a file that can seek as it is, and of a pipe what comes until its end, which has a bound."""
    if getattr(source, "seekable", lambda: hasattr(source, "seek"))():
        return source
    data = bytearray()
    while len(data) <= limits.max_image_bytes:
        more = source.read(min(_PIECE, limits.max_image_bytes + 1 - len(data)))
        if not more:
            return io.BytesIO(data)
        data += more
    raise MediaError(
        f"{name} has more than {limits.max_image_bytes:,} bytes",
        "one encoded image",
        "save it to a file first if it is one, or raise Limits(max_image_bytes=...)",
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, transparency over white, deep images scaled to 8 bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        deep = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" and np.nanmax(deep, initial=0.0) <= 1.0 else 65535.0
        levels = np.nan_to_num(np.clip(deep / top, 0.0, 1.0)) * 255.0
        return Image.fromarray(np.round(levels).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        paper = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, over).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _ERRORS:  # a damaged EXIF block says nothing about the pixels
        return 1


def _unopened(name: str, opened: Path | BinaryIO, error: BaseException) -> MediaError:
    if isinstance(error, PermissionError):
        return MediaError(f"{name} cannot be opened (permission denied)", "a file that you may read")
    size = opened.stat().st_size if isinstance(opened, Path) else None
    if size == 0:
        return MediaError(f"{name} is empty (0 bytes)", "an image")
    return MediaError(f"{name} is not an image that can be read", "a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, ... file")


def _too_large(name: str, found: str, limits: Limits) -> MediaError:
    return MediaError(
        f"{name} has {found}",
        f"at most {limits.max_image_pixels:,} pixels",
        "raise Limits(max_image_pixels=...) if you trust the file, or scale it down first",
    )


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120].lower().rstrip(".")


def _name(source: ImageLike) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    given = getattr(source, "name", None)
    return given if isinstance(given, str) else "<image>"
