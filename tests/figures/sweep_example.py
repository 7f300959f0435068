"""A sweep's tables as `dlm sensitivity` writes them, of known effects."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "sweep", "scale", "model", "checkpoint", "task", "metric", "setting", "baseline", "value", "stderr", "ci_low",
    "ci_high", "n", "seeds", "requests", "forward_passes", "tokens_per_pass", "mean_tokens", "empty_share",
    "truncated_share", "order_tau", "delta", "delta_low", "delta_high", "p_value", "p_corrected", "ratio", "ratio_low",
    "ratio_high", "published_ratio", "published_value", "published_metric", "published_source", "stopped", "verdict",
)  # fmt: skip
EFFECTS = (
    "sweep", "scale", "model", "task", "kind", "factor", "level", "factor_2", "level_2", "effect", "ci_low", "ci_high",
    "p_value", "p_corrected", "settings", "n",
)  # fmt: skip
RANKS = (
    "sweep", "scale", "model", "task", "kind", "method", "context", "context_2", "value", "rank", "wins", "claimed",
    "tau", "tau_null", "tau_null_low", "tau_null_high", "flips", "flips_null", "flips_null_low", "flips_null_high",
    "flips_excess", "p_value", "p_corrected", "n", "reason",
)  # fmt: skip
NULL = "no difference seen"
SPEED = {"one": 1.0, "two": 2.0, "four": 4.0}
COST = {"one": 0.0, "two": -0.02, "four": -0.2}
CACHE = {"none": 0.0, "dual": -0.05}


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def line(task: str, levels: Mapping[str, str], value: float, **more: Any) -> dict[str, Any]:
    setting = "-".join(levels.values())
    return {
        "sweep": "grid", "scale": "tiny", "model": "M", "checkpoint": "m", "task": task, "metric": "exact_match",
        "setting": setting, "baseline": "false", "value": value, "ci_low": value - 0.05, "ci_high": value + 0.05,
        "n": 200, "seeds": 1, "mean_tokens": 30.0, "empty_share": 0.0, "truncated_share": 0.0, "verdict": "lower",
    } | levels | more  # fmt: skip


def write_grid(folder: Path) -> None:
    """A full grid of two factors on two tasks: four tokens a pass cost 20 points, the dual cache 5, both 5 more."""
    lines, effects, ranks = [], [], []
    for task in ("sudoku", "words"):
        for rule, cache in itertools.product(SPEED, CACHE):
            value = 0.6 + COST[rule] + CACHE[cache] - (0.05 if (rule, cache) == ("four", "dual") else 0)
            passes = SPEED[rule] * (1.2 if cache == "dual" else 1.0)
            first = (rule, cache) == ("one", "none")
            more = {"tokens_per_pass": passes, "baseline": "true" if first else "false", "delta": value - 0.6}
            lines.append(line(task, {"rule": rule, "cache": cache}, value, **more))
            effects.append(
                _effect(task, "interaction", rule, -0.03 if (rule, cache) == ("four", "dual") else 0.01, cache)
            )
            ranks.append(
                _rank(task, rule, cache, 1 + [*SPEED].index(rule) if cache == "none" else 3 - [*SPEED].index(rule))
            )
        effects += [_effect(task, "level", rule, COST[rule] + 0.07) for rule in SPEED]
        ranks.append({"sweep": "grid", "scale": "tiny", "model": "M", "task": task, "kind": "mean", "flips": 1.0,
                      "flips_null": 0.2, "flips_excess": 0.8, "p_corrected": 0.002, "n": 200})  # fmt: skip
    _write(folder, "grid", ("rule", "cache"), lines, effects, ranks)


def write_single(folder: Path) -> None:
    """One factor at a time: end tokens leave 40 % of the score as published, parallel decoding nothing to see."""
    base = {"end_tokens": "held", "parallel": "one"}
    rows = [
        line("words", base, 0.5, baseline="true", verdict="baseline"),
        line(
            "words", {**base, "end_tokens": "free"}, 0.2, ratio=0.4, ratio_low=0.3, ratio_high=0.5, published_ratio=0.42
        ),
        line("words", {**base, "parallel": "four"}, 0.46, ratio=0.92, ratio_low=0.85, ratio_high=0.99, verdict=NULL),
    ]
    _write(folder, "single", tuple(base), rows, [], [])


def write_lengths(folder: Path) -> None:
    """The length alone: 8 positions truncate most answers."""
    shares = {8: 0.9, 16: 0.1, 32: 0.0}
    rows = [
        line("words", {"length": str(size)}, 0.6 - share / 2, mean_tokens=size * 0.9, truncated_share=share,
             tokens_per_pass=1.0, baseline="true" if size == 32 else "false")
        for size, share in shares.items()
    ]  # fmt: skip
    asked = {"factors": {"length": {"setting": "max_new_tokens", "values": [8, 16, 32]}}}
    _write(folder, "lengths", ("length",), rows, [], [], sweep=asked)


def _effect(task: str, kind: str, rule: str, effect: float, cache: str = "") -> dict[str, Any]:
    where = {
        "sweep": "grid",
        "scale": "tiny",
        "model": "M",
        "task": task,
        "kind": kind,
        "factor": "rule",
        "level": rule,
    }
    second = {"factor_2": "cache", "level_2": cache} if cache else {}
    seen = {"p_value": 0.001, "p_corrected": 0.004 if abs(effect) > 0.02 else 0.2}
    return {**where, **second, "effect": effect, "ci_low": effect - 0.02, "ci_high": effect + 0.02, **seen, "n": 200}


def _rank(task: str, method: str, context: str, rank: int) -> dict[str, Any]:
    where = {"sweep": "grid", "scale": "tiny", "model": "M", "task": task, "kind": "method"}
    return {**where, "method": method, "context": context, "rank": rank, "wins": 0.5, "claimed": "false", "n": 200}


def _write(
    folder: Path,
    name: str,
    factors: Sequence[str],
    lines: Sequence[Mapping[str, Any]],
    effects: Sequence[Mapping[str, Any]],
    ranks: Sequence[Mapping[str, Any]],
    **lineage: Any,
) -> None:
    write_table(folder / f"sensitivity_{name}.csv", (*COLUMNS, *factors), lines)
    write_table(folder / f"sensitivity_{name}_effects.csv", EFFECTS, effects)
    write_table(folder / f"sensitivity_{name}_ranks.csv", RANKS, ranks)
    (folder / f"sensitivity_{name}.lineage.json").write_text(json.dumps({"rows": [], **lineage}))


def write_orders(root: Path) -> Path:
    """Two settings with records: one decodes from left to right, one from right to left. Returns the tables' folder."""
    folder, responses = root / "results" / "tiny" / "tables", root / "results" / "tiny" / "responses" / "m" / "1"
    responses.mkdir(parents=True)
    rows, records = [], []
    for setting, tau in (("forward", 1.0), ("backward", -1.0)):
        rows.append({"model": "M", "task": "words", "setting": setting, "order_tau": tau,
                     "responses": "results/tiny/responses/m/1/manifest.json"})  # fmt: skip
        steps = list(range(6)) if tau > 0 else list(range(5, -1, -1))
        records += [{"what": f"{setting}{n}", "task": "words", "setting": setting, "steps": steps, "tokens": 6}
                    for n in range(3)]  # fmt: skip
    (responses / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    lines = [line("words", {"direction": row["setting"]}, 0.5) for row in rows]
    _write(folder, "orders", ("direction",), lines, [], [])
    (folder / "sensitivity_orders.lineage.json").write_text(json.dumps({"rows": rows}))
    return folder
