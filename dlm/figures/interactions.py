"""Interaction heat map: how far two factors together depart from the sum of their effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlm.errors import DataError
from dlm.figures.style import MAP, grid
from dlm.figures.sweep import SweepResults, is_seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 4
"""Panels; the strongest interactions."""
_ROOM = 24
"""Characters that stand side by side below a panel."""


def interaction_map(results: SweepResults) -> Figure:
    """Draw the strongest two-way interactions, a panel each; a star marks what is seen once corrected."""
    groups = _groups(results)
    if not groups:
        raise DataError(f"sweep '{results.name}': no two factors were crossed, so no interaction is known")
    chosen = sorted(groups, key=lambda key: -_strength(groups[key]))[:_MOST]
    columns = min(len(chosen), 2)
    rows = -(-len(chosen) // columns)
    tallest = max(len({row["level"] for row in groups[key]}) for key in chosen)
    figure, all_axes = grid(rows, columns, height=0.42 * tallest + 1.5, title=_message(groups, chosen[0]))
    most = max(_strength(groups[key]) for key in chosen)
    for axes, key in zip(all_axes.flat, chosen, strict=False):
        _draw(axes, figure, key, groups[key], most, _factor(results, key))
    for axes in list(all_axes.flat)[len(chosen) :]:
        axes.set_visible(False)
    return figure


Key = tuple[str, str, str, str]
"""Model, task and the two factors."""


def _groups(results: SweepResults) -> dict[Key, list[Mapping[str, str]]]:
    found: dict[Key, list[Mapping[str, str]]] = {}
    for row in results.effects:
        if row["kind"] == "interaction":
            found.setdefault((row["model"], row["task"], row["factor"], row["factor_2"]), []).append(row)
    return found


def _factor(results: SweepResults, key: Key) -> float:
    return 1.0 if results.panels[key[0], key[1]][0].kind.loss else 100.0


def _strength(rows: list[Mapping[str, str]]) -> float:
    return max(abs(float(row["effect"])) for row in rows)


def _draw(axes: Axes, figure: Figure, key: Key, rows: list[Mapping[str, str]], most: float, factor: float) -> None:
    levels = list(dict.fromkeys(row["level"] for row in rows))
    others = list(dict.fromkeys(row["level_2"] for row in rows))
    table = [[0.0] * len(others) for _ in levels]
    for row in rows:
        table[levels.index(row["level"])][others.index(row["level_2"])] = factor * float(row["effect"])
    limit = factor * most or 1.0
    image = axes.imshow(table, cmap=MAP, vmin=-limit, vmax=limit, aspect="auto")
    for row in rows:
        value = factor * float(row["effect"])
        ink = "black" if value > 0.25 * limit else "white"
        place = others.index(row["level_2"]), levels.index(row["level"])
        text = f"{value:+.1f}{'*' if is_seen(row) else ''}"
        axes.text(*place, text, ha="center", va="center", color=ink, fontsize=8)
    crowded = sum(map(len, others)) + len(others) > _ROOM
    axes.set_xticks(range(len(others)), others, rotation=25 * crowded, ha="right" if crowded else "center")
    axes.set_yticks(range(len(levels)), levels)
    axes.set_xlabel(key[3])
    axes.set_ylabel(key[2])
    axes.set_title(f"{key[0]}, {key[1]}", loc="left")
    axes.grid(visible=False)
    unit = "points beyond the sum of effects" if factor == 100 else "beyond the sum of effects"
    figure.colorbar(image, ax=axes, label=unit)


def _message(groups: dict[Key, list[Mapping[str, str]]], key: Key) -> str:
    seen = sum(is_seen(row) for rows in groups.values() for row in rows)
    count = sum(map(len, groups.values()))
    if not seen:
        return f"No interaction of two factors is seen: 0 of {count} cells beyond chance, corrected for all effects"
    return f"{key[2]} and {key[3]} interact most; {seen} of {count} cells (*) beyond chance, corrected for all effects"
