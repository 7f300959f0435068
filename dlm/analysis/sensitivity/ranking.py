"""What is ranked of a sweep: which methods in which contexts, and what is left out of it and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dlm.analysis.sensitivity.lines import Line, compared, matrix
from dlm.analysis.sensitivity.ranks import MOST_METHODS, Rank, ranks
from dlm.analysis.sensitivity.resampling import Array, rates, resampled
from dlm.params.sweeps.expanded import BASELINE
from dlm.settings.sweep import Sweep

Key = tuple[str, str]
"""Model and task."""
Places = dict[str, dict[str, Line]]
"""By context and method."""


@dataclass(frozen=True)
class Ranking:
    """Of one model, on one task or over tasks."""

    found: list[Rank] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is not ranked and why, a sentence each."""


def rankings(groups: Mapping[Key, Sequence[Line]], sweep: Sweep) -> dict[Key, Ranking]:
    """Rank the levels of the factor that the sweep ranks, in every combination of the others, by model and task.

    Where it ranks none, settings are ranked on every task, by model and an empty task.
    """
    found = {}
    if sweep.ranked is None:
        for model in dict.fromkeys(model for model, _ in groups):
            of_model = [lines for (name, _), lines in groups.items() if name == model]
            found[model, ""] = _over_tasks(of_model)
        return found
    for key, lines in groups.items():
        if sweep.ranked in lines[0].answered.levels:
            found[key] = _over_contexts(lines, sweep.ranked, sweep.claimed)
    return found


def _over_contexts(lines: Sequence[Line], ranked: str, claimed: str | None) -> Ranking:
    chosen, stopped = compared(lines)
    places: Places = {}
    for line in chosen:
        places.setdefault(_context(line, ranked), {})[line.answered.levels[ranked]] = line
    below = [_stopped(line, line.answered.levels[ranked], _context(line, ranked)) for line in stopped]
    return _ranked(places, below, claimed, same_documents=True)


def _over_tasks(groups: Sequence[Sequence[Line]]) -> Ranking:
    places: Places = {}
    below = []
    for lines in groups:
        chosen, stopped = compared(lines)
        places[lines[0].answered.task] = {_levels_of(line): line for line in chosen}
        below += [_stopped(line, _levels_of(line), line.answered.task) for line in stopped]
    if len({lines[0].cell.kind.higher_is_better for lines in groups}) > 1:
        return Ranking(notes=["Settings are not ranked over tasks: some have losses, others shares of right answers."])
    return _ranked(places, below, None, same_documents=False)


def _ranked(places: Places, below: list[Rank], claimed: str | None, *, same_documents: bool) -> Ranking:
    """Rank the largest block of methods and contexts without a gap."""
    methods, contexts = block({context: [*found] for context, found in places.items()})
    notes = _left_out(places, methods, contexts)
    if len(methods) < 2:
        return Ranking(below, ["Nothing is ranked: no context has two methods that answered all documents."])
    table = [[places[context][method] for method in methods] for context in contexts]
    points, draws = _drawn(table, same_documents=same_documents)
    kind = table[0][0].cell.kind
    if len(methods) > MOST_METHODS:
        order = np.argsort(np.mean(points, axis=0) * (-1 if kind.higher_is_better else 1), kind="stable")
        kept = np.sort(order[:MOST_METHODS])
        notes.append(f"Ranked are the {MOST_METHODS} of {len(methods)} methods that are best on average.")
        methods = [methods[at] for at in kept]
        points, draws = [each[kept] for each in points], [each[:, kept] for each in draws]
    if claimed is not None and claimed not in methods:
        notes.append(f"The method that is claimed to win, {claimed}, could not be ranked.")
    found = ranks(
        methods,
        dict(zip(contexts, points, strict=True)),
        dict(zip(contexts, draws, strict=True)),
        {context: row[0].cell.n for context, row in zip(contexts, table, strict=True)},
        higher_is_better=kind.higher_is_better,
        claimed=claimed,
    )
    return Ranking([*found, *below], notes)


def _drawn(table: Sequence[Sequence[Line]], *, same_documents: bool) -> tuple[list[Array], list[Array]]:
    """Return, of each context, the methods' rates and those over documents drawn again."""
    if same_documents:
        width = len(table[0])
        numerators, weights = matrix([line for row in table for line in row])
        point, draws = rates(numerators, weights), resampled(numerators, weights).rates_RS
        parts = [slice(begin, begin + width) for begin in range(0, len(point), width)]
        return [point[part] for part in parts], [draws[:, part] for part in parts]
    sides = [matrix(row) for row in table]
    points = [rates(*side) for side in sides]
    return points, [resampled(*side, stream=stream).rates_RS for stream, side in enumerate(sides)]


def block(methods_of: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return methods and contexts, without a gap, as many as can be: a method is of the block in all its contexts.

    Looked through are the methods of each context, and those that contexts have in common, from the one with the most
    methods on. Two contexts come before one, which compares nothing; of equally large blocks that of most contexts.
    """
    order = list(dict.fromkeys(method for found in methods_of.values() for method in found))
    sets = [frozenset(found) for found in methods_of.values()]
    tried, shared = set(sets), None
    for each in sorted(sets, key=lambda found: -len(found)):
        shared = each if shared is None else shared & each
        tried.add(shared)
    best: tuple[list[str], list[str]] = [], []
    # Sorted, since sets have no order that is the same in the next process.
    for names in sorted(tried, key=lambda found: [name not in found for name in order]):
        contexts = [context for context, found in methods_of.items() if names <= set(found)]
        if len(names) > 1 and _size(names, contexts) > _size(*best):
            best = [name for name in order if name in names], contexts
    return best


def _size(methods: Collection[str], contexts: Collection[str]) -> tuple[bool, int, int]:
    return len(contexts) > 1, len(methods) * len(contexts), len(contexts)


def _left_out(places: Places, methods: Sequence[str], contexts: Sequence[str]) -> list[str]:
    every = dict.fromkeys(method for found in places.values() for method in found)
    lost, without = [name for name in every if name not in methods], [name for name in places if name not in contexts]
    notes = []
    if lost:
        notes.append(f"Not ranked, since not every context has them: {_list(lost)}.")
    if without:
        notes.append(f"Left out, since they have not all of the methods that are ranked: {_list(without)}.")
    return notes


def _list(names: Sequence[str]) -> str:
    shown = "; ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}; and {len(names) - 10} more"


def _stopped(line: Line, method: str, context: str) -> Rank:
    reason = str(line.stopped["reason"]) if line.stopped else "fewer documents"
    return Rank(kind="stopped", method=method, context=context, value=line.estimate.rate, n=line.cell.n, reason=reason)


def _levels_of(line: Line) -> str:
    """Name a setting by its levels, which are the same on every task."""
    moved = [f"{name}={level}" for name, level in line.answered.levels.items()]
    return ", ".join(moved) if moved else BASELINE


def _context(line: Line, ranked: str) -> str:
    """Name the combination of all other factors."""
    return ", ".join(f"{name}={level}" for name, level in line.answered.levels.items() if name != ranked)
