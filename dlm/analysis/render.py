"""A computed table as files: CSV for programs, Markdown for readers, lineage for whoever asks where a number came from.

The CSV holds only what the same run gives again to the byte: shares with six decimals, sizes as integers, nothing where
there is nothing to say. What varies (seconds, versions, digests of execution) is in the lineage.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlm.analysis.estimates import TOLERANCE, Estimate
from dlm.analysis.published import Figure
from dlm.analysis.tables import PairedGain, Result, TableResult, pairs
from dlm.files import write_json, write_text

COLUMNS = (
    "table",
    "scale",
    "model",
    "task",
    "metric",
    "setting",
    "value",
    "stderr",
    "ci_low",
    "ci_high",
    "n",
    "published",
    "published_source",
    "delta",
    "verdict",
)
LINEAGE_FORMAT = "dlm-table-lineage/1"
SUFFIXES = (".lineage.json", ".md", ".csv")
"""What a table consists of, in the order of writing: the CSV, which others wait for, last."""
_ANSWERS = ("empty_share", "truncated_share", "mean_tokens", "tokens_per_pass", "order_tau")
"""What scores say of how answers look."""


def write_files(result: TableResult, folder: str | Path, *, code: Mapping[str, Any]) -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.lineage.json`` into ``folder``, each atomically; return their paths.

    Args:
        result: what `build_table` computed.
        folder: made if missing.
        code: what made the table, such as the version and commit of this code; kept in the lineage.
    """
    lineage_path, markdown_path, csv_path = (Path(folder) / f"{result.name}{suffix}" for suffix in SUFFIXES)
    write_json(lineage_path, lineage(result, code=code))
    write_text(markdown_path, markdown(result))
    write_text(csv_path, csv_text(result))
    return [csv_path, markdown_path, lineage_path]


def csv_text(result: TableResult) -> str:
    """Return the table as CSV: the columns of `COLUMNS`, one line a (model, task, setting)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_csv_row(result, line) for line in result.results)
    return stream.getvalue()


def _csv_row(result: TableResult, line: Result) -> list[str]:
    numbers, figure = line.estimate, line.figure
    shares = (numbers.value, numbers.stderr, numbers.low, numbers.high)
    return [
        result.name,
        result.scale,
        line.row.model,
        line.cell.task,
        line.cell.metric,
        line.cell.setting,
        *map(_share, shares),
        str(numbers.n),
        _share(figure.value if figure else None),
        figure.source if figure else "",
        _share(numbers.value - figure.value if figure else None),
        line.verdict.text,
    ]


def _share(value: float | None) -> str:
    """Format a share (0 to 1), or a difference of two, with six decimals; nothing for None, no minus before zero."""
    return "" if value is None else f"{round(value, 6) + 0.0:.6f}"


def markdown(result: TableResult) -> str:
    """Return the table as the paper lays it out: models before and after SFT as rows, tasks as columns, in percent."""
    parts = [f"# {_plain(result.table.title)}", _scale_note(result), _grid(_score_rows(result)), *_score_notes(result)]
    if result.gains:
        parts += [f"## {_compared(result)[1]}, document by document", _grid(_gain_rows(result)), _gain_note()]
    return "\n\n".join(parts) + "\n"


def _compared(result: TableResult) -> tuple[str, str]:
    """Return, in words, what rows are compared with, and what the difference is called."""
    accelerated = any(row.stage == "accelerated" for row in result.table.rows)
    return ("baseline", "Changes by acceleration") if accelerated else ("row before SFT", "Gains of SFT")


def _scale_note(result: TableResult) -> str:
    start = f"Table `{result.name}`, scale `{result.scale}`"
    if result.meaningless:
        return f"{start}: shrunk for tests, **its numbers are meaningless**."
    if result.table.published is None and result.scale == "tiny":
        return f"{start}: tiny stand-ins, not the paper's models; no published number can be compared with these."
    if result.table.published is None:
        return f"{start}: nothing is published that these numbers could be compared with."
    return f"{start}: beside the published numbers of `{result.table.published}`."


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
    return [head, *([_label(result, row), *(_score(result, row, column) for column in columns)] for row in rows)]


def _label(result: TableResult, index: int) -> str:
    """Return a row's name; of a compared one only what it adds to the other's, `+ MDLM SFT` where they are equal."""
    label = result.table.rows[index].label
    before = {after: before for before, after in pairs(result.table)}.get(index)
    if before is not None:
        label = label.removeprefix(result.table.rows[before].label).strip() or "+ MDLM SFT"
    return _plain(label)


def _headings(result: TableResult) -> list[str]:
    """Return the columns' titles."""
    return [_plain(result.tasks[task].title) for task in result.table.tasks]


