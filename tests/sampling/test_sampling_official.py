"""ML-GSAI/LLaDA's rules for the end of a text, line by line as generate.py has them, at every temperature.

`confidence_eos_eot_inf` takes the end of text out of the noised logits and the end of turn out of the plain ones. At
temperature 0 the two are one tensor, so both tokens lose their confidence; above it the confidence, which is read off
the plain logits, loses the end of turn alone.
"""

from __future__ import annotations

import pytest
import torch
from doubles import small_denoiser

from dlm.diffusion.noise import gumbel
from dlm.models import Denoiser
from dlm.sampling import Sampler
from dlm.settings import SamplerSettings, preset

PROMPTS = [[4, 5, 6], [7], [8, 9, 10, 11], [5, 5], [20, 4, 9, 9, 6], [13, 12]]
EOS, EOT, LENGTH, SEED = 0, 2, 12, 3
"""The double finds them as likely as two tokens that it likes, so that the rules have something to do."""


def model() -> Denoiser:
    denoiser = small_denoiser(sharpness=0.4)
    rows = denoiser.model.get_output_embeddings().weight.data
    rows[EOS], rows[EOT] = rows[9], rows[13]
    return denoiser


def generate(
    denoiser: Denoiser, prompt: list[int], stream: int, *, temperature: float, logits_rule: bool, confidence_rule: bool
) -> list[int]:
    """The source's loop for one block and a step a token, its noise replaced by this project's, which never gives the
    mask token."""
    tokens = torch.tensor([prompt + [denoiser.mask_token_id] * LENGTH])
    for step in range(LENGTH):
        logits_LV = denoiser.logits(tokens, None, torch.ones_like(tokens, dtype=torch.bool)).double()
        if logits_rule:
            logits_LV[:, EOS] = -torch.inf
        noised_LV = logits_LV if temperature == 0 else logits_LV + temperature * noise(logits_LV, prompt, stream, step)
        allowed_LV = noised_LV.clone()
        allowed_LV[:, denoiser.mask_token_id] = -torch.inf
        drawn_L = allowed_LV.argmax(dim=-1)
        if confidence_rule:
            noised_LV[:, EOS] = logits_LV[:, EOT] = -torch.inf
        confidence_L = logits_LV.softmax(dim=-1).gather(1, drawn_L[:, None])[:, 0]
        confidence_L[tokens[0] != denoiser.mask_token_id] = -torch.inf
        best = int(confidence_L.argmax())
        tokens[0, best] = drawn_L[best]
    return tokens[0, len(prompt) :].tolist()


def noise(logits_LV: torch.Tensor, prompt: list[int], stream: int, step: int) -> torch.Tensor:
    position_L = torch.arange(len(logits_LV)) - len(prompt)
    return gumbel(SEED, torch.full_like(position_L, stream), logits_LV.shape[1], step, position_L)


def answers(settings: SamplerSettings) -> list[list[int]]:
    sampler = Sampler(model(), settings, seed=SEED)
    return [list(sample.tokens) for sample in sampler.sample(PROMPTS, streams=range(len(PROMPTS)))]


@pytest.mark.parametrize("confidence_rule", [False, True])
@pytest.mark.parametrize("logits_rule", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_end_of_text_rules_are_the_sources(temperature: float, logits_rule: bool, confidence_rule: bool) -> None:
    rules = {"temperature": temperature, "logits_rule": logits_rule, "confidence_rule": confidence_rule}
    expected = [generate(model(), prompt, stream, **rules) for stream, prompt in enumerate(PROMPTS)]
    deferred = () if not confidence_rule else (EOS, EOT) if temperature == 0 else (EOT,)
    settings = preset(
        "llada",
        max_new_tokens=LENGTH,
        temperature=temperature,
        suppress_tokens=(EOS,) if logits_rule else (),
        defer_tokens=deferred,
    )
    assert answers(settings) == expected


def test_above_temperature_0_the_rule_as_named_and_as_published_differ() -> None:
    published, named = (
        answers(preset("llada", max_new_tokens=LENGTH, temperature=0.7, defer_tokens=tokens))
        for tokens in ((EOT,), (EOS, EOT))
    )
    assert published != named
    assert published != answers(preset("llada", max_new_tokens=LENGTH, temperature=0.7))
