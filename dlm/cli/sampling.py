"""``dlm sample NAME``: bundles answered by this process, by several on this machine, or a shard of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from dlm.cli.bundles import budgets_of
from dlm.cli.common import making
from dlm.errors import DlmError, SettingsError, SetupError
from dlm.params import Cell, Plan
from dlm.params.sharding import WHOLE, Shard
from dlm.params.stamps import answers_as_now
from dlm.progress import say

_GPUS = "CUDA_VISIBLE_DEVICES"


def shard_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that deal out the documents."""
    shard = click.option(
        "--shard",
        metavar="K/N",
        help="Every N-th document only, from the K-th on; without it later, all are put together.",
    )
    processes = click.option(
        "--processes",
        type=click.IntRange(0),
        default=1,
        help="Deal the documents out to so many processes here, each with a GPU of its own.",
    )
    return shard(processes(function))


def sample_bundles(
    plan: Plan, name: str, bundles: Mapping[str, tuple[Cell, ...]], shard: Shard, processes: int
) -> None:
    """Answer what is not recorded yet of bundles of checkpoint ``name``, of a shard only that shard's documents.

    Several processes are as many shards of it, whose records are then copied; where all documents are asked for, what
    shards of the bundles have left is removed.

    Raises:
        DlmError: see `dlm.errors`; of a process, with its exit code.
    """
    from dlm.evaluation import RECORDS, sample_cells

    whole = [bundle for bundle in bundles if not plan.is_divisible(bundle)]
    if whole and shard != WHOLE:
        raise SettingsError(
            f"--shard: bundle {whole[0]} has a budget, so that which documents it answers depends on answers"
        )
    step = "responses" if shard == WHOLE else "shards"
    labels = {bundle: bundle if shard == WHOLE else f"{bundle}/{shard.name}" for bundle in bundles}
    folders = {bundle: plan.layout.folder(step, label) for bundle, label in labels.items()}
    named = {folder: bundle for bundle, folder in folders.items()}

    def forget(label: str) -> None:
        (plan.layout.folder(step, label) / RECORDS).unlink(missing_ok=True)

    with making(plan, step, *labels.values(), forget=forget):
        if processes > 1:
            for bundle in filter(plan.is_divisible, bundles):
                _in_processes(plan, bundle, [shard.part(number + 1, processes) for number in range(processes)])
        manifests = sample_cells(
            {folders[bundle]: cells for bundle, cells in bundles.items()},
            checkpoint_dir=plan.layout.folder("checkpoints", name),
            data_folder_of=lambda dataset: plan.layout.folder("data", dataset),
            execution=plan.params.execution,
            beside=lambda folder: plan.recorded(named[folder]),
            usable=answers_as_now,
            shard=shard,
            budgets=budgets_of(plan, bundles),
        )
    for bundle, manifest in zip(bundles, manifests, strict=True):
        if shard == WHOLE:
            shutil.rmtree(plan.layout.folder("shards", bundle), ignore_errors=True)
        say(f"sample {labels[bundle]}: {len(manifest['made_from']['settings'])} cells recorded")


def _in_processes(plan: Plan, bundle: str, shards: list[Shard]) -> None:
    """Sample shards of a bundle side by side, and wait for all of them, even where one fails.

    Raises:
        DlmError: one failed, after having said why.
    """
    name, _, number = bundle.partition("/")
    devices = _devices(len(shards), plan.execution_of(bundle).device)
    with contextlib.ExitStack() as stack:
        started = []
        for shard, device in zip(shards, devices, strict=True):
            command = [sys.executable, "-m", "dlm", "sample", name, "--bundle", number, "--scale", plan.scale]
            process = subprocess.Popen([*command, "--shard", shard.name], env={**os.environ, **device})
            stack.callback(process.wait)
            stack.callback(process.terminate)  # where this process is interrupted
            started.append(process)
        codes = [process.wait() for process in started]
    for shard, code in zip(shards, codes, strict=True):
        if code:
            raise _failed(f"sample {bundle}: the process of shard {shard.number}/{shard.count}", code)


def _failed(which: str, code: int) -> DlmError:
    how = f"failed with exit code {code}" if code > 0 else f"was killed by signal {-code}"
    return SetupError(f"{which} {how}; what it and the others recorded is kept: run the same command again to continue")


def _devices(count: int, device: str) -> list[dict[str, str]]:
    """Return what tells each process its GPU, one of those that this one sees; where it sees none, nothing.

    Raises:
        SetupError: there are fewer.
    """
    visible = [] if device == "cpu" else _visible()
    if not visible:
        return [{}] * count
    if len(visible) < count:
        raise SetupError(f"--processes {count}: {len(visible)} GPUs are here; ask for more of them, or fewer processes")
    return [{_GPUS: gpu} for gpu in visible[:count]]


def _visible() -> list[str]:
    if (named := os.environ.get(_GPUS)) is not None:
        return [gpu for gpu in named.split(",") if gpu]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]
