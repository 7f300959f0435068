"""ML-GSAI/LLaDA's `generate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlm.settings import EvenSelector, FullCanvas, Guidance, Proposer, SamplerSettings
from dlm.verification.fields import Malformed, flag, number, one_of, read_fields, whole
from dlm.verification.samplers.plan import COUNT, Plan, answer_rows, left_padded, whole_canvas

_PATCHED = ("eos", "eot", "mask")
_LLADA = {
    "gen_length": COUNT,
    "block_length": COUNT,
    "steps": COUNT,
    "temperature": one_of(0.0),
    "cfg_scale": number,
    "remasking": one_of("low_confidence"),
    "mask_id": whole(0),
    "logits_eos_inf": flag,
    "confidence_eos_eot_inf": flag,
    "id_patch": lambda value: read_fields(
        value, {"126081 (eos)": whole(0), "126348 (eot)": whole(0), "126336 (mask)": whole(0)}
    ),
}
"""Settings of ML-GSAI/LLaDA's `generate`; its ids are those of the 8B models, patched where it was recorded."""


def official(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `generate`: a rectangle of prompts, padded on the left where it is masked.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], _LLADA)
    ids, length, block = data["token_ids"], given["gen_length"], given["block_length"]
    if given["mask_id"] != ids["mask"] or sorted(given["id_patch"].values()) != sorted(ids[name] for name in _PATCHED):
        raise Malformed("settings: mask_id and id_patch are not the ids of token_ids")
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length, block_size=block),
        proposer=Proposer(
            guidance=Guidance(scale=given["cfg_scale"]) if given["cfg_scale"] else None,
            suppress_tokens=(ids["eos"],) if given["logits_eos_inf"] else (),
        ),
        selector=even(given),
        defer_tokens=(ids["eos"], ids["eot"]) if given["confidence_eos_eot_inf"] else (),
    )
    prompts, pad = left_padded(data)
    rows = answer_rows(prompts, ids["mask"], length, block)
    return Plan(settings, rows, False, pad, whole_canvas(settings, passes=given["steps"]))


def even(given: Mapping[str, Any]) -> EvenSelector:
    """Return the even split of `gen_length` and `steps` over blocks of `block_length`.

    Raises:
        Malformed: they do not divide each other.
    """
    length, block, steps = given["gen_length"], given["block_length"], given["steps"]
    if length % block or steps % (length // block):
        raise Malformed("settings: block_length divides gen_length, and the number of blocks divides steps")
    # Steps beyond a block's length commit nothing there.
    return EvenSelector(steps=min(steps // (length // block), block) * (length // block))
