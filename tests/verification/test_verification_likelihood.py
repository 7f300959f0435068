"""Likelihood cases: unseen ones of the format pass, and fail where a digit is altered."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from verification_examples import alter_anywhere

from dlm.likelihood import llada_counts
from dlm.models import Denoiser
from dlm.verification.cases import Case, read_cases
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.run import run_cases
from dlm.verification.together import usual_versions

LAST_DIGIT = 1e-12
"""Relative size of what a sum of float64 numbers may lose: such a digit of one of its terms changes nothing."""


@pytest.fixture(scope="module")
def checkpoints() -> Iterator[Checkpoints]:
    with Checkpoints() as kept:
        yield kept


@pytest.fixture(scope="module")
def cases(repository: Path) -> list[Case]:
    return read_cases(repository / "tests" / "parity" / "likelihood")


def problems(case: Case, data: Any, checkpoints: Checkpoints, usual: dict[str, str] | None = None) -> tuple[str, ...]:
    (outcome,) = run_cases([dataclasses.replace(case, data=data)], checkpoints, usual or {})
    return outcome.problems


@pytest.mark.parametrize("seed", range(8))
def test_an_altered_digit_fails_a_case(seed: int, cases: list[Case], checkpoints: Checkpoints) -> None:
    randomness, usual = random.Random(seed), usual_versions(cases)
    changed, fields = [], []
    for case in cases:
        data, path = alter_anywhere(case.data, randomness)
        while is_last_digit(case.data, data, path):
            data, path = alter_anywhere(case.data, randomness)
        changed.append(dataclasses.replace(case, data=data))
        fields.append(path)
    outcomes = list(run_cases(changed, checkpoints, usual))
    assert [(o.case.name, path) for o, path in zip(outcomes, fields, strict=True) if not o.problems] == []


def is_last_digit(before: Any, after: Any, path: tuple[str | int, ...]) -> bool:
    for key in path:
        before, after = before[key], after[key]
    return isinstance(before, float) and abs(after - before) <= LAST_DIGIT * abs(before)


# Cases that nobody recorded, made with the reference's definitions by this test alone


def log_probabilities(
    model: Denoiser, prompt: list[int], answer: list[int], masked: tuple[int, ...], scale: float
) -> Any:
    """In the order of the answer, float32 as the source has it: 0 where nothing is masked."""
    tokens = torch.tensor([[*prompt, *answer]])
    at = torch.zeros(tokens.shape, dtype=torch.bool)
    at[0, [len(prompt) + place for place in masked]] = True
    visible = tokens.masked_fill(at, model.mask_token_id)
    logits = model.logits(visible, None, at)
    if scale:
        visible[:, : len(prompt)] = model.mask_token_id
        other = model.logits(visible, None, at)
        logits = other + (scale + 1) * (logits - other)
    found = torch.zeros(tokens.shape)
    found[at] = logits.log_softmax(1).gather(1, tokens[at][:, None])[:, 0]
    return found[0]


def unseen_fixed(like: Any, model: Denoiser, scale: float) -> Any:
    prompt, answer, rows = [7, 8, 9], [21, 22, 23, 24, 25, 26, 27], 3
    randomness = random.Random(1)
    batches = []
    for start in (2, 6):
        masked = [tuple(randomness.sample(range(7), count)) for count in llada_counts(start, 7, rows)]
        ce = torch.stack([-log_probabilities(model, prompt, answer, each, scale) for each in masked])
        rate = torch.tensor([len(each) for each in masked]) / 7
        answers = [[model.mask_token_id if i in each else token for i, token in enumerate(answer)] for each in masked]
        batches.append(
            {
                "perturbed": [prompt + each for each in answers],
                "p_mask": rate.tolist(),
                "n_masked": [len(each) for each in masked],
                "batch_loss": ((ce / rate[:, None]).sum() / rows).item(),
                "token_ce": ce.abs().tolist(),
            }
        )
    return {
        **copy.deepcopy(like),
        "settings": {"mc_num": 6, "batch_size": 3, "cfg_scale": scale, "mask_id": model.mask_token_id},
        "prompt_ids": prompt,
        "answer_ids": answer,
        "batches": batches,
        "log_likelihood": -sum(batch["batch_loss"] for batch in batches) / 2,
    }


def unseen_exact(like: Any, model: Denoiser, scale: float) -> Any:
    prompt, answer = [7, 8, 9], [21, 22, 23, 24, 25]
    every = [masked for count in range(1, 6) for masked in itertools.combinations(range(5), count)]
    sums = {m: math.fsum(log_probabilities(model, prompt, answer, m, scale).tolist()) for m in every}
    sizes = {count: [value for m, value in sums.items() if len(m) == count] for count in range(1, 6)}
    by_count = {str(count): 5 / count * (sum(values) / len(values)) for count, values in sizes.items()}
    official = {
        str(size): math.fsum(by_count[str(c)] for start in range(1, 6) for c in llada_counts(start, 5, size))
        / (5 * size)
        for size in (1, 3, 8)
    }
    return {
        **copy.deepcopy(like),
        "settings": {"cfg_scale": scale, "mask_id": model.mask_token_id},
        "prompt_ids": prompt,
        "answer_ids": answer,
        "patterns": [{"masked": list(masked), "sum_logprob": value} for masked, value in sums.items()],
        "expected_by_count": by_count,
        "expected_log_likelihood": sum(by_count.values()) / 5,
        "expected_official_by_batch_size": official,
    }


@pytest.mark.parametrize("checkpoint", ["llada", "llada_gqa"])
@pytest.mark.parametrize("scale", [0.0, 1.5])
@pytest.mark.parametrize("make", [unseen_fixed, unseen_exact])
def test_an_unseen_case_passes(
    make: Callable[..., Any], scale: float, checkpoint: str, cases: list[Case], checkpoints: Checkpoints
) -> None:
    kind = make.__name__.replace("unseen", "likelihood")
    like = next(case for case in cases if case.data["kind"] == kind and case.data["checkpoint"] == checkpoint)
    data = make(like.data, checkpoints.denoiser(like.root, checkpoint), scale)
    assert problems(like, data, checkpoints) == ()


def repeated(data: Any) -> None:
    data["patterns"][1] = data["patterns"][0]


def another_masking(data: Any) -> None:
    data["batches"][0]["perturbed"][0] = data["batches"][0]["perturbed"][1]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("likelihood_00", lambda data: data["settings"].update(mc_num=9), "mc_num 9 is not 2 batches of 4"),
        ("likelihood_00", lambda data: data["settings"].update(cfg_scale=0.5), "token_ce[0]: 12.5361"),
        (
            "likelihood_00",
            lambda data: data["settings"].update(mask_id=291),
            "mask_id 291, but the checkpoint's is",
        ),
        (
            "likelihood_00",
            lambda data: data.update(log_likelihood=-52.5),
            "log_likelihood: -52.5 recorded, the",
        ),
        ("likelihood_00", another_masking, "batches[0].n_masked[0]: 2 recorded, 3 computed"),
        ("likelihood_00", lambda data: data["answer_ids"].append(3), "perturbed: expected 4 rows of 12"),
        ("likelihood_00", lambda data: data.update(answer_ids=[900]), "token id 900 is out of the model's 320"),
        ("likelihood_00", lambda data: data["source"].update(function="f"), "source: expected get_log_likelihood in"),
        (
            "likelihood_00",
            lambda data: data.update(kind="other"),
            "kind: expected one of likelihood_fixed,",
        ),
        ("likelihood_12", repeated, "patterns: expected every masking of 4 tokens once"),
        (
            "likelihood_12",
            lambda data: data["expected_by_count"].pop("2"),
            "expected_by_count: expected entries 1, 2",
        ),
        ("likelihood_12", lambda data: data["expected_by_count"].update(x=1.0), "expected numbers by whole numbers"),
        ("likelihood_12", lambda data: data.update(answer_ids=[5] * 13), "13 tokens, whose maskings are too many"),
    ],
)
def test_a_failure_says_what_differs(
    name: str, change: Callable[[Any], Any], message: str, cases: list[Case], checkpoints: Checkpoints
) -> None:
    case = next(case for case in cases if case.id == name)
    data = copy.deepcopy(case.data)
    change(data)
    assert any(message in problem for problem in problems(case, data, checkpoints))
