"""Figures by matplotlib, an optional extra: drawn without a display, saved as PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._extras import import_extra
from .._files import atomic_write

# x, y, style such as "o-", color.
Curve = tuple[Sequence[float], Sequence[float], str, str]
Curves = Mapping[str, Curve]
Levels = Mapping[str, float]
COLORS = {
    "SimpleRNN": "#ee6677",
    "3 SimpleRNN layers": "#aa3377",
    "RNN-CF": "#228833",
    "LSTM": "#4477aa",
    "GRU": "#ccaa22",
}


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that many inches.

    Raises:
        ImportError: without matplotlib.
    """
    backend, figures = (
        import_extra(name, "plot: needs matplotlib")
        for name in ("matplotlib.backends.backend_agg", "matplotlib.figure")
    )
    figure = figures.Figure(figsize=(width, height), layout="constrained")
    backend.FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write the figure as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    atomic_write(path, [buffer.getbuffer()])


def by_epoch(
    rows: Sequence[Mapping[str, Any]], key: str, style: str, color: str, scale: float = 1, x: str = "epoch"
) -> Curve:
    """A figure of the rows of a history by epoch, times ``scale``."""
    return [row[x] for row in rows], [scale * row[key] for row in rows], style, color


def draw_curves(axes: Any, curves: Curves, levels: Levels | None = None, legend: bool = True, **settings: Any) -> None:
    """Draw curves with a grid.

    Args:
        axes: those of matplotlib.
        curves: label -> x, y, style such as "o-", color.
        levels: label -> height of a dashed line across the picture.
        legend: draw one where it hides least.
        settings: those of ``axes.set``, such as title, xlabel, ylabel and yscale.
    """
    for label, (x, y, style, color) in curves.items():
        axes.plot(x, y, style, color=color, label=label, markersize=14 if style == "*" else 5)
    for (label, height), style in zip((levels or {}).items(), ("--", ":", "-.")):
        axes.axhline(height, color="#555555", linestyle=style, label=label)
    axes.set(**settings)
    if settings.get("yscale") == "log":
        bottom, top = axes.get_ylim()
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5) if top < 1e4 * bottom else (1,))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    if settings.get("xlabel") == "epoch":
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend()


def legend_below(axes: Any, columns: int) -> None:
    """One legend for the figure, of the curves of these axes, under the plots, where it hides nothing."""
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def draw_matrix(
    axes: Any, values: Any, rows: Sequence[str], columns: Sequence[str], texts: Any = (), low: int = 0, **settings: Any
) -> Any:
    """Draw a matrix as colors, with a name for each row and column; the image, for a color bar.

    Args:
        axes: those of matplotlib.
        values: (R, C) numbers from ``low`` to 1.
        rows, columns: their names.
        texts: (R, C) texts in the cells.
        low: 0, or -1 for values of both signs.
        settings: those of ``axes.set``.
    """
    image = axes.imshow(values, cmap="RdBu" if low < 0 else "Blues", vmin=low, vmax=1, aspect="auto")
    for (i, j), text in np.ndenumerate(texts):
        color = "white" if abs(values[i, j]) > 0.55 else "black"
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set(**settings)
    return image


def draw_images(figure: Any, images: Any, titles: Sequence[str], columns: int, colors: Sequence[str] = ()) -> None:
    """Draw gray images (N, R, C), dark on white, in rows of ``columns``, each with a small title and no axes."""
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(-(-len(images) // columns), columns, place + 1)
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9, color=colors[place] if colors else "black")
        axes.set_axis_off()


def draw_bars(axes: Any, bars: Mapping[str, float], colors: Sequence[str], **settings: Any) -> Any:
    """Draw horizontal bars, the first on top; ``settings`` are those of ``axes.set``. Returns the bars."""
    drawn = axes.barh(list(bars), list(bars.values()), color=colors)
    axes.invert_yaxis()
    axes.set(**settings)
    return drawn
