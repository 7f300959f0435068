"""Parts of Markdown that a sweep's page is made of: tables, numbers, rankings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dlm.analysis.estimates import CONFIDENCE
from dlm.analysis.numbers import percent, shown
from dlm.analysis.sensitivity.ranks import Rank
from dlm.settings.metrics import MetricKind

_MOST_CONTEXTS = 12
"""Contexts that a table of ranks has as columns."""
_MOST_STOPPED = 20
"""Stopped settings that are listed."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, bars escaped; columns but the first are numbers."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---", *("---:" for _ in head[1:])], *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def p_text(p_value: float | None) -> str:
    """Format a p-value with two digits; nothing for None."""
    return "" if p_value is None else f"{p_value:.2g}"


def ranking(found: Sequence[Rank], notes: Sequence[str], kind: MetricKind | None) -> Iterator[str]:
    """Yield the ranks, what they are worth, what is not ranked, and the settings that a budget ended.

    Args:
        found: of one model, on one task or over tasks.
        notes: what is left out, and why.
        kind: what the values are; None: several kinds, whose values are left out.
    """
    methods = [each for each in found if each.kind == "method"]
    if methods:
        yield from _places(methods)
    yield from (_stability(each) for each in found if each.kind == "mean")
    if notes:
        yield " ".join(notes)
    if stopped := [each for each in found if each.kind == "stopped"]:
        yield "Stopped by the budget, and not ranked:"
        rows = [[each.method, each.context, _value(each, kind), str(each.n), each.reason] for each in stopped]
        yield table(["Method", "Context", "Value", "Documents", "Why"], rows[:_MOST_STOPPED])
        if len(rows) > _MOST_STOPPED:
            yield f"{len(rows) - _MOST_STOPPED} more are in the CSV."


def _value(each: Rank, kind: MetricKind | None) -> str:
    return "" if kind is None or each.value is None else shown(kind, kind.value(each.value))


def _places(methods: Sequence[Rank]) -> Iterator[str]:
    contexts = [context for context in dict.fromkeys(each.context for each in methods) if context]
    shown_contexts = contexts if 1 < len(contexts) <= _MOST_CONTEXTS else []
    by_place = {(each.method, each.context): each for each in methods}
    overall = [each for each in methods if not each.context]
    yield (
        "Ranks, and in brackets the probability of being the best (over all: of having the best mean). Claimed is the "
        "method that the sweep's file says is the best, or else the one of the best mean:"
    )
    rows = [
        [each.method + (" (claimed)" if each.claimed else "")]
        + [_place(by_place[each.method, context]) for context in (*shown_contexts, "")]
        for each in overall
    ]
    yield table(["Method", *(context or "all" for context in shown_contexts), "Over all"], rows)
    if 1 < len(contexts) != len(shown_contexts):
        yield f"The ranks in each of the {len(contexts)} contexts are in the CSV."


def _place(each: Rank) -> str:
    return f"{each.rank:g} ({percent(each.wins or 0)} %)"


def _stability(each: Rank) -> str:
    """Say whether contexts change the order of methods beyond chance."""
    assert each.flips is not None and each.flips_null is not None and each.p_corrected is not None
    seen = each.p_corrected < 1 - CONFIDENCE
    verdict = "The order of the methods depends on the context" if seen else "No instability of the ranking is seen"
    by_chance = f"[{percent(each.flips_null_low or 0)}, {percent(each.flips_null_high or 0)}]"
    text = (
        f"{verdict}: between two contexts {percent(each.flips)} % of the pairs of methods change their order on "
        f"average; by chance alone, if contexts did not matter, {percent(each.flips_null)} % {by_chance} would "
        f"(excess {percent(each.flips_excess or 0, sign=True)} points, corrected p = {p_text(each.p_corrected)})."
    )
    if each.tau is None or each.tau_null is None:
        return text
    ends = f"[{each.tau_null_low or 0:.2f}, {each.tau_null_high or 0:.2f}]"
    return f"{text} Kendall's tau is {each.tau:.2f} on average; {each.tau_null:.2f} {ends} by chance alone."
