"""A sweep as computed: every setting beside its baseline, the published figures, effects and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlm.analysis.published import Published
from dlm.analysis.sensitivity.correction import correct_effects, correct_ranks
from dlm.analysis.sensitivity.effects import Effect, Effects, effects
from dlm.analysis.sensitivity.lines import Line, Unmoved, compared, matrix, read_lines, read_unmoved
from dlm.analysis.sensitivity.ranking import rankings
from dlm.analysis.sensitivity.ranks import Rank
from dlm.params.sweeps import Expanded
from dlm.settings import Task


@dataclass(frozen=True, kw_only=True)
class Study:
    """A sweep at one scale, as computed."""

    expanded: Expanded
    scale: str
    tasks: Mapping[str, Task]
    lines: tuple[Line, ...]
    unmoved: tuple[Unmoved, ...]
    """Levels that change nothing of what is asked."""
    effects: Mapping[tuple[str, str], list[Effect]]
    """By model and task."""
    ranks: Mapping[tuple[str, str], list[Rank]]
    """By model and task; where settings are ranked over tasks, the task is empty."""
    why_none: Mapping[tuple[str, str], str]
    """By model and task: why there are no effects; empty where there are."""
    unshared: Mapping[tuple[str, str], str]
    """By model and task: why the variance is not shared out; empty where it is."""
    rest: Mapping[tuple[str, str], str]
    """By model and task: what its effects leave unexplained."""
    rank_notes: Mapping[tuple[str, str], list[str]]
    """By the keys of the ranks: which methods and contexts are not ranked, and why."""
    meaningless: bool
    about: str

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.expanded.file.name

    @property
    def factors(self) -> list[str]:
        """Names of the factors."""
        return list(self.expanded.file.factors)


def build_study(
    expanded: Expanded,
    tasks: Mapping[str, Task],
    scale: str,
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    published: Published | None = None,
    *,
    meaningless: bool = False,
    about: str = "",
) -> Study:
    """Compute a sweep from the scores of its bundles.

    Args:
        expanded: its settings.
        tasks: every task by name.
        scale: name of the scale.
        scores: the loaded `scores.json` of every bundle, by checkpoint.
        published: figures to compare with.
        meaningless: say so in every verdict (a scale for tests).
        about: what the scale is, in one line.

    Raises:
        DataError: a cell is missing, damaged, or of other documents than the baseline.
    """
    lines = read_lines(expanded, tasks, scale, scores, published, meaningless=meaningless)
    groups = by_task(lines)
    told = {key: _effects(expanded, found) for key, found in groups.items()}
    ranked = rankings(groups, expanded.file.sweep)
    method = expanded.file.sweep.correction
    return Study(
        expanded=expanded,
        scale=scale,
        tasks=tasks,
        lines=lines,
        unmoved=read_unmoved(expanded, tasks, published),
        effects=correct_effects({key: each.found for key, each in told.items()}, method),
        ranks=correct_ranks({key: each.found for key, each in ranked.items()}, method),
        why_none={key: each.none for key, each in told.items()},
        unshared={key: each.unshared for key, each in told.items()},
        rest={key: each.rest for key, each in told.items()},
        rank_notes={key: each.notes for key, each in ranked.items()},
        meaningless=meaningless,
        about=about,
    )


def by_task(lines: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    """Return lines by model and task."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line.answered.row.model, line.answered.task), []).append(line)
    return found


def _effects(expanded: Expanded, lines: Sequence[Line]) -> Effects:
    """Return the effects of one model on one task, of the settings that no budget ended."""
    chosen, _ = compared(lines)
    if not chosen:
        return Effects(none="no combination of the design was answered")
    factors = expanded.file.factors_of(chosen[0].answered.row.label)
    ranges = [name for name, factor in factors.items() if factor.is_range]
    levels = [line.answered.levels for line in chosen]
    return effects(levels, *matrix(chosen), [*factors], chosen[0].cell.kind, ranges)
