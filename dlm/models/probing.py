"""Does an architecture do what a denoiser needs? Tried on a small network of the same kind, with random weights.

Whether attention is causal, and what stands between the last hidden state and the logits, is decided by a class and its
config, not by widths, depth or weights. So the probe builds the class from the checkpoint's own config with fewer and
narrower layers: megabytes, however large the checkpoint is. Its weights are drawn wide, so that capped or scaled logits
show.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from dlm.errors import CheckpointError
from dlm.models.conventions import Conventions
from dlm.models.denoiser import Denoiser

_VOCABULARY = 64
_LENGTH = 6
_SPREAD = 30.0
"""Standard deviation of the probe's logits: where soft caps in use (30 to 50) bend them visibly."""


def probe(model_class: Any, config: Any, where: str, *, causal: bool = False) -> None:
    """Refuse an architecture that cannot be a denoiser without modelling code.

    Every kind of layer that the config has is tried alone: in a mix, one that obeys would hide one that stays causal.

    Args:
        model_class: class of transformers.
        config: of the whole model, as converted.
        where: names the checkpoint in messages.
        causal: whether it is to stay causal.

    Raises:
        CheckpointError: it stays causal and is not to, its logits are not its output head's, or it cannot be run.
    """
    kinds = _kinds(config, where)
    for kind in kinds:
        denoiser = _small_denoiser(model_class, config, kind, where)
        layers = f" in layers of kind '{kind}'" if len(kinds) > 1 else ""
        try:
            fits = causal or is_bidirectional(denoiser)
            difference = _head_difference(denoiser)
        except Exception as error:  # a class may refuse the call in any way
            raise CheckpointError(
                f"{where}: {config.model_type} cannot be used as a denoiser: {one_line(error)}"
            ) from error
        if not fits:
            raise CheckpointError(f"{where}: {causal_message(config.model_type)}{layers}")
        if not difference < 1e-2:
            raise CheckpointError(
                f"{where}: the logits of {config.model_type} are not those of its last layer and its head (they differ "
                f"by {difference:.3g}): scaled or capped logits, or a head of another make, are not supported"
            )


def causal_message(model_type: str) -> str:
    """Say that an architecture stays causal."""
    return (
        f"{model_type} stays causal with is_causal = False: a later token does not move the first output; this "
        "architecture cannot become a diffusion model without modelling code"
    )


@torch.inference_mode()
def is_bidirectional(denoiser: Denoiser) -> bool:
    """Probe: does changing a later token move the first output, without padding, and with it on either side?

    The token changed is the next one, which is within any layer's window, and the last.
    """
    tokens_1L = 5 + torch.arange(_LENGTH, device=denoiser.device)[None] % (denoiser.vocab_size - 6)
    for left, right in ((0, 0), (0, 2), (2, 0)):
        for changed in (1, _LENGTH - 1):
            other_1L = tokens_1L.clone()
            other_1L[0, changed] = tokens_1L[0, 0]
            first_1V, second_1V = (_first_output(denoiser, tokens, left, right) for tokens in (tokens_1L, other_1L))
            if not bool((first_1V - second_1V).abs().max() > 1e-6 * first_1V.abs().max()):
                return False
            if _windows(denoiser.model.config):
                break
    return True


def _windows(config: Any) -> bool:
    return any("sliding" in str(kind) for kind in getattr(config, "layer_types", None) or ())


def _first_output(denoiser: Denoiser, tokens_1L: torch.Tensor, left: int, right: int) -> torch.Tensor:
    padded_1L = torch.nn.functional.pad(tokens_1L, (left, right), value=int(tokens_1L[0, 0]))
    columns_L = torch.arange(padded_1L.shape[1], device=padded_1L.device)[None]
    attention_1L = (columns_L >= left) & (columns_L < left + tokens_1L.shape[1]) if left + right else None
    return denoiser(padded_1L, attention_1L, columns_L == left)


