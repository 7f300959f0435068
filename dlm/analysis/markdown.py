"""A computed table as Markdown, for readers: laid out as the paper's, with notes that say what its numbers are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlm.analysis.estimates import TOLERANCE, Estimate
from dlm.analysis.numbers import percent, shown, shown_change, shown_error, unit_of_changes
from dlm.analysis.published import Figure
from dlm.analysis.tables import Beside, PairedGain, Result, TableResult, pairs
from dlm.settings import Task
from dlm.settings.metrics import MetricKind, metric_kind

_SETTINGS_NOTE = (
    " *settings differ* names what is not as the figure was published; `paper.yaml` of the params says what was "
    "(docs/paper.md)."
)


def markdown(result: TableResult) -> str:
    """Return the table as the paper lays it out: models before and after SFT as rows, tasks as columns."""
    parts = [f"# {_plain(result.table.title)}", _scale_note(result), _grid(_score_rows(result)), *_score_notes(result)]
    if result.gains:
        parts += [f"## {_compared(result)[1]}, document by document", _grid(_gain_rows(result)), _gain_note(result)]
    return "\n\n".join(parts) + "\n"


def _compared(result: TableResult) -> tuple[str, str]:
    """Return, in words, what rows are compared with, and what the difference is called."""
    stages = {row.stage for row in result.table.rows}
    if "accelerated" in stages:
        return ("baseline", "Changes by acceleration")
    return ("baseline", "Changes by settings") if "variant" in stages else ("row before SFT", "Gains of SFT")


def _scale_note(result: TableResult) -> str:
    start = f"Table `{result.name}`, scale `{result.scale}`"
    if result.meaningless:
        return f"{start}: shrunk for tests, **its numbers are meaningless**."
    if result.table.published is None:
        about = f": {_plain(result.about).rstrip('.')}" if result.about else ""
        return f"{start}{about}. No published number stands beside these."
    return f"{start}: beside the published numbers of {', '.join(f'`{name}`' for name in _sources(result))}."


def _sources(result: TableResult) -> Iterable[str]:
    """Return the published tables that the rows stand beside, each once."""
    return dict.fromkeys(name for row in result.table.rows for name in result.table.published_tables(row))


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows``, the first being the head, as a Markdown table whose columns line up in the raw text."""
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))] for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _score_rows(result: TableResult) -> list[list[str]]:
    columns = range(len(result.table.tasks))
    rows = range(len(result.table.rows))
    head = ["Model", *_headings(result)]
    own = [[_label(result, row), *(_score(result, row, column) for column in columns)] for row in rows]
    return [head, *own, *(_beside(result, each) for each in result.beside)]


def _beside(result: TableResult, each: Beside) -> list[str]:
    """Return the row of a published model that is not computed; – where nothing is published."""
    kinds = [metric_kind(result.tasks[task].metric) for task in result.table.tasks]
    figures = [shown(kind, figure.value) if figure else "–" for kind, figure in zip(kinds, each.figures, strict=True)]
    return [f"{_plain(each.model)}, published", *figures]


def _label(result: TableResult, index: int) -> str:
    """Return a row's name; of a compared one only what it adds to the other's, its stage where that is nothing."""
    label, stage = result.table.rows[index].label, result.table.rows[index].stage
    before = {after: before for before, after in pairs(result.table)}.get(index)
    if before is not None:
        label = label.removeprefix(result.table.rows[before].label).strip() or str(stage)
    return _plain(label)


def _headings(result: TableResult) -> list[str]:
    """Return the columns' titles; a loss is named, and marked by an arrow."""
    return [_heading(result.tasks[task]) for task in result.table.tasks]


def _heading(task: Task) -> str:
    kind = metric_kind(task.metric)
    return _plain(task.title) + (f", {kind.title} ↓" if kind.loss else "")


