"""Evaluations: every cell of a scores file as a run, with the error and interval that tables give it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dlm.errors import DataError
from dlm.files import SCORES_FORMAT, digest, read_json, read_manifest
from dlm.settings.metrics import metric_kind
from dlm.settings.telling import flat, word
from dlm.tracking.trainings import commit_tags
from dlm.tracking.view import VIEW, Point, Record, Run, experiment_of

SCORES = "scores.json"
_DECIMALS = 6  # as in the tables' CSV
_ASKED = ("task", "setting", "chat", "response_prefix")
_TOTALS = {
    "requests": "cost/requests",
    "forward_passes": "cost/forward_passes",
    "seconds": "cost/seconds",
    "tokens_per_pass": "cost/tokens_per_forward_pass",
    "mean_tokens": "answers/mean_tokens",
    "order_tau": "answers/order_tau",
    "empty_share": "answers/empty_share",
    "truncated_share": "answers/truncated_share",
}


class Outdated(DataError):
    """Scores of what is no longer there to be scored: nothing of them is shown."""


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """A scores file and where it lies."""

    path: Path
    root: Path
    scale: str
    content: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.content["model"])

    @property
    def source(self) -> Path:
        return self.path.relative_to(self.root)

    def responses(self, bundle: str) -> Path:
        checkpoint = self.path.parent.parent
        return checkpoint.parent.parent / "responses" / checkpoint.name / bundle

    def weights(self, otherwise: str) -> str:
        """Return the digest of the checkpoint as it is now, or ``otherwise`` where that cannot be told."""
        try:
            return str(read_manifest(self.path.parents[3] / "checkpoints" / self.model, verify=False)["digest"])
        except DataError:
            return otherwise


def read_evaluations(path: Path, scale: str, root: Path) -> list[Record]:
    """Return the evaluations in the scores file at ``path``.

    Raises:
        DataError: the scores are damaged, of another format, or older than the responses.
        Outdated: they are of weights that are no longer the checkpoint's: bundles are numbered anew when the tables
            change, and a folder of before may be left.
    """
    scores = _Scores(path=path, root=root, scale=scale, content=read_json(path))
    if (found := scores.content["format"]) != SCORES_FORMAT:
        raise DataError(f"{path}: format '{found}', expected '{SCORES_FORMAT}'; run `dlm score {scores.model}` again")
    if scores.content["checkpoint"] != scores.weights(otherwise=scores.content["checkpoint"]):
        again = f"run `dlm sample {scores.model} --scale {scale}`, then score, or delete the folder"
        raise Outdated(f"{path}: of earlier weights of '{scores.model}'; {again}")
    made = _made(scores)
    settings = {_asked(asked): asked for made_from in made.values() for asked in made_from["settings"]}
    ended = {bundle: round(1000 * made_from["ended"]) for bundle, made_from in made.items()}
    return [
        _record(scores, cell, settings.get(_asked(cell), {}), ended[cell["bundle"]]) for cell in scores.content["cells"]
    ]


def key_of(model: str, cell: Mapping[str, Any]) -> str:
    """Return the name of an evaluation within its experiment: the tag `dlm.key` of its run."""
    return digest([model, *_asked(cell)])[:16]


def run_name(model: str, cell: Mapping[str, Any]) -> str:
    """Return the name under which the list of runs shows an evaluation."""
    return " · ".join([cell["task"], model, cell["setting"], *([] if cell["chat"] else ["no chat template"])])


def _made(scores: _Scores) -> dict[str, Mapping[str, Any]]:
    """Return how each bundle of answers was made: its cells' settings, and when its sampling ended."""
    found = {}
    for bundle, digest_then in scores.content["responses"].items():
        manifest = read_manifest(scores.responses(bundle), verify=False)
        if manifest["digest"] != digest_then:
            raise DataError(
                f"{scores.path}: older than its responses; run `dlm score {scores.model} --scale {scores.scale}`"
            )
        found[bundle] = manifest["made_from"]
    return found


def _asked(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell.get(key) for key in _ASKED)


