"""Charts as PNG files: curves of a run, confusion matrices, heat maps, and points with their front, by matplotlib.

Each function writes one file, whole or not at all, and returns its path. Nothing here opens a window or keeps state.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whenwhere.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _PALE = "#1b1f24", "#d8dee4"
_COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#57606a", "#0a7ea4")
_CELLS_WITH_NUMBERS = 20  # rows and columns above which numbers in the cells could not be read
_CELLS_WITH_NAMES = 60
# where a machine has them: for names in scripts that matplotlib's own font lacks
_MORE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Microsoft YaHei",
    "Yu Gothic", "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip


def curves(
    path: str | os.PathLike[str],
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    x: str = "step",
    title: str = "",
) -> Path:
    """Draw lines in panels side by side.

    Args:
        path: the ``.png`` to write.
        panels: of each panel its name, which labels its y axis, and its lines: name to (x values, y values).
        x: label of the x axes.
        title: above all.

    Raises:
        InputError: no panel, values of different lengths, or the file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    if not panels:
        raise InputError("no panel", "at least one")
    figure = _figure(4.2 * len(panels), 3.2, title)
    for number, (name, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), number)
        for colour, (line, (xs, ys)) in zip(_cycle(len(lines)), lines.items()):
            if len(xs) != len(ys):
                raise InputError(f"{len(xs)} x and {len(ys)} y values of {line!r}", "equally many")
            axes.plot(xs, ys, label=line, color=colour, linewidth=1.6, marker="o" if len(xs) < 3 else "")
        axes.set_xlabel(x)
        axes.set_ylabel(name)
        if all(float(at).is_integer() for xs, _ in lines.values() for at in xs):
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        _plain(axes)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
    return _write(figure, path)


def confusion(path: str | os.PathLike[str], matrix: np.ndarray, names: Sequence[str], *, title: str = "") -> Path:
    """Draw a confusion matrix: rows are the truth, columns what was said, shades the share of each row.

    Args:
        path: the ``.png`` to write.
        matrix: (C, C) counts.
        names: of the C classes.
        title: above it.

    Raises:
        InputError: another shape, or the file cannot be written.
    """
    counts = np.asarray(matrix, np.float64)
    if counts.shape != (len(names), len(names)):
        raise InputError(f"a matrix of shape {counts.shape} for {len(names)} classes", "(classes, classes)")
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    written = np.where(counts > 0, counts, np.nan)
    return heat_map(path, share, names, names, rows="truth", columns="said", title=title, values=written, low=0, high=1)


def heat_map(
    path: str | os.PathLike[str],
    matrix: np.ndarray,
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    rows: str = "",
    columns: str = "",
    title: str = "",
    values: np.ndarray | None = None,
    low: float | None = None,
    high: float | None = None,
    bar: str = "",
    marks: Sequence[tuple[int, int]] = (),
) -> Path:
    """Draw a matrix as shades; NaN cells stay empty.

    Args:
        path: the ``.png`` to write.
        matrix: (R, C).
        row_names, column_names: R and C names; of more than 60 every so many is written.
        rows, columns: labels of the axes.
        title: above it.
        values: (R, C) numbers to write into the cells, NaN for none; only where there are at most 20 rows and columns.
        low, high: values of the lightest and the darkest shade; the extremes of the matrix if None.
        bar: label of a colour bar; "" draws none.
        marks: (row, column) cells to put a frame around.

    Raises:
        InputError: shapes disagree, or the file cannot be written.
    """
    shades = np.asarray(matrix, np.float64)
    if shades.shape != (len(row_names), len(column_names)) or 0 in shades.shape:
        raise InputError(f"a matrix of shape {shades.shape}", f"({len(row_names)}, {len(column_names)})")
    height, width = (min(max(2.6, 0.34 * side + 1.4), 9.0) for side in shades.shape)
    figure = _figure(width + (0.9 if bar else 0.0) + 0.6, height + 0.4, title)
    axes = figure.add_subplot()
    picture = axes.imshow(shades, cmap="Blues", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    for names, side, turn in ((column_names, axes.xaxis, 90), (row_names, axes.yaxis, 0)):
        every = -(-len(names) // _CELLS_WITH_NAMES)
        ticks = range(0, len(names), every)
        upright = turn and max(len(name) for name in names) > 2
        side.set_ticks(list(ticks), [names[i] for i in ticks], rotation=turn if upright else 0, fontsize=8)
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    axes.tick_params(length=0)
    if values is not None and max(shades.shape) <= _CELLS_WITH_NUMBERS:
        middle = np.nanmean([picture.norm.vmin or 0.0, picture.norm.vmax or 1.0])
        for (row, column), value in np.ndenumerate(np.asarray(values, np.float64)):
            if np.isfinite(value):
                colour = "white" if shades[row, column] > middle else _INK
                axes.text(column, row, f"{value:g}", ha="center", va="center", fontsize=7, color=colour)
    for row, column in marks:
        axes.add_patch(_frame(column, row))
    if bar:
        figure.colorbar(picture, ax=axes, label=bar, shrink=0.85)
    return _write(figure, path)


def points(
    path: str | os.PathLike[str],
    groups: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    x: str,
    y: str,
    title: str = "",
    logarithmic: bool = False,
    joined: bool = False,
    front: bool = False,
) -> Path:
    """Draw points with error bars, one colour a group.

    Args:
        path: the ``.png`` to write.
        groups: name to points (x, y, half width of the error bar in y).
        x, y: labels of the axes.
        title: above it.
        logarithmic: x axis in powers of ten.
        joined: lines through the points of each group, in the order of x.
        front: also draw the front: the best y so far as x grows.

    Raises:
        InputError: no point, or the file cannot be written.
    """
    every = sorted((at, value) for group in groups.values() for at, value, _ in group)
    if not every:
        raise InputError("no point", "at least one")
    figure = _figure(7.2, 4.4, title)
    axes = figure.add_subplot()
    if front:
        best = np.maximum.accumulate([value for _, value in every])
        axes.step([at for at, _ in every], best, where="post", color=_PALE, linewidth=5, zorder=0)
    for number, (colour, (name, group)) in enumerate(zip(_cycle(len(groups)), groups.items())):
        xs, ys, bars = (np.array(column, float) for column in zip(*sorted(group)))
        marker = "osD^vP*X"[(number // len(_COLOURS)) % 8]
        axes.errorbar(
            xs, ys, bars if bars.any() else None, fmt=marker, color=colour, ms=5, capsize=2, label=name,
            linestyle="-" if joined else "none", linewidth=1.2,
        )  # fmt: skip
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _plain(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _write(figure, path)


def _figure(width: float, height: float, title: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    found = {font.name for font in fontManager.ttflist}
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", *(name for name in _MORE_FONTS if name in found)]
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=10, color=_INK)
    return figure


def _cycle(count: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#bc4c00", linewidth=1.6)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=_PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def _write(figure: Figure, path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise InputError(f"{target.name}", "a name ending in .png")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with warnings.catch_warnings():
            # a sign that no font of this machine has is drawn as a box; there is nothing that a user could do about it
            warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
            figure.savefig(partial, format="png", metadata={"Software": None})
        os.replace(partial, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}", "a folder that you may write") from error
    finally:
        partial.unlink(missing_ok=True)
    return target
