"""Mistakes: one clear error each; what a bad prompt does not touch is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from doubles import small_denoiser, with_conventions
from torch import Tensor

from dlm.errors import CheckpointError, SettingsError
from dlm.models import Denoiser
from dlm.sampling import PromptError, Sampler
from dlm.sampling.rules.base import Rule, rule_for
from dlm.settings import (
    ApproximateCache,
    EndOfText,
    EvenSelector,
    FactorSelector,
    FloorSelector,
    FullCanvas,
    GrowingCanvas,
    Guidance,
    OriginSelector,
    Proposer,
    RemaskingSelector,
    SamplerSettings,
    ScheduleSelector,
    ThresholdSelector,
    preset,
)

LLADA = preset("llada", max_new_tokens=6)
POISON = 23
"""A token whose embedding is not a number."""


def poisoned() -> Denoiser:
    denoiser = small_denoiser()
    denoiser.model.get_input_embeddings().weight.data[POISON] = float("nan")
    return denoiser


def test_bad_prompts_are_named_and_the_others_answered() -> None:
    sampler = Sampler(small_denoiser(), LLADA)
    with pytest.raises(PromptError, match=r"prompt 1 is empty.*\(and 1 more\); 2 others were answered") as caught:
        sampler.sample([[4], [], [5, 6], [99]])
    error = caught.value
    assert error.problems[3] == "prompt 3 holds token id 99; ids go from 0 to 23"
    assert {index: sample.tokens for index, sample in error.samples.items()} == {
        index: sampler.sample([prompt])[0].tokens for index, prompt in ((0, [4]), (2, [5, 6]))
    }


@pytest.mark.parametrize("name", ["llada", "bd3lm", "fast-dllm-llada-dual", "remdm"])
def test_numbers_that_are_not_finite_cost_their_own_prompt_only(name: str) -> None:
    # Unlike the full table, unlike the output: the poisoned token is in one prompt alone.
    denoiser, settings = poisoned(), preset(name, max_new_tokens=6, suppress_tokens=(POISON,))
    prompts = [[4], [5, POISON], [6, 7], [8]]
    with pytest.raises(
        PromptError, match="prompt 1: model: the logits are not finite; the weights are damaged"
    ) as caught:
        Sampler(denoiser, settings, batch_size=3).sample(prompts)
    expected = Sampler(small_denoiser(), settings).sample([[4], [6, 7], [8]])
    assert [sample.tokens for sample in caught.value.samples.values()] == [sample.tokens for sample in expected]


def test_answers_come_one_after_the_other() -> None:
    sampler = Sampler(small_denoiser(), LLADA, batch_size=1)
    done: list[int] = []
    with pytest.raises(PromptError, match="prompt 1 is empty"):
        for answers in sampler.stream([[4], [], [5, 6]]):
            done += answers
    assert done == [2, 0], "the longest first"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ([4, 5], r"prompt 0 holds no blank; put the mask token \(id 1\) where one is"),
        ([], "prompt 0 holds no blank"),
        ([1] * 65, "prompt 0 has 65 tokens; the model has 64 positions"),
        ([1, 24], "prompt 0 holds token id 24"),
    ],
)
def test_texts_that_cannot_be_infilled(text: list[int], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Sampler(small_denoiser(), LLADA).infill([text])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (preset("bd3lm", max_new_tokens=6), "infill needs a canvas of kind 'full'"),
        (preset("llada", max_new_tokens=6, stop=EndOfText()), "stop does not apply to infill"),
        (preset("llada", max_new_tokens=6, begin_token=True), "begin_token does not apply to infill"),
    ],
)
def test_settings_that_do_not_infill(settings: SamplerSettings, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Sampler(small_denoiser(), settings).infill([[4, 1]])


def test_infilling_fills_the_blanks_and_nothing_else() -> None:
    texts = [[1, 4, 1, 1, 9, 5], [7, 1], [8] * 5 + [1] * 9 + [3]]
    for settings in (
        LLADA,
        preset("llada", max_new_tokens=6, block_size=2),
        preset("fast-dllm-llada-prefix", max_new_tokens=6),
    ):
        samples = Sampler(small_denoiser(), settings).infill(texts)
        for text, sample in zip(texts, samples, strict=True):
            assert [token if given != 1 else 1 for given, token in zip(text, sample.tokens, strict=True)] == text
            assert 1 not in sample.tokens
            assert sample.tokens == Sampler(small_denoiser(), settings).infill([text])[0].tokens


def test_guidance_needs_a_model_with_a_mask_token() -> None:
    # The unconditional form is the canvas with its prompt masked.
    settings = preset("llada", max_new_tokens=6, guidance=Guidance(scale=1.0))
    with pytest.raises(CheckpointError, match="is autoregressive and has no mask token"):
        Sampler(with_conventions(small_denoiser(), mask_token_id=None, objective="ar"), settings)


def chosen(selector: Any, **parts: Any) -> SamplerSettings:
    canvas = parts.pop("canvas", FullCanvas(max_new_tokens=8, block_size=4))
    return SamplerSettings(canvas=canvas, selector=selector, **parts)


FIRST = FullCanvas(max_new_tokens=8, cache=ApproximateCache(kind="approximate_dual", first_pass="first_token"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Proposer(top_p=1.0), "top_p must be above 0 and below 1, got 1.0"),
        (lambda: Proposer(top_k=0), "top_k must be at least 1"),
        (lambda: ThresholdSelector(threshold=1.5), "threshold must be from 0 to 1"),
        (lambda: ThresholdSelector(threshold=0.5, most_steps=0), "most_steps must be at least 1"),
        (lambda: FactorSelector(factor=0), "factor must be above 0"),
        (lambda: FloorSelector(steps=4, epsilon=0), "epsilon must be above 0 and below 1"),
        (lambda: OriginSelector(steps=0), "steps must be at least 1"),
        (lambda: RemaskingSelector(steps=4, cap=2), "cap must be from 0 to 1"),
        (lambda: chosen(ThresholdSelector(threshold=0.5), score="random"), "which score 'random' is not"),
        (lambda: chosen(FactorSelector(factor=1), score="topk_margin"), "choose low_confidence"),
        (lambda: chosen(OriginSelector(steps=4), score="random"), "commits by chance: remove score"),
        (lambda: chosen(RemaskingSelector(steps=4), defer_tokens=(2,)), "commits by chance"),
        (lambda: chosen(OriginSelector(steps=4), score_of="proposer"), "commits by chance"),
        (lambda: chosen(EvenSelector(steps=8), proposer=Proposer(top_p=0.5)), "do not apply at temperature 0"),
        (lambda: preset("dream", max_new_tokens=8, selector="origin"), "is made of its own selector"),
        (lambda: preset("dream", max_new_tokens=8, score_of="propser"), "score_of: unknown 'propser'; did you mean"),
        (lambda: preset("bd3lm", max_new_tokens=32, cache="exakt"), "cache: unknown 'exakt'; did you mean 'exact'"),
        (lambda: ApproximateCache(kind="approximate_duall"), "did you mean 'approximate_dual'"),  # type: ignore[arg-type]
        (lambda: preset("llada", max_new_tokens="4"), "max_new_tokens must be a whole number, got '4'"),  # type: ignore[arg-type]
        (lambda: preset("llada", max_new_tokens=4, guidance=1.5), "guidance must be Guidance or None, got 1.5"),
        (lambda: preset("llada", max_new_tokens=4, suppress_tokens="x"), "suppress_tokens must be a tuple of"),
        (lambda: preset("mdlm", max_new_tokens=4, stochastic="no"), "stochastic must be True or False, got 'no'"),
        (lambda: chosen(ThresholdSelector(threshold=0.5), score_temperature=1), "score_temperature does not apply"),
        (lambda: chosen(EvenSelector(steps=8), score="random", score_of="proposer"), "do not apply to score 'random'"),
        (lambda: chosen(FloorSelector(steps=1), canvas=FIRST), "takes one of a block's steps, and there is only one"),
        (lambda: chosen(OriginSelector(steps=4), canvas=FIRST), "does not go with a selector of kind 'origin'"),
        (lambda: preset("lada", max_new_tokens=8), "preset: unknown 'lada'; did you mean 'llada'"),
        (lambda: preset("fast-dllm-llada", max_new_tokens=8, steps=4), "has no setting 'steps'"),
        (lambda: preset("llada", max_new_tokens=8, temprature=1), "did you mean 'temperature'"),
    ],
)  # fmt: skip
def test_settings_that_do_not_apply_cannot_be_written(build: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build()


def test_a_selector_without_a_rule_is_named() -> None:
    settings = SamplerSettings(canvas=GrowingCanvas(max_new_tokens=4, block_size=4), selector=object())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="selector: no rule for object; register one"):
        Sampler(small_denoiser(), settings).sample([[4]])


def test_presets_read_as_they_were_written() -> None:
    settings = preset("dream", max_new_tokens=32, steps=16, temperature=0.2, top_p=0.95)
    assert settings == SamplerSettings(
        canvas=FullCanvas(max_new_tokens=32),
        proposer=Proposer(temperature=0.2, top_p=0.95),
        score="negative_entropy",
        score_of="proposer",
        selector=FloorSelector(steps=16),
    )
    assert preset("mdlm", max_new_tokens=8).selector == ScheduleSelector(steps=8)


def test_the_parts_of_one_text_are_no_prompts() -> None:
    sampler = Sampler(small_denoiser(), preset("llada", max_new_tokens=6))
    for ask in (sampler.sample, sampler.infill, lambda text: list(sampler.stream(text))):
        with pytest.raises(SettingsError, match="prompts is one text; give a list"):
            ask("hello")


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("folder", None, "Sampler needs a Denoiser, got str"),
        (None, "llada", "settings must be SamplerSettings, got 'llada'"),
    ],
)
def test_a_sampler_says_what_it_needs(model: Any, settings: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Sampler(model or small_denoiser(), settings)
    with pytest.raises(SettingsError, match="batch_size must be at least 1, got 0"):
        Sampler(small_denoiser(), preset("llada", max_new_tokens=6), batch_size=0)


def test_prompts_and_streams_that_are_none() -> None:
    sampler = Sampler(small_denoiser(), preset("llada", max_new_tokens=6))
    with pytest.raises(SettingsError, match="a conversation becomes a"):
        sampler.sample([[{"role": "user", "content": "hi"}]])  # type: ignore[list-item]
    with pytest.raises(SettingsError, match="streams has 1 keys for 2 prompts"):
        sampler.sample([[3], [4]], streams=[1])
    with pytest.raises(PromptError, match="has no room beside max_new_tokens"):
        Sampler(small_denoiser(), preset("llada", max_new_tokens=600)).sample([[3]])


@dataclass(frozen=True, kw_only=True)
class NeverSelector:
    """Of a rule that commits nothing."""

    kind: str = "never"


@rule_for(NeverSelector)
class Never(Rule):
    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        return torch.zeros_like(open_BS)


def test_a_rule_that_commits_nothing_is_noticed() -> None:
    settings = SamplerSettings(canvas=FullCanvas(max_new_tokens=6), selector=NeverSelector())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="Never leaves positions open after 6 steps"):
        Sampler(small_denoiser(), settings).sample([[3]])


def test_an_infilled_text_is_not_cut_though_it_is_all_blanks() -> None:
    model = small_denoiser()
    sampler = Sampler(model, preset("mdlm", max_new_tokens=6))
    blank = sampler.infill([[1] * 8], streams=[3])[0]
    sampler.stop_token_ids = frozenset(blank.tokens[2:3])  # as if a token in its middle ended texts
    again = sampler.infill([[1] * 8], streams=[3])[0]
    assert again.tokens == blank.tokens and again.text == model.tokenizer.decode(blank.tokens, skip_special_tokens=True)
    assert not again.stopped
