"""A sweep for readers: what each setting leaves of the baseline, what decides the score, whether rankings hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dlm.analysis.estimates import CONFIDENCE
from dlm.analysis.numbers import percent, shown, shown_change, unit_of_changes
from dlm.analysis.sensitivity.effects import Effect
from dlm.analysis.sensitivity.lines import Line
from dlm.analysis.sensitivity.rendering import p_text, ranking, table
from dlm.analysis.sensitivity.study import Study, by_task
from dlm.settings.metrics import MetricKind

_MOST_UNMOVED = 10
_LONGEST = 200
"""Settings of a model on a task that are listed; of more, those that differ most from the baseline."""


def markdown(study: Study) -> str:
    """Return the whole page."""
    parts = [f"# {study.expanded.file.sweep.title}", _about(study)]
    for (model, task), lines in by_task(study.lines).items():
        key, kind = (model, task), lines[0].cell.kind
        parts += [f"## {model}, {study.tasks[task].title}", _settings(lines)]
        parts += [*_unmoved(study, lines[0]), *_effects(study, key, kind)]
        if key in study.ranks:
            parts += ranking(study.ranks[key], study.rank_notes[key], kind)
    for (model, task), ranked in study.ranks.items():
        if not task:
            parts += [f"## {model}, rankings of settings over tasks"]
            parts += ranking(ranked, study.rank_notes[model, task], _kind(study, model))
    return "\n\n".join([*parts, _notes(study)]) + "\n"


def _about(study: Study) -> str:
    lines = [f"Scale `{study.scale}`: {study.about}."] if study.about else [f"Scale `{study.scale}`."]
    if study.meaningless:
        lines.append("**The numbers of this scale mean nothing: it tests the pipeline.**")
    design = study.expanded.file.sweep.design
    kind = design if isinstance(design, str) else f"{design.kind}, {design.samples} points"
    lines.append(f"Design: {kind.replace('_', ' ')} over {', '.join(study.factors) or 'nothing'}.")
    if (budget := study.expanded.file.scale.budget) is not None:
        lines.append(
            f"Budget: {budget.forward_passes} forward passes in all; where it ended a setting, the number of documents "
            "that it answered stands in brackets beside its value."
        )
    refused = study.expanded.refused
    if refused:
        count = sum(refused.values())
        reasons = "; ".join(f"{number}: {reason}" for reason, number in refused.most_common(5))
        lines.append(f"{count} of {study.expanded.combinations} combinations cannot be ({reasons}).")
    return " ".join(lines)


def _kind(study: Study, model: str) -> MetricKind | None:
    """Return what the scores of all of a model's tasks are; None where they are several things."""
    kinds = {line.cell.kind for line in study.lines if line.answered.row.model == model}
    return kinds.pop() if len(kinds) == 1 else None


def _settings(lines: Sequence[Line]) -> str:
    head = ["Setting", "Value", "Of the baseline", "Published", "Change", "p, corrected", "Tokens a pass", "Verdict"]
    shown_lines = list(lines)
    if len(lines) > _LONGEST:
        rest = sorted(lines[1:], key=lambda line: -abs(line.paired.delta if line.paired else 0))
        shown_lines = [lines[0], *rest[: _LONGEST - 1]]
    rows = [_setting(line, lines[0]) for line in shown_lines]
    more = f"\n\n{len(lines) - len(rows)} more settings are in the CSV." if len(rows) < len(lines) else ""
    return table(head, rows) + more


def _unmoved(study: Study, line: Line) -> Iterator[str]:
    """Tell of levels that change nothing there, which have no line of their own."""
    where = (line.answered.row.label, line.answered.task)
    found = [each for each in study.unmoved if (each.alike.label, each.alike.task) == where]
    if not found:
        return
    told = [f"`{each.alike.names}` asks what `{each.alike.instead_names}` does" for each in found]
    ratios = [each.published_ratio for each in found]
    told = [
        text if ratio is None else f"{text} (100 %; published: {percent(ratio)} %)"
        for text, ratio in zip(told, ratios, strict=True)
    ]
    more = f"; and {len(told) - _MOST_UNMOVED} more, which the lineage has" if len(told) > _MOST_UNMOVED else ""
    yield f"Levels that change nothing here: {'; '.join(told[:_MOST_UNMOVED])}{more}."


def _name(line: Line, baseline: Line) -> str:
    """Return a setting's name; where that hides what it changes, as one of the params' samplers does, with it."""
    own, first = line.answered, baseline.answered
    if "+" in own.setting or own.baseline:
        return own.setting
    changed = [f"{factor}={level}" for factor, level in own.levels.items() if level != first.levels.get(factor)]
    return f"{own.setting} ({', '.join(changed)})" if changed else own.setting


