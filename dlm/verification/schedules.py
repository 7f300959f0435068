"""Cases of kind ``schedules``: tokens per step, noise schedules, the factor rule, each in its source's arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from dlm.diffusion import SCHEDULES, loss_weight, schedule
from dlm.sampling import even_counts, floor_counts, schedule_counts, schedule_shares, select_by_factor
from dlm.verification.cases import Case
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import (
    Malformed,
    Reader,
    difference,
    float32,
    items,
    matrix,
    number,
    one_of,
    read_fields,
    text,
    whole,
)

_COUNT = whole(0, 1 << 20)
_STEPS = whole(1, 1 << 16)
_SCHEDULE = one_of(*SCHEDULES)

Computed = dict[str, Any]
"""Expected values by the field that records them."""


def check(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    """Yield what differs between a row and this implementation; everything is exact."""
    rule = case.data.get("source") if isinstance(case.data, dict) else None
    if not isinstance(rule, str) or rule not in _RULES:
        raise Malformed(f"source: expected one of {', '.join(_RULES)}, got {rule!r}")
    readers, compute = _RULES[rule]
    data = read_fields(case.data, {"source": text, **readers})
    for field, value in compute(data).items():
        if found := difference(field, data[field], value):
            yield found


def check_together(cases: Sequence[Case], failed: set[int]) -> Iterator[tuple[int, str]]:
    """Yield rows of Dream's rule whose epsilon no row confirms.

    Where a row's own counts and margin do not depend on epsilon (few tokens, one step), a row in which they do
    must have the same one.

    Args:
        cases: the cases of one file.
        failed: places, in ``cases``, of those that differ in something else.
    """
    rows = {n: case.data for n, case in enumerate(cases) if n not in failed and case.data.get("source") == "dream"}
    telling = [
        (n, case.data)
        for n, case in enumerate(cases)
        if isinstance(case.data, Mapping) and case.data.get("source") == "dream" and _tells_epsilon(case.data)
    ]
    confirmed = {row["eps"] for n, row in telling if n not in failed}
    for n, row in rows.items():
        if telling and row["eps"] not in confirmed:
            yield n, f"eps: {row['eps']} changes nothing in this row, and no other row confirms it"


def _tells_epsilon(row: Mapping[str, Any]) -> bool:
    try:
        return _floor_margin(row["masked"], row["steps"], row["eps"]) < 0.5
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
        return False


def _even(row: Computed) -> Computed:
    return {"counts": even_counts(torch.tensor([row["masked"]]), row["steps"])[0].tolist()}


def _rounded(row: Computed) -> Computed:
    counts_1T = schedule_counts(torch.tensor([row["masked"]]), row["steps"], schedule(row["scheduler"]))
    return {
        "counts": counts_1T[0].tolist(),
        "min_round_margin": round_margin(row["masked"], row["steps"], row["scheduler"]),
    }


def _rounded_batch(row: Computed) -> Computed:
    return {"counts": schedule_counts(torch.tensor(row["masked"]), row["steps"], schedule(row["scheduler"])).tolist()}


def _floored(row: Computed) -> Computed:
    return {
        "counts": floor_counts(torch.tensor([row["masked"]]), row["steps"], row["eps"])[0].tolist(),
        "min_floor_margin": _floor_margin(row["masked"], row["steps"], row["eps"]),
    }


def _noise(row: Computed) -> Computed:
    chosen, time_T = schedule(row["scheduler"]), torch.tensor(row["t"])
    return {
        "alpha": chosen.alpha(time_T).tolist(),
        "alpha_derivative": chosen.slope(time_T).tolist(),
        "weight": loss_weight(chosen, time_T).tolist(),
    }


def _factor(row: Computed) -> Computed:
    score_1S = torch.tensor([row["confidence"]], dtype=torch.float64)
    everywhere_1S = torch.ones_like(score_1S, dtype=torch.bool)

    def selected(last_rank: bool) -> list[int]:
        chosen_1S = select_by_factor(score_1S, everywhere_1S, row["factor"], last_rank=last_rank)
        return chosen_1S[0].nonzero().flatten().tolist()

    return {"selected_dllm": selected(False), "selected_dinfer": selected(True)}


def round_margin(masked: int, steps: int, scheduler: str) -> float:
    """Distance from .5 of the closest value that was rounded; at most 0.5."""
    rest, margin = masked, 0.5
    for share in schedule_shares(steps, schedule(scheduler)).tolist():
        value = rest * share
        margin = min(margin, abs(value - math.floor(value) - 0.5))
        rest -= min(round(value), rest)
        if not rest:
            break
    return margin


def _floor_margin(masked: int, steps: int, epsilon: float) -> float:
    """Distance from a whole number above 0 of the closest value that was rounded down; at most 0.5.

    In float64 from the float32 times, as it was recorded.
    """
    time = torch.linspace(1, epsilon, steps + 1).tolist()
    counts = floor_counts(torch.tensor([masked]), steps, epsilon)[0].tolist()
    rest, margin = masked, 0.5
    for late, early, count in zip(time[1:-1], time[:-2], counts[:-1], strict=True):
        value = rest * (1 - late / early)
        if round(value) > 0:
            margin = min(margin, abs(value - round(value)))
        rest -= count
    return margin


_ROW = {"masked": _COUNT, "steps": _STEPS, "counts": items(_COUNT)}
_RULES: dict[str, tuple[dict[str, Reader], Any]] = {
    "llada": (_ROW, _even),
    "dllm": ({**_ROW, "scheduler": _SCHEDULE, "min_round_margin": number}, _rounded),
    "dream": ({**_ROW, "eps": number, "min_floor_margin": number}, _floored),
    "dllm_batch": (
        {"masked": items(_COUNT), "steps": _STEPS, "scheduler": _SCHEDULE, "counts": matrix(_COUNT)},
        _rounded_batch,
    ),
    "dllm_scheduler": (
        {
            "scheduler": _SCHEDULE,
            "t": items(float32),
            "alpha": items(float32),
            "alpha_derivative": items(float32),
            "weight": items(float32),
        },
        _noise,
    ),
    "factor_rule": (
        {
            "factor": number,
            "confidence": items(number),
            "selected_dllm": items(_COUNT),
            "selected_dinfer": items(_COUNT),
        },
        _factor,
    ),
}
"""The fields of each source's rows, and what computes the expected ones."""
