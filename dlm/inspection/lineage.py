"""From a cell of a table to all that it was made from, as a tree: scores, responses, data, checkpoint, recipe, code."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlm.analysis.numbers import shown
from dlm.errors import DataError
from dlm.files import read_manifest
from dlm.inspection.ancestry import Step, ancestry
from dlm.inspection.reading import json_at
from dlm.inspection.rows import Row
from dlm.settings.telling import flat, word
from dlm.tracking.evaluations import key_of, run_name
from dlm.tracking.view import KEY, experiment_of

_ASKED = ("task", "setting", "chat", "response_prefix")
_ASIDE = ("checkpoint", "task", "setting", "sampler", "likelihood", "task_settings", "seed", "dataset")
_TOTALS = ("requests", "forward_passes", "seconds", "tokens_per_pass", "empty_share", "truncated_share", "order_tau")


@dataclass(frozen=True)
class Node:
    """One thing, and what it was made from."""

    kind: str
    """What it is, such as `checkpoint`."""
    name: str
    told: Mapping[str, str] = field(default_factory=dict)
    """What is recorded of it, by name."""
    made_from: tuple[Node, ...] = ()


def lineage_of(row: Row) -> Node:
    """Return where a row's number comes from. What is no longer here, or was made anew since, is said to be so.

    Raises:
        DataError: a manifest or the scores are damaged, or the responses' manifest is missing.
    """
    scores = json_at(row.scores)
    parts = [
        _scores(row, scores),
        _responses(row),
        *_checkpoint(row, str(row.cell.extra["checkpoint"])),
        _run(row),
    ]
    return Node("cell", row.address, _number(row), (*_table(row), *parts))


def _run(row: Row) -> Node:
    cell = {"task": row.cell.task, "setting": row.cell.setting, **row.cell.extra}
    told = {
        "MLflow experiment": experiment_of(row.layout.scale, "evaluations"),
        f"tag {KEY}": key_of(row.checkpoint, cell),
        "shown by": f"dlm runs ui --scale {row.layout.scale}",
    }
    return Node("run", run_name(row.checkpoint, cell), told)


def _number(row: Row) -> dict[str, str]:
    found, kind = row.cell.estimate, row.cell.kind
    error = "" if found.stderr is None else f" ± {shown(kind, found.stderr)}"
    unit = "" if kind.loss else " %"
    told = {
        "scale": row.layout.scale,
        row.cell.metric: f"{shown(kind, found.value)}{error}{unit}, 95 % interval "
        f"[{shown(kind, found.low)}, {shown(kind, found.high)}], {found.n} documents",
    }
    if published := row.line.get("published"):
        told["published"] = f"{published['value']:g} ({published['source']}, {published['table']})"
    return told


def _table(row: Row) -> Iterator[Node]:
    if row.table is None:
        return
    lineage = json_at(row.layout.tables / f"{row.table}.lineage.json")
    fresh = row.cell.extra["what"] in [row.line["what"], *(seed["what"] for seed in row.line.get("seeds", ()))]
    told = {"file": str(row.layout.tables / f"{row.table}.csv"), "code": _code(lineage["code"])}
    if not fresh:
        told["note"] = f"older than the scores; run `dlm table {row.table} --scale {row.layout.scale}`"
    if seeds := row.line.get("seeds"):
        told["mean over"] = ", ".join(f"{seed['setting']} {seed['value']:g}" for seed in seeds)
    yield Node("table", row.table, told)


def _scores(row: Row, scores: Mapping[str, Any]) -> Node:
    harness = row.cell.extra["lm_eval"]
    told = {
        "file": str(row.scores),
        "answers": str(row.scores.with_name("samples.jsonl")),
        "lm-eval": f"{harness['version']}, task {harness['task']}, version {word(harness['task_version'])}",
        "metric": f"{row.cell.metric}, filter {row.cell.filter}",
        "what": str(row.cell.extra["what"]),
        "code": _code(scores["code"]),
    }
    return Node("scores", f"{row.checkpoint}/{row.bundle}", told)


def _responses(row: Row) -> Node:
    bundle = row.bundle
    folder = row.layout.folder("responses", f"{row.checkpoint}/{bundle}")
    manifest = read_manifest(folder, verify=False)
    made_from, cell = manifest["made_from"], row.cell
    told = {"records": str(folder / "records.jsonl"), "digest": manifest["digest"], "code": _code(made_from["code"])}
    if json_at(row.scores)["responses"].get(bundle) != manifest["digest"]:
        told["note"] = f"younger than the scores; run `dlm score {row.checkpoint} --scale {row.layout.scale}`"
    if ended := made_from.get("ended"):
        told["ended"] = _time(ended)
    told |= {key: word(round(cell.extra[key], 4)) for key in _TOTALS if cell.extra.get(key) is not None}
    wanted = tuple({"task": cell.task, "setting": cell.setting, **cell.extra}.get(key) for key in _ASKED)
    each = ((tuple(one.get(key) for key in _ASKED), one) for one in made_from["settings"])
    asked: Mapping[str, Any] = next((one for key, one in each if key == wanted), {})
    return Node("responses", f"{row.checkpoint}/{bundle}", told, tuple(_parents(row, asked, made_from["parents"])))


def _parents(row: Row, asked: Mapping[str, Any], parents: Mapping[str, str]) -> Iterator[Node]:
    """Yield what answers were made with: settings, execution, test set."""
    for kind in ("sampler", "likelihood"):
        if asked.get(kind):
            told = flat(asked[kind]) | {"seed": word(asked.get("seed"))}
            told |= flat({key: value for key, value in asked.items() if key not in _ASIDE})
            yield Node(kind, row.cell.setting, told)
    for content in row.cell.extra["executions"].values():
        yield Node("execution", str(content.get("device_name", content.get("device"))), flat(content))
    dataset = str(asked.get("dataset"))
    if dataset in parents:
        yield _data(row, dataset, parents[dataset])


def _data(row: Row, name: str, digest: str) -> Node:
    told = {"digest": digest}
    try:
        manifest = read_manifest(row.layout.folder("data", name), verify=False)
    except DataError:
        return Node("data", name, {**told, "note": "no longer here"})
    if manifest["digest"] != digest:
        return Node("data", name, {**told, "note": "made anew since, with other content"})
    made_from = manifest["made_from"]
    source = made_from.get("source") or {}
    told |= flat({key: value for key, value in made_from["settings"].items() if value is not None})
    told |= flat({key: source[key] for key in ("repository", "commit", "revision", "sha256") if source.get(key)})
    return Node("data", name, {**told, "code": _code(made_from.get("code") or {})})


def _checkpoint(row: Row, digest: str) -> Iterable[Node]:
    """Return the line of the checkpoint as one node, each step inside the one that was made from it."""
    try:
        steps = ancestry(row.layout, row.checkpoint)
    except DataError:
        return [Node("checkpoint", row.checkpoint, {"digest": digest, "note": "no longer here"})]
    if steps[0].digest != digest:
        return [Node("checkpoint", row.checkpoint, {"digest": digest, "note": "made anew since, with other weights"})]
    found: list[Node] = []
    for step in reversed(steps):
        found = [_step(row, step, found)]
    return found


def _step(row: Row, step: Step, before: list[Node]) -> Node:
    told = {"digest": step.digest}
    if step.made_from is None:
        return Node("checkpoint", step.name, {**told, "note": "no longer here, or made anew since"})
    made_from = step.made_from
    told |= {"code": _code(made_from.get("code") or {})}
    told |= {key: word(made_from[key]) for key in ("seed", "threads", "steps", "start") if key in made_from}
    if clock := made_from.get("clock"):
        told["trained"] = f"{_time(clock['began'])} to {_time(clock.get('ended', clock['began']))}"
    if step.source:
        told |= flat({key: step.source[key] for key in ("repository", "commit", "revision") if step.source.get(key)})
    parts = [_data(row, data.name, data.digest) for data in step.data]
    if "recipe" in made_from:
        parts.insert(0, Node("recipe", str(made_from["recipe"]), flat(_set(made_from["settings"]))))
    if libraries := made_from.get("libraries"):
        told["libraries"] = ", ".join(f"{name} {version}" for name, version in libraries.items())
    return Node("checkpoint", step.name, told, (*parts, *before))


def _set(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a recipe what is off."""
    return {key: value for key, value in settings.items() if value is not None and value is not False}


def _code(code: Mapping[str, Any]) -> str:
    """Name the code that made something: its commit, and whether files had been edited."""
    if not code:
        return "not recorded"
    commit = code.get("commit") or "no commit"
    return f"dlm {code.get('version')}, {commit[:12]}{', edited' if code.get('edited') else ''}"


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
