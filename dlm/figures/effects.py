"""Effect bars: what each level of each factor changes; of one-at-a-time sweeps what it leaves of the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dlm.errors import DataError
from dlm.figures.style import COLOURS, GREY, grid, panel_title
from dlm.figures.sweep import Line, SweepResults, arrow_to_edge, changed_of, is_seen, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SEEN, _NOT_SEEN = ("higher", "lower"), "no difference seen"
"""Verdicts of a sweep's table, after correction for many comparisons."""
_MOST_RATIO = 220
"""Percent of the baseline's score that are shown; intervals may reach beyond."""
_FILL = COLOURS[5]
"""Light enough for the interval on it to be seen, in grey print too."""


class Bar(NamedTuple):
    """One bar."""

    label: str
    value: float
    low: float | None
    high: float | None
    seen: bool
    """Whether the corrected paired test sees an effect."""
    published: float | None = None


def effect_bars(results: SweepResults) -> Figure:
    """Draw a panel a model and task; filled bars are effects that are seen, hollow ones are not."""
    ratios = results.one_at_a_time
    bars = _ratios(results) if ratios else _levels(results)
    if not bars:
        problem = "its baselines score 0" if ratios else "no factor has several levels whose effects can be told apart"
        raise DataError(f"sweep '{results.name}': {problem}")
    null = 100.0 if ratios else 0.0
    rows, columns = _shape(len(bars))
    longest = max(map(len, bars.values()))
    title = _message(results, bars, null, ratios=ratios)
    figure, all_axes = grid(rows, columns, height=0.27 * longest + 0.9, title=title, sharex=ratios)
    edge = math.inf
    if ratios:
        highest = max(max(bar.high or bar.value, bar.published or 0) for found in bars.values() for bar in found)
        edge = min(1.05 * highest, _MOST_RATIO)
        all_axes.flat[0].set_xlim(0, edge)
    has_published = False
    for axes, (key, found) in zip(all_axes.flat, bars.items(), strict=False):
        _draw(axes, found, null, edge)
        has_published |= any(bar.published is not None for bar in found)
        panel_title(axes, *key)
        axes.set_xlabel("% of the baseline's score" if ratios else _unit(results, key))
    for axes in list(all_axes.flat)[len(bars) :]:
        axes.set_visible(False)
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=_FILL, edgecolor=COLOURS[0]),
        Patch(facecolor="white", edgecolor=COLOURS[0], hatch="////"),
    ]
    names = ["effect seen by its corrected paired test", "no effect seen"]
    if has_published:
        handles.append(Line2D([], [], marker="D", linestyle="", color=COLOURS[1], markeredgecolor="black"))
        names.append("published")
    missing = [", ".join(key) for key in results.panels if key not in bars]
    left_out = f"not shown, since the baseline scores 0: {'; '.join(missing)}" if ratios and missing else None
    figure.legend(handles, names, loc="outside lower center", ncols=3, title=left_out, title_fontsize=7)
    return figure


def _draw(axes: Axes, bars: list[Bar], null: float, edge: float) -> None:
    for place, bar in enumerate(reversed(bars)):
        hollow = not bar.seen
        axes.barh(
            place, bar.value - null, left=null, height=0.68, edgecolor=COLOURS[0],
            facecolor="white" if hollow else _FILL, hatch="////" if hollow else None, linewidth=0.8,
        )  # fmt: skip
        if bar.low is not None:
            _whisker(axes, place, bar.low, bar.high, edge)
        if bar.published is not None:
            axes.plot(bar.published, place, "D", color=COLOURS[1], markeredgecolor="black", zorder=5)
    axes.axvline(null, color=GREY, linewidth=1)
    axes.set_yticks(range(len(bars)), [bar.label for bar in reversed(bars)])
    axes.grid(axis="y", visible=False)


def _whisker(axes: Axes, place: int, low: float, high: float | None, edge: float) -> None:
    """Draw an interval; to the edge, with an arrow, where it has no end or one beyond the edge."""
    if high is None or high > edge:
        arrow_to_edge(axes, (min(low, 0.96 * edge), place), (1, place), ("axes fraction", "data"))
    else:
        axes.plot([low, high], [place, place], color="black", linewidth=1.3)


def _ratios(results: SweepResults) -> dict[tuple[str, str], list[Bar]]:
    found: dict[tuple[str, str], list[Bar]] = {}
    for key, lines in results.panels.items():
        baseline = next(line for line in lines if line.is_baseline)
        for line in lines:
            if not line.is_baseline and "ratio" in line.numbers:
                found.setdefault(key, []).append(_ratio(line, baseline))
    return found


def _ratio(line: Line, baseline: Line) -> Bar:
    ends = [line.numbers.get(name) for name in ("ratio_low", "ratio_high", "published_ratio")]
    low, high, published = (None if end is None else 100 * end for end in ends)
    outside = (low is not None and low > 100) or (high is not None and high < 100)
    seen = line.verdict in _SEEN if line.verdict in (*_SEEN, _NOT_SEEN) else outside
    return Bar(changed_of(line, baseline), 100 * line.numbers["ratio"], low, high, seen, published)


def _levels(results: SweepResults) -> dict[tuple[str, str], list[Bar]]:
    found: dict[tuple[str, str], list[Bar]] = {}
    for row in results.effects:
        if row["kind"] == "level":
            key = row["model"], row["task"]
            factor = 1.0 if results.panels[key][0].kind.loss else 100.0
            found.setdefault(key, []).append(_level(row, factor))
    return found


def _level(row: Mapping[str, str], factor: float) -> Bar:
    numbers = [number(row, name) for name in ("effect", "ci_low", "ci_high")]
    value, low, high = (None if each is None else factor * each for each in numbers)
    return Bar(f"{row['factor']}: {row['level']}", value or 0.0, low, high, is_seen(row))


def _unit(results: SweepResults, key: tuple[str, str]) -> str:
    kind = results.panels[key][0].kind
    return "effect on the logarithm" if kind.exponential else "effect" if kind.loss else "effect, percentage points"


def _message(results: SweepResults, bars: dict[tuple[str, str], list[Bar]], null: float, *, ratios: bool) -> str:
    """Name the largest effect that is seen."""
    known = [(abs(bar.value - null), bar, key) for key, found in bars.items() for bar in found if bar.seen]
    if not known:
        return "No effect is seen once corrected for many comparisons; the intervals say how large one could be"
    _, bar, (model, task) = max(known, key=lambda each: each[0])
    if ratios:
        return f"{bar.label} leaves {bar.value:.0f} % of the baseline's score, the largest change ({model}, {task})"
    unit = "" if results.panels[model, task][0].kind.loss else " points"
    return f"{bar.label} moves a score most: by {bar.value:+.1f}{unit} from the mean of all settings ({model}, {task})"


def _shape(panels: int) -> tuple[int, int]:
    columns = 1 if panels == 1 else 2
    return -(-panels // columns), columns
