"""A recipe as the arguments of transformers.Trainer."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import TrainingArguments

from dlm.errors import SettingsError
from dlm.settings import ExecutionSettings, Recipe
from dlm.training import processes


def micro_batch(recipe: Recipe) -> int:
    """Return the sequences of a forward pass of one process.

    Raises:
        SettingsError: the update cannot be shared out evenly.
    """
    number = processes.count()
    micro = recipe.micro_batch_size or max(1, recipe.batch_size // number)
    if recipe.batch_size % (micro * number):
        raise SettingsError(
            f"batch_size {recipe.batch_size} cannot be shared out: it must be a multiple of {number} processes times "
            f"{micro} sequences of a micro-batch"
        )
    return micro


def training_arguments(
    recipe: Recipe, work: Path, steps: int, seed: int, execution: ExecutionSettings
) -> TrainingArguments:
    """Translate a recipe into the Trainer's arguments."""
    micro = micro_batch(recipe)
    on_cpu = execution.device == "cpu" or not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=recipe.batch_size // (micro * processes.count()),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(recipe.lr_schedule, recipe.lr_schedule),
        warmup_steps=recipe.warmup_ratio if recipe.warmup_ratio < 1 else steps,
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.adam_beta2,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16",
        seed=seed,
        data_seed=seed,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and processes.count() > 1 else None,
        ddp_find_unused_parameters=False,
        logging_steps=max(1, steps // 50),
        eval_strategy="steps",
        eval_steps=max(1, math.ceil(steps / recipe.evaluations)),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_drop_last=True,
        logging_nan_inf_filter=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # more would split each batch over all visible GPUs
    return arguments
