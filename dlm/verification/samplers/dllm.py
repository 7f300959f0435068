"""ZHZisZZ/dllm's samplers of masked and block diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlm.sampling import Row
from dlm.settings import EndOfText, FullCanvas, GrowingCanvas, Proposer, SamplerSettings, ScheduleSelector
from dlm.verification.fields import either, nothing, read_fields
from dlm.verification.samplers.plan import (
    COUNT,
    DLLM_MDLM,
    TOKENS,
    Account,
    Plan,
    Rows,
    Run,
    answer_rows,
    block_sizes,
    guidance,
    padded,
    text_rows,
    whole_canvas,
)

_MDLM = {**DLLM_MDLM, "suppress_tokens": TOKENS, "begin_suppress_tokens": TOKENS}


def mdlm(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `MDLMSampler.sample`: canvases padded on the right with the end token.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], _MDLM)
    length, block = given["max_new_tokens"], given["block_size"]
    settings = _mdlm_settings(given)
    rows = answer_rows(readable(data, given), data["token_ids"]["mask"], length, block)
    per_block = -(-given["steps"] // settings.canvas.blocks)
    rounded = [(size, per_block, given["scheduler"]) for size in block_sizes(length, block)]
    return _plan(data, given, settings, rows, rounded)


def mdlm_infill(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `MDLMSampler.infill`: the mask tokens of the texts are filled.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], {**_MDLM, "block_size": either(nothing, COUNT)})
    settings = _mdlm_settings(given)
    rows = text_rows(readable(data, given), data["token_ids"]["mask"], given["block_size"])
    return _plan(data, given, settings, rows, rounded_blanks(rows, given))


def bd3lm(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `BD3LMSampler`.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = read_fields(data["settings"], {**DLLM_MDLM, "steps_per_block": either(nothing, COUNT)})
    canvas = GrowingCanvas(max_new_tokens=given["max_new_tokens"], block_size=given["block_size"], hide_pad_token=True)
    per_block = given["steps_per_block"]
    selector = ScheduleSelector(
        steps=given["steps"] if per_block is None else per_block * canvas.blocks, schedule=given["scheduler"]
    )
    settings = SamplerSettings(
        canvas=canvas,
        proposer=Proposer(guidance=guidance(given)),
        selector=selector,
        stop=EndOfText(tokens=(data["token_ids"]["eos"],)),
    )
    branches = 2 if settings.proposer.guidance else 1

    def account(run: Run) -> Account:
        """Each block begins with a pass over all that stands before it, and each branch of guidance has its own."""
        (rows, before), passes, place = run.shape(0), [], 0
        first = before
        for _, count in run.passes():
            place += count
            width = run.shape(place)[1]
            passes += [[rows, before]] * branches + [[rows, width - before]] * (branches * count)
            before = width
        steps, sizes = selector.per_block(canvas.blocks), block_sizes(before - first, canvas.block)
        return Account(passes, len(run.canvases), [(size, steps, given["scheduler"]) for size in sizes])

    prompts = data["input_ids"]
    rows = [
        Row(prompt, (), len(prompt), canvas.max_new_tokens, canvas.block_size, index, index)
        for index, prompt in enumerate(prompts)
    ]
    return Plan(settings, rows, given["right_shift_logits"], lambda written: written, account)


def readable(data: Mapping[str, Any], given: Mapping[str, Any]) -> Rows:
    """Return the prompts; a shifted model needs something to read the first answer token from."""
    bos = [data["token_ids"]["bos"]]
    return [prompt or bos if given["right_shift_logits"] else prompt for prompt in data["input_ids"]]


def rounded_blanks(rows: list[Row], given: Mapping[str, Any]) -> list[tuple[int, int, str]]:
    """Return blanks, steps and schedule of each row and block."""
    blocks = -(-rows[0].length // rows[0].block)
    steps = -(-given["steps"] // blocks)
    counts = [sum(place // row.block == block for place in row.open) for row in rows for block in range(blocks)]
    return [(count, steps, given["scheduler"]) for count in counts]


def _mdlm_settings(given: Mapping[str, Any]) -> SamplerSettings:
    return SamplerSettings(
        canvas=FullCanvas(max_new_tokens=given["max_new_tokens"], block_size=given["block_size"]),
        proposer=Proposer(guidance=guidance(given), suppress_tokens=tuple(given["suppress_tokens"] or ())),
        selector=ScheduleSelector(steps=given["steps"], schedule=given["scheduler"]),
        defer_tokens=tuple(given["begin_suppress_tokens"] or ()),
    )


def _plan(
    data: Mapping[str, Any],
    given: Mapping[str, Any],
    settings: SamplerSettings,
    rows: list[Row],
    rounded: list[tuple[int, int, str]],
) -> Plan:
    pad = padded(data["token_ids"]["eos"], left=False)
    return Plan(settings, rows, given["right_shift_logits"], pad, whole_canvas(settings, rounded))
