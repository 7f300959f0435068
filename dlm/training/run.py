"""A training from start to checkpoint folder."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dlm.errors import DataError
from dlm.files import digest, replacing_folder, write_jsonl
from dlm.models import Denoiser, pick_device, save_denoiser
from dlm.progress import Progress
from dlm.settings import BD3LM, Autoregressive, ExecutionSettings, LoRA, Recipe, SamplerSettings
from dlm.training.curves import Curves, Watch
from dlm.training.examples import Collator, Example, encode_rows
from dlm.training.optimizer import make_optimizer
from dlm.training.resuming import Saver, continue_from
from dlm.training.trainer import DiffusionTrainer, training_arguments


def train(
    name: str,
    denoiser: Denoiser,
    rows: Sequence[Mapping[str, Any]],
    held_out: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    *,
    out: Path,
    seed: int,
    execution: ExecutionSettings,
    made_from: Mapping[str, Any],
    sampler: SamplerSettings | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train ``denoiser`` by ``recipe`` and save it in ``out``.

    Args:
        name: of the checkpoint.
        denoiser: the start; changed in place.
        rows, held_out: prepared rows for training and for the evaluation loss.
        recipe: what to do.
        out: folder of the checkpoint; replaced as a whole at the end.
        seed: of data order and noise.
        execution: device and threads.
        made_from: lineage for the manifest.
        sampler: stored as the checkpoint's own sampler settings.
        watch: called with each record of the curves as it is made.

    Returns:
        The manifest.

    Raises:
        DataError: nothing to train on.
        DlmError: the loss stopped being a number.
    """
    began = round(time.time(), 3)
    torch.set_num_threads(execution.threads)
    denoiser.to(pick_device(execution.device)).train()
    examples = encode_rows(rows, denoiser.tokenizer, recipe)
    checks = encode_rows(held_out, denoiser.tokenizer, recipe)[: recipe.evaluation_rows]
    steps = count_steps(recipe, len(examples))
    adapted = _adapt(denoiser, recipe.lora, seed)
    with Progress(f"train {name}", steps) as progress:
        curves = Curves(progress, watch)
        trainer = _trainer(denoiser, examples, checks, recipe, out, steps, seed, execution, curves)
        _run_to_the_end(trainer, _work_folder(out), digest(made_from), recipe.checkpoint_seconds, curves)
    if adapted is not None:
        denoiser.model = adapted.merge_and_unload()
    conventions = dataclasses.replace(
        denoiser.conventions,
        objective=recipe.objective.kind,
        block_size=recipe.objective.block_size if isinstance(recipe.objective, BD3LM) else None,
        sampler=dataclasses.asdict(sampler) if sampler else None,
    )
    finished = Denoiser(denoiser.model, denoiser.tokenizer, conventions).eval()
    with replacing_folder(out) as draft:
        write_jsonl(draft / "curves.jsonl", curves.records)
        clock = {"began": began, "times": curves.times, "ended": round(time.time(), 3)}
        manifest = save_denoiser(finished, draft, name=name, made_from={**made_from, "steps": steps, "clock": clock})
    shutil.rmtree(_work_folder(out), ignore_errors=True)
    return manifest


def _work_folder(out: Path) -> Path:
    """Folder of unfinished work, beside the checkpoint: Snakemake deletes declared outputs before a job runs again."""
    return out.parent / f".{out.name}.work"


def count_steps(recipe: Recipe, examples: int) -> int:
    """Return the optimiser updates of a training.

    Raises:
        DataError: fewer examples than one update needs.
    """
    if examples < recipe.batch_size:
        raise DataError(
            f"{examples} examples are fewer than batch_size {recipe.batch_size}; prepare more rows or lower batch_size"
        )
    if recipe.steps is not None:
        return recipe.steps
    assert recipe.epochs is not None
    # As the Trainer counts: whole micro-batches, and the last update of an epoch may be a short one.
    micro = recipe.micro_batch_size or recipe.batch_size
    updates = math.ceil((examples // micro) / (recipe.batch_size // micro))
    return max(1, math.ceil(recipe.epochs * updates))


def _adapt(denoiser: Denoiser, lora: LoRA | None, seed: int) -> Any:
    """Put LoRA adapters, random by ``seed``, into the model, in place; return peft's wrapper, which can merge them."""
    if lora is None:
        return None
    from peft import LoraConfig, get_peft_model

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(denoiser.model, config)


def _run_to_the_end(trainer: DiffusionTrainer, work: Path, identity: str, seconds: float, curves: Curves) -> None:
    """Train, from where an interrupted run of the same training was, if there is one."""
    trainer.add_callback(Saver(work, identity, seconds, curves))
    trainer.train(resume_from_checkpoint=continue_from(work, identity, curves))


def _trainer(
    denoiser: Denoiser,
    examples: Sequence[Example],
    checks: Sequence[Example],
    recipe: Recipe,
    out: Path,
    steps: int,
    seed: int,
    execution: ExecutionSettings,
    curves: Curves,
) -> DiffusionTrainer:
    from transformers.trainer_callback import PrinterCallback

    logging.getLogger("transformers").setLevel(logging.ERROR)
    tokenizer = denoiser.tokenizer
    train_filler = recipe.filler == "eos" and not isinstance(recipe.objective, Autoregressive)
    trainer = DiffusionTrainer(
        recipe=recipe,
        mask_token_id=denoiser.mask_token_id,
        noise_seed=seed,
        model=denoiser,
        args=training_arguments(recipe, _work_folder(out), steps, seed, execution),
        train_dataset=list(examples),
        eval_dataset=list(checks),
        data_collator=Collator(
            tokenizer.eos_token_id if train_filler else tokenizer.pad_token_id,
            train_filler,
            skip_first=isinstance(recipe.objective, Autoregressive),
        ),
        optimizers=(make_optimizer(denoiser, recipe), None),
        callbacks=[curves],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