def _score(result: TableResult, row: int, column: int) -> str:
    """Return one cell: `**41.4** ± 3.1 (+38.4) †`, and what is published in small type."""
    line = _line(result, row, column)
    kind = line.estimate.kind
    value = shown(kind, line.estimate.value)
    text = f"**{value}**" if row in _best(result, column) else value
    text += _spread(line.estimate)
    if gain := _gain_of(result, row, column):
        text += f" ({shown_change(kind, gain.gain.value)})"
    if line.verdict.at_chance:
        text += " †"
    if line.spread is not None:
        text += f" {{{shown(kind, line.spread)}}}"
    figure = line.published.figure
    if figure:
        text += f"<br><sub>published {shown(kind, figure.value)}: {_plain(line.verdict.comparison)}</sub>"
    if others := [other for other in line.published.beside if other.is_share is not kind.loss]:
        text += f"<br><sub>also {', '.join(_other(kind, other, figure) for other in others)}</sub>"
    return text


def _other(kind: MetricKind, figure: Figure, compared: Figure | None) -> str:
    """Return a figure that is not compared with, and what tells it from the one that is: `70.3 (official)`."""
    keys = ("source", "table", "metric")
    told = [getattr(figure, key) for key in keys if getattr(figure, key) != getattr(compared, key, None)]
    return f"{shown(kind, figure.value)} ({_plain(', '.join(told))})"


def _spread(numbers: Estimate) -> str:
    """Return ` ± 3.1`; the 95 % interval where the documents show no spread, for `± 0.0` would claim certainty."""
    if numbers.stderr is None or numbers.stderr < TOLERANCE:
        return f" [{shown(numbers.kind, numbers.low)}, {shown(numbers.kind, numbers.high)}]"
    return f" ± {shown(numbers.kind, numbers.stderr)}"


def _line(result: TableResult, row: int, column: int) -> Result:
    return result.results[row * len(result.table.tasks) + column]


def _best(result: TableResult, column: int) -> set[int]:
    """Return the rows that hold the best value among those that are compared with one another; none if equal."""
    groups: dict[int, list[int]] = {}
    for before, after in pairs(result.table):
        if before is not None:
            groups.setdefault(before, [before]).append(after)
    best = set()
    for rows in groups.values():
        values = {row: _line(result, row, column).estimate.value for row in rows}
        if len(set(values.values())) > 1:
            best_of = max if metric_kind(result.tasks[result.table.tasks[column]].metric).higher_is_better else min
            best |= {row for row, value in values.items() if value == best_of(values.values())}
    return best


def _gain_of(result: TableResult, row: int, column: int) -> PairedGain | None:
    """Return the gain of a row in one column; None for a row that is not compared."""
    place = [after for before, after in pairs(result.table) if before is not None]
    if row not in place:
        return None
    return result.gains[place.index(row) * len(result.table.tasks) + column]


def _percent_note(result: TableResult) -> str:
    """Return what the numbers of a cell are, as far as the table has them."""
    note = "Percent ± one standard error over documents, in percentage points"
    if result.gains:
        note += f"; in brackets the change from the {_compared(result)[0]}"
    if any(_best(result, column) for column in range(len(result.table.tasks))):
        note += "; **bold**: the highest of these, within noise or not"
    if any(_spread(line.estimate).endswith("]") for line in result.results):
        of_all = "[low, high] is the 95 % interval, shown where the documents show no spread; those of all cells are"
    else:
        of_all = "The 95 % intervals of all cells are"
    return f"{note}. {of_all} in the CSV."


def _score_notes(result: TableResult) -> list[str]:
    losses = [task for task in result.table.tasks if metric_kind(result.tasks[task].metric).loss]
    notes = [_percent_note(result)] if len(losses) < len(result.table.tasks) else []
    notes += [_loss_note(result, task) for task in losses]
    notes.append(f"Documents a cell (n) and setting: {'; '.join(_sizes(result))}.")
    if any(line.spread is not None for line in result.results):
        notes.append(_seeds_note(result))
    if any(line.verdict.at_chance for line in result.results):
        notes.append(f"† Not above what blind guessing earns, by the 95 % interval ({_chances(result)}).")
    if any(line.published.figure for line in result.results):
        notes.append(
            "Verdicts: *agrees* where the 95 % interval of the difference, made of both sample sizes, holds zero. Each "
            "cell is judged by itself, so up to one true agreement in twenty is expected to be called *differs*."
            + (_SETTINGS_NOTE if any(line.differing and line.published.figure for line in result.results) else "")
        )
    return notes


