"""The description of an experiment: what its columns mean, their units, and which direction is good."""

from __future__ import annotations

from pathlib import Path

from dlm.errors import DlmError
from dlm.tracking.views import saved_view

_EVALUATIONS = """\
A run is one (model, task, setting): a checkpoint's answers to a test set, sampled or scored with one setting.

| column | meaning |
|---|---|
| `score/value` | the task's metric, a share from 0 to 1; higher is better |
| `score/stderr` | its standard error over documents |
| `score/ci_low`, `score/ci_high` | ends of its 95 % interval |
| `score/n` | documents |
| `cost/forward_passes` | passes of the model over one sequence, all requests together; lower is cheaper |
| `cost/seconds` | seconds of sampling, as shared out over its batches; lower is cheaper |
| `cost/tokens_per_forward_pass` | answer tokens a pass gives; higher is faster |
| `answers/mean_tokens` | tokens of an answer |
| `answers/order_tau` | where recorded: order of decoding, from 1 (left to right) over 0 to -1 (right to left) |
| `answers/empty_share`, `answers/truncated_share` | shares (0 to 1) of answers that are empty, or are cut |

The columns `sampler.…` and `likelihood.…` are the settings, `execution.…` how the model was run.
"""

_TRAININGS = """\
A run is one training; its name is the checkpoint's.

| curve | meaning |
|---|---|
| `loss/train` | loss on the training rows, by optimiser update; lower is better |
| `loss/held_out` | loss on rows that are not trained on; lower is better |
| `optimiser/…` | learning rate, norm of the gradient before clipping |
| `training_seconds` | seconds from beginning to end, interruptions included |
"""


def tags_of_experiment(name: str, root: Path) -> dict[str, str]:
    """Return the tags of an experiment by its name: description, kind and saved view."""
    return {"mlflow.note.content": _note(name, root), **saved_view(name.split("/")[-1])}


def _note(experiment: str, root: Path) -> str:
    _, scale, kind = experiment.split("/")
    body = _TRAININGS if kind == "trainings" else _EVALUATIONS
    ending = "A view: `dlm runs sync` rebuilds it from the records under `results/`.\n"
    return f"{_title(scale, root)} (scale {scale})\n\n{body}\n{ending}"


def _title(scale: str, root: Path) -> str:
    """Return what a scale is, in its own words; a view does not fail because params are being edited."""
    from dlm.params import load_params

    try:
        return load_params(scale, root).title
    except DlmError:
        return "A scale without readable params"
