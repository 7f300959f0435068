"""Score against length, with the share of empty and of truncated answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlm.errors import DataError
from dlm.figures.style import COLOURS, GREY, grid, mark_baseline, panel_title, scaled, score_label
from dlm.figures.sweep import Line, SweepResults, unbounded, whiskers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_LEAST = 1.1
"""How much longer the longest answers are than the shortest, at least, on average."""
_SHARES = (("empty_share", "empty", COLOURS[1], "v"), ("truncated_share", "truncated", COLOURS[2], "s"))


def length_figure(results: SweepResults) -> Figure:
    """Draw a column a model and task: scores above, shares of empty and truncated answers below."""
    panels = {
        key: sorted((line for line in lines if "mean_tokens" in line.numbers), key=lambda line: _length(results, line))
        for key, lines in results.panels.items()
    }
    panels = {key: lines for key, lines in panels.items() if _varies([_length(results, line) for line in lines])}
    if not panels:
        raise DataError(f"sweep '{results.name}': its answers are all of about one length, or none is sampled")
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    figure, all_axes = grid(2 * rows, columns, height=2.0, title=_message(panels))
    pairs = [pair for row in range(rows) for pair in zip(all_axes[2 * row], all_axes[2 * row + 1], strict=True)]
    asked = length_factor(results) is not None
    for (above, below), (key, lines) in zip(pairs, panels.items(), strict=False):
        x = [_length(results, line) for line in lines]
        y = [scaled(line.kind, line.value) for line in lines]
        joined = "-" if asked else ""
        for place, line in zip(x, lines, strict=True):
            unbounded(above, place, line)
        above.errorbar(x, y, whiskers(lines), color=COLOURS[0], marker="o", linestyle=joined, linewidth=1.2)
        for name, label, colour, marker in _SHARES:
            shares = [100 * line.numbers.get(name, float("nan")) for line in lines]
            below.plot(x, shares, marker, color=colour, linestyle=joined, label=label, alpha=0.8)
        points = zip(x, y, lines, strict=True)
        mark_baseline(above, [(place, height) for place, height, line in points if line.is_baseline])
        panel_title(above, *key)
        above.set_ylabel(score_label(lines[0].kind))
        below.set_ylabel("answers, %")
        below.set_ylim(-4, 104)
        below.set_xlabel("answer positions" if asked else "mean tokens of an answer")
        for axes in (above, below):
            axes.axhline(0, color=GREY, linewidth=0.6)
            if asked:
                axes.set_xticks(sorted(set(x)))
    for pair in pairs[len(panels) :]:
        for axes in pair:
            axes.set_visible(False)
    pairs[0][1].legend(loc="center left")
    return figure


def _varies(lengths: Sequence[float]) -> bool:
    """Return whether lengths differ enough to be looked at."""
    return max(lengths, default=0) > _LEAST * min(lengths, default=0)


def length_factor(results: SweepResults) -> str | None:
    """Return the factor that is the length asked for: the only one that varies, with whole numbers as levels."""
    varied = [name for name in results.factors if len({line.levels[name] for line in results.lines}) > 1]
    if len(varied) == 1 and all(line.levels[varied[0]].isdecimal() for line in results.lines):
        sweep = results.lineage.get("sweep", {})
        described = str(sweep.get("factors", {}).get(varied[0], ""))
        if "max_new_tokens" in described or "max_new_tokens" in varied[0]:
            return varied[0]
    return None


def _length(results: SweepResults, line: Line) -> float:
    factor = length_factor(results)
    return line.numbers["mean_tokens"] if factor is None else float(line.levels[factor])


def _message(panels: dict[tuple[str, str], list[Line]]) -> str:
    worst = max((line for lines in panels.values() for line in lines), key=lambda line: _lost(line))
    if _lost(worst) < 0.05:
        return "At no length are more than 5 % of the answers empty or truncated"
    many = max(_SHARES, key=lambda share: worst.numbers.get(share[0], 0.0))
    share, tokens = 100 * worst.numbers[many[0]], worst.numbers["mean_tokens"]
    return (
        f"Setting {worst.setting}: {share:.0f} % of its answers are {many[1]}, of {tokens:.0f} tokens on average "
        f"({worst.model}, {worst.task})"
    )


def _lost(line: Line) -> float:
    return max((line.numbers.get(name, 0.0) for name, *_ in _SHARES), default=0.0)
