"""Block diffusion: the growing canvas against a textbook loop, with and without its cache, alone and in company."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from doubles import small_denoiser, with_conventions, word_tokenizer

from dlm.errors import CheckpointError, SettingsError
from dlm.models import Conventions, Denoiser
from dlm.sampling import Sampler, default_settings, plain_settings, read_settings
from dlm.settings import (
    EndOfText,
    EvenSelector,
    FullCanvas,
    GrowingCanvas,
    Guidance,
    Proposer,
    SamplerSettings,
    ScheduleSelector,
)

PROMPTS = [[4, 5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 5], [20, 4, 9, 9, 6]]
STOP = EndOfText(tokens=("c", "d", "e", "f"))


def settings(length: int = 12, block: int = 4, steps: int = 6, cache: Any = "exact", **parts: Any) -> SamplerSettings:
    canvas = GrowingCanvas(max_new_tokens=length, block_size=block, cache=cache)
    return SamplerSettings(canvas=canvas, selector=ScheduleSelector(steps=steps), **parts)


def textbook(denoiser: Denoiser, prompt: list[int], chosen: SamplerSettings) -> list[int]:
    """BD3LM's sampling as its paper has it, one token a step: no padding, no batch, all computed anew each time."""
    canvas, guidance, mask = chosen.canvas, chosen.proposer.guidance, denoiser.mask_token_id
    tokens = list(prompt)
    for block in range(canvas.blocks):
        tokens += [mask] * min(canvas.block, canvas.max_new_tokens - block * canvas.block)
        number = [(i - len(prompt)) // canvas.block for i in range(len(tokens))]
        sees = torch.tensor([[[there <= here for there in number] for here in number]])
        still = [i for i in range(len(tokens)) if number[i] == block]
        while still:

            def scores(x: list[int], sees: torch.Tensor = sees) -> torch.Tensor:
                return denoiser.logits(torch.tensor([x]), sees, torch.ones(1, len(x), dtype=torch.bool)).double()

            logits = scores(tokens)
            if guidance:
                kept = [t if t in guidance.keep_tokens else mask for t in prompt]
                without = scores(kept + tokens[len(prompt) :])
                logits = without + (1 + guidance.scale) * (logits - without)
            probabilities = logits.softmax(1)
            probabilities[:, mask] = -1
            best = max(still, key=lambda i: (float(probabilities[i].max()), -i))
            tokens[best] = int(probabilities[best].argmax())
            still.remove(best)
    return tokens[len(prompt) :]


@pytest.mark.parametrize("cache", ["exact", "none"])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize(
    ("length", "block", "guidance"),
    [(12, 4, None), (9, 4, None), (3, 8, None), (6, 1, None), (8, 4, Guidance(scale=0.7, keep_tokens=(5, 9)))],
    ids=["blocks", "short last block", "block beyond answer", "single tokens", "guided"],
)
def test_the_loop_is_the_textbook_loop(cache: str, shift: bool, length: int, block: int, guidance: Any) -> None:
    denoiser = small_denoiser("qwen2" if shift else "llama", shift=shift)
    chosen = settings(length, block, -(-length // block) * block, cache, proposer=Proposer(guidance=guidance))
    for prompt, sample in zip(PROMPTS, Sampler(denoiser, chosen).sample(PROMPTS), strict=True):
        assert list(sample.tokens) == textbook(denoiser, prompt, chosen)
        assert sample.forward_passes == length


@pytest.mark.parametrize(
    "chosen",
    [
        settings(),
        settings(proposer=Proposer(temperature=0.8)),
        settings(score="random", block=3),
        settings(24, stop=STOP, proposer=Proposer(temperature=2.0)),
        settings(24, 8, 12, stop=STOP, proposer=Proposer(temperature=2.0, guidance=Guidance(scale=0.5))),
    ],
    ids=["plain", "tempered", "random", "stopping", "all"],
)
def test_company_order_and_cache_do_not_change_an_answer(chosen: SamplerSettings) -> None:
    denoiser = small_denoiser(sharpness=2.0)
    streams = [10, 11, 12, 13, 14]
    plain = dataclasses.replace(chosen, canvas=dataclasses.replace(chosen.canvas, cache="none"))
    together = Sampler(denoiser, chosen, seed=3, batch_size=5).sample(PROMPTS, streams=streams)
    paired = Sampler(denoiser, plain, seed=3, batch_size=2).sample(PROMPTS[::-1], streams=streams[::-1])[::-1]
    kept = Sampler(denoiser, chosen, seed=3, batch_size=5, keep_finished=True).sample(PROMPTS, streams=streams)
    alone = [
        Sampler(denoiser, chosen, seed=3).sample([prompt], streams=[stream])[0]
        for prompt, stream in zip(PROMPTS, streams, strict=True)
    ]
    for a, b, c, d in zip(together, paired, alone, kept, strict=True):
        assert a.tokens == b.tokens == c.tokens == d.tokens
        assert a.text == b.text == c.text == d.text
    if chosen.stop:
        assert len({len(sample.tokens) for sample in together}) > 1, "the case should have answers of several lengths"


def test_an_answer_is_done_with_the_block_that_holds_a_stop_token() -> None:
    denoiser = small_denoiser(sharpness=2.0)
    chosen = settings(24, 4, 24, stop=STOP, proposer=Proposer(temperature=2.0))
    samples = Sampler(denoiser, chosen, seed=1).sample(PROMPTS)
    kept = Sampler(denoiser, chosen, seed=1, keep_finished=True).sample(PROMPTS)
    stops = {6, 7, 8, 9}  # the letters c to f
    for sample in samples:
        last = len(sample.tokens) - 4
        assert not stops & set(sample.tokens[:last])
        assert sample.stopped == bool(stops & set(sample.tokens[last:]))
        assert sample.stopped or len(sample.tokens) == 24
        assert sample.forward_passes == len(sample.tokens), "one token a pass, and none after the end"
        assert not stops & set(denoiser.tokenizer.convert_tokens_to_ids(sample.text.split()))
    assert {sample.forward_passes for sample in kept} == {max(sample.forward_passes for sample in samples)}


def test_a_stop_saves_passes_on_a_full_canvas_too() -> None:
    denoiser = small_denoiser(sharpness=2.0)
    canvas, warm = FullCanvas(max_new_tokens=24, block_size=4), Proposer(temperature=2.0)
    whole = SamplerSettings(canvas=canvas, selector=EvenSelector(steps=24), proposer=warm)
    early = dataclasses.replace(whole, stop=STOP)
    for a, b in zip(Sampler(denoiser, whole).sample(PROMPTS), Sampler(denoiser, early).sample(PROMPTS), strict=True):
        assert a.tokens[: len(b.tokens)] == b.tokens
        assert b.forward_passes == len(b.tokens)


def test_the_cache_is_extended_and_never_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser = small_denoiser()
    columns: list[int] = []
    forward = denoiser.model.base_model.forward

    def spy(*args: Any, **options: Any) -> Any:
        columns.append(options["input_ids"].shape[1])
        return forward(*args, **options)

    sampler = Sampler(denoiser, settings(length=12, block=4, steps=6))
    monkeypatch.setattr(denoiser.model.base_model, "forward", spy)
    sampler.sample([PROMPTS[2]])
    # Seven tokens of prompt fill two blocks, which enter with the first block's first pass, a finished one with the
    # next one's.
    assert columns == [8 + 4, 4, 4 + 4, 4, 4 + 4, 4]


def test_steps_that_commit_nothing_take_no_pass() -> None:
    sample = Sampler(small_denoiser(), settings(length=8, block=4, steps=40)).sample([[4]])[0]
    assert (len(sample.tokens), sample.forward_passes) == (8, 8)


def test_the_canvas_is_watched_before_and_after_each_pass() -> None:
    seen: list[list[int]] = []
    chosen = settings(length=4, block=2, steps=4)
    sample = Sampler(small_denoiser(), chosen).sample(
        [[4]], watch=lambda state: seen.append(state.tokens_BL[0].tolist())
    )[0]
    assert [len(row) for row in seen] == [2, 4, 4, 6, 6]
    assert [row.count(1) for row in seen] == [0, 1, 0, 1, 0]
    assert tuple(seen[-1][2:]) == sample.tokens


def encoder(kind: str, **changes: Any) -> Denoiser:
    from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

    sizes = {"vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, **changes}
    sizes |= {"intermediate_size": 48, "pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 0}
    torch.manual_seed(0)
    model: Any = (
        BertForMaskedLM(BertConfig(**sizes))
        if kind == "bert"
        else ModernBertForMaskedLM(ModernBertConfig(**sizes, cls_token_id=3, sep_token_id=0))
    )
    return Denoiser(model, word_tokenizer(), Conventions(mask_token_id=1, shift=False, objective="mdlm")).eval()


@pytest.mark.parametrize("cache", ["exact", "none"])
def test_a_model_with_windows_is_refused(cache: str) -> None:
    with pytest.raises(CheckpointError, match="modernbert: a growing canvas needs attention without windows"):
        Sampler(encoder("modernbert"), settings(cache=cache))


def test_an_encoder_without_keys_and_values_is_refused_where_they_are_needed() -> None:
    denoiser = encoder("modernbert", layer_types=["full_attention"] * 2)
    with pytest.raises(CheckpointError, match=r"modernbert: an exact cache needs keys .*set cache to 'none'"):
        Sampler(denoiser, settings())
    chosen = settings(cache="none", steps=12)
    assert list(Sampler(denoiser, chosen).sample(PROMPTS)[0].tokens) == textbook(denoiser, PROMPTS[0], chosen)


def test_an_encoder_with_keys_and_values_uses_them() -> None:
    denoiser, chosen = encoder("bert"), settings(steps=12)
    for prompt, sample in zip(PROMPTS, Sampler(denoiser, chosen).sample(PROMPTS), strict=True):
        assert list(sample.tokens) == textbook(denoiser, prompt, chosen)


@pytest.mark.parametrize(
    "own",
    [
        settings(
            stop=STOP, proposer=Proposer(suppress_tokens=("a", 7), guidance=Guidance(scale=1.0, keep_tokens=(4,)))
        ),
        SamplerSettings(canvas=FullCanvas(max_new_tokens=8, block_size=3), selector=ScheduleSelector(steps=8)),
    ],
)
def test_a_checkpoints_own_settings_survive_its_config(own: SamplerSettings) -> None:
    stored = json.loads(json.dumps(dataclasses.asdict(own)))
    assert read_settings(stored) == own
    assert default_settings(with_conventions(small_denoiser(), sampler=stored)) == own


@pytest.mark.parametrize(
    "stored", [{}, {"proposer": {}}, {"proposer": {}, "canvas": {"kind": "round"}, "selector": {}}]
)
def test_a_config_that_is_not_legible_is_named(stored: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"diffusion.sampler is not legible: .*save the checkpoint again"):
        read_settings(stored)


def test_a_block_diffusion_model_is_decoded_as_one() -> None:
    denoiser = with_conventions(small_denoiser(), objective="bd3lm", block_size=8)
    chosen = default_settings(denoiser)
    assert chosen.canvas == GrowingCanvas(max_new_tokens=32, block_size=8)
    assert chosen.stop == EndOfText()
    assert plain_settings(denoiser, max_new_tokens=6, block_size=2, steps=3).selector == ScheduleSelector(steps=3)
    with pytest.raises(SettingsError, match="steps must be at least 1, got 0"):
        plain_settings(denoiser, max_new_tokens=6, steps=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: settings(length=0), "max_new_tokens must be at least 1, got 0"),
        (lambda: settings(block=0), "block_size must be at least 1, got 0"),
        (lambda: settings(steps=0), "steps must be at least 1, got 0"),
        (lambda: Guidance(scale=0.0), "scale must be above 0"),
        (
            lambda: SamplerSettings(
                canvas=GrowingCanvas(max_new_tokens=9, block_size=4), selector=EvenSelector(steps=3)
            ),
            "block_size 4 does not divide max_new_tokens 9; choose a divisor, or a selector of kind 'schedule'",
        ),
    ],
)
def test_settings_that_contradict_themselves_cannot_be_made(build: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build()


def test_a_prompt_beyond_the_model_is_refused() -> None:
    with pytest.raises(SettingsError, match="prompt 0 has 53 tokens; with max_new_tokens 12 the model's 64 positions"):
        Sampler(small_denoiser(), settings()).sample([[4] * 53])
    assert len(Sampler(small_denoiser(), settings()).sample([[4] * 52])[0].tokens) == 12, "padding takes no position"
