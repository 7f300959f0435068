"""Cases of kind ``loss``: the objectives with the reference's own times and masks.

As much as possible is derived from as little as possible: a case's own fields are first compared with each other, which
no tolerance blurs, then with what this implementation computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlm.diffusion import (
    SCHEDULES,
    Batch,
    Corrupted,
    bd3lm_nll,
    hide,
    mdlm_nll,
    normalise,
    prepend_bos,
    schedule,
    times_from,
    token_weights,
)
from dlm.settings import BD3LM, MDLM, cart_parameter
from dlm.verification.cases import Case
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import (
    Malformed,
    difference,
    either,
    flag,
    float32,
    items,
    matrix,
    nothing,
    number,
    one_of,
    read_fields,
    rounded_float32,
    text,
    whole,
)
from dlm.verification.sources import function_of, source

NLL_TOLERANCE = 1e-3
"""Largest difference between two cross-entropies of a token that agree."""
LOSS_TOLERANCE = 1e-4
"""Largest relative difference between two losses that agree."""
_ARITHMETIC = 1e-6
"""Largest relative difference that the order of a float32 sum makes."""
_HALF_DIGIT = 0.5e-7
"""What rounding to seven decimals changes at most."""
_IGNORED = -100
_TRAINERS = {
    ("ZHZisZZ/dllm", "dllm/core/trainers/mdlm.py", "MDLMTrainer.compute_loss"): MDLM,
    ("ZHZisZZ/dllm", "dllm/core/trainers/bd3lm.py", "BD3LMTrainer.compute_loss"): BD3LM,
    ("ZHZisZZ/dllm", "dllm/pipelines/dream/trainer.py", "DreamTrainer.compute_loss"): MDLM,
}
_TOKEN = whole(0)
_SETTINGS = {
    "time_epsilon": number,
    "loss_weight_type": text,
    "loss_norm_type": one_of("token", "sequence", "batch"),
    "scheduler": one_of(*SCHEDULES),
    "right_shift_logits": flag,
    "block_size": either(nothing, whole(1)),
    "attention_mask_given": flag,
    "mask_id": _TOKEN,
    "bos_id": _TOKEN,
}
_FIELDS = {
    "id": text,
    "kind": one_of("loss"),
    "source": source,
    "checkpoint": text,
    "settings": lambda value: read_fields(value, _SETTINGS),
    "input_ids": matrix(_TOKEN),
    "labels": matrix(either(one_of(_IGNORED), _TOKEN)),
    "attention_mask": either(nothing, matrix(one_of(0, 1))),
    "effective_input_ids": matrix(_TOKEN),
    "effective_labels": matrix(either(one_of(_IGNORED), _TOKEN)),
    "bos_prepended": flag,
    "uniform_for_t": items(float32),
    "t": items(float32),
    "p_mask": items(float32),
    "masked": matrix(one_of(0, 1)),
    "noised_input_ids": matrix(_TOKEN),
    "token_nll": matrix(rounded_float32),
    "weighted_token_nll": matrix(rounded_float32),
    "loss": float32,
    "min_mask_uniform_gap": float32,
    "notes": items(text),
}


def check(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    """Yield what differs within a case, and between it and this implementation."""
    data = read_fields(case.data, _FIELDS)
    objective = _objective(data)
    told = checkpoints.token_ids(case.root, data["checkpoint"])
    yield from _check_input(data, told)
    batch = _effective(data)
    yield from _check_effective(data, batch)
    masked_BL = _like(torch.tensor(data["masked"]).bool(), batch.tokens_BL, "masked")
    time_B = times_from(torch.tensor(data["uniform_for_t"]), data["settings"]["time_epsilon"])
    noised_BL = hide(batch.tokens_BL, masked_BL, data["settings"]["mask_id"])
    noised = Corrupted(noised_BL, masked_BL, time_B[:, None])
    yield from _check_noise(data, batch, noised, objective)
    weight_BL = token_weights(noised, objective).expand(masked_BL.shape)
    nll_BL = _like(torch.tensor(data["token_nll"], dtype=torch.float64), batch.tokens_BL, "token_nll")
    weighted_BL = torch.tensor(data["weighted_token_nll"], dtype=torch.float64)
    weighted_BL = _like(weighted_BL, batch.tokens_BL, "weighted_token_nll")
    exact = cart_parameter(objective.weight) is None
    yield from _check_weights(nll_BL, weighted_BL, weight_BL, masked_BL, exact=exact)
    yield from _check_sum(data, weighted_BL, masked_BL, batch)
    yield from _check_computed(case, data, batch, noised, objective, nll_BL, weight_BL, checkpoints)


def _objective(data: dict[str, Any]) -> MDLM | BD3LM:
    settings = data["settings"]
    told = function_of(data["source"])
    if told not in _TRAINERS:
        raise Malformed(f"source: {told[2]} in {told[1]} of {told[0]} is none of the trainers that are known")
    if (settings["block_size"] is not None) != (_TRAINERS[told] is BD3LM):
        raise Malformed(f"settings: block_size {settings['block_size']} does not fit {told[2]}")
    noise = {
        "schedule": settings["scheduler"],
        "weight": settings["loss_weight_type"],
        "time_epsilon": settings["time_epsilon"],
    }
    return MDLM(**noise) if settings["block_size"] is None else BD3LM(block_size=settings["block_size"], **noise)


def _check_input(data: dict[str, Any], told: dict[str, Any]) -> Iterator[str]:
    settings = data["settings"]
    for key, special in (("mask_id", "mask"), ("bos_id", "bos")):
        if special in told and told[special] != settings[key]:
            yield f"settings: {key} {settings[key]}, but token_ids.json has {told[special]}"
    tokens_BL = torch.tensor(data["input_ids"])
    labels_BL = _like(torch.tensor(data["labels"]), tokens_BL, "labels")
    if bool(((labels_BL != _IGNORED) & (labels_BL != tokens_BL)).any()):
        yield "labels: neither -100 nor the token of input_ids"
    if (data["attention_mask"] is not None) != settings["attention_mask_given"]:
        yield "attention_mask: does not fit settings.attention_mask_given"
    if data["attention_mask"] is not None and "pad" in told:
        attention_BL = _like(torch.tensor(data["attention_mask"]), tokens_BL, "attention_mask")
        filler_BL = (tokens_BL == told["pad"]) & (labels_BL == _IGNORED)
        trailing_BL = filler_BL.flip(1).cummin(dim=1).values.flip(1)
        if not torch.equal(attention_BL == 0, trailing_BL):
            yield "attention_mask: not 0 exactly at the unlabelled padding that ends a row"


def _effective(data: dict[str, Any]) -> Batch:
    """The rows as the trainer saw them."""
    tokens_BL = torch.tensor(data["input_ids"])
    trainable_BL = _like(torch.tensor(data["labels"]) != _IGNORED, tokens_BL, "labels")
    attention_BL = None
    if data["attention_mask"] is not None:
        attention_BL = _like(torch.tensor(data["attention_mask"]) == 1, tokens_BL, "attention_mask")
    batch = Batch(tokens_BL, trainable_BL, attention_BL)
    return prepend_bos(batch, data["settings"]["bos_id"]) if data["settings"]["right_shift_logits"] else batch


def _check_effective(data: dict[str, Any], batch: Batch) -> Iterator[str]:
    prepended = batch.tokens_BL.shape[1] > len(data["input_ids"][0])
    if data["bos_prepended"] != prepended:
        yield f"bos_prepended: {data['bos_prepended']} recorded, {prepended} by the rule"
    labels_BL = batch.tokens_BL.masked_fill(~batch.trainable_BL, _IGNORED)
    yield from _differences(data, effective_input_ids=batch.tokens_BL, effective_labels=labels_BL)


def _check_noise(data: dict[str, Any], batch: Batch, noised: Corrupted, objective: MDLM | BD3LM) -> Iterator[str]:
    if len(data["uniform_for_t"]) != len(data["input_ids"]):
        raise Malformed(f"uniform_for_t: {len(data['uniform_for_t'])} numbers for {len(data['input_ids'])} rows")
    if not all(0 <= u < 1 for u in data["uniform_for_t"]):
        yield "uniform_for_t: not from 0 to 1"
    if not 0 < data["min_mask_uniform_gap"] < 1:
        yield "min_mask_uniform_gap: not between 0 and 1"
    time_B = noised.time_BL[:, 0]
    hidden_B = 1 - schedule(objective.schedule).alpha(time_B)
    yield from _differences(data, t=time_B, p_mask=hidden_B, noised_input_ids=noised.tokens_BL)
    if bool((noised.masked_BL & ~batch.trainable_BL).any()):
        yield "masked: a position without label is masked"


def _check_weights(
    nll_BL: Tensor, weighted_BL: Tensor, weight_BL: Tensor, masked_BL: Tensor, *, exact: bool
) -> Iterator[str]:
    """Compare the recorded weighted cross-entropy with the recorded raw one, float64 [B, L] both.

    Args:
        nll_BL, weighted_BL: as recorded.
        weight_BL: float32 [B, L], as computed.
        masked_BL: bool [B, L].
        exact: whether the weight is the reference's to the bit (a sum over neighbours depends on its order).
    """
    for name, values_BL in (("token_nll", nll_BL), ("weighted_token_nll", weighted_BL)):
        if bool((values_BL[~masked_BL] != 0).any()):
            yield f"{name}: not 0 where nothing is masked"
    expected_BL = nll_BL.float() * weight_BL
    for row, column in masked_BL.nonzero().tolist():
        nll, weight = nll_BL[row, column].item(), weight_BL[row, column].item()
        recorded, expected = weighted_BL[row, column].item(), expected_BL[row, column].item()
        # From 1 on, seven decimals tell float32 numbers apart, so the recorded product can be made again to the bit.
        slack = 0.0 if nll >= 1 and exact else _HALF_DIGIT * (1 + weight) + _ARITHMETIC * expected
        if recorded not in (expected, round(expected, 7)) and not abs(recorded - expected) <= slack:
            yield (
                f"weighted_token_nll[{row}][{column}]: {recorded:.9g} recorded, token_nll times {weight:.9g} is "
                f"{expected:.9g}"
            )
            return


def _check_sum(data: dict[str, Any], weighted_BL: Tensor, masked_BL: Tensor, batch: Batch) -> Iterator[str]:
    """Compare the recorded loss with the recorded weighted cross-entropy."""
    rule = data["settings"]["loss_norm_type"]
    expected = normalise(weighted_BL, batch.trainable_BL, rule).item()
    rounding = normalise(_HALF_DIGIT * masked_BL.double(), batch.trainable_BL, rule).item()
    if not abs(data["loss"] - expected) <= _ARITHMETIC * abs(expected) + rounding:
        yield f"loss: {data['loss']:.9g} recorded, weighted_token_nll gives {expected:.9g}"


def _check_computed(
    case: Case,
    data: dict[str, Any],
    batch: Batch,
    noised: Corrupted,
    objective: MDLM | BD3LM,
    recorded_BL: Tensor,
    weight_BL: Tensor,
    checkpoints: Checkpoints,
) -> Iterator[str]:
    """Compare the recorded cross-entropy and loss with those of this implementation."""
    settings = data["settings"]
    denoiser = checkpoints.denoiser(case.root, data["checkpoint"], shift=settings["right_shift_logits"])
    if denoiser.mask_token_id != settings["mask_id"]:
        yield f"settings: mask_id {settings['mask_id']}, but the converted checkpoint has {denoiser.mask_token_id}"
    highest = int(torch.maximum(batch.tokens_BL.max(), noised.tokens_BL.max()))
    if highest >= denoiser.vocab_size:
        raise Malformed(f"token id {highest} is out of the model's {denoiser.vocab_size}")
    with torch.inference_mode():
        if isinstance(objective, BD3LM):
            nll_BL = bd3lm_nll(denoiser, batch.tokens_BL, noised, objective.block_size)
        else:
            nll_BL = mdlm_nll(denoiser, batch.tokens_BL, noised, batch.attention_BL)
    wrong_BL = ~((nll_BL - recorded_BL).abs() <= NLL_TOLERANCE)
    if bool(wrong_BL.any()):
        row, column = wrong_BL.nonzero()[0].tolist()
        yield (
            f"token_nll[{row}][{column}]: {recorded_BL[row, column]:.9g} recorded, {nll_BL[row, column]:.9g} computed"
        )
    loss = normalise(nll_BL * weight_BL, batch.trainable_BL, settings["loss_norm_type"]).item()
    if not abs(data["loss"] - loss) <= LOSS_TOLERANCE * abs(loss):
        yield f"loss: {data['loss']:.9g} recorded, {loss:.9g} computed"


def _differences(data: dict[str, Any], **computed: Tensor) -> Iterator[str]:
    for name, tensor in computed.items():
        if found := difference(name, data[name], tensor.tolist()):
            yield found


def _like(tensor: Tensor, tokens_BL: Tensor, name: str) -> Tensor:
    if tensor.shape != tokens_BL.shape:
        raise Malformed(f"{name}: shape {list(tensor.shape)}, but there are {list(tokens_BL.shape)} tokens")
    return tensor
