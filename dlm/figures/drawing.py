"""The figures by name, drawn and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlm.errors import DataError, SettingsError, did_you_mean
from dlm.figures.bumps import bump_chart
from dlm.figures.effects import effect_bars
from dlm.figures.interactions import interaction_map
from dlm.figures.lengths import length_figure
from dlm.figures.orders import order_map
from dlm.figures.style import TITLE, styled, write
from dlm.figures.sweep import SweepResults
from dlm.figures.tradeoff import tradeoff

FIGURES: Mapping[str, Callable[[SweepResults], Any]] = {
    "effects": effect_bars,
    "tradeoff": tradeoff,
    "interactions": interaction_map,
    "ranks": bump_chart,
    "length": length_figure,
    "order": order_map,
}
"""What draws each figure, by its name."""
KINDS = ("png", "svg")


def refuse_unknown(name: str) -> None:
    """Raise SettingsError where no figure has that name."""
    if name not in FIGURES:
        raise SettingsError(f"no figure '{name}': {did_you_mean(name, FIGURES)}")


def draw(name: str, results: SweepResults) -> Any:
    """Return a matplotlib figure of a sweep.

    Raises:
        SettingsError: there is no such figure.
        DataError: the sweep has not what it shows; says what that is.
    """
    refuse_unknown(name)
    try:
        with styled():
            figure = FIGURES[name](results)
    except KeyError as error:
        raise DataError(
            f"{results.folder}: the tables of sweep '{results.name}' are of an older version (no {error}); make them "
            f"again with `dlm sensitivity {results.name}`"
        ) from error
    if results.meaningless:
        says = " ".join(figure.get_suptitle().split())
        figure.suptitle(f"Meaningless numbers of scale {results.scale}: {says}", **TITLE, wrap=True)
    return figure


def figures_of(results: SweepResults) -> dict[str, Any]:
    """Return the figures of which a sweep has what they show, by name."""
    found = {}
    for name in FIGURES:
        try:
            found[name] = draw(name, results)
        except DataError:
            continue
    return found


def write_figure(name: str, results: SweepResults, folder: Path) -> list[Path]:
    """Draw a figure into ``folder``, as PNG and SVG; the same results give the same bytes. Raises as :func:`draw`."""
    figure = draw(name, results)
    paths = [folder / f"{name}.{kind}" for kind in KINDS]
    for path in paths:
        write(figure, path)
    return paths
