"""What must hold between a model, its tokenizer and a recipe before anything is computed."""

from __future__ import annotations

from dlm.errors import CheckpointError, SettingsError
from dlm.models import Denoiser
from dlm.settings import Autoregressive, Recipe


def check_fit(denoiser: Denoiser, recipe: Recipe) -> None:
    """Refuse a tokenizer with tokens that the model does not know, and sequences longer than the model can read.

    Raises:
        CheckpointError: the tokenizer does not fit the model.
        SettingsError: ``max_length`` is above the model's.
    """
    name = denoiser.model.config.name_or_path or denoiser.model.config.model_type
    if getattr(denoiser.model, "_hf_peft_config_loaded", False):
        raise CheckpointError(
            f"{name}: its adapters are not merged into its weights, so it cannot be trained further; make it with "
            "lora: {merge: true}"
        )
    if recipe.packing and "roberta" in denoiser.model.config.model_type:
        raise CheckpointError(f"{name}: packing restarts positions at 0, and RoBERTa counts them from its padding id")
    rows = int(denoiser.model.get_input_embeddings().weight.shape[0])
    if not isinstance(recipe.objective, Autoregressive):
        _ = denoiser.mask_token_id  # which an autoregressive checkpoint may lack
    highest = max(*denoiser.tokenizer.get_vocab().values(), denoiser.conventions.mask_token_id or 0)
    if highest >= rows:
        raise CheckpointError(
            f"{name}: its tokenizer has the token id {highest}, but the model embeds {rows} tokens (0 to {rows - 1}); "
            "the tokenizer is of another model, or the embedding was not enlarged: convert the checkpoint again"
        )
    endless = getattr(denoiser.model.config, "max_position_embeddings", None) is None
    begins = int(getattr(recipe.objective, "bos", "as_given") == "prepend_when_shifted" and denoiser.shift)
    if not endless and recipe.max_length + begins > (longest := denoiser.max_positions):
        more = " and the beginning token" if begins else ""
        raise SettingsError(
            f"{name}: max_length {recipe.max_length}{more} is longer than the model, which reads {longest} tokens; "
            "lower the recipe's max_length"
        )