def _setting(line: Line, baseline: Line) -> list[str]:
    kind, numbers, paired = line.cell.kind, line.estimate, line.paired
    value = f"{shown(kind, numbers.value)} [{shown(kind, numbers.low)}, {shown(kind, numbers.high)}]"
    value += f" ({numbers.n})" if line.stopped else ""
    published = ""
    if line.published_ratio is not None:
        published = f"{percent(line.published_ratio)} %"
    elif line.published is not None:
        published = shown(kind, line.published.value)
    speed = line.cell.extra.get("tokens_per_pass")
    return [
        _name(line, baseline),
        value,
        _ratio(line),
        published,
        "" if paired is None else shown_change(kind, paired.delta),
        p_text(line.p_corrected),
        "" if speed is None else f"{speed:.2f}",
        line.verdict + (f"; stopped: {line.stopped['reason']}" if line.stopped else ""),
    ]


def _ratio(line: Line) -> str:
    paired = line.paired
    if paired is None:
        return ""
    if paired.ratio is None:
        return "baseline is 0"
    high = "∞" if paired.ratio_high is None else percent(paired.ratio_high)
    low = percent(paired.ratio_low or 0.0)
    return f"{percent(paired.ratio)} % [{low}, {high}]"


def _effects(study: Study, key: tuple[str, str], kind: MetricKind) -> Iterator[str]:
    found = study.effects[key]
    if why := study.why_none[key]:
        yield f"No effects of factors: {why}."
        return
    stopped = sum(line.answered.in_design for line in by_task(study.lines)[key]) - found[0].settings
    if stopped:
        yield f"Effects are over the {found[0].settings} settings that no budget ended, {stopped} others left out."
    if why := study.unshared[key]:
        yield f"No factor has a share of the variance: {why}."
    else:
        yield from _shares([each for each in found if each.kind.startswith("share")], study.rest[key])
    unit = unit_of_changes(kind) if kind.loss else "points"
    yield f"Effects of levels, beside the mean over levels, in {unit}:"
    rows = [
        [each.factor, each.level, _change(kind, each.effect), _interval(kind, each), p_text(each.p_corrected)]
        for each in found
        if each.kind == "level"
    ]
    yield table(["Factor", "Level", "Effect", "95 % interval", "p, corrected"], rows)
    if together := [each for each in found if each.kind == "interaction"]:
        seen = sum(each.p_corrected is not None and each.p_corrected < 1 - CONFIDENCE for each in together)
        yield f"{seen} of {len(together)} effects of two levels together are seen once corrected; the CSV has them."


def _shares(shares: Sequence[Effect], rest: str) -> Iterator[str]:
    noise = next((each.effect for each in shares if each.kind == "share_noise"), 0.0)
    if not shares:
        yield "All settings have the same score: no factor has a share of the variance."
    elif noise >= 1:
        yield "The settings differ by no more than the documents' own noise would make them: no factor has a share."
    else:
        yield "Shares of the variance over settings:"
        rows = [[_term(each, rest), f"{percent(each.effect)} %", _share_interval(each)] for each in shares]
        yield table(["Factor", "Share", "95 % interval"], rows)


def _term(each: Effect, rest: str) -> str:
    if each.kind == "share_rest":
        return f"not explained ({rest})" if rest else "not explained"
    if each.kind == "share_noise":
        return "noise of the documents alone would make"
    return " × ".join(filter(None, (each.factor, each.factor_2)))


def _share_interval(each: Effect) -> str:
    if each.low is None or each.high is None or each.low == each.high:  # too few documents to tell how sure it is
        return ""
    return f"[{percent(each.low)}, {percent(each.high)}]"


def _change(kind: MetricKind, change: float) -> str:
    return f"{round(change, 3) + 0.0:+.3f}" if kind.loss else percent(change, sign=True)


def _interval(kind: MetricKind, each: Effect) -> str:
    return "" if each.low is None or each.high is None else f"[{_change(kind, each.low)}, {_change(kind, each.high)}]"


def _notes(study: Study) -> str:
    sweep = study.expanded.file.sweep
    comparisons = sum(line.paired is not None for line in study.lines)
    notes = [
        "Values with 95 % intervals; shares in percent. Ratios and changes are to the baseline on the same documents.",
        f"p-values are of {_tests(study)} on these, corrected for all {comparisons} comparisons of the sweep "
        f"({sweep.correction}); those of effects for all effects, those of rankings for all rankings.",
        "A difference that is not significant is *no difference seen*, not none: the interval says how large it could "
        "be. docs/sweeps.md has the methods.",
    ]
    if any(line.answered.cells[0].checkpoint != line.answered.row.model for line in study.lines):
        notes.append(
            "**A setting of a recipe is one training with one seed: intervals and p-values are over documents alone "
            "and leave out what another seed of the training would change.**"
        )
    return " ".join(notes)


def _tests(study: Study) -> str:
    """Name the paired tests of the sweep's tasks (`dlm.analysis.estimates`)."""
    compared = [line for line in study.lines if line.paired is not None]
    exact = any(line.estimate.binary for line in compared)
    graded = any(not line.estimate.binary and not line.cell.kind.loss for line in compared)
    names = ["McNemar's exact test (all-or-nothing outcomes)"] if exact else []
    names += ["Student's paired test (graded outcomes)"] if graded else []
    names += ["Student's paired test (losses)"] if any(line.cell.kind.loss for line in compared) else []
    return " and ".join(names) or "paired tests"
