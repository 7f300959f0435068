"""What MLflow loads to serve a checkpoint: it answers prompts as ``dlm sample --model DIR --prompt TEXT`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.errors import CheckpointError, SettingsError
from dlm.files import read_json, read_manifest
from dlm.tracking.models import PROMPT, REFERENCE_FORMAT

if TYPE_CHECKING:
    from dlm.models import Denoiser


def _load_pyfunc(path: str) -> Answering:
    """Load the checkpoint that a reference names: MLflow's entry point for a loader module.

    Raises:
        CheckpointError: the checkpoint is no longer there, or no longer the one that was referred to.
    """
    reference = read_json(path)
    if reference.get("format") != REFERENCE_FORMAT:
        raise CheckpointError(f"{path}: not a reference of this version; `dlm runs model` writes it again")
    from dlm.models import load_denoiser

    folder, again = Path(reference["checkpoint"]), f"`dlm runs model {reference['name']}` refers to what is there now"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: the checkpoint is not there any more; make it again, or move it back")
    if read_manifest(folder, verify=False)["digest"] != reference["digest"]:
        raise CheckpointError(f"{folder}: other weights than those that were referred to; {again}")
    return Answering(load_denoiser(folder))


class Answering:
    """A checkpoint with its own decoding method."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser

    def predict(self, asked: Any, params: dict[str, Any] | None = None) -> list[str]:
        """Return an answer to each row of the column ``prompt``, a chat of one message.

        Args:
            asked: a pandas DataFrame with the column.
            params: ``seed`` of random numbers, where the method draws any.

        Raises:
            SettingsError: a prompt is empty.
        """
        from dlm.sampling import Sampler

        prompts = [str(prompt) for prompt in asked[PROMPT]]
        if not all(prompt.strip() for prompt in prompts):
            raise SettingsError("a prompt is empty; write what is to be answered")
        chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
        texts = [
            self._denoiser.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            for chat in chats
        ]
        seed = int((params or {}).get("seed", 0))
        return [found.text for found in Sampler(self._denoiser, seed=seed).sample(texts)]
