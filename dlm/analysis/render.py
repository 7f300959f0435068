"""A computed table as files: CSV for programs, Markdown for readers, lineage for whoever asks where a number came from.

The CSV holds only what the same run gives again to the byte: values with six decimals, sizes as integers, nothing where
there is nothing to say. What varies (seconds, versions, digests of execution) is in the lineage.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlm.analysis.cells import Cell
from dlm.analysis.markdown import markdown
from dlm.analysis.numbers import decimal
from dlm.analysis.published import Figure
from dlm.analysis.repeats import ANSWERS
from dlm.analysis.speed import speed_csv
from dlm.analysis.tables import PairedGain, Result, TableResult
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
ANSWER_COLUMNS = ("empty_share", "truncated_share", "mean_tokens")
"""Of sampled answers: the shares (0 to 1) that are empty, or reached the length without ending, and their mean length
in tokens; means over seeds. Nothing where likelihoods were estimated."""
SEED_COLUMNS = ("seeds", "seed_sd")
"""Over how many seeds a value is the mean, and the standard deviation of the value over them; nothing for one seed."""
LINEAGE_FORMAT = "dlm-table-lineage/1"
SUFFIXES = (".lineage.json", ".metrics.json", ".speed.csv", ".md", ".csv")
"""What a table consists of, in the order of writing: the CSV, which others wait for, last."""


def write_files(
    result: TableResult, folder: str | Path, *, code: Mapping[str, Any], sources: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write the table's files (`SUFFIXES`) into ``folder``, each atomically; return their paths, the CSV's first.

    Args:
        result: what `build_table` computed.
        folder: made if missing.
        code: what made the table, such as the version and commit of this code; kept in the lineage.
        sources: where what was fetched came from, by step and name; kept in the lineage.
    """
    paths = [Path(folder) / f"{result.name}{suffix}" for suffix in SUFFIXES]
    lineage_path, metrics_path, speed_path, markdown_path, csv_path = paths
    write_json(lineage_path, lineage(result, code=code, sources=sources))
    write_json(metrics_path, metrics(result))
    write_text(speed_path, speed_csv(result))
    write_text(markdown_path, markdown(result))
    write_text(csv_path, csv_text(result))
    return paths[::-1]


def csv_text(result: TableResult) -> str:
    """Return the table as CSV: the columns of `COLUMNS` and `ANSWER_COLUMNS`, one line a (model, task, setting).

    Where a cell is a mean over seeds, all lines have those of `SEED_COLUMNS` too.
    """
    repeated = any(line.spread is not None for line in result.results)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS + ANSWER_COLUMNS + (SEED_COLUMNS if repeated else ()))
    writer.writerows(
        [*_csv_row(result, line), *_answers(line), *(_seeds(line) if repeated else ())] for line in result.results
    )
    return stream.getvalue()


def _csv_row(result: TableResult, line: Result) -> list[str]:
    numbers, figure = line.estimate, line.published.figure
    return [
        result.name,
        result.scale,
        line.row.model,
        line.cell.task,
        line.cell.metric,
        line.cell.setting,
        *map(decimal, (numbers.value, numbers.stderr, numbers.low, numbers.high)),
        str(numbers.n),
        decimal(figure.value if figure else None),
        figure.source if figure else "",
        decimal(numbers.value - figure.value if figure else None),
        line.verdict.text,
    ]


def _answers(line: Result) -> list[str]:
    return [decimal(line.cell.extra.get(name)) for name in ANSWER_COLUMNS]


def _seeds(line: Result) -> list[str]:
    return [str(len(line.cells)), decimal(line.spread)]


def metrics(result: TableResult) -> dict[str, Any]:
    """Return the table's figures by model, task and setting, as `dvc metrics` reads them: the CSV's numbers, nested."""
    found: dict[str, Any] = {}
    for line in result.results:
        of_task = found.setdefault(line.row.model, {}).setdefault(line.cell.task, {})
        # Rows of one model may differ in its chat template alone, which only their labels tell.
        setting = line.cell.setting if line.cell.setting not in of_task else f"{line.cell.setting}, {line.row.label}"
        numbers = {"value": line.estimate.value, "stderr": line.estimate.stderr}
        of_task[setting] = {name: float(text) for name, number in numbers.items() if (text := decimal(number))}
    return found


def lineage(
    result: TableResult, *, code: Mapping[str, Any], sources: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return where every line of the table came from, and what varies between runs. Paths are from the working copy."""
    return {
        "format": LINEAGE_FORMAT,
        "table": result.name,
        "scale": result.scale,
        "code": dict(code),
        "sources": dict(sources or {}),
        "executions": _executions(result),
        "rows": [_lineage_row(result.scale, line) for line in result.results],
        "gains": [_lineage_gain(gain) for gain in result.gains],
    }


def _executions(result: TableResult) -> dict[str, Any]:
    """Return how the models were run, by the digests that the rows name under `how`."""
    known: dict[str, Any] = {}
    for cell in (cell for line in result.results for cell in line.cells):
        known |= cell.extra.get("executions", {})
    return dict(sorted(known.items()))


def _lineage_row(scale: str, line: Result) -> dict[str, Any]:
    model, cell, figure = line.row.model, line.cells[0], line.published.figure
    bundle = cell.extra.get("bundle")
    root = f"results/{scale}"
    return {
        "model": model,
        "task": cell.task,
        "setting": cell.setting,
        "chat": cell.extra.get("chat", line.row.chat),
        "filter": cell.filter,
        **{key: cell.extra.get(key) for key in ("checkpoint", "what", "how", "lm_eval")},
        **{key: cell.extra.get(key) for key in ("forward_passes", "seconds")},
        **_looks(line.cell),
        "scores": bundle and f"{root}/scores/{model}/{bundle}/scores.json",
        "responses": bundle and f"{root}/responses/{model}/{bundle}/manifest.json",
        "checkpoint_manifest": f"{root}/checkpoints/{model}/manifest.json",
        **({} if line.estimate.monte_carlo is None else {"mc_stderr": round(line.estimate.monte_carlo, 6)}),
        **({} if len(line.cells) == 1 else {"seeds": [lineage_seed(root, model, one) for one in line.cells]}),
        "published": figure
        and {**_told(figure), "n": line.verdict.published_n, "settings_differ": list(line.differing)},
        "published_beside": [_told(other) for other in line.published.beside],
    }


def _looks(cell: Cell) -> dict[str, Any]:
    """Return what is said of how a cell's answers look."""
    return {key: cell.extra[key] for key in ANSWERS if key in cell.extra}


def _told(figure: Figure) -> dict[str, Any]:
    """Return a figure as the lineage has it; a share from 0 to 1, all else in its own unit."""
    return {key: getattr(figure, key) for key in ("table", "metric", "source", "value", "note")}


def lineage_seed(root: str, model: str, cell: Cell) -> dict[str, Any]:
    """Return what one of a row's seeds gave; value and looks of the row are the means over them."""
    return {
        "setting": cell.setting,
        "value": round(cell.value, 6) + 0.0,
        **{key: cell.extra.get(key) for key in ("what", "how", "forward_passes", "seconds")},
        **_looks(cell),
        "scores": f"{root}/scores/{model}/{cell.extra.get('bundle')}/scores.json",
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
        "p_value": None if gain.p_value is None else float(f"{gain.p_value:.4g}"),
        "beyond_noise": gain.beyond_noise,
    }
