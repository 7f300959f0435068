"""Dream's own sampler, and ZHZisZZ/dllm's for Dream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlm.settings import FloorSelector, FullCanvas, Proposer, SamplerSettings, ScheduleSelector
from dlm.verification.fields import either, nothing, number, one_of, read_fields, whole
from dlm.verification.samplers.dllm import rounded_blanks
from dlm.verification.samplers.plan import (
    COUNT,
    DLLM,
    Plan,
    answer_rows,
    guidance,
    left_padded,
    padded,
    text_rows,
    whole_canvas,
)

SCORES = {"maskgit_plus": "low_confidence", "topk_margin": "topk_margin", "entropy": "negative_entropy"}
"""This sampler's scores by Dream's name of its algorithm."""
DRAW = {
    "eps": number,
    "alg_temp": one_of(0.0),
    "temperature": one_of(0.0),
    "top_p": either(nothing, number),
    "top_k": either(nothing, COUNT),
}
"""Settings that Dream's samplers have in common."""
DREAM = {"max_new_tokens": COUNT, "steps": COUNT, "mask_token_id": whole(0), **DRAW}
"""Settings of Dream's own sampler, and of those made from it."""
_DLLM = {**DLLM, **DRAW, "alg": one_of(*SCORES), "cfg_scale": number}


def official(data: Mapping[str, Any]) -> Plan:
    """Read the settings of Dream's `diffusion_generate`: a rectangle of prompts, padded on the left where it is masked.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], {**DREAM, "alg": one_of(*SCORES)})
    one_of(data["token_ids"]["mask"])(given["mask_token_id"])
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=given["max_new_tokens"]),
        selector=FloorSelector(steps=given["steps"], epsilon=given["eps"]),
        **scoring(given, SCORES[given["alg"]]),
    )
    prompts, pad = left_padded(data)
    length = given["max_new_tokens"]
    rows = answer_rows(prompts, given["mask_token_id"], length, length)
    return Plan(settings, rows, True, pad, whole_canvas(settings, passes=given["steps"]))


def dllm(data: Mapping[str, Any]) -> Plan:
    """Read the settings of ZHZisZZ/dllm's `DreamSampler.sample`: rows padded on the left with the end token.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], _DLLM)
    length, settings = given["max_new_tokens"], _dllm_settings(given)
    rows = answer_rows(data["input_ids"], data["token_ids"]["mask"], length, length)
    account = whole_canvas(settings, [(length, given["steps"], given["scheduler"])])
    return Plan(settings, rows, given["right_shift_logits"], padded(data["token_ids"]["eos"], left=True), account)


def dllm_infill(data: Mapping[str, Any]) -> Plan:
    """Read the settings of ZHZisZZ/dllm's `DreamSampler.infill`: the mask tokens of the texts are filled.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], _DLLM)
    settings = _dllm_settings(given)
    rows = text_rows(data["input_ids"], data["token_ids"]["mask"], None)
    account = whole_canvas(settings, rounded_blanks(rows, given))
    return Plan(settings, rows, given["right_shift_logits"], padded(data["token_ids"]["eos"], left=True), account)


def scoring(given: Mapping[str, Any], score: str) -> dict[str, Any]:
    """Return proposer and score: Dream scores what its top_p and top_k leave."""
    top_p = given["top_p"] if given["top_p"] is not None and given["top_p"] < 1 else None
    proposer = Proposer(top_p=top_p, top_k=given["top_k"])
    return {"proposer": proposer, "score": score, "score_of": "proposer"}


def _dllm_settings(given: Mapping[str, Any]) -> SamplerSettings:
    parts = scoring(given, SCORES[given["alg"]])
    proposer: Proposer = parts.pop("proposer")
    return SamplerSettings(
        canvas=FullCanvas(max_new_tokens=given["max_new_tokens"]),
        proposer=Proposer(top_p=proposer.top_p, top_k=proposer.top_k, guidance=guidance(given)),
        selector=ScheduleSelector(steps=given["steps"], schedule=given["scheduler"]),
        **parts,
    )