def _loss_note(result: TableResult, task: str) -> str:
    """Say of a loss which way is up, what is bounded and estimated, and what a change is."""
    kind = metric_kind(result.tasks[task].metric)
    lines = [line for line in result.results if line.cell.task == task]
    text = f"{_heading(result.tasks[task])}: lower is better, ± one standard error over documents"
    known = [line.estimate.monte_carlo for line in lines if line.estimate.monte_carlo is not None]
    if known and max(known) > 0:
        text += f", of which at most {shown(kind, max(known))} is Monte-Carlo"
    settings = dict.fromkeys(line.cell.setting for line in lines)
    if bounds := [f"`{setting}`" for setting in settings if setting != "exact"]:
        text += (
            f"; at {' and '.join(bounds)} an upper bound, since log-likelihoods of diffusion models are estimates of a "
            "lower bound (docs/likelihood.md)" + ("; at `exact` there is no bound" if "exact" in settings else "")
        )
    if any(gain.task == task for gain in result.gains):
        text += f"; changes are in {unit_of_changes(kind)}"
        text += ", those of its logarithm, and × is the factor" if kind.exponential else ""
    return f"{text}."


def _seeds_note(result: TableResult) -> str:
    counts = sorted({len(line.cells) for line in result.results if line.spread is not None})
    told = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"Where a number in braces stands, the cell is the mean over {told} seeds, each of which answered everything; "
        "the number is the standard deviation over these seeds; of perplexities the mean is that of logarithms."
    )


def _sizes(result: TableResult) -> Iterable[str]:
    for number, heading in enumerate(_headings(result)):
        column = [_line(result, row, number) for row in range(len(result.table.rows))]
        sizes = {line.estimate.n for line in column}
        span = str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
        settings = dict.fromkeys(line.cell.setting for line in column)
        yield f"{heading} {span}, {' or '.join(f'`{setting}`' for setting in settings)}"


def _chances(result: TableResult) -> str:
    shares = [task for task in result.tasks.values() if not metric_kind(task.metric).loss]
    chances = [(task.title, task.chance) for task in shares]
    above = [f"{_plain(title)} {percent(chance)} %" for title, chance in chances if chance > 0]
    if not above:
        return "0"
    return ", ".join(above if len(above) == len(chances) else [*above, "0 elsewhere"])


def _gain_rows(result: TableResult) -> list[list[str]]:
    rows = [["Model", *_headings(result)]]
    width = len(result.table.tasks)
    paired = [(before, after) for before, after in pairs(result.table) if before is not None]
    labels = [f"{_label(result, before)} {_label(result, after)}" for before, after in paired]
    for number, label in enumerate(labels):
        gains = result.gains[number * width : (number + 1) * width]
        rows.append([label, *(_gain_text(paired, metric_kind(result.tasks[paired.task].metric)) for paired in gains)])
    return rows


def _gain_text(paired: PairedGain, kind: MetricKind) -> str:
    gain = paired.gain
    text = shown_change(kind, gain.value)
    if gain.stderr is not None and gain.stderr >= TOLERANCE:
        text += f" ± {shown_error(kind, gain.stderr)}"
    return text + (" \\*" if gain.beyond_noise else "")


def _gain_note(result: TableResult) -> str:
    kinds = dict.fromkeys(metric_kind(result.tasks[task].metric) for task in result.table.tasks)
    units = " or ".join(dict.fromkeys(map(unit_of_changes, kinds)))
    return (
        f"{units[0].upper()}{units[1:]} ± one standard error of the documents' own differences (both models answered "
        "the same documents); no ± where all of them changed alike. \\* p < 0.05 by a paired test, each cell by "
        "itself: McNemar's exact one where answers are right or wrong, else Student's (docs/evaluation.md)."
    )


def _plain(text: str) -> str:
    """Return ``text`` for a Markdown table: one line, bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")
