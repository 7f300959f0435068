"""Rank bump chart: whether a ranking of methods holds from one context to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlm.errors import DataError
from dlm.figures.style import grid, looks, panel_title
from dlm.figures.sweep import SweepResults, is_seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PART = ", "
_LONGEST = 16
"""Characters of a name beside its line; longer ones stand in a legend."""
_TIED = 0.4
"""Height of tied methods together, in ranks."""
_NAME = 0.36
"""Height of a name, in ranks."""
_MOST = 10
"""Contexts that are shown, of a sweep with more those that the ranks list first."""


def bump_chart(results: SweepResults) -> Figure:
    """Draw a panel a model and task: contexts from left to right, the best method on top."""
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in results.ranks:
        if row["kind"] == "method" and row["context"]:
            groups.setdefault((row["model"], row["task"]), []).append(row)
    groups = {key: rows for key, rows in groups.items() if len({row["context"] for row in rows}) > 1}
    if not groups:
        raise DataError(f"sweep '{results.name}': no methods are ranked in several contexts")
    most = max(len({row["method"] for row in rows}) for rows in groups.values())
    figure, all_axes = grid(len(groups), 1, height=0.3 * most + 1.3, title=_message(results))
    for axes, (key, rows) in zip(all_axes.flat, groups.items(), strict=True):
        _draw(axes, rows)
        panel_title(axes, *key)
    return figure


def _draw(axes: Axes, rows: list[Mapping[str, str]]) -> None:
    contexts = list(dict.fromkeys(row["context"] for row in rows))[:_MOST]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    styles = looks(methods)
    places = {(row["method"], row["context"]): float(row["rank"]) for row in rows}
    shown: dict[tuple[str, str], float] = {}
    for context in contexts:
        for method in methods:
            tied = [other for other in methods if places[other, context] == places[method, context]]
            shown[method, context] = places[method, context] + _beside(tied.index(method), len(tied))
    names = short_names(methods)
    direct = max(map(len, names.values())) <= _LONGEST
    for method in methods:
        colour, marker, dash = styles[method]
        heights = [shown[method, context] for context in contexts]
        axes.plot(
            range(len(contexts)), heights, color=colour, marker=marker, linestyle=dash, markersize=7, linewidth=1.8,
            label=names[method],
        )  # fmt: skip
    if direct:
        ends = _apart({method: shown[method, contexts[-1]] for method in methods})
        for method, height in ends.items():
            end = len(contexts) - 1, height
            axes.annotate(names[method], end, (8, 0), textcoords="offset points", va="center", color=styles[method][0])
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set_xticks(range(len(contexts)), contexts)
    axes.set_yticks(range(1, len(methods) + 1))
    axes.set_ylim(len(methods) + 0.6, 0.6)
    axes.set_xlim(-0.15, len(contexts) - 0.85)
    if any(height != places[key] for key, height in shown.items()):
        axes.set_xlabel("ties are drawn beside each other")
    axes.set_ylabel("rank (1: best)")
    axes.grid(axis="y", visible=False)


def _beside(number: int, count: int) -> float:
    """Return how far from their rank the ``number``-th of ``count`` tied methods is drawn."""
    return 0.0 if count == 1 else min(0.12 * (count - 1), _TIED) * (number / (count - 1) - 0.5)


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Return where names stand beside their lines' ends, none over another."""
    found: dict[str, float] = {}
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda each: each[1]):
        last = found[name] = max(height, last + _NAME)
    return found


def short_names(methods: Sequence[str]) -> dict[str, str]:
    """Return what tells each method from the first, where all are named by the levels of several factors."""
    first = methods[0].split(_PART)
    found = {}
    for method in methods:
        parts = method.split(_PART)
        other = [part for part in parts if part not in first]
        found[method] = _PART.join(other) if len(parts) > 1 and len(parts) == len(first) else method
    return {method: name or "baseline" for method, name in found.items()}


def _message(results: SweepResults) -> str:
    means = [row for row in results.ranks if row["kind"] == "mean"]
    if not means:
        return "How methods rank from context to context"
    seen = [row for row in means if is_seen(row)]
    worst = max(seen or means, key=lambda row: float(row["flips_excess"]))
    where = ", ".join(filter(None, (worst["model"], worst["task"])))
    flips, chance = (f"{100 * float(worst[name]):.0f} %" for name in ("flips", "flips_null"))
    if not seen:
        return (
            f"No instability of the ranking is seen: {flips} of pairs of methods change their order between contexts, "
            f"{chance} by chance alone ({where})"
        )
    return f"{flips} of pairs of methods change their order between contexts, {chance} by chance alone ({where})"
