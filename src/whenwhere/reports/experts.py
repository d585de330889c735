"""Pictures of where nested experts look: each patch shown as bright as its expert is wide."""

from __future__ import annotations

import numpy as np

from whenwhere.errors import InputError


def draw_experts(pixels: np.ndarray, experts: np.ndarray, count: int) -> np.ndarray:
    """Show the expert of each patch on a picture.

    A patch of the full expert stays as it is; the smaller its expert, the greyer and darker it becomes.

    Args:
        pixels: uint8 (H, W, 3) RGB; it is not changed.
        experts: (rows, columns), the expert of each patch, 0 the smallest, as
            :meth:`whenwhere.adapt.nested.NestedViT.routing` gives. The grid is stretched over the picture.
        count: experts in all.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        InputError: another shape or type, or experts out of range.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(f"picture of shape {pixels.shape} and type {pixels.dtype}", "uint8 (H, W, 3), RGB")
    if experts.ndim != 2 or 0 in experts.shape or experts.min() < 0 or experts.max() >= count:
        raise InputError(f"experts of shape {experts.shape}", f"a grid of numbers in 0..{count - 1}")
    height, width = pixels.shape[:2]
    rows = np.arange(height) * experts.shape[0] // height
    columns = np.arange(width) * experts.shape[1] // width
    kept = (experts[rows[:, None], columns] + 1.0)[..., None] / count  # (H, W, 1): 1 for the full expert
    dark = pixels.mean(axis=2, keepdims=True) * 0.3
    return np.rint(kept * pixels + (1 - kept) * dark).astype(np.uint8)
