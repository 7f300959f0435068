"""How figures look: colours of Okabe and Ito, markers and dashes that differ, sizes for print, bytes that repeat."""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.files import atomic_open
from dlm.settings.metrics import MetricKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe and Ito's, yellow replaced by a brown that print keeps."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MAP = "viridis"
"""Colour map: its lightness rises evenly, so grey print keeps the order."""
GREY = "#5A5A5A"
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E0E0E0",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "dlm",
    "svg.fonttype": "path",
    "path.simplify": False,
}
TITLE: dict[str, Any] = {"x": 0.01, "ha": "left", "fontsize": 11, "fontweight": "bold"}
Look = tuple[str, str, Any]
"""Colour, marker and dash."""
_WIDTH = 7.2
"""Inches: across a printed page."""


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style, without a display."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def grid(rows: int, columns: int, *, height: float = 2.6, title: str = "", **options: Any) -> tuple[Figure, Any]:
    """Return a figure of panels and its axes, (rows, columns), with a title that states its message."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(_WIDTH, 2.9 * columns)
    lines = textwrap.wrap(title, round(9.8 * width))
    figure = Figure(figsize=(width, height * rows + 0.22 * len(lines) + 0.25), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    if title:
        figure.suptitle("\n".join(lines), **TITLE)
    return figure, axes


def rendered(figure: Figure, kind: str) -> bytes:
    """Return a figure as `png` or `svg`: the same bytes each time, no date, no version."""
    stream = io.BytesIO()
    nothing = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    with styled():
        figure.savefig(stream, format=kind, metadata=nothing)
    return stream.getvalue()


def write(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the path's ending names, atomically."""
    content = rendered(figure, path.suffix.removeprefix("."))
    with atomic_open(path) as stream:
        stream.write(content)


def score_label(kind: MetricKind) -> str:
    """Name a score's axis, with its unit."""
    if not kind.loss:
        return "score, % right"
    return f"{kind.title}, lower is better"


def scaled(kind: MetricKind, value: float) -> float:
    """Return a score as an axis has it: percent of a share."""
    return value if kind.loss else 100 * value


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Return a colour, marker and dash for each name; no two of the first eight share two of them."""
    return {
        name: (COLOURS[place % len(COLOURS)], MARKERS[(place + turn) % len(MARKERS)], DASHES[place % len(DASHES)])
        for place, name in enumerate(names)
        for turn in [place // len(COLOURS)]  # another marker where a colour comes again
    }


def mark_baseline(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """Name the baseline's point, above whatever else is drawn there."""
    paper = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    look: dict[str, Any] = {"fontsize": 7, "zorder": 6, "bbox": paper, "annotation_clip": False}
    for place in places:
        axes.plot(*place, "o", markersize=8, markerfacecolor="none", markeredgecolor=GREY, zorder=5)
        axes.annotate("baseline", place, (7, -12), textcoords="offset points", **look)


def panel_title(axes: Axes, model: str, task: str) -> None:
    """Say whose numbers a panel has."""
    axes.set_title(f"{model}, {task}".strip(", "), loc="left")
