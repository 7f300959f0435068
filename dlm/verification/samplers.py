"""Published samplers, and how their settings are told to this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from dlm.settings import (
    EndOfText,
    EvenSelector,
    FullCanvas,
    GrowingCanvas,
    Guidance,
    Proposer,
    SamplerSettings,
    ScheduleSelector,
)
from dlm.verification.fields import Malformed, either, flag, items, nothing, number, one_of, read_fields, whole

Shape = tuple[int, int]
"""Rows and columns."""

_COUNT = whole(1, 65536)
_DLLM = {
    "return_dict": flag,
    "max_new_tokens": _COUNT,
    "max_length": nothing,
    "block_size": _COUNT,
    "steps": _COUNT,
    "temperature": one_of(0.0),
    "remasking": one_of("low_confidence"),
    "stochastic_transfer": one_of(False),
    "cfg_scale": number,
    "cfg_keep_tokens": either(nothing, items(whole(0))),
    "right_shift_logits": flag,
    "scheduler": one_of("linear", "cosine"),
}
"""Settings that the samplers of ZHZisZZ/dllm have in common."""
_PATCHED = ("eos", "eot", "mask")
_LLADA = {
    "gen_length": _COUNT,
    "block_length": _COUNT,
    "steps": _COUNT,
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


@dataclass(frozen=True)
class Plan:
    """A case's settings as this sampler's."""

    settings: SamplerSettings
    prompts: list[list[int]]
    """Token ids, without padding."""
    shift: bool
    """Whether the model's prediction is shifted."""
    pad: Callable[[list[list[int]]], list[list[int]]]
    """Brings rows of prompt and answer to one length, as the source does."""
    shapes: Callable[[list[Shape]], list[list[int]]]
    """The source's forward passes, given the canvas after each pass that wrote something."""
    least_passes: int = 0
    """Passes that the source makes even where they write nothing."""


def bd3lm(data: Mapping[str, Any]) -> Plan:
    """Read the settings of ZHZisZZ/dllm's `BD3LMSampler`.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], {**_DLLM, "steps_per_block": either(nothing, _COUNT)})
    canvas = GrowingCanvas(max_new_tokens=given["max_new_tokens"], block_size=given["block_size"], hide_pad_token=True)
    per_block = given["steps_per_block"]
    settings = SamplerSettings(
        canvas=canvas,
        proposer=Proposer(guidance=_guidance(given)),
        selector=ScheduleSelector(
            steps=given["steps"] if per_block is None else per_block * canvas.blocks, schedule=given["scheduler"]
        ),
        stop=EndOfText(tokens=(data["token_ids"]["eos"],)),
    )
    branches = 2 if settings.proposer.guidance else 1

    def shapes(written: list[Shape]) -> list[list[int]]:
        """Each block begins with a pass over all that stands before it, and each branch of guidance has its own."""
        passes, before = [], _padded(data["input_ids"], canvas.block_size)
        for (rows, width), steps in groupby(written):
            passes += [[rows, before]] * branches
            passes += [[rows, width - before]] * (branches * len(list(steps)))
            before = width
        return passes

    return Plan(settings, data["input_ids"], given["right_shift_logits"], lambda rows: rows, shapes)


def mdlm(data: Mapping[str, Any]) -> Plan:
    """Read the settings of ZHZisZZ/dllm's `MDLMSampler.sample`: canvases padded on the right with the end token.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    tokens = either(nothing, items(whole(0)))
    given = read_fields(data["settings"], {**_DLLM, "suppress_tokens": tokens, "begin_suppress_tokens": tokens})
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=given["max_new_tokens"], block_size=given["block_size"]),
        proposer=Proposer(guidance=_guidance(given), suppress_tokens=tuple(given["suppress_tokens"] or ())),
        selector=ScheduleSelector(steps=given["steps"], schedule=given["scheduler"]),
        defer_tokens=tuple(given["begin_suppress_tokens"] or ()),
    )
    ids, shift = data["token_ids"], given["right_shift_logits"]
    # A shifted model needs something to read the first answer token from.
    prompts = [prompt or [ids["bos"]] if shift else prompt for prompt in data["input_ids"]]

    def pad(rows: list[list[int]]) -> list[list[int]]:
        longest = max(map(len, rows))
        return [row + [ids["eos"]] * (longest - len(row)) for row in rows]

    return Plan(settings, prompts, shift, pad, _whole_canvas(settings))