def _record(scores: _Scores, cell: Mapping[str, Any], settings: Mapping[str, Any], ended: int) -> Record:
    executions = {how: scores.content["executions"][how] for how in cell["how"]}
    fingerprint = digest([VIEW, "evaluation", scores.scale, scores.model, cell, settings, executions])
    return Record(
        experiment=experiment_of(scores.scale, "evaluations"),
        source=str(scores.source),
        key=key_of(scores.model, cell),
        asked=fingerprint,
        fingerprint=fingerprint,
        ended=ended,
        show=partial(_show, scores, cell, settings, executions, ended),
    )


def _show(
    scores: _Scores,
    cell: Mapping[str, Any],
    settings: Mapping[str, Any],
    executions: Mapping[str, Any],
    ended: int,
) -> Run:
    return Run(
        name=run_name(scores.model, cell),
        began=ended - round(1000 * cell["seconds"]),
        ended=ended,
        tags=_tags(scores, cell),
        params=_params(scores, cell, settings) | _execution(executions),
        points=tuple(Point(key=key, value=value, time=ended) for key, value in _metrics(cell)),
    )


def _metrics(cell: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    from dlm.analysis.estimates import estimate

    found = estimate(cell["numerators"], cell["weights"], metric_kind(cell["metric"]), cell.get("mc_stderrs"))
    numbers = {"value": found.value, "stderr": found.stderr, "ci_low": found.low, "ci_high": found.high}
    for name, number in {**numbers, "mc_stderr": found.monte_carlo}.items():
        if number is not None and math.isfinite(number):
            yield f"score/{name}", round(number, _DECIMALS)
    yield "score/n", float(found.n)
    for field, key in _TOTALS.items():
        if field in cell:
            yield key, float(cell[field])


def _params(scores: _Scores, cell: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    task = settings.get("task_settings") or {}
    told = {
        "model": scores.model,
        **{key: cell[key] for key in (*_ASKED, "metric", "filter")},
        "lm_eval.task": cell["lm_eval"]["task"],
        "lm_eval.version": cell["lm_eval"]["version"],
        **{key: task[key] for key in ("num_fewshot", "limit", "dataset") if key in task},
        **{key: settings[key] for key in ("seed", "sampler", "likelihood") if settings.get(key) is not None},
    }
    return flat(told)


def _execution(executions: Mapping[str, Any]) -> dict[str, str]:
    """Return how the cell was run; several ways stand side by side."""
    several = [flat(content, "execution.") for content in executions.values()]
    keys = dict.fromkeys(key for found in several for key in found)
    return {key: word(" | ".join(dict.fromkeys(found.get(key, "none") for found in several))) for key in keys}


def _tags(scores: _Scores, cell: Mapping[str, Any]) -> dict[str, str]:
    return {
        "scale": scores.scale,
        "checkpoint_digest": cell["checkpoint"],
        "what": cell["what"],
        "how": word(", ".join(cell["how"])),
        "records": str(scores.responses(cell["bundle"]).relative_to(scores.root)),
        "records_digest": scores.content["responses"][cell["bundle"]],
        "mlflow.source.name": f"dlm score {scores.model} --scale {scores.scale}",
        "mlflow.source.type": "PROJECT",
        "mlflow.note.content": _note(scores, cell),
        **commit_tags(scores.content.get("code") or {}),
    }


def _note(scores: _Scores, cell: Mapping[str, Any]) -> str:
    model, scale, records = scores.model, scores.scale, scores.responses(cell["bundle"])
    return (
        f"**{model}** on **{cell['task']}**, setting **{cell['setting']}**, scale **{scale}**: "
        f"{cell['metric']} {cell['value']:.4f}, {cell['n']} documents.\n\n"
        f"- Answers, each with its prompt and outcome: `{scores.source.with_name('samples.jsonl')}`\n"
        f"- Records: `{records.relative_to(scores.root)}`, digest `{scores.content['responses'][cell['bundle']]}`\n"
        f"- Checkpoint: digest `{cell['checkpoint']}` (the tag `checkpoint_digest` of its training)\n"
        f"- Made by: `dlm sample {model} --scale {scale}`, then `dlm score {model} --scale {scale}`\n"
    )
