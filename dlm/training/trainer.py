"""One trainer for every objective: transformers.Trainer with the loss of ``dlm.diffusion``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from transformers.utils import SAFE_WEIGHTS_NAME

from dlm.diffusion import Batch, TakesTargets, autoregressive_loss, bd3lm_loss, mdlm_loss, normalise, prepend_bos
from dlm.errors import SettingsError, SetupError
from dlm.models import Denoiser, require_pair_masks, use_flex_attention
from dlm.settings import BD3LM, MLM, Autoregressive, ExecutionSettings, Recipe

_EVALUATION_STREAM = 1 << 40  # keeps the noise of held-out rows apart from that of training rows


class DiffusionTrainer(Trainer):
    """Computes the recipe's objective; everything else is the Trainer's."""

    def __init__(self, *, recipe: Recipe, mask_token_id: int, noise_seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.recipe, self.mask_token_id, self.noise_seed = recipe, mask_token_id, noise_seed
        denoiser = options["model"]
        self.bos = _bos_token(denoiser, recipe)
        self.flex = False
        if isinstance(recipe.objective, BD3LM):
            require_pair_masks(denoiser, "block diffusion")
            self.flex = use_flex_attention(denoiser)
        # The loss below divides by the counts of the whole update, so the Trainer must not divide by its micro-batches.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the normalised loss of one micro-batch; token counts are those of the whole update."""
        trainable_BL = inputs["labels"] != -100
        loss_BL = self._loss_map(model, inputs, trainable_BL)
        if not model.training or num_items_in_batch is None:
            loss = normalise(loss_BL, trainable_BL, self.recipe.normalisation)
        elif self.recipe.normalisation == "token":
            loss = loss_BL.sum() / num_items_in_batch
        else:
            rows = loss_BL.shape[0]
            loss = normalise(loss_BL, trainable_BL, self.recipe.normalisation) * rows / self.recipe.batch_size
        return (loss, {"loss": loss.detach()}) if return_outputs else loss

    def _loss_map(self, model: nn.Module, inputs: dict[str, Tensor], trainable_BL: Tensor) -> Tensor:
        denoise = TakesTargets(model)
        objective, length = self.recipe.objective, trainable_BL.shape[1]
        batch = Batch(inputs["tokens"], trainable_BL, inputs["attention"])
        if isinstance(objective, Autoregressive):
            return autoregressive_loss(denoise, *batch)
        if self.bos is not None:
            batch = prepend_bos(batch, self.bos)
        noise: dict[str, Any] = {
            "mask_token_id": self.mask_token_id,
            "seed": self.noise_seed,
            "streams_B": inputs["rows"] + (0 if model.training else _EVALUATION_STREAM),
            "step": self.state.global_step if model.training else 0,
        }
        if isinstance(objective, BD3LM):
            tokens_BL, trainable_BL, _ = batch
            loss_BL = bd3lm_loss(denoise, tokens_BL, trainable_BL, settings=objective, flex=self.flex, **noise)
        else:
            loss_BL = mdlm_loss(denoise, *batch, settings=objective, **noise)
        return loss_BL[:, -length:]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return the held-out rows, all of them: only training drops an incomplete batch."""
        self.args.dataloader_drop_last = False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = True

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, None, None]:
        """Measure the loss on held-out rows."""
        with torch.inference_mode():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the weights of an unfinished training, tied ones once."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        assert isinstance(self.model, nn.Module)
        save_model(self.model, str(folder / SAFE_WEIGHTS_NAME))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load what :meth:`_save` saved."""
        target = model or self.model
        assert isinstance(target, nn.Module)
        load_model(target, str(Path(resume_from_checkpoint) / SAFE_WEIGHTS_NAME))


def _bos_token(denoiser: Denoiser, recipe: Recipe) -> int | None:
    """Return the token to put before rows whose first token a shifted model cannot score; None: put none."""
    if isinstance(recipe.objective, Autoregressive | MLM) or recipe.objective.bos == "as_given" or not denoiser.shift:
        return None
    if denoiser.tokenizer.bos_token_id is None:
        raise SettingsError(
            "objective.bos: prepend_when_shifted needs a beginning-of-sequence token, and the tokenizer has none; use "
            "as_given"
        )
    return int(denoiser.tokenizer.bos_token_id)


def training_arguments(
    recipe: Recipe, work: Path, steps: int, seed: int, execution: ExecutionSettings
) -> TrainingArguments:
    """Translate a recipe into the Trainer's arguments."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SetupError("WORLD_SIZE is above 1, but trainings run in one process so far; start one process")
    micro = recipe.micro_batch_size or recipe.batch_size
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=recipe.batch_size // micro,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(recipe.lr_schedule, recipe.lr_schedule),
        warmup_steps=recipe.warmup_ratio if recipe.warmup_ratio < 1 else steps,
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.adam_beta2,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16",
        seed=seed,
        data_seed=seed,
        use_cpu=execution.device == "cpu" or not torch.cuda.is_available(),
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