def llada(data: Mapping[str, Any]) -> Plan:
    """Read the settings of ML-GSAI/LLaDA's `generate`: a rectangle of prompts, padded on the left where it is masked.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], _LLADA)
    ids, block, length = data["token_ids"], given["block_length"], given["gen_length"]
    if length % block or given["steps"] % (length // block):
        raise Malformed("settings: block_length divides gen_length, and the number of blocks divides steps")
    if given["mask_id"] != ids["mask"] or sorted(given["id_patch"].values()) != sorted(ids[name] for name in _PATCHED):
        raise Malformed("settings: mask_id and id_patch are not the ids of token_ids")
    # Steps beyond a block's length commit nothing there.
    per_block = min(given["steps"] // (length // block), block)
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length, block_size=block),
        proposer=Proposer(
            guidance=Guidance(scale=given["cfg_scale"]) if given["cfg_scale"] else None,
            suppress_tokens=(ids["eos"],) if given["logits_eos_inf"] else (),
        ),
        selector=EvenSelector(steps=per_block * (length // block)),
        defer_tokens=(ids["eos"], ids["eot"]) if given["confidence_eos_eot_inf"] else (),
    )
    rows, mask = data["input_ids"], data["attention_mask"]
    if len({len(row) for row in rows}) != 1 or (mask and [len(row) for row in mask] != [len(row) for row in rows]):
        raise Malformed("input_ids and attention_mask: expected rows of one length")
    padding = [row.count(0) for row in mask] if mask else [0] * len(rows)
    if mask and any(sorted(row) != row for row in mask):
        raise Malformed("attention_mask: expected padding on the left")

    def pad(written: list[list[int]]) -> list[list[int]]:
        return [row[:count] + own for row, count, own in zip(rows, padding, written, strict=True)]

    prompts = [row[count:] for row, count in zip(rows, padding, strict=True)]
    return Plan(settings, prompts, False, pad, _whole_canvas(settings, given["steps"]), given["steps"])


SAMPLERS: Mapping[tuple[str, str, str], Callable[[Mapping[str, Any]], Plan]] = {
    ("ZHZisZZ/dllm", "dllm/core/samplers/bd3lm.py", "BD3LMSampler.sample"): bd3lm,
    ("ZHZisZZ/dllm", "dllm/core/samplers/mdlm.py", "MDLMSampler.sample"): mdlm,
    ("ML-GSAI/LLaDA", "generate.py", "generate"): llada,
}
"""What reads the settings of a published function: repository, file, name."""


def _guidance(given: Mapping[str, Any]) -> Guidance | None:
    """Classifier-free guidance as ZHZisZZ/dllm's settings have it."""
    scale = given["cfg_scale"]
    return Guidance(scale=scale, keep_tokens=tuple(given["cfg_keep_tokens"] or ())) if scale else None


def _padded(prompts: list[list[int]], multiple: int) -> int:
    """Length of the longest prompt, rounded up to a multiple."""
    return -(-max(map(len, prompts)) // multiple) * multiple


def _whole_canvas(settings: SamplerSettings, steps: int = 0) -> Callable[[list[Shape]], list[list[int]]]:
    """Every pass sees the whole canvas, with guidance two of them; a source makes its ``steps``, even empty ones."""
    rows = 2 if settings.proposer.guidance else 1

    def shapes(written: list[Shape]) -> list[list[int]]:
        height, width = written[0]
        return [[rows * height, width]] * max(steps, len(written))

    return shapes
