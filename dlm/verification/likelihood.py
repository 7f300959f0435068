"""Cases of kind ``likelihood``: bounds on the log-likelihood of an answer, with given masks or by enumeration.

As much as possible is derived from as little as possible: a case's own numbers are first compared with each other,
which no tolerance blurs, then with what this implementation computes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from dlm.likelihood import Row, Scorer, bound_by_count, expected_bound, llada_bound, llada_counts
from dlm.models import Denoiser
from dlm.verification.cases import Case
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import (
    Malformed,
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
from dlm.verification.sources import function_of, source

TOLERANCE = 1e-3
"""Largest difference between two log-probabilities, or sums of them, that agree."""
_ARITHMETIC = 1e-6
"""Largest relative difference that the order of a float32 sum makes."""
_LONGEST = 12
"""Tokens of an answer whose maskings are enumerated at most."""
_SOURCE = ("ML-GSAI/LLaDA", "get_log_likelihood.py")
_FUNCTIONS = {
    "likelihood_fixed": "get_log_likelihood",
    "likelihood_exact": "get_log_likelihood (expectation by enumeration)",
}
_TOKEN = whole(0)


def check(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    """Yield what differs within a case, and between it and this implementation."""
    kinds = {"likelihood_fixed": _check_fixed, "likelihood_exact": _check_exact}
    kind = case.data.get("kind") if isinstance(case.data, Mapping) else None
    if kind not in kinds:
        raise Malformed(f"kind: expected one of {', '.join(kinds)}, got {kind!r}")
    yield from kinds[kind](case, checkpoints)


# Recorded maskings

_BATCH = {
    "perturbed": matrix(_TOKEN),
    "p_mask": items(float32),
    "n_masked": items(whole(1)),
    "batch_loss": float32,
    "token_ce": matrix(float32),
}


def _check_fixed(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    settings = {"mc_num": whole(1), "batch_size": whole(1), "cfg_scale": number, "mask_id": _TOKEN}
    own = {"batches": items(lambda value: read_fields(value, _BATCH)), "log_likelihood": number}
    data = _read(case, settings, own)
    yield from _check_source(data)
    denoiser = _denoiser(case, data, checkpoints)
    yield from _check_mask_id(data, denoiser)
    asked = data["settings"]
    if not data["batches"] or asked["mc_num"] != asked["batch_size"] * len(data["batches"]):
        yield f"settings: mc_num {asked['mc_num']} is not {len(data['batches'])} batches of {asked['batch_size']}"
    for index, batch in enumerate(data["batches"]):
        for problem in _check_batch(data, batch, denoiser):
            yield f"batches[{index}].{problem}"
    losses = [batch["batch_loss"] for batch in data["batches"]]
    if losses and data["log_likelihood"] != -sum(losses) / len(losses):
        yield f"log_likelihood: {data['log_likelihood']!r} recorded, the batches give {-sum(losses) / len(losses)!r}"


def _check_batch(data: dict[str, Any], batch: dict[str, Any], denoiser: Denoiser) -> Iterator[str]:
    """Compare one forward pass of the source: masks, then cross-entropies, then the loss that they add up to."""
    prompt, answer, mask = data["prompt_ids"], data["answer_ids"], data["settings"]["mask_id"]
    rows, length = data["settings"]["batch_size"], len(prompt) + len(answer)
    for name in ("perturbed", "token_ce"):
        if len(batch[name]) != rows or len(batch[name][0]) != length:
            raise Malformed(f"{name}: expected {rows} rows of {length}")
    masked = [[token == mask for token in row[len(prompt) :]] for row in batch["perturbed"]]
    shown = [
        [*prompt, *(mask if hidden else token for token, hidden in zip(answer, row, strict=True))] for row in masked
    ]
    counts = [sum(row) for row in masked]
    yield from _differences(batch, perturbed=shown, n_masked=counts)
    if not all(counts):
        raise Malformed("perturbed: a row without a masked token")
    rates = (torch.tensor(counts) / len(answer)).tolist()
    yield from _differences(batch, p_mask=rates)
    if counts != llada_counts(counts[0], len(answer), rows):
        yield f"n_masked: {counts} is not spread as the source spreads {rows} maskings of {len(answer)} tokens"
    hidden = [[False] * len(prompt) + row for row in masked]
    recorded = [_pick(values, row) for values, row in zip(batch["token_ce"], hidden, strict=True)]
    for index, (values, row) in enumerate(zip(batch["token_ce"], hidden, strict=True)):
        if any(value != 0 for value, is_hidden in zip(values, row, strict=True) if not is_hidden):
            yield f"token_ce[{index}]: not 0 where nothing is masked"
    loss = math.fsum(value / rate for row, rate in zip(recorded, rates, strict=True) for value in row) / rows
    if not abs(batch["batch_loss"] - loss) <= _ARITHMETIC * abs(loss):
        yield f"batch_loss: {batch['batch_loss']:.9g} recorded, token_ce gives {loss:.9g}"
    computed = _score(denoiser, data, [tuple(_places(row)) for row in masked])
    for index, (left, right) in enumerate(zip(recorded, computed, strict=True)):
        for value, logp in zip(left, right, strict=True):
            if not abs(value + logp) <= TOLERANCE:
                yield f"token_ce[{index}]: {value:.9g} recorded, {-logp:.9g} computed"
                return


# Enumerated maskings


def _check_exact(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    pattern = {"masked": items(_TOKEN), "sum_logprob": number}
    own = {
        "patterns": items(lambda value: read_fields(value, pattern)),
        "expected_by_count": _numbered,
        "expected_log_likelihood": number,
        "expected_official_by_batch_size": _numbered,
    }
    data = _read(case, {"cfg_scale": number, "mask_id": _TOKEN}, own)
    yield from _check_source(data)
    denoiser = _denoiser(case, data, checkpoints)
    yield from _check_mask_id(data, denoiser)
    length = len(data["answer_ids"])
    if length > _LONGEST:
        raise Malformed(f"answer_ids: {length} tokens, whose maskings are too many to enumerate")
    every = [
        masked for count in range(1, length + 1) for masked in itertools.combinations(range(length), count)
    ]  # fmt: skip
    told = [tuple(each["masked"]) for each in data["patterns"]]
    if told != every:
        raise Malformed(f"patterns: expected every masking of {length} tokens once, by size and then in order")
    sums = {masked: each["sum_logprob"] for masked, each in zip(told, data["patterns"], strict=True)}
    yield from _check_expectations(data, bound_by_count(length, sums))
    for masked, logp in zip(every, _score(denoiser, data, every), strict=True):
        if not abs(sums[masked] - math.fsum(logp)) <= TOLERANCE:
            yield f"patterns: {list(masked)}: {sums[masked]:.9g} recorded, {math.fsum(logp):.9g} computed"
            return


def _check_expectations(data: dict[str, Any], by_count: Sequence[float]) -> Iterator[str]:
    """Compare the recorded expectations with those of the recorded sums: the source's arithmetic, in float64."""
    official = data["expected_official_by_batch_size"]
    if not all(official):
        raise Malformed("expected_official_by_batch_size: a batch size of 0")
    computed = {
        "expected_by_count": dict(enumerate(by_count, start=1)),
        "expected_log_likelihood": {0: expected_bound(by_count)},
        "expected_official_by_batch_size": {size: llada_bound(by_count, size) for size in official},
    }
    slack = {"expected_official_by_batch_size": 1e-15}  # in which order the source added these up is not known
    for name, wanted in computed.items():
        recorded = data[name] if isinstance(data[name], dict) else {0: data[name]}
        if recorded.keys() != wanted.keys():
            yield f"{name}: expected entries {', '.join(map(str, wanted))}, got {', '.join(map(str, recorded))}"
            continue
        for key, value in recorded.items():
            if not abs(value - wanted[key]) <= slack.get(name, 0) * abs(wanted[key]):
                yield f"{name}: {value!r} recorded, the patterns give {wanted[key]!r}"
                break


