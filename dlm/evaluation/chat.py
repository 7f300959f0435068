"""The checkpoint's chat template, as lm-eval wants it. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from dlm.errors import CheckpointError


def load_tokenizer(folder: str | Path) -> Any:
    """Load the tokenizer of a checkpoint folder to render chats with; no network, no remote code.

    The class is named, because `AutoTokenizer` imports torch; template and special tokens are the same in either.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    # Where torch is not installed, transformers would say so: nothing is missed here.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder}: the tokenizer cannot be loaded ({reason}); make the checkpoint again"
        ) from error


class Chat:
    """Renders chats with a checkpoint's template; the tokenizer is loaded when the first chat asks for it."""

    def __init__(self, tokenizer: Callable[[], Any], name: str) -> None:
        self._load, self.name = tokenizer, name

    @cached_property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        return self._load()

    def render(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        """Render messages; without a generation prompt, the last message is left open to be continued.

        Raises:
            CheckpointError: there is no chat template, or it does not take these messages.
        """
        if not self.tokenizer.chat_template:
            raise CheckpointError(
                f"checkpoint '{self.name}' has no chat template; set `chat: false` for it in the table"
            )
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise CheckpointError(
                f"checkpoint '{self.name}': its chat template refuses messages of the roles {roles} ({error})"
            ) from error
