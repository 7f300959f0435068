"""The two verbs: sample every cell of a checkpoint into records, and score the records with lm-eval."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.errors import DataError, SettingsError
from dlm.evaluation.chat import Chat, load_tokenizer
from dlm.evaluation.harness import load_tasks, run, task_versions
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.programs import programs_allowed
from dlm.evaluation.records import RECORDS, RecordStore
from dlm.evaluation.replay import RecordedLM
from dlm.evaluation.scores import sample_lines, scored_cell
from dlm.files import SCORES_FORMAT, read_manifest, write_json, write_jsonl, write_manifest
from dlm.provenance import code_version
from dlm.settings import ExactLikelihood, GreedySettings

if TYPE_CHECKING:
    from lm_eval.tasks.manager import TaskDict

    from dlm.evaluation.replay import Backend
    from dlm.models import Denoiser
    from dlm.params import Cell
    from dlm.settings import ExecutionSettings, SandboxSettings


Bundles = Mapping[Path, Sequence["Cell"]]
"""Cells of one checkpoint by the folder of their responses."""


def sample_cells(
    bundles: Bundles,
    *,
    checkpoint_dir: str | Path,
    data_folder_of: Callable[[str], Path],
    execution: ExecutionSettings,
    usable: Callable[[Path], bool] = lambda folder: True,
) -> list[dict[str, Any]]:
    """Answer every request of the cells that is not recorded yet, then list each bundle's records in a manifest.

    The weights are loaded when the first missing record asks for them; a run that finds everything loads none. Records
    are on the disk after each batch, so that a killed run continues where it was. What a folder beside a bundle's own
    has recorded is copied, not sampled again.

    Args:
        bundles: each folder gets ``records.jsonl`` (appended to) and ``manifest.json``.
        checkpoint_dir: the checkpoint's folder.
        data_folder_of: folder of a prepared test set, by its name.
        execution: how to run the model.
        usable: whether what another folder has recorded may be copied.

    Returns:
        The manifests.

    Raises:
        SettingsError, DataError, CheckpointError, SetupError: see `dlm.errors`.
    """
    model, checkpoint_dir = _model(bundles), Path(checkpoint_dir)
    checkpoint = _checkpoint_digest(checkpoint_dir)
    load = functools.cache(functools.partial(_load_weights, checkpoint_dir, execution))
    chat = Chat(functools.partial(load_tokenizer, checkpoint_dir), model)
    manifests = []
    for folder, cells in bundles.items():
        with RecordStore(folder / RECORDS, writable=True, siblings=[*filter(usable, _siblings(folder))]) as store:
            loaded = load_tasks(cells, data_folder_of)
            for cell in cells:
                tasks = loaded[cell.task]
                lm = _recorded(store, cell, tasks, checkpoint, chat, functools.partial(_backend, load, cell, execution))
                run(lm, tasks, cell, predict_only=True)
        parents = {model: checkpoint, **_data_digests(cells, data_folder_of)}
        settings = [dataclasses.asdict(cell) for cell in cells]
        made_from = {"parents": parents, "settings": settings, "code": code_version(), "ended": round(time.time(), 3)}
        manifests.append(write_manifest(folder, kind="responses", name=model, made_from=made_from))
    return manifests


def score_cells(
    folder: Path,
    cells: Sequence[Cell],
    *,
    checkpoint_dir: str | Path,
    data_folder_of: Callable[[str], Path],
    out_dir: str | Path,
    scale: str,
    sandbox: SandboxSettings | None = None,
) -> dict[str, Any]:
    """Replay the records of a bundle into lm-eval and write ``scores.json`` and ``samples.jsonl``; no weights needed.

    Args:
        folder: of the bundle's responses.
        cells: of one checkpoint, that were sampled there.
        checkpoint_dir: the checkpoint's folder; manifest and tokenizer are read.
        data_folder_of: folder of a prepared test set, by its name.
        out_dir: where the scores go.
        scale: name of the params.
        sandbox: limits of the programs that models write; None: no task may run any.

    Returns:
        The content of ``scores.json``.

    Raises:
        DataError: a record is missing or damaged; the message names task, document and what to run.
        SettingsError: a metric or filter that the task does not have; programs, and no sandbox for them.
        SetupError: programs, and this machine cannot isolate them.
    """
    model, out_dir = _model({folder: cells}), Path(out_dir)
    checkpoint = _checkpoint_digest(Path(checkpoint_dir))
    responses = {folder.name: read_manifest(folder)["digest"]}
    chat = Chat(functools.partial(load_tokenizer, checkpoint_dir), model)
    loaded = load_tasks(cells, data_folder_of)
    scored: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    executions: dict[str, Any] = {}
    with RecordStore(folder / RECORDS) as store, programs_allowed(sandbox):
        for cell in cells:
            tasks = loaded[cell.task]
            lm = _recorded(store, cell, tasks, checkpoint, chat)
            outcome = read_outcome(run(lm, tasks, cell), tasks, cell)
            scored.append({**scored_cell(cell, tasks, outcome, lm.used, checkpoint), "bundle": folder.name})
            rows += sample_lines(cell, outcome, lm.used)
            executions |= {how: store.content(how) for how in scored[-1]["how"]}
    scores = {
        "format": SCORES_FORMAT,
        "model": model,
        "scale": scale,
        "checkpoint": checkpoint,
        "responses": responses,
        "code": code_version(),
        "executions": executions,
        **({"sandbox": dataclasses.asdict(sandbox)} if sandbox else {}),
        "cells": scored,
    }
    write_jsonl(out_dir / "samples.jsonl", rows)
    write_json(out_dir / "scores.json", scores)
    return scores


def _siblings(folder: Path) -> list[Path]:
    """Return the folders of the checkpoint's other bundles, of this division of its cells or of an earlier one."""
    return sorted(path.parent for path in folder.parent.glob(f"*/{RECORDS}") if path.parent.name != folder.name)


