"""Who shares a batch with a prompt never changes its answer: every preset, every cache, rows that come and go."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import torch
from doubles import small_denoiser

from dlm.models import Denoiser
from dlm.sampling import Sample, Sampler
from dlm.settings import PRESETS, EndOfText, Guidance, SamplerSettings, preset

PROMPTS = [[4, 5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 5], [20, 4, 9, 9, 6], [6] * 11, [9, 8], [10, 4, 4, 12]]
STREAMS = list(range(50, 58))
STOP = EndOfText(tokens=("c", "d", "e", "f", "g"))


def small(name: str, **changes: Any) -> SamplerSettings:
    if "block_size" in PRESETS[name]:
        changes = {"block_size": 4, **changes}
    if "threshold" in PRESETS[name]:
        changes = {"threshold": 0.5, **changes}
    return preset(name, max_new_tokens=12, **changes)


@functools.cache
def model(shifted: bool) -> Denoiser:
    return small_denoiser("qwen2", shift=True) if shifted else small_denoiser(sharpness=3.0)


def answers(settings: SamplerSettings, order: list[int], **options: Any) -> list[Sample]:
    sampler = Sampler(model(settings.score_of == "proposer"), settings, seed=3, **options)
    samples = sampler.sample([PROMPTS[i] for i in order], streams=[STREAMS[i] for i in order])
    return [samples[order.index(i)] for i in range(len(PROMPTS))]


@functools.cache
def alone(settings: SamplerSettings) -> list[Sample]:
    sampler = Sampler(model(settings.score_of == "proposer"), settings, seed=3, record_order=True)
    return [sampler.sample([p], streams=[s])[0] for p, s in zip(PROMPTS, STREAMS, strict=True)]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_answers_alone_as_in_company(name: str, temperature: float) -> None:
    settings = small(name, temperature=temperature)
    expected = alone(settings)
    forwards, backwards = list(range(len(PROMPTS))), list(range(len(PROMPTS)))[::-1]
    together = answers(settings, forwards, batch_size=8, record_order=True)
    for one, other in zip(expected, together, strict=True):
        assert (one.tokens, one.steps, one.forward_passes) == (other.tokens, other.steps, other.forward_passes)
        assert 1 not in one.tokens, "nothing stays open"
    few = answers(settings, backwards, batch_size=3)
    assert [one.tokens for one in few] == [one.tokens for one in expected]


def sums_alike() -> bool:
    """Whether this machine's library gives a row of a matrix product the same bits beside 3 rows as beside 99."""
    left, right = torch.randn(100, 32), torch.randn(32, 24)
    return torch.equal(left[:4] @ right, (left @ right)[:4])


@pytest.mark.skipif(not sums_alike(), reason="this machine's matrix products depend on their number of rows")
@pytest.mark.parametrize("name", PRESETS)
def test_company_changes_no_bit_of_a_confidence(name: str) -> None:
    # A growing canvas is exact to the bit for blocks of a multiple of 16, any other for all blocks.
    settings = small(name, temperature=0.8, **({"block_size": 16} if name == "bd3lm" else {}))
    together = answers(settings, list(range(len(PROMPTS))), batch_size=3, record_order=True)
    assert [str(one.confidences) for one in together] == [str(one.confidences) for one in alone(settings)]


@pytest.mark.parametrize(
    "settings",
    [
        small("llada", block_size=4, stop=STOP, temperature=2.0),
        small("llada", block_size=4, stop=STOP, temperature=2.0, guidance=Guidance(scale=0.5)),
        small("fast-dllm-llada", stop=STOP, temperature=2.0),
        small("fast-dllm-llada-prefix", stop=STOP, temperature=2.0),
        small("fast-dllm-llada-dual", stop=STOP, temperature=2.0, guidance=Guidance(scale=0.5)),
        small("remdm", block_size=4, stop=EndOfText(tokens=("h", "i")), temperature=4.0, cap=0.3),
        small("bd3lm", stop=STOP, temperature=2.0),
        small("bd3lm", block_size=5, stop=STOP, temperature=2.0),
        small("bd3lm", stop=STOP, temperature=2.0, guidance=Guidance(scale=0.5)),
        small("bd3lm", stop=STOP, temperature=2.0, cache="none"),
        small("bd3lm", stop=STOP, temperature=2.0, hide_pad_token=True),
    ],
    ids=["full", "guided", "threshold", "prefix", "dual", "remasking", "growing", "short last block", "growing guided",
         "growing uncached", "hidden padding"],
)  # fmt: skip
def test_a_row_that_takes_the_place_of_another_is_answered_as_alone(settings: SamplerSettings) -> None:
    expected = alone(settings)
    assert len({len(sample.tokens) for sample in expected}) > 1, "the case should have answers of several lengths"
    order = [3, 5, 0, 2, 7, 6, 4, 1]
    found = answers(settings, order, batch_size=3)
    assert [(one.tokens, one.forward_passes) for one in found] == [(one.tokens, one.forward_passes) for one in expected]
    kept = answers(settings, order, batch_size=3, keep_finished=True)
    assert [one.tokens for one in kept] == [one.tokens for one in expected]


def test_places_are_taken_as_soon_as_they_are_free() -> None:
    settings = small("llada", block_size=4, stop=STOP, temperature=2.0)
    rows: list[int] = []
    Sampler(model(False), settings, seed=3, batch_size=3).sample(
        PROMPTS, streams=STREAMS, watch=lambda state: rows.append(len(state.start_B))
    )
    begun = [n for n, size in enumerate(rows) if size == 3]
    assert rows[: begun[-1]].count(3) == begun[-1], "no batch is smaller while prompts wait"


def test_an_exact_cache_gives_the_answers_of_none() -> None:
    cached = alone(small("bd3lm", temperature=0.8))
    plain = alone(small("bd3lm", temperature=0.8, cache="none"))
    assert [one.tokens for one in cached] == [one.tokens for one in plain]


def test_an_approximate_cache_says_so() -> None:
    settings = small("fast-dllm-llada-dual")
    assert "approximate" in str(dataclasses.asdict(settings))
    assert "approximate" not in str(dataclasses.asdict(small("fast-dllm-llada")))
