"""Score against tokens per forward pass: what speed costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlm.errors import DataError
from dlm.figures.style import GREY, Look, grid, looks, mark_baseline, panel_title, scaled, score_label
from dlm.figures.sweep import Line, SweepResults, changed_of, unbounded, whiskers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PASS = "tokens_per_pass"


def front(lines: Sequence[Line]) -> list[Line]:
    """Return the settings that no other is at least as good as in score and tokens a pass, and better in one of them.

    From the slowest to the fastest; of equal ones the first.
    """
    sign = -1 if lines[0].kind.loss else 1
    ordered = sorted(lines, key=lambda line: (-line.numbers[PASS], -sign * line.value))
    found: list[Line] = []
    for line in ordered:
        if not found or sign * line.value > sign * found[-1].value:
            found.append(line)
    return found[::-1]


def tradeoff(results: SweepResults) -> Figure:
    """Draw a panel a model and task; settings that differ in the factor of most levels have a look of their own."""
    panels = {key: [line for line in lines if line.numbers.get(PASS, 0) > 0] for key, lines in results.panels.items()}
    panels = {key: lines for key, lines in panels.items() if len({line.numbers[PASS] for line in lines}) > 1}
    panels = {key: lines for key, lines in panels.items() if not all(line.stopped for line in lines)}
    if not panels:
        raise DataError(f"sweep '{results.name}': its settings take as many tokens a pass; there is no trade-off")
    groups = _groups(results)
    levels = list(dict.fromkeys(groups[line.setting] for lines in panels.values() for line in lines))
    styles = looks(levels)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, all_axes = grid(rows, columns, height=2.9, title=_message(panels))
    for axes, (key, lines) in zip(all_axes.flat, panels.items(), strict=False):
        _panel(axes, lines, [styles[groups[line.setting]] for line in lines])
        _tell_silent(axes, sum(line.numbers.get(PASS) == 0 for line in results.panels[key]))
        panel_title(axes, *key)
    for axes in list(all_axes.flat)[len(panels) :]:
        axes.set_visible(False)
    _legend(figure, all_axes.flat[0], styles, any(line.stopped for lines in panels.values() for line in lines))
    return figure


def _panel(axes: Axes, lines: Sequence[Line], styles: Sequence[Look]) -> None:
    best = front([line for line in lines if not line.stopped])
    axes.plot(
        [line.numbers[PASS] for line in best], [scaled(line.kind, line.value) for line in best],
        color=GREY, linewidth=1.2, zorder=1,
    )  # fmt: skip
    for line, (colour, marker, _) in zip(lines, styles, strict=True):
        x, y = line.numbers[PASS], scaled(line.kind, line.value)
        axes.errorbar(x, y, whiskers([line]), color=colour, elinewidth=0.8, alpha=0.7, zorder=2)
        unbounded(axes, x, line)
        face = "white" if line.stopped else colour  # hollow: it answered a part of the documents
        axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=5, zorder=3)
        if line in best:
            axes.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor="black", zorder=4)
    own = [line for line in lines if line.is_baseline]
    mark_baseline(axes, [(line.numbers[PASS], scaled(line.kind, line.value)) for line in own])
    axes.set_xlabel("tokens per forward pass")
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylabel(score_label(lines[0].kind))


def _tell_silent(axes: Axes, settings: int) -> None:
    """Say how many settings have no place here, since their answers are empty."""
    if settings:
        told = f"not shown: {settings} setting{'s' * (settings > 1)} of empty answers"
        axes.annotate(told, (0.02, 0.02), xycoords="axes fraction", va="bottom", fontsize=7, color=GREY)


def _legend(figure: Figure, axes: Axes, styles: Mapping[str, Look], stopped: bool) -> None:
    handles = [axes.plot([], [], marker=look[1], color=look[0], linestyle="")[0] for look in styles.values()]
    ring = axes.plot([], [], "o-", color=GREY, markerfacecolor="none", markeredgecolor="black", markersize=9)
    handles, names = [*handles, *ring], [*styles, "Pareto front"]
    if stopped:
        handles += axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5)
        names.append("stopped by the budget")
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4))


def _groups(results: SweepResults) -> dict[str, str]:
    """Return what a setting shares its look with: what it changes, or its level of the factor of most levels."""
    if results.one_at_a_time:
        baselines = {key: next(line for line in lines if line.is_baseline) for key, lines in results.panels.items()}
        return {line.setting: changed_of(line, baselines[line.model, line.task]) for line in results.lines}
    factor = max(results.factors, key=lambda name: len({line.levels[name] for line in results.lines}))
    return {line.setting: f"{factor}: {line.levels[factor] or 'as it is'}" for line in results.lines}


def _message(panels: dict[tuple[str, str], list[Line]]) -> str:
    """Say how much faster a setting is that the best score's interval still holds, of the panel where that is most."""
    gains = []
    for (model, task), every in panels.items():
        lines = [line for line in every if not line.stopped]
        best = (min if lines[0].kind.loss else max)(lines, key=lambda line: line.value)
        most = max((line for line in lines if _within(line, best)), key=lambda line: line.numbers[PASS])
        gains.append((most.numbers[PASS] / best.numbers[PASS], model, task))
    gain, model, task = max(gains)
    if gain <= 1.005:
        return "No setting is faster than the best one and within its interval"
    return (
        f"Up to {gain:.1f} times the best setting's tokens a pass within the best score's 95 % interval "
        f"({model}, {task})"
    )


def _within(line: Line, best: Line) -> bool:
    if line.kind.loss:
        return best.high is None or line.value <= best.high
    return line.value >= best.low
