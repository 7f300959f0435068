"""What a training starts from: a checkpoint of the plan, or a network with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from dlm.errors import CheckpointError, SettingsError
from dlm.files import read_manifest
from dlm.models import Denoiser, load_denoiser, load_tokenizer, make_denoiser
from dlm.params import Plan
from dlm.settings import Scratch


def load_start(plan: Plan, start: str | Scratch, *, four_bit: bool) -> tuple[Denoiser, dict[str, str]]:
    """Load or make what a training starts from; return it with the digests of its parents, by their names.

    Raises:
        SettingsError: random weights cannot be held in 4 bits.
        DlmError: the checkpoint or the tokenizer is missing or damaged.
    """
    if isinstance(start, str):
        folder = plan.layout.folder("checkpoints", start)
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: not made yet; run the rule that makes it (snakemake -n shows which)")
        denoiser = load_denoiser(folder, four_bit=four_bit)
        for name, weight in denoiser.model.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise CheckpointError(f"{folder}: '{name}' holds numbers that are not finite; make it again")
        return denoiser, {start: denoiser.digest}
    if four_bit:
        raise SettingsError("four_bit needs a checkpoint to start from, not random weights")
    folder = Path(plan.tokenizer_manifest(start.tokenizer)).parent
    digest = str(read_manifest(folder)["digest"])
    made = make_denoiser(
        start.architecture,
        load_tokenizer(folder),
        causal=start.causal,
        shift=start.shift,
        seed=plan.params.seed,
    )
    return made, {start.tokenizer: digest}
