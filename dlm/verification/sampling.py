"""Cases of kind ``sampling``: what a published sampler wrote, and when.

The outputs and the order of distinct canvases have to be the source's. Forward passes may be fewer.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

from dlm.models import Denoiser
from dlm.sampling import Sampler, State
from dlm.settings import GrowingCanvas, SamplerSettings, ScheduleSelector
from dlm.verification.cases import Case
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import (
    Malformed,
    difference,
    either,
    items,
    matrix,
    nothing,
    number,
    one_of,
    read_fields,
    text,
    whole,
)
from dlm.verification.samplers import SAMPLERS, Plan
from dlm.verification.schedules import round_margin
from dlm.verification.sources import function_of, source

LEAST_MARGIN = 1e-4
"""Cases with closer decisions were not recorded."""
_TOKEN = whole(0)
_IDS = dict.fromkeys(("mask", "eos", "eot", "bos", "pad"), _TOKEN)
_FIELDS = {
    "id": text,
    "kind": one_of("sampling"),
    "source": source,
    "checkpoint": text,
    "token_ids": lambda value: read_fields(value, _IDS),
    "settings": lambda value: value,
    "input_ids": items(items(_TOKEN)),
    "output_ids": matrix(_TOKEN),
    "n_forward": whole(1),
    "forward_shapes": items(items(whole(1))),
    "trace": items(matrix(_TOKEN)),
    "min_margin": number,
    "notes": items(text),
}
_OPTIONAL = {
    "attention_mask": either(nothing, matrix(one_of(0, 1))),
    "committed_per_forward": items(either(whole(0), items(whole(0)))),
    "min_round_margin": number,
    "nfe_reported": whole(0),
}


def check(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    """Yield what differs within a case, and between it and this implementation."""
    data = read_fields(case.data, _FIELDS, _OPTIONAL)
    plan = _plan(data)
    yield from _check_ids(data["token_ids"], checkpoints.token_ids(case.root, data["checkpoint"]))
    denoiser = _with_ids(checkpoints.denoiser(case.root, data["checkpoint"], shift=plan.shift), data["token_ids"])
    record = _Record(plan)
    samples = Sampler(denoiser, plan.settings, batch_size=len(plan.prompts), keep_finished=True).sample(
        plan.prompts, watch=record
    )
    yield from _differences(
        ("trace", _distinct(data["trace"]), _distinct(record.canvases)),
        ("output_ids", data["output_ids"], record.canvases[-1]),
    )
    passes = max(sample.forward_passes for sample in samples)
    if passes > data["n_forward"]:
        yield f"n_forward: {data['n_forward']} recorded, {passes} needed here"
    yield from _check_record(data, plan, record)


def _plan(data: dict[str, Any]) -> Plan:
    make_plan = SAMPLERS.get(function_of(data["source"]))
    if make_plan is None:
        raise Malformed(f"source: {', '.join(function_of(data['source']))} is not supported yet")
    return make_plan(data)


class _Record:
    """The canvases of a run, laid out as the source lays them out; called after each forward pass, and before all."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.canvases: list[list[list[int]]] = []

    def __call__(self, state: State) -> None:
        rows: list[list[int]] = [[]] * len(self.plan.prompts)
        for row, prompt in enumerate(state.prompt_B.tolist()):
            rows[prompt] = self._row(state, row, len(self.plan.prompts[prompt]))
        self.canvases.append(self.plan.pad(rows))

    def _row(self, state: State, row: int, prompt: int) -> list[int]:
        """Prompt and answer; a growing canvas is laid out as its source's, padding included."""
        tokens, start = state.tokens_BL[row].tolist(), int(state.start_B[row])
        canvas = self.plan.settings.canvas
        return tokens if isinstance(canvas, GrowingCanvas) else tokens[start - prompt : start + canvas.max_new_tokens]


def _check_ids(given: dict[str, Any], listed: dict[str, Any]) -> Iterator[str]:
    """The ids that the source saw are the checkpoint's; the pad token may be the end token instead."""
    for name, token in given.items():
        allowed = {listed.get(name, token)} | ({given["eos"]} if name == "pad" else set())
        if token not in allowed:
            yield f"token_ids.{name}: {token}, but the checkpoint's is {listed[name]}"


def _with_ids(denoiser: Denoiser, ids: dict[str, Any]) -> Denoiser:
    tokenizer = copy.deepcopy(denoiser.tokenizer)
    tokenizer.pad_token_id = ids["pad"]
    conventions = dataclasses.replace(denoiser.conventions, mask_token_id=ids["mask"])
    return Denoiser(denoiser.model, tokenizer, conventions).eval()


def _check_record(data: dict[str, Any], plan: Plan, record: _Record) -> Iterator[str]:
    """The case's own account of its passes is that of the canvases; its margins are as small as was allowed."""
    shapes = plan.shapes([(len(rows), len(rows[0])) for rows in record.canvases[1:]])
    yield from _differences(
        ("forward_shapes", data["forward_shapes"], shapes),
        ("n_forward", data["n_forward"], len(data["forward_shapes"])),
        ("trace", len(data["trace"]), 1 + max(plan.least_passes, len(record.canvases) - 1)),
    )
    margin = _round_margin(plan.settings, len(record.canvases[-1][0]) - len(record.canvases[0][0]))
    yield from _differences(("min_round_margin", data["min_round_margin"], margin))
    if not data["min_margin"] > LEAST_MARGIN:
        yield f"min_margin: {data['min_margin']} is not above {LEAST_MARGIN}"


def _round_margin(settings: SamplerSettings, grown: int) -> float | None:
    """Distance from .5 of the closest number of tokens that was rounded; None where a rule does not round."""
    canvas, selector = settings.canvas, settings.selector
    if not isinstance(selector, ScheduleSelector):
        return None
    length = grown if isinstance(canvas, GrowingCanvas) else canvas.max_new_tokens
    sizes = [min(canvas.block, length - first) for first in range(0, length, canvas.block)]
    steps = selector.per_block(canvas.blocks)
    return min(round_margin(size, steps, selector.schedule) for size in sizes)


def _differences(*compared: tuple[str, Any, Any]) -> Iterator[str]:
    for name, recorded, computed in compared:
        if found := difference(name, recorded, computed):
            yield found


def _distinct(canvases: list[Any]) -> list[Any]:
    return [canvas for index, canvas in enumerate(canvases) if index == 0 or canvas != canvases[index - 1]]