def _score(result: TableResult, row: int, column: int) -> str:
    """Return one cell: `**41.4** ± 3.1 (+38.4) †`, and what is published in small type."""
    line = _line(result, row, column)
    value = _percent(line.estimate.value)
    text = f"**{value}**" if row in _best(result, column) else value
    text += _spread(line.estimate)
    if gain := _gain_of(result, row, column):
        text += f" ({_percent(gain.gain.value, sign=True)})"
    if line.verdict.at_chance:
        text += " †"
    if line.figure:
        text += f"<br><sub>published {_percent(line.figure.value)}: {_plain(line.verdict.comparison)}</sub>"
    return text


def _spread(numbers: Estimate) -> str:
    """Return ` ± 3.1`; the 95 % interval where the documents show no spread, for `± 0.0` would claim certainty."""
    if numbers.stderr is None or numbers.stderr < TOLERANCE:
        return f" [{_percent(numbers.low)}, {_percent(numbers.high)}]"
    return f" ± {_percent(numbers.stderr)}"


def _line(result: TableResult, row: int, column: int) -> Result:
    return result.results[row * len(result.table.tasks) + column]


def _best(result: TableResult, column: int) -> set[int]:
    """Return the rows that hold the highest value among those that are compared with one another; none if equal."""
    groups: dict[int, list[int]] = {}
    for before, after in pairs(result.table):
        if before is not None:
            groups.setdefault(before, [before]).append(after)
    best = set()
    for rows in groups.values():
        values = {row: _line(result, row, column).estimate.value for row in rows}
        if len(set(values.values())) > 1:
            best |= {row for row, value in values.items() if value == max(values.values())}
    return best


def _gain_of(result: TableResult, row: int, column: int) -> PairedGain | None:
    """Return the gain of a row in one column; None for a row that is not compared."""
    place = [after for before, after in pairs(result.table) if before is not None]
    if row not in place:
        return None
    return result.gains[place.index(row) * len(result.table.tasks) + column]


def _score_notes(result: TableResult) -> list[str]:
    notes = [
        "Percent ± one standard error over documents, in percentage points; in brackets the change from the "
        f"{_compared(result)[0]}; **bold**: the highest of these, within noise or not. [low, high] is the 95 % "
        "interval, shown where the documents show no spread; those of all cells are in the CSV.",
        f"Documents a cell (n) and setting: {'; '.join(_sizes(result))}.",
    ]
    if any(line.verdict.at_chance for line in result.results):
        notes.append(f"† Not above what blind guessing earns, by the 95 % interval ({_chances(result)}).")
    if any(line.figure for line in result.results):
        notes.append(
            "Verdicts: *agrees* where the 95 % interval of the difference, made of both sample sizes, holds zero. Each "
            "cell is judged by itself, so up to one true agreement in twenty is expected to be called *differs*."
        )
    return notes


def _sizes(result: TableResult) -> Iterable[str]:
    for number, heading in enumerate(_headings(result)):
        column = [_line(result, row, number) for row in range(len(result.table.rows))]
        sizes = {line.estimate.n for line in column}
        span = str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
        settings = dict.fromkeys(line.cell.setting for line in column)
        yield f"{heading} {span}, {' or '.join(f'`{setting}`' for setting in settings)}"


