"""Sampling cases fail where a digit is altered, and where the sampler spends more than the source."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from verification_examples import alter_anywhere

from dlm.settings import GrowingCanvas
from dlm.verification import sampling
from dlm.verification.cases import Case, read_cases
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.run import run_cases
from dlm.verification.samplers import Plan
from dlm.verification.together import usual_versions

EXCUSED = {("notes",), ("min_margin",), ("source", "model_code", "file"), ("id",)}
"""Free text, and what cannot be recomputed from a case; names are compared by file."""


@pytest.fixture(scope="module")
def checkpoints() -> Iterator[Checkpoints]:
    with Checkpoints() as kept:
        yield kept


@pytest.fixture(scope="module")
def cases(repository: Path) -> list[Case]:
    return read_cases(repository / "tests" / "parity" / "sampling")


def test_an_altered_digit_fails_a_case(cases: list[Case], checkpoints: Checkpoints) -> None:
    """Settings aside, of which a small change may change nothing."""
    randomness, usual = random.Random(0), usual_versions(cases)
    fields, changed = [], []
    for case in cases:
        data, path = alter_anywhere(case.data, randomness)
        while path[0] == "settings" or tuple(key for key in path if isinstance(key, str)) in EXCUSED:
            data, path = alter_anywhere(case.data, randomness)
        changed.append(dataclasses.replace(case, data=data))
        fields.append(path)
    outcomes = run_cases(changed, checkpoints, usual)
    passed = [
        (case.name, path) for case, path, outcome in zip(cases, fields, outcomes, strict=True) if not outcome.problems
    ]
    assert passed == []


def spent_less(data: Any) -> None:
    data["n_forward"] = 5
    data["forward_shapes"] = data["forward_shapes"][:5]


def another_order(data: Any) -> None:
    data["trace"][1], data["trace"][2] = data["trace"][2], data["trace"][1]


def padding_on_the_right(data: Any) -> None:
    data["attention_mask"] = [list(reversed(row)) for row in data["attention_mask"]]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("dllm_bd3lm_02", spent_less, "n_forward: 5 recorded, 8 needed here"),
        ("dllm_bd3lm_02", another_order, "trace[1]"),
        ("dllm_bd3lm_02", lambda data: data["settings"].update(temperature=0.5), "temperature: expected one of 0.0"),
        (
            "dllm_bd3lm_02",
            lambda data: data["token_ids"].update(bos=7),
            "token_ids.bos: 7, but the checkpoint's is",
        ),
        ("dllm_mdlm_sample_01", lambda data: data.update(min_margin=1e-5), "min_margin: 1e-05 is not above 0.0001"),
        ("dllm_mdlm_sample_01", lambda data: data.update(min_round_margin=0.4), "min_round_margin: 0.4 recorded"),
        ("llada_official_13", padding_on_the_right, "attention_mask: expected padding on the left"),
        ("llada_official_13", lambda data: data["settings"].update(steps=9), "divides gen_length, and the number of"),
        ("llada_official_13", lambda data: data["settings"].update(mask_id=7), "are not the ids of token_ids"),
        ("llada_official_13", lambda data: data["source"].update(function="sample"), "is not supported yet"),
        ("fastdllm_llada_03", lambda data: data["settings"].update(threshold=0.9), "trace"),
        ("fastdllm_llada_03", lambda data: data.update(nfe_reported=18), "nfe_reported: 18 recorded, 19 computed"),
        (
            "dllm_fastdllm_llada_15",
            lambda data: data["committed_per_forward"][0].reverse(),
            "committed_per_forward[0][0]: 1 recorded, 2 computed",
        ),
        ("dllm_fastdllm_llada_11", lambda data: data["settings"].update(factor=3.0), "trace"),
        ("dream_official_04", lambda data: data["settings"].update(alg="entropy"), "trace"),
        ("fastdllm_dream_03", lambda data: data["settings"].update(steps=7), "steps divides max_new_tokens"),
        ("fastdllm_dream_08", lambda data: data["settings"].pop("threshold"), "threshold is needed"),
        (
            "dllm_fastdllm_dream_05",
            lambda data: data["settings"].update(right_shift_logits=False),
            "goes with right_sh",
        ),
        ("dllm_mdlm_infill_01", lambda data: data["settings"].update(block_size=9), "trace"),
    ],
)
def test_a_failure_says_what_differs(
    name: str, change: Callable[[Any], None], message: str, cases: list[Case], checkpoints: Checkpoints
) -> None:
    case = next(case for case in cases if case.id == name)
    data = copy.deepcopy(case.data)
    change(data)
    (outcome,) = run_cases([dataclasses.replace(case, data=data)], checkpoints, {})
    assert message in outcome.line


def test_without_its_cache_block_diffusion_writes_what_the_reference_wrote(
    cases: list[Case], checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, seen = sampling._plan, []

    def uncached(data: dict[str, Any]) -> Plan:
        made = plan(data)
        if not isinstance(made.settings.canvas, GrowingCanvas):
            return made
        assert made.settings.canvas.cache == "exact"  # as the cases themselves are run
        seen.append(data["id"])
        canvas = dataclasses.replace(made.settings.canvas, cache="none")
        return dataclasses.replace(made, settings=dataclasses.replace(made.settings, canvas=canvas))

    monkeypatch.setattr(sampling, "_plan", uncached)
    growing = [case for case in cases if "bd3lm" in json.dumps(case.data["source"])]
    assert [problem for case in growing for problem in sampling.check(case, checkpoints)] == []
    assert len(seen) == len(growing) > 10