@torch.inference_mode()
def _head_difference(denoiser: Denoiser) -> float:
    """Return the largest difference between the model's own logits and those of body and head."""
    tokens_1L = 5 + torch.arange(_LENGTH, device=denoiser.device)[None]
    own_NV = denoiser.model(input_ids=tokens_1L).logits[0].float()
    ours_NV = denoiser(tokens_1L, None, torch.ones_like(tokens_1L, dtype=torch.bool))
    return float((own_NV - ours_NV).abs().max())


def _small_denoiser(model_class: Any, config: Any, kind: str | None, where: str) -> Denoiser:
    failure: Exception | None = None
    for fewer, narrower in ((True, True), (False, True), (True, False)):
        try:
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(0)
                model = model_class(_smaller(config, kind, fewer, narrower)).eval().float()
                _draw(model)
                denoiser = Denoiser(model, None, Conventions(mask_token_id=1, shift=False, objective="none"))
                _widen(denoiser)
            return denoiser
        except Exception as error:  # not every class can be made narrower; the next attempt changes less
            failure = failure or error
    raise CheckpointError(
        f"{where}: {config.model_type} cannot be run as layers and a head: {one_line(failure)}"
    ) from failure


def _kinds(config: Any, where: str) -> list[str | None]:
    """Return the kinds of layers that can be asked for one by one; [None] where there is but one."""
    listed = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    own = getattr(type(config), "layer_types", None)
    if isinstance(own, property) and own.fset is None:  # the class decides, so none can be had alone
        if len(listed) > 1:
            raise CheckpointError(
                f"{where}: {config.model_type} mixes kinds of layers ({', '.join(listed)}) that cannot be tried one by "
                "one, so that none stays causal cannot be shown"
            )
        return [None]
    return [*listed] or [None]


def _smaller(config: Any, kind: str | None, fewer: bool, narrower: bool) -> Any:
    """Return a config of the same kind with a small vocabulary and, if so asked, fewer and narrower layers."""
    small = copy.deepcopy(config)
    small.vocab_size = _VOCABULARY
    for name in ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if isinstance(getattr(small, name, None), int):
            setattr(small, name, 2)
    pad = getattr(small, "pad_token_id", None)
    small.pad_token_id = None if pad is None else min(pad, 3)
    if fewer:
        small.num_hidden_layers = 2
    if kind is not None:
        small.layer_types = [kind] * (2 if fewer else config.num_hidden_layers)
    if narrower:
        _narrow(small)
    return small


def _narrow(small: Any) -> None:
    """Keep the head's width and the queries of a key-value head; have few heads, and narrow layers between."""
    heads = small.num_attention_heads
    kv_heads = getattr(small, "num_key_value_heads", None) or heads
    width = small.hidden_size // heads
    fewer_kv = min(kv_heads, 2)
    small.num_attention_heads = heads // kv_heads * fewer_kv
    if getattr(small, "num_key_value_heads", None):
        small.num_key_value_heads = fewer_kv
    small.hidden_size = small.num_attention_heads * width
    for name in ("intermediate_size", "n_inner", "moe_intermediate_size"):
        if isinstance(getattr(small, name, None), int):
            setattr(small, name, min(getattr(small, name), 2 * small.hidden_size))


def _draw(model: Any) -> None:
    """Draw every weight, biases and norms too: one at its initial value could hide that it is left out."""
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.normal_(0, weight.shape[-1] ** -0.5)
        else:
            weight.add_(torch.randn_like(weight), alpha=0.1)


def _widen(denoiser: Denoiser) -> None:
    """Scale the output projection until the logits have the spread at which a cap would show."""
    tokens_1L = 5 + torch.arange(_LENGTH)[None]
    spread = denoiser(tokens_1L, None, torch.ones_like(tokens_1L, dtype=torch.bool)).std()
    denoiser.model.get_output_embeddings().weight.mul_(_SPREAD / float(spread))


def one_line(error: Exception | None) -> str:
    """Name a library's error and its message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