def _chances(result: TableResult) -> str:
    chances = [(task.title, task.chance) for task in result.tasks.values()]
    above = [f"{_plain(title)} {_percent(chance)} %" for title, chance in chances if chance > 0]
    if not above:
        return "0"
    return ", ".join(above if len(above) == len(chances) else [*above, "0 elsewhere"])


def _gain_rows(result: TableResult) -> list[list[str]]:
    rows = [["Model", *_headings(result)]]
    width = len(result.table.tasks)
    paired = [(before, after) for before, after in pairs(result.table) if before is not None]
    labels = [f"{_label(result, before)} {_label(result, after)}" for before, after in paired]
    for number, label in enumerate(labels):
        rows.append([label, *map(_gain_text, result.gains[number * width : (number + 1) * width])])
    return rows


def _gain_text(paired: PairedGain) -> str:
    gain = paired.gain
    text = _percent(gain.value, sign=True)
    if gain.stderr is not None and gain.stderr >= TOLERANCE:
        text += f" ± {_percent(gain.stderr)}"
    return text + (" \\*" if gain.beyond_noise else "")


def _gain_note() -> str:
    return (
        "Percentage points ± one standard error of the documents' own differences (both models answered the same "
        "documents); no ± where all of them changed alike. \\* beyond two standard errors."
    )


def _percent(share: float, *, sign: bool = False) -> str:
    """Format a share (0 to 1) as percent with one decimal; no minus before zero."""
    value = round(100 * share, 1) + 0.0
    return f"{value:+.1f}" if sign else f"{value:.1f}"


def _plain(text: str) -> str:
    """Return ``text`` for a Markdown table: one line, bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def lineage(result: TableResult, *, code: Mapping[str, Any]) -> dict[str, Any]:
    """Return where every line of the table came from, and what varies between runs. Paths are from the working copy."""
    return {
        "format": LINEAGE_FORMAT,
        "table": result.name,
        "scale": result.scale,
        "code": dict(code),
        "executions": _executions(result),
        "rows": [_lineage_row(result.scale, line) for line in result.results],
        "gains": [_lineage_gain(gain) for gain in result.gains],
    }


def _executions(result: TableResult) -> dict[str, Any]:
    """Return how the models were run, by the digests that the rows name under `how`."""
    known: dict[str, Any] = {}
    for line in result.results:
        known |= line.cell.extra.get("executions", {})
    return dict(sorted(known.items()))


def _lineage_row(scale: str, line: Result) -> dict[str, Any]:
    model, cell, figure = line.row.model, line.cell, line.figure
    bundle = cell.extra.get("bundle")
    root = f"results/{scale}"
    return {
        "model": model,
        "task": cell.task,
        "setting": cell.setting,
        "filter": cell.filter,
        **{key: cell.extra.get(key) for key in ("checkpoint", "what", "how", "lm_eval")},
        **{key: cell.extra.get(key) for key in ("forward_passes", "seconds")},
        **{key: cell.extra[key] for key in _ANSWERS if key in cell.extra},
        "scores": bundle and f"{root}/scores/{model}/{bundle}/scores.json",
        "responses": bundle and f"{root}/responses/{model}/{bundle}/manifest.json",
        "checkpoint_manifest": f"{root}/checkpoints/{model}/manifest.json",
        "published": figure and _lineage_figure(line, figure),
    }


def _lineage_figure(line: Result, figure: Figure) -> dict[str, Any]:
    return {
        "source": figure.source,
        "note": figure.note,
        "n": line.verdict.published_n,
        "settings_differ": list(line.differing),
    }


def _lineage_gain(paired: PairedGain) -> dict[str, Any]:
    gain = paired.gain
    return {
        "before": paired.before,
        "after": paired.after,
        "settings": list(paired.settings),
        "task": paired.task,
        "value": round(gain.value, 6) + 0.0,
        "stderr": None if gain.stderr is None else round(gain.stderr, 6),
        "n": gain.n,
        "beyond_two_standard_errors": gain.beyond_noise,
    }