def _model(bundles: Bundles) -> str:
    names = dict.fromkeys(cell.checkpoint for cells in bundles.values() for cell in cells)
    if len(names) != 1:
        raise SettingsError(f"expected the cells of one checkpoint, got those of {', '.join(names) or 'none'}")
    return next(iter(names))


def _checkpoint_digest(folder: Path) -> str:
    """Read the digest of a checkpoint; its files are checked by whoever loads the weights."""
    manifest = read_manifest(folder, verify=False)
    if manifest["kind"] != "checkpoint":
        raise DataError(f"{folder}: the manifest is of kind '{manifest['kind']}', expected a checkpoint")
    return str(manifest["digest"])


def _data_digests(cells: Iterable[Cell], data_folder_of: Callable[[str], Path]) -> dict[str, str]:
    names = dict.fromkeys(cell.dataset for cell in cells if cell.dataset)
    return {name: str(read_manifest(data_folder_of(name), verify=False)["digest"]) for name in names}


def _load_weights(folder: Path, execution: ExecutionSettings) -> Denoiser:
    from dlm.models import load_denoiser

    return load_denoiser(folder, execution)


def _backend(load: Callable[[], Denoiser], cell: Cell, execution: ExecutionSettings) -> Backend:
    from dlm.evaluation.autoregressive import AutoregressiveLM
    from dlm.evaluation.lm import DiffusionLM

    sampler, likelihood = cell.sampler, cell.likelihood
    if isinstance(sampler, GreedySettings) or isinstance(likelihood, ExactLikelihood):
        greedy = sampler if isinstance(sampler, GreedySettings) else None
        return AutoregressiveLM(load(), greedy=greedy, response_prefix=cell.response_prefix, execution=execution)
    return DiffusionLM(
        load(),
        sampler=sampler,
        likelihood=likelihood,
        response_prefix=cell.response_prefix,
        seed=cell.seed,
        execution=execution,
    )


def _recorded(
    store: RecordStore,
    cell: Cell,
    tasks: TaskDict,
    checkpoint: str,
    chat: Chat,
    backend: Callable[[], Backend] | None = None,
) -> RecordedLM:
    return RecordedLM(store, cell, checkpoint=checkpoint, versions=task_versions(tasks), chat=chat, backend=backend)
