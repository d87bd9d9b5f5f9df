"""Matplotlib figures as PNG, without a display."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind people can distinguish
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def new_figure(width: float, height: float, layout: str | None = "constrained") -> Figure:
    """An empty figure of this size in inches.

    :param layout: matplotlib's layout engine; None where all axes are placed by hand.
    """
    # without pyplot, which keeps figures alive and may need a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Figure, dpi: int = 100, background: str = "white") -> bytes:
    """The figure as PNG.

    :param dpi: pixels per inch.
    """
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, facecolor=background)
    return out.getvalue()
