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
from dlm.evaluation.halving import STOPPED, HalvingBudget, halve, read_stopped
from dlm.evaluation.harness import load_tasks, run, task_versions
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.programs import programs_allowed
from dlm.evaluation.records import RECORDS, RecordStore
from dlm.evaluation.replay import RecordedLM
from dlm.evaluation.scores import sample_lines, scored_cell
from dlm.evaluation.sharding import ShardLM
from dlm.files import SCORES_FORMAT, read_manifest, write_json, write_jsonl, write_manifest
from dlm.params.sharding import WHOLE, Shard
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
    beside: Callable[[Path], Iterable[Path]] | None = None,
    usable: Callable[[Path, ExecutionSettings], bool] = lambda folder, execution: True,
    shard: Shard = WHOLE,
    budgets: Mapping[Path, HalvingBudget] | None = None,
) -> list[dict[str, Any]]:
    """Answer every request of the cells that is not recorded yet, then list each bundle's records in a manifest.

    The weights are loaded when the first missing record asks for them; a run that finds everything loads none. Records
    are on the disk after each batch, so that a killed run continues where it was. What a folder beside a bundle's own
    has recorded is copied, not sampled again. In the end the records stand in the order of the cells and requests.

    Args:
        bundles: each folder gets ``records.jsonl`` (appended to, in the end put in order) and ``manifest.json``.
        checkpoint_dir: the checkpoint's folder.
        data_folder_of: folder of a prepared test set, by its name.
        execution: how to run the model, where a bundle's cells do not say otherwise.
        beside: the folders where else records of the checkpoint may lie; None: those of its other bundles.
        usable: whether what another folder has recorded may be copied, for cells that are run so.
        shard: the documents that are answered; all, where there is a budget.
        budgets: the forward passes to spend, by the folder of the bundle; others answer every document.

    Returns:
        The manifests.

    Raises:
        SettingsError, DataError, CheckpointError, SetupError: see `dlm.errors`.
    """
    model, checkpoint_dir = _model(bundles), Path(checkpoint_dir)
    checkpoint = _checkpoint_digest(checkpoint_dir)
    load = functools.lru_cache(maxsize=1)(functools.partial(_load_weights, checkpoint_dir))
    chat = Chat(functools.partial(load_tokenizer, checkpoint_dir), model)
    manifests = []
    for folder, cells in bundles.items():
        run_so = _execution(cells, execution)
        places = beside(folder) if beside else folder.parent.glob("*")
        siblings = [sibling for sibling in _siblings(folder, places) if usable(sibling, run_so)]
        with RecordStore(folder / RECORDS, writable=True, siblings=siblings) as store:
            loaded = load_tasks(cells, data_folder_of)

            ask = functools.partial(_backend, load, run_so)
            answered: list[RecordedLM] = []
            sampling = functools.partial(_sampling, store, loaded, checkpoint, chat, ask, shard, answered)
            _answer(folder, cells, loaded, sampling, (budgets or {}).get(folder))
            store.settle(record["what"] for lm in answered for _, record in lm.used)
        parents = {model: checkpoint, **_data_digests(cells, data_folder_of)}
        settings = [dataclasses.asdict(cell) for cell in cells]
        made_from = {"parents": parents, "settings": settings, "code": code_version(), "ended": round(time.time(), 3)}
        if shard != WHOLE:
            made_from["shard"] = shard.name
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
    stopped = read_stopped(folder)
    scored: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    executions: dict[str, Any] = {}
    with RecordStore(folder / RECORDS) as store, programs_allowed(sandbox):
        for cell in map(stopped.as_answered, cells):
            tasks = loaded[cell.task]
            lm = RecordedLM(store, cell, checkpoint=checkpoint, versions=task_versions(tasks), chat=chat)
            outcome = read_outcome(run(lm, tasks, cell), tasks, cell)
            told = {"bundle": folder.name, **stopped.told(cell)}
            scored.append({**scored_cell(cell, tasks, outcome, lm.used, checkpoint), **told})
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


def _siblings(folder: Path, places: Iterable[Path]) -> list[Path]:
    """Return the other folders that have records: of other bundles, of this division of the cells or an earlier one."""
    return sorted(place for place in places if place != folder and (place / RECORDS).is_file())


def _execution(cells: Sequence[Cell], execution: ExecutionSettings) -> ExecutionSettings:
    """Return how the cells of a bundle are run: all in one way, since their records are told apart by their folder."""
    ways = dict.fromkeys(cell.execution or execution for cell in cells)
    if len(ways) != 1:
        raise SettingsError("the cells of a bundle are to be run in several ways; divide them")
    return next(iter(ways))


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


def _answer(
    folder: Path,
    cells: Sequence[Cell],
    loaded: Mapping[str, TaskDict],
    sampling: Callable[[Cell], RecordedLM],
    budget: HalvingBudget | None,
) -> None:
    """Answer every request of a bundle's cells, or as many as its budget allows."""
    if budget is not None:
        write_json(folder / STOPPED, halve(cells, loaded, sampling, budget))
        return
    (folder / STOPPED).unlink(missing_ok=True)
    for cell in cells:
        run(sampling(cell), loaded[cell.task], cell, predict_only=True)


def _load_weights(folder: Path, execution: ExecutionSettings) -> Denoiser:
    from dlm.models import load_denoiser

    return load_denoiser(folder, execution)


def _backend(load: Callable[[ExecutionSettings], Denoiser], execution: ExecutionSettings, cell: Cell) -> Backend:
    from dlm.evaluation.autoregressive import AutoregressiveLM
    from dlm.evaluation.lm import DiffusionLM

    sampler, likelihood = cell.sampler, cell.likelihood
    if isinstance(sampler, GreedySettings) or isinstance(likelihood, ExactLikelihood):
        greedy = sampler if isinstance(sampler, GreedySettings) else None
        return AutoregressiveLM(
            load(execution), greedy=greedy, response_prefix=cell.response_prefix, execution=execution
        )
    return DiffusionLM(
        load(execution),
        sampler=sampler,
        likelihood=likelihood,
        response_prefix=cell.response_prefix,
        seed=cell.seed,
        execution=execution,
    )


def _sampling(
    store: RecordStore,
    loaded: Mapping[str, TaskDict],
    checkpoint: str,
    chat: Chat,
    ask: Callable[[Cell], Backend],
    shard: Shard,
    answered: list[RecordedLM],
    cell: Cell,
) -> RecordedLM:
    versions, backend = task_versions(loaded[cell.task]), functools.partial(ask, cell)
    lm = ShardLM(store, cell, checkpoint=checkpoint, versions=versions, chat=chat, backend=backend, shard=shard)
    answered.append(lm)
    return lm
