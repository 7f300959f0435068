"""A computed sweep as files: three CSVs for programs, Markdown for readers, lineage for where a number came from.

The CSVs hold only what the same run gives again to the byte: values with six decimals, sizes as integers, nothing where
there is nothing to say.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlm.analysis.numbers import decimal
from dlm.analysis.published import Figure
from dlm.analysis.render import lineage_seed
from dlm.analysis.sensitivity.effects import Effect
from dlm.analysis.sensitivity.lines import Line, Unmoved
from dlm.analysis.sensitivity.markdown import markdown
from dlm.analysis.sensitivity.ranks import Rank
from dlm.analysis.sensitivity.study import Study
from dlm.files import write_json, write_text
from dlm.params.layout import SWEEP_SUFFIXES
from dlm.params.sweeps.reading import COLUMNS

LINEAGE_FORMAT = "dlm-sensitivity-lineage/1"
_WHERE = ("sweep", "scale", "model", "task")
EFFECT_COLUMNS = (
    *_WHERE,
    "kind",
    "factor",
    "level",
    "factor_2",
    "level_2",
    "effect",
    "ci_low",
    "ci_high",
    "p_value",
    "p_corrected",
    "settings",
    "n",
)
RANK_COLUMNS = (
    *_WHERE,
    "kind",
    "method",
    "context",
    "context_2",
    "value",
    "rank",
    "wins",
    "claimed",
    "tau",
    "tau_null",
    "tau_null_low",
    "tau_null_high",
    "flips",
    "flips_null",
    "flips_null_low",
    "flips_null_high",
    "flips_excess",
    "p_value",
    "p_corrected",
    "n",
    "reason",
)
_ANSWERS = ("tokens_per_pass", "mean_tokens", "empty_share", "truncated_share", "order_tau")


def write_files(study: Study, folder: str | Path, *, code: Mapping[str, Any]) -> list[Path]:
    """Write the files of a sweep into ``folder``, each atomically; return their paths, the CSV's first.

    Args:
        study: what `build_study` computed.
        folder: made if missing.
        code: what made it, such as the version and commit of this code; kept in the lineage.
    """
    paths = [Path(folder) / f"sensitivity_{study.name}{suffix}" for suffix in SWEEP_SUFFIXES]
    write_json(paths[0], lineage(study, code))
    write_text(paths[1], markdown(study))
    write_text(paths[2], ranks_csv(study))
    write_text(paths[3], effects_csv(study))
    write_text(paths[4], csv_text(study))
    return paths[::-1]


def csv_text(study: Study) -> str:
    """Return the long form: one line a (model, task, setting), the columns of `COLUMNS`, then one a factor."""
    rows = (_row(study, line) for line in study.lines)
    return _csv((*COLUMNS, *study.factors), rows)


def effects_csv(study: Study) -> str:
    """Return effects, interactions and shares of variance: the columns of `EFFECT_COLUMNS`."""
    lines = ((*key, effect) for key, found in study.effects.items() for effect in found)
    return _csv(EFFECT_COLUMNS, (_effect(study, *each) for each in lines))


def ranks_csv(study: Study) -> str:
    """Return how far rankings hold: the columns of `RANK_COLUMNS`."""
    lines = ((*key, rank) for key, found in study.ranks.items() for rank in found)
    return _csv(RANK_COLUMNS, (_rank(study, *each) for each in lines))


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _field(value) for key, value in row.items()} for row in rows)
    return stream.getvalue()


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal(value) if isinstance(value, float) else "" if value is None else str(value)


def _row(study: Study, line: Line) -> dict[str, Any]:
    answered, cell, numbers, paired = line.answered, line.cell, line.estimate, line.paired
    figure, stopped = line.published, line.stopped
    beside = {} if paired is None else dataclasses.asdict(paired)
    beside.pop("n", None)
    return {
        "sweep": study.name,
        "scale": study.scale,
        "model": answered.row.model,
        "checkpoint": answered.cells[0].checkpoint,
        "task": answered.task,
        "metric": cell.metric,
        "setting": answered.setting,
        "baseline": answered.baseline,
        "value": numbers.value,
        "stderr": numbers.stderr,
        "ci_low": numbers.low,
        "ci_high": numbers.high,
        "n": numbers.n,
        "seeds": len(answered.cells),
        **{key: _summed(line, key) for key in ("requests", "forward_passes")},
        **{key: _number(cell.extra.get(key)) for key in _ANSWERS},
        **beside,
        "p_corrected": line.p_corrected,
        "published_ratio": line.published_ratio,
        "published_value": figure.value if figure and line.published_ratio is None else None,
        "published_metric": figure.metric if figure else None,
        "published_source": figure.source if figure else None,
        "stopped": stopped["reason"] if stopped else None,
        "verdict": line.verdict,
        **answered.levels,
    }


def _summed(line: Line, key: str) -> Any:
    """Return what all seeds took together; None: one of them does not say."""
    found = [seed.extra.get(key) for seed in line.seeds]
    return None if None in found else sum(found)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _effect(study: Study, model: str, task: str, effect: Effect) -> dict[str, Any]:
    found = dataclasses.asdict(effect)
    ends = {"ci_low": found.pop("low"), "ci_high": found.pop("high")}
    return {"sweep": study.name, "scale": study.scale, "model": model, "task": task, **found, **ends}


def _rank(study: Study, model: str, task: str, rank: Rank) -> dict[str, Any]:
    return {"sweep": study.name, "scale": study.scale, "model": model, "task": task, **dataclasses.asdict(rank)}


def lineage(study: Study, code: Mapping[str, Any]) -> dict[str, Any]:
    """Return where every line came from, and what varies between runs. Paths are from the working copy."""
    executions: dict[str, Any] = {}
    for line in study.lines:
        executions |= line.cell.extra.get("executions", {})
    return {
        "format": LINEAGE_FORMAT,
        "table": f"sensitivity_{study.name}",
        "scale": study.scale,
        "code": dict(code),
        "sweep": study.expanded.file.asked(),
        "refused": dict(study.expanded.refused),
        "unmoved": [_lineage_unmoved(each) for each in study.unmoved],
        "executions": dict(sorted(executions.items())),
        "rows": [_lineage_row(study.scale, line) for line in study.lines],
    }


def _lineage_unmoved(each: Unmoved) -> dict[str, Any]:
    names = [name for name, _ in each.alike.levels]
    return {
        "row": each.alike.label,
        "task": each.alike.task,
        "levels": dict(each.alike.levels),
        "instead": dict(zip(names, each.alike.instead, strict=True)),
        "combinations": each.combinations,
        "published": _told(each.published),
    }


def _told(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {key: getattr(figure, key) for key in ("table", "metric", "source", "value", "note")}


def _lineage_row(scale: str, line: Line) -> dict[str, Any]:
    cell, checkpoint = line.cell, line.answered.cells[0].checkpoint
    root, bundle = f"results/{scale}", line.cell.extra.get("bundle")
    return {
        "model": line.answered.row.model,
        "task": cell.task,
        "setting": line.answered.setting,
        "levels": dict(line.answered.levels),
        "baseline": line.answered.baseline,
        "filter": cell.filter,
        **{key: cell.extra.get(key) for key in ("checkpoint", "what", "how", "lm_eval")},
        **{key: _summed(line, key) for key in ("requests", "forward_passes", "seconds")},
        **{key: cell.extra[key] for key in _ANSWERS if key in cell.extra},
        "scores": bundle and f"{root}/scores/{checkpoint}/{bundle}/scores.json",
        "responses": bundle and f"{root}/responses/{checkpoint}/{bundle}/manifest.json",
        "checkpoint_manifest": f"{root}/checkpoints/{checkpoint}/manifest.json",
        **({} if len(line.seeds) == 1 else {"seeds": [lineage_seed(root, checkpoint, seed) for seed in line.seeds]}),
        **({} if line.stopped is None else {"stopped": dict(line.stopped)}),
        "published": _told(line.published),
    }
