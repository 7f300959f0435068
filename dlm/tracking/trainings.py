"""Trainings: a checkpoint's manifest and curves as a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dlm.files import MANIFEST, digest, read_jsonl, read_manifest
from dlm.settings.telling import flat, word
from dlm.tracking.view import VIEW, Point, Record, Run, experiment_of

CURVES = "curves.jsonl"
_NAMED = ("recipe", "start", "dataset", "seed", "threads", "steps")
METRICS = {
    "loss": "loss/train",
    "eval_loss": "loss/held_out",
    "learning_rate": "optimiser/learning_rate",
    "grad_norm": "optimiser/gradient_norm",
}
"""Names of the curves' fields in MLflow, which shows what shares the part before the stroke together."""


def read_training(path: Path, scale: str, root: Path) -> list[Record]:
    """Return the training that made the checkpoint whose manifest is ``path``; none where it was converted or fetched.

    Raises:
        DataError, CheckpointError: the manifest is damaged.
    """
    folder = path.parent
    manifest = read_manifest(folder, verify=False)
    if CURVES not in manifest["files"]:
        return []
    made_from = manifest["made_from"]
    content = {key: value for key, value in made_from.items() if key not in ("code", "clock")}
    return [
        Record(
            experiment=experiment_of(scale, "trainings"),
            source=str(path.relative_to(root)),
            key=manifest["name"],
            asked=asked_of(made_from),
            fingerprint=digest([VIEW, "training", scale, manifest["name"], manifest["digest"], content]),
            show=partial(_show, folder, scale, manifest, root),
        )
    ]


def asked_of(made_from: Mapping[str, Any]) -> str:
    """Digest what is known of a training before it begins."""
    return digest([made_from.get(key) for key in ("parents", "settings", "seed")])


def tags_of(scale: str, name: str, made_from: Mapping[str, Any]) -> dict[str, str]:
    """Return what trainings are grouped and filtered by."""
    named = {key: word(made_from[key]) for key in ("recipe", "start", "dataset") if key in made_from}
    code = made_from.get("code") or {}
    return {
        "scale": scale,
        "checkpoint": name,
        "objective": str(made_from["settings"]["objective"]["kind"]),
        **named,
        "mlflow.source.name": f"dlm train {name} --scale {scale}",
        "mlflow.source.type": "PROJECT",
        **commit_tags(code),
    }


def params_of(name: str, made_from: Mapping[str, Any]) -> dict[str, str]:
    """Return what a training was told."""
    named = {key: made_from[key] for key in _NAMED if key in made_from}
    recipe = {key: value for key, value in made_from["settings"].items() if key != "steps" or value is not None}
    return {"checkpoint": name, **flat(recipe), **flat(named)}


def commit_tags(code: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that name the code which first made a record."""
    if not code.get("commit"):
        return {}
    return {"mlflow.source.git.commit": code["commit"], "code_edited": word(code.get("edited"))}


def points_of(records: Sequence[Mapping[str, float]], times: Sequence[int]) -> Iterator[Point]:
    """Yield the curves' values, each with the time at which it was recorded."""
    for record, time in zip(records, times, strict=True):
        for field, key in METRICS.items():
            if field in record:
                yield Point(key=key, value=float(record[field]), step=int(record["step"]), time=time)


def _show(folder: Path, scale: str, manifest: Mapping[str, Any], root: Path) -> Run:
    name, made_from = manifest["name"], manifest["made_from"]
    records = list(read_jsonl(folder / CURVES))
    began, times, ended = _clock(made_from, len(records), round((folder / MANIFEST).stat().st_mtime * 1000))
    points = [*points_of(records, times)]
    if ended > began:
        points.append(Point(key="training_seconds", value=(ended - began) / 1000, time=ended))
    tags = tags_of(scale, name, made_from) | {
        "checkpoint_digest": manifest["digest"],
        "mlflow.note.content": _note(folder.relative_to(root), scale, manifest),
    }
    return Run(name=name, began=began, ended=ended, tags=tags, params=params_of(name, made_from), points=tuple(points))


def _clock(made_from: Mapping[str, Any], count: int, finished: int) -> tuple[int, list[int], int]:
    """Return when a training began, recorded and ended, in milliseconds; all at the end where it kept no times."""
    clock = made_from.get("clock") or {}
    times = [round(1000 * time) for time in clock.get("times", [])]
    if len(times) != count or "began" not in clock or not times:
        return finished, [finished] * count, finished
    # A training that went on after an interruption began at its first record, not when it was taken up again.
    return min(round(1000 * clock["began"]), times[0]), times, max(times[-1], round(1000 * clock.get("ended", 0)))


def _note(folder: Path, scale: str, manifest: Mapping[str, Any]) -> str:
    name, made_from = manifest["name"], manifest["made_from"]
    parents = "\n".join(f"  - {parent}: `{digest}`" for parent, digest in made_from["parents"].items())
    return (
        f"Training of checkpoint **{name}**, scale **{scale}**.\n\n"
        f"- Checkpoint: `{folder}`, digest `{manifest['digest']}` (tag `checkpoint_digest` of its evaluations)\n"
        f"- Curves: `{folder / CURVES}`\n"
        f"- Made from:\n{parents}\n"
        f"- Made by: `dlm train {name} --scale {scale}`\n"
    )
