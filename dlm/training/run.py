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

from dlm.errors import DataError, Interrupted
from dlm.files import replacing_folder, write_jsonl
from dlm.models import Denoiser, save_denoiser
from dlm.progress import Progress
from dlm.settings import BD3LM, Autoregressive, ExecutionSettings, Recipe, SamplerSettings
from dlm.signals import StopRequest
from dlm.training import processes
from dlm.training.adapters import adapt, onto_full_weights, take_off
from dlm.training.arguments import micro_batch, training_arguments
from dlm.training.checks import check_fit
from dlm.training.curves import Curves, Watch, refuse_not_finite
from dlm.training.examples import Collator, Example, encode_rows
from dlm.training.optimizer import make_optimizer
from dlm.training.resuming import Saver
from dlm.training.streaming import StreamedExamples
from dlm.training.trainer import DiffusionTrainer


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

    Several processes (`torchrun`, `accelerate launch`) share each update; the first writes.

    Returns:
        The manifest.

    Raises:
        DataError: nothing to train on.
        CheckpointError, SettingsError: model, tokenizer and recipe do not fit each other.
        SetupError: a state or the checkpoint cannot be written; what was written before stays.
        Interrupted: a signal asked the training to stop, and its state is saved.
        DlmError: the loss stopped being a number.
    """
    began = round(time.time(), 3)
    torch.set_num_threads(execution.threads)
    check_fit(denoiser, recipe)
    processes.place(denoiser.train(), execution)
    encode = StreamedExamples if recipe.streaming else encode_rows
    examples = encode(rows, denoiser.tokenizer, recipe)
    checks = encode_rows(held_out, denoiser.tokenizer, recipe, of="held-out rows")[: recipe.evaluation_rows]
    steps = count_steps(recipe, len(examples))
    if processes.count() > 1:  # they add up in another order, so the bits are theirs
        made_from = {**made_from, "processes": processes.count()}
    adapted = adapt(denoiser, recipe.lora, seed)
    if recipe.gradient_checkpointing:
        denoiser.model.gradient_checkpointing_enable({"use_reentrant": False})
    with StopRequest() as stop:
        with Progress(f"train {name}", steps, quiet=not processes.is_first()) as progress:
            curves = Curves(progress, watch)
            trainer = _trainer(denoiser, examples, checks, recipe, out, steps, seed, execution, curves)
            identity = _identity(made_from, trainer)
            saver = Saver(trainer, name, _work_folder(out), identity, recipe.checkpoint_seconds, curves, stop)
            whole = processes.without_weights((denoiser, adapted)) if trainer.is_fsdp_enabled else None
            trainer.train(resume_from_checkpoint=saver.continue_training())
        if saver.stopped:
            processes.leave()
            raise Interrupted(
                f"train {name}: stopped by {stop.name or 'a signal to another process'} at step "
                f"{trainer.state.global_step}/{steps}, state saved; run the same command again to continue"
            )
        if whole is not None:
            denoiser, adapted = _filled(whole, trainer)

        if recipe.gradient_checkpointing:
            denoiser.model.gradient_checkpointing_disable()
        assert isinstance(trainer.model, torch.nn.Module)
        refuse_not_finite(trainer.model, steps)

        def finish() -> dict[str, Any]:
            conventions = dataclasses.replace(
                denoiser.conventions,
                objective=recipe.objective.kind,
                block_size=recipe.objective.block_size if isinstance(recipe.objective, BD3LM) else None,
                sampler=dataclasses.asdict(sampler) if sampler else None,
            )
            with replacing_folder(out) as draft:
                base, wrapped = denoiser, adapted
                if recipe.lora is not None:
                    if recipe.four_bit:
                        base, wrapped = onto_full_weights(base, wrapped, recipe.lora, seed)
                    take_off(base, wrapped, recipe.lora, draft)
                finished = Denoiser(base.model, base.tokenizer, conventions).eval()
                write_jsonl(draft / "curves.jsonl", curves.records)
                clock = {"began": began, "times": curves.times, "ended": round(time.time(), 3)}
                lineage = {**made_from, "steps": steps, "clock": clock}
                manifest = save_denoiser(finished, draft, name=name, made_from=lineage)
            shutil.rmtree(_work_folder(out), ignore_errors=True)  # the checkpoint is on the disk, and its name too
            return manifest

        manifest = processes.first_does(finish)
        processes.leave()
    return manifest


def _identity(made_from: Mapping[str, Any], trainer: DiffusionTrainer) -> dict[str, Any]:
    """Return what decides the weights. A commit does not; the code that a training runs is digested as `source`."""
    place = {"device": trainer.args.device.type, "sharded": trainer.is_fsdp_enabled}
    return {**{key: value for key, value in made_from.items() if key != "code"}, **place}


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
    together = micro_batch(recipe) * processes.count()
    updates = math.ceil((examples // together) / (recipe.batch_size // together))
    return max(1, math.ceil(recipe.epochs * updates))


def _filled(whole: tuple[Denoiser, Any], trainer: DiffusionTrainer) -> tuple[Denoiser, Any]:
    """Gather the weights that FSDP cut up, in the first process, and put them into the uncut modules."""
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if processes.is_first():
        whole[0].load_state_dict(weights, assign=True)
        whole[0].model.tie_weights()
    return whole


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
        mask_token_id=denoiser.conventions.mask_token_id,
        noise_seed=seed,
        filler_id=tokenizer.eos_token_id if train_filler else None,
        model=denoiser,
        args=training_arguments(recipe, _work_folder(out), steps, seed, execution),
        train_dataset=examples,
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
