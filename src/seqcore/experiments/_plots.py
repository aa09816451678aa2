"""Figures by matplotlib, an optional extra: drawn without a display, saved as PNG."""

from __future__ import annotations

import io
import os
from typing import Any

from .._files import atomic_write


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that many inches.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot: needs matplotlib (pip install 'seqcore[experiments]')") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Writes the figure as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    atomic_write(path, [buffer.getbuffer()])
