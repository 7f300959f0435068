"""Any checkpoint as a denoiser: tokens in, scores of the tokens at chosen positions out.

Shapes: B rows, L positions, N chosen positions, D width, V tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlm.errors import CheckpointError
from dlm.models.caching import Columns, Prefix
from dlm.models.conventions import Conventions
from dlm.models.heads import project
from dlm.models.projection import cross_entropy

_LEAST_ROWS = 4
"""Fewer rows than these a CPU's library multiplies by a matrix in another order of summation (MKL 2024.2, float32): a
token's scores would depend, in their last bits, on how many others are asked for beside it."""


class Denoiser(nn.Module):
    """A native transformers model with the conventions needed to read its outputs.

    The vocabulary projection, the dearest part of a small model, runs on the chosen positions only. A training wraps
    this module, so DDP and FSDP see the whole computation.

    Args:
        model: a transformers causal-LM class, bidirectional unless ``conventions.objective`` is ``ar``.
        tokenizer: its tokenizer.
        conventions: mask token and shift.
        digest: digest of the checkpoint's manifest; empty for weights that were never saved.
    """

    def __init__(self, model: Any, tokenizer: Any, conventions: Conventions, digest: str = "") -> None:
        super().__init__()
        self.model, self.tokenizer, self.conventions, self.digest = model, tokenizer, conventions, digest
        self._no_split_modules = getattr(model, "_no_split_modules", None)  # the layers, where FSDP asks for them

    @property
    def mask_token_id(self) -> int:
        """Id of the mask token.

        Raises:
            CheckpointError: an autoregressive checkpoint without one.
        """
        if self.conventions.mask_token_id is None:
            name = self.model.config.name_or_path or self.model.config.model_type
            raise CheckpointError(f"{name}: is autoregressive and has no mask token; convert it without --causal")
        return self.conventions.mask_token_id

    @property
    def shift(self) -> bool:
        """Whether the output at position i-1 scores token i."""
        return self.conventions.shift

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    @property
    def max_positions(self) -> int:
        """Longest sequence, in tokens; RoBERTa's first positions are not for tokens."""
        table = getattr(getattr(self.model.base_model, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        return int(self.model.config.max_position_embeddings) - (0 if padding is None else padding + 1)

    @property
    def vocab_size(self) -> int:
        """Rows of the output projection, V."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @cached_property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end an answer: end of sequence, padding and end of turn."""
        ids = {self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, end_of_turn_id(self.tokenizer)}
        return frozenset(token for token in ids if token is not None)

    def forward(
        self,
        tokens_BL: Tensor,
        attention: Any,
        at_BL: Tensor,
        positions_BL: Tensor | None = None,
        prefix: Prefix | Columns | None = None,
        finished: int = 0,
        targets_N: Tensor | None = None,
        weights_N: Tensor | None = None,
    ) -> Tensor:
        """Score the tokens at the True positions of ``at_BL``, or measure how well given targets are scored.

        Args:
            tokens_BL: int64 [B, L]; with a prefix, what follows it.
            attention: bool [B, L], False at padding; or bool [B, L, K], True where query i (second axis) may see key j
                (third axis), K being L plus the prefix's length; None when every token sees every other; or a
                `BlockMask` for a model that :func:`dlm.models.use_flex_attention` switched.
            at_BL: bool [B, L].
            positions_BL: int64 [B, L], position ids; None: the model's own, 0 to L-1.
            prefix: what is known of the columns before, which is extended; or columns that stay beside those given.
            finished: how many of the L columns are added to the prefix.
            targets_N: int64 [N], the tokens that belong at the chosen positions; None: return the scores of all.
            weights_N: float32 [N], see :func:`dlm.models.projection.cross_entropy`.

        Returns:
            float32 [N, V], rows in row-major order of ``at_BL``; with targets their cross-entropy, float32 [N]. A
            shifted model scores position 0, which nothing precedes, by its own output, as `right_shift_logits` of
            ZHZisZZ/dllm does.
        """
        options: dict[str, Any] = {} if positions_BL is None else {"position_ids": positions_BL}
        if prefix is not None:
            options["past_key_values"] = prefix.layers
        outputs = self.model.base_model(
            input_ids=tokens_BL,
            attention_mask=_for_transformers(attention),
            use_cache=prefix is not None,
            **options,
        )
        hidden_BLD = outputs.last_hidden_state
        first_B1D = hidden_BLD[:, :1]
        if prefix is not None:
            if prefix.last_hidden_BD is not None:
                first_B1D = prefix.last_hidden_BD[:, None]
            prefix.keep(hidden_BLD, finished)
        if self.shift:
            hidden_BLD = torch.cat([first_B1D, hidden_BLD[:, :-1]], dim=1)
        if targets_N is not None:
            return cross_entropy(self.model, hidden_BLD[at_BL], targets_N, weights_N)
        chosen_ND = hidden_BLD[at_BL]
        count = len(chosen_ND)
        if count < _LEAST_ROWS:
            chosen_ND = F.pad(chosen_ND, (0, 0, 0, _LEAST_ROWS - count))
        return project(self.model, chosen_ND)[:count]

    @torch.inference_mode()
    def logits(
        self,
        tokens_BL: Tensor,
        attention: Tensor | None,
        at_BL: Tensor,
        positions_BL: Tensor | None = None,
        prefix: Prefix | Columns | None = None,
        finished: int = 0,
        *,
        checked: bool = True,
    ) -> Tensor:
        """Score without gradients: :meth:`forward` for inference; ``checked``: refuse numbers that are not finite.

        Raises:
            CheckpointError: the model gave a number that is not finite.
        """
        logits_NV = self(tokens_BL, attention, at_BL, positions_BL, prefix, finished)
        if checked and not bool(torch.isfinite(logits_NV).all()):
            raise CheckpointError(self.not_finite)
        return logits_NV

    @property
    def not_finite(self) -> str:
        """What to tell of logits that are not finite."""
        name = self.model.config.name_or_path or "model"
        return (
            f"{name}: the logits are not finite; the weights are damaged or the number format is too narrow "
            "(try dtype: float32)"
        )


def _for_transformers(attention: Any) -> Any:
    """Turn an attention setting into what transformers expects: int64 [B, L], or bool [B, 1, L, K], or None."""
    if not isinstance(attention, Tensor):  # None, or FlexAttention's own kind of mask
        return attention
    if attention.dim() == 3:
        return attention[:, None]
    return None if bool(attention.all()) else attention.long()  # a full mask only slows attention down


def end_of_turn_id(tokenizer: Any) -> int | None:
    """Return the id of the token that ends a chat turn; None where the tokenizer has none."""
    for text in ("<|eot_id|>", "<|im_end|>", "<|role_end|>"):
        token = tokenizer.convert_tokens_to_ids(text)
        if token is not None and token != tokenizer.unk_token_id:
            return int(token)
    return None
