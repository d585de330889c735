"""Pictures of numbers: 8-bit PNG files whose pixels are indices, as class and instance masks are stored."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from whenwhere.errors import InputError, MediaError
from whenwhere.media.records import Limits

_ERRORS = (Exception,)  # a damaged file makes Pillow raise nearly any type; caught around its calls only


def palette(count: int = 256) -> np.ndarray:
    """Return the colours of PASCAL VOC's masks, (count, 3) uint8 RGB: the bits of the index dealt out from the top.

    Bit 0 of an index is bit 7 of red, bit 1 bit 7 of green, bit 2 bit 7 of blue, bit 3 bit 6 of red, and so on.
    """
    index = np.arange(count)
    colours = np.zeros((count, 3), np.int64)
    for bit in range(8):
        colours[:, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return colours.astype(np.uint8)


def read_indices(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a PNG of indices, its palette left aside.

    Returns:
        uint8 (height, width); 0 and 1 from a picture of single bits.

    Raises:
        MediaError: the file is missing, damaged, too large, or holds colours and not indices.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG",)) as image:
                width, height, mode = *image.size, image.mode
                small = width * height <= Limits().max_image_pixels
                pixels = np.array(image).astype(np.uint8) if small and mode in ("P", "L", "1") else None
    except _ERRORS as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise MediaError(f"cannot read the mask {path} ({reason})", "a PNG file of indices") from error
    if not small:
        raise MediaError(f"the mask {path} is {width} x {height} pixels", f"at most {Limits().max_image_pixels}")
    if pixels is None:
        raise MediaError(f"the mask {path} has pixels of mode {mode}", "8-bit indices, with a palette or gray")
    return pixels


def write_indices(path: str | os.PathLike[str], indices: np.ndarray) -> None:
    """Write uint8 (H, W) as a PNG with the palette of PASCAL VOC, whole or not at all.

    Raises:
        InputError: another shape or type, or the folder is missing.
    """
    target, pixels = Path(path), np.asarray(indices)
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise InputError(f"an array of {pixels.dtype} {pixels.shape}", "uint8 (height, width)")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist", "an existing folder")
    image = Image.fromarray(pixels)
    image.putpalette(palette().tobytes())  # makes it a picture with a palette
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        image.save(partial, "PNG")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