def _numbered(value: Any) -> dict[int, float]:
    """Read numbers by whole numbers, which JSON writes as texts."""
    if not isinstance(value, Mapping) or not all(key.isascii() and key.isdigit() for key in value):
        raise Malformed("expected numbers by whole numbers")
    if len({int(key) for key in value}) != len(value):
        raise Malformed("a whole number occurs twice")
    return {whole(0, 4096)(int(key)): number(each) for key, each in value.items()}


# What both have


def _read(case: Case, settings: Mapping[str, Any], own: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    common = {
        "id": text,
        "kind": one_of(*_FUNCTIONS),
        "source": source,
        "checkpoint": text,
        "settings": lambda value: read_fields(value, settings),
        "prompt_ids": items(_TOKEN),
        "answer_ids": items(_TOKEN),
    }
    data = read_fields(case.data, {**common, **own})
    if not data["prompt_ids"] or not data["answer_ids"]:
        raise Malformed("prompt_ids and answer_ids: at least one token each is expected")
    if data["settings"]["cfg_scale"] < 0:
        raise Malformed("settings: cfg_scale is negative")
    if data["settings"]["mask_id"] in data["answer_ids"]:
        raise Malformed("answer_ids: the mask token is among them")
    return data


def _check_source(data: dict[str, Any]) -> Iterator[str]:
    expected = (*_SOURCE, _FUNCTIONS[data["kind"]])
    if function_of(data["source"]) != expected:
        yield f"source: expected {expected[2]} in {expected[1]} of {expected[0]}"


def _denoiser(case: Case, data: dict[str, Any], checkpoints: Checkpoints) -> Denoiser:
    denoiser = checkpoints.denoiser(case.root, data["checkpoint"])
    highest = max(*data["prompt_ids"], *data["answer_ids"], data["settings"]["mask_id"])
    if highest >= denoiser.vocab_size:
        raise Malformed(f"token id {highest} is out of the model's {denoiser.vocab_size}")
    return denoiser


def _check_mask_id(data: dict[str, Any], denoiser: Denoiser) -> Iterator[str]:
    if denoiser.mask_token_id != data["settings"]["mask_id"]:
        yield f"settings: mask_id {data['settings']['mask_id']}, but the checkpoint's is {denoiser.mask_token_id}"


def _score(denoiser: Denoiser, data: dict[str, Any], maskings: Sequence[tuple[int, ...]]) -> list[list[float]]:
    """Log-probabilities of the masked answer tokens under each masking."""
    prompt, answer = tuple(data["prompt_ids"]), data["answer_ids"]
    rows = [
        Row(prompt, tuple(None if i in masked else token for i, token in enumerate(answer)), (), len(prompt))
        for masked in maskings
    ]
    targets = [[[answer[place] for place in masked]] for masked in maskings]
    return [scored.logp for (scored,) in Scorer(denoiser, data["settings"]["cfg_scale"]).score(rows, targets)]


def _places(flags: Sequence[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]


def _pick(values: Sequence[float], flags: Sequence[bool]) -> list[float]:
    return [value for value, flag in zip(values, flags, strict=True) if flag]


def _differences(data: dict[str, Any], **computed: Any) -> Iterator[str]:
    for name, values in computed.items():
        if found := difference(name, data[name], values):
            yield found
