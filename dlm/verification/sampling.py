"""Cases of kind ``sampling``: what a published sampler wrote, and when.

The outputs and the order of distinct canvases have to be the source's. Forward passes may be fewer.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from dlm.models import Denoiser
from dlm.sampling import Sampler, State
from dlm.settings import FullCanvas
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
from dlm.verification.samplers import SAMPLERS, Account, Plan, Run
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
    sampler = Sampler(denoiser, plan.settings, batch_size=len(plan.rows), keep_finished=True)
    for outcomes in sampler.fill(plan.rows, record):
        yield from (outcome for outcome in outcomes.values() if isinstance(outcome, str))
    run = record.run
    yield from _differences(
        ("trace", _distinct(data["trace"]), _distinct(run.canvases)),
        ("output_ids", data["output_ids"], run.canvases[-1]),
    )
    if len(run.blocks) > data["n_forward"]:
        yield f"n_forward: {data['n_forward']} recorded, {len(run.blocks)} needed here"
    yield from _check_record(data, plan.account(run))


def _plan(data: dict[str, Any]) -> Plan:
    make_plan = SAMPLERS.get(function_of(data["source"]))
    if make_plan is None:
        raise Malformed(f"source: {', '.join(function_of(data['source']))} is not supported yet")
    return make_plan(data)


class _Record:
    """The canvases of a run, laid out as the source lays them out; called after each forward pass, and before all."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.run = plan, Run([], [])

    def __call__(self, state: State) -> None:
        rows: list[list[int]] = [[]] * len(self.plan.rows)
        for row, index in enumerate(state.prompt_B.tolist()):
            tokens = state.tokens_BL[row].tolist()
            full = isinstance(self.plan.settings.canvas, FullCanvas)
            rows[index] = tokens[: len(self.plan.rows[index].tokens)] if full else tokens
        if self.run.canvases:
            self.run.blocks.append(int(state.block_B[0]))
        self.run.canvases.append(self.plan.pad(rows))


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


def _check_record(data: dict[str, Any], account: Account) -> Iterator[str]:
    """The case's own account of its passes is that of the canvases; its margins are as small as was allowed."""
    rounded = account.rounded
    margins = None if rounded is None else [round_margin(*each) for each in rounded]
    yield from _differences(
        ("forward_shapes", data["forward_shapes"], account.shapes),
        ("n_forward", data["n_forward"], len(data["forward_shapes"])),
        ("trace", len(data["trace"]), account.entries),
        ("min_round_margin", data["min_round_margin"], None if margins is None else min([0.5, *margins])),
    )
    if data["nfe_reported"] is not None:
        yield from _differences(("nfe_reported", data["nfe_reported"], data["n_forward"]))
    if data["committed_per_forward"] is not None:
        committed = [_committed(data, *pair) for pair in pairwise(data["trace"])]
        yield from _differences(("committed_per_forward", data["committed_per_forward"], committed))
    if not data["min_margin"] > LEAST_MARGIN:
        yield f"min_margin: {data['min_margin']} is not above {LEAST_MARGIN}"


def _committed(data: dict[str, Any], before: list[list[int]], after: list[list[int]]) -> int | list[int]:
    """Count the tokens that a pass wrote: a number for each row, or one where the source had only one row."""
    changed = [sum(a != b for a, b in zip(*rows, strict=True)) for rows in zip(before, after, strict=True)]
    return changed if isinstance(data["committed_per_forward"][0], list) else changed[0]


def _differences(*compared: tuple[str, Any, Any]) -> Iterator[str]:
    for name, recorded, computed in compared:
        if found := difference(name, recorded, computed):
            yield found


def _distinct(canvases: list[Any]) -> list[Any]:
    return [canvas for index, canvas in enumerate(canvases) if index == 0 or canvas != canvases[index - 1]]
