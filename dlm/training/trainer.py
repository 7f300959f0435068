"""One trainer for every objective: transformers.Trainer with the loss of ``dlm.diffusion``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME

from dlm.diffusion import Batch, TakesTargets, autoregressive_loss, bd3lm_loss, mdlm_loss, normalise, prepend_bos
from dlm.errors import SettingsError
from dlm.files import give_usual_rights
from dlm.models import Denoiser, require_pair_masks, use_flex_attention
from dlm.settings import BD3LM, MLM, Autoregressive, Recipe
from dlm.training import processes
from dlm.training.curves import refuse_not_finite
from dlm.training.order import LengthGrouped
from dlm.training.packing import Packed
from dlm.training.resuming import not_saved
from dlm.training.streaming import StreamedExamples

_EVALUATION_STREAM = 1 << 40  # keeps the noise of held-out rows apart from that of training rows


class DiffusionTrainer(Trainer):
    """Computes the recipe's objective; everything else is the Trainer's.

    Neither the number of processes nor that of micro-batches changes the loss of an update or of the held-out rows:
    token counts and the length of trained filler are those of the whole update, and of a whole batch of held-out rows.

    Args:
        recipe: objective and batches.
        mask_token_id: id of the mask token; None: an autoregressive training needs none.
        noise_seed: seed of the noise.
        filler_id: id of the filler that is trained; None: filler is ignored.
        options: the Trainer's.
    """

    def __init__(
        self, *, recipe: Recipe, mask_token_id: int | None, noise_seed: int, filler_id: int | None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.recipe, self.mask_token_id, self.noise_seed = recipe, mask_token_id, noise_seed
        self.filler_id = filler_id
        denoiser = options["model"]
        self.bos = _bos_token(denoiser, recipe)
        self.flex = False
        if isinstance(recipe.objective, BD3LM):
            require_pair_masks(denoiser, "block diffusion")
            self.flex = use_flex_attention(denoiser, self.args.device)
        self.packing: dict[str, Any] = {}
        if recipe.packing:
            require_pair_masks(denoiser, "packing")
            causal = isinstance(recipe.objective, Autoregressive)
            self.packing = {"length": recipe.max_length, "causal": causal, "shift": denoiser.shift}
        if self.is_fsdp_enabled and recipe.muon is not None:
            raise SettingsError("muon needs whole matrices, and FSDP cuts them; use DDP, or a recipe without muon")
        # The loss below divides by the counts of the whole update, so the Trainer must not divide by its micro-batches.
        self.model_accepts_loss_kwargs = True

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator; FSDP on CPUs, which accelerate passes over in silence, is switched on."""
        super().create_accelerator_and_postprocess()
        asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        if asked and not self.is_fsdp_enabled and self.accelerator.distributed_type == DistributedType.MULTI_CPU:
            self.accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
            for state in (self.accelerator.state, PartialState()):
                state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the normalised loss of one micro-batch; token counts are those of the whole update."""
        assert num_items_in_batch is not None
        trainable_BL = inputs["labels"] != -100
        loss_BL = self._loss_map(model, inputs, trainable_BL)
        # DDP and FSDP average the gradients of the processes, whose losses are parts.
        loss = self._part(loss_BL, trainable_BL, num_items_in_batch, self.recipe.batch_size) * processes.count()
        return (loss, {"loss": loss.detach()}) if return_outputs else loss

    def _part(self, loss_BL: Tensor, trainable_BL: Tensor, tokens: Tensor | int, rows: int) -> Tensor:
        """Return what some rows give to the normalised loss of a batch of so many rows and trained tokens."""
        if self.recipe.normalisation == "token":
            return loss_BL.sum() / tokens
        return normalise(loss_BL, trainable_BL, self.recipe.normalisation) * len(loss_BL) / rows

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """Return the micro-batches of an update and its number of trainable tokens, over all processes."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.filler_id is None or (len(batches) == 1 and processes.count() == 1):
            return batches, items
        longest = int(max(processes.every(float(max(batch["tokens"].shape[1] for batch in batches)))))
        batches = [_lengthened(batch, longest, self.filler_id) for batch in batches]
        return batches, self._get_num_items_in_batch(batches, device)

    def _loss_map(self, model: nn.Module, inputs: dict[str, Tensor], trainable_BL: Tensor) -> Tensor:
        denoise = TakesTargets(Packed(model, **self.packing) if self.packing else model)
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

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Measure the loss on the held-out rows: the mean over rows of their batch's loss.

        A batch is the recipe's ``batch_size`` rows, the last one what is left, whatever processes and micro-batches
        share it: they decide neither the length of trained filler nor what the loss is divided by.
        """
        assert isinstance(self.model, nn.Module) and isinstance(self.eval_dataset, list)
        self.model.eval()
        summed, size = torch.zeros((), device=self.args.device), self.recipe.batch_size
        with torch.no_grad():
            for begin in range(0, len(self.eval_dataset), size):
                rows = self.eval_dataset[begin : begin + size]
                summed += self._own_part(rows) * len(rows)
        metrics = {f"{metric_key_prefix}_loss": float(processes.total(summed)) / len(self.eval_dataset)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _own_part(self, rows: list[Any]) -> Tensor:
        """Return what this process's rows give to the loss of a batch of held-out rows."""
        assert self.data_collator is not None and isinstance(self.model, nn.Module)
        whole = self.data_collator(rows)
        tokens = int((whole["labels"] != -100).sum().clamp(min=1))
        micro, number = self.args.per_device_train_batch_size, processes.count()
        loss = torch.zeros((), device=self.args.device)
        for first in range(0, len(rows), micro * number):
            begin = first + micro * self.args.process_index
            own = {key: value[begin : begin + micro] for key, value in whole.items()}
            if begin >= len(rows):  # nothing is left for this process, but sharded weights are used by all together
                own = {key: value[:1] for key, value in whole.items()}
                own["labels"] = torch.full_like(own["labels"], -100)
            own = self._prepare_inputs(own)
            trainable_BL = own["labels"] != -100
            loss += self._part(self._loss_map(self.model, own, trainable_BL), trainable_BL, tokens, len(rows))
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self.recipe.group_by_length:
            return super()._get_train_sampler(train_dataset)
        rows: Any = train_dataset or self.train_dataset
        lengths = rows.lengths if isinstance(rows, StreamedExamples) else [len(row.tokens) for row in rows]
        assert self.args.data_seed is not None
        return LengthGrouped(lengths, self.recipe.batch_size, self.args.data_seed)

    def get_train_dataloader(self) -> Any:
        """Return the training rows in an order that is a function of seed and epoch."""
        loader = super().get_train_dataloader()
        self.add_callback(_EpochOrder(loader, self.args.gradient_accumulation_steps))
        return loader

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a state, unless it is of no use any more; what a full disk leaves of it is removed."""
        refuse_not_finite(model, self.state.global_step, float(self._tr_loss))
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            raise not_saved(folder, error) from error

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the weights of an unfinished training, tied ones once; FSDP saves its own, beside the optimizer's."""
        if self.is_fsdp_enabled or not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        assert isinstance(self.model, nn.Module)
        save_model(self.model, str(folder / SAFE_WEIGHTS_NAME))
        give_usual_rights(folder / SAFE_WEIGHTS_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load what :meth:`_save` saved."""
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        target = model or self.model
        assert isinstance(target, nn.Module)
        load_model(target, str(Path(resume_from_checkpoint) / SAFE_WEIGHTS_NAME))


class _EpochOrder(TrainerCallback):
    """Tells the sampler of the rows which epoch begins: the Trainer's own way loses it in a continued training."""

    def __init__(self, loader: Any, accumulation: int) -> None:
        self.updates = max(1, math.ceil(len(loader) / accumulation))
        sampler = loader.batch_sampler
        while (inner := getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)) is not None:
            sampler = inner
        self.sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.sampler.set_epoch(state.global_step // self.updates)


def _lengthened(batch: dict[str, Tensor], length: int, filler_id: int) -> dict[str, Tensor]:
    """Add filler that is visible and trained, up to ``length``."""
    more = (0, length - batch["tokens"].shape[1])
    return {
        **batch,
        "tokens": F.pad(batch["tokens"], more, value=filler_id),
        "labels": F.pad(batch["labels"], more, value=filler_id),
        "attention": F.pad(batch["attention"], more, value=True),
    }


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
