"""The sampler as a whole, against a textbook loop and against itself in other company."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from doubles import small_denoiser, with_conventions

from dlm.errors import SettingsError
from dlm.models import Denoiser
from dlm.sampling import Sampler, default_settings
from dlm.settings import EvenSelector, FullCanvas, Proposer, SamplerSettings

PROMPTS = [[4, 5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 5], [20, 4, 9, 9, 6]]


def settings(length: int = 12, block: int | None = None, steps: int = 6, **parts: object) -> SamplerSettings:
    return SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length, block_size=block),
        selector=EvenSelector(steps=steps),
        **parts,  # type: ignore[arg-type]
    )


def textbook(denoiser: Denoiser, prompt: list[int], chosen: SamplerSettings) -> list[int]:
    """LLaDA's loop at temperature 0 as its paper's pseudocode has it: one prompt, full logits, plain Python."""
    answer, block = chosen.canvas.max_new_tokens, chosen.canvas.block
    tokens = prompt + [denoiser.mask_token_id] * answer
    still = set(range(len(prompt), len(tokens)))
    for number in range(chosen.canvas.blocks):
        inside = [len(prompt) + number * block + offset for offset in range(block)]
        steps = chosen.selector.steps // chosen.canvas.blocks
        for step in range(steps):
            x = torch.tensor([tokens])
            logits = denoiser.logits(x, None, torch.ones_like(x, dtype=torch.bool)).double()
            logits[:, list(chosen.proposer.suppress_tokens)] = -torch.inf
            allowed = logits.clone()
            allowed[:, denoiser.mask_token_id] = -torch.inf
            best = allowed.argmax(1)
            logits[:, list(chosen.defer_tokens)] = -torch.inf
            probabilities = logits.softmax(1)
            candidates = sorted((i for i in inside if i in still), key=lambda i: (-float(probabilities[i, best[i]]), i))
            for position in candidates[: block // steps + (step < block % steps)]:
                tokens[position] = int(best[position])
                still.discard(position)
    return tokens[len(prompt) :]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize(("length", "block", "steps"), [(12, 12, 12), (12, 12, 5), (12, 4, 6), (8, 1, 8), (9, 9, 1)])
def test_the_loop_is_the_textbook_loop(shift: bool, length: int, block: int, steps: int) -> None:
    denoiser = small_denoiser("qwen2" if shift else "llama", shift=shift)
    chosen = settings(length, block, steps)
    samples = Sampler(denoiser, chosen).sample(PROMPTS)
    for prompt, sample in zip(PROMPTS, samples, strict=True):
        assert list(sample.tokens) == textbook(denoiser, prompt, chosen)
        assert sample.forward_passes == steps


@pytest.mark.parametrize(
    "chosen",
    [
        settings(),
        settings(block=4),
        settings(score="random"),
        settings(proposer=Proposer(temperature=0.8)),
        settings(score="random", proposer=Proposer(temperature=1.0), block=6),
    ],
    ids=["plain", "blocks", "random", "tempered", "all"],
)
def test_company_and_order_do_not_change_an_answer(chosen: SamplerSettings) -> None:
    denoiser = small_denoiser()
    streams = [10, 11, 12, 13, 14]
    together = Sampler(denoiser, chosen, seed=3, batch_size=5).sample(PROMPTS, streams=streams)
    paired = Sampler(denoiser, chosen, seed=3, batch_size=2).sample(PROMPTS[::-1], streams=streams[::-1])[::-1]
    alone = [
        Sampler(denoiser, chosen, seed=3).sample([prompt], streams=[stream])[0]
        for prompt, stream in zip(PROMPTS, streams, strict=True)
    ]
    for a, b, c in zip(together, paired, alone, strict=True):
        assert a.tokens == b.tokens == c.tokens


def test_the_place_of_a_prompt_does_not_change_its_random_answer() -> None:
    denoiser, chosen = small_denoiser(), settings(proposer=Proposer(temperature=1.0))
    forwards = Sampler(denoiser, chosen).sample(PROMPTS)
    backwards = Sampler(denoiser, chosen).sample(PROMPTS[::-1])[::-1]
    assert [sample.tokens for sample in forwards] == [sample.tokens for sample in backwards]


def test_the_seed_and_the_stream_change_a_random_answer() -> None:
    denoiser, chosen = small_denoiser(sharpness=0.5), settings(proposer=Proposer(temperature=2.0))
    drawn = {
        Sampler(denoiser, chosen, seed=seed).sample([[5]], streams=[stream])[0].tokens
        for seed in (0, 1)
        for stream in (0, 1)
    }
    assert len(drawn) == 4


def test_suppressed_tokens_and_the_mask_never_come_out() -> None:
    denoiser, suppressed = small_denoiser(sharpness=0.1), (0, 2, "a")
    chosen = settings(length=40, steps=8, proposer=Proposer(temperature=3.0, suppress_tokens=suppressed))
    tokens = {token for sample in Sampler(denoiser, chosen).sample(PROMPTS) for token in sample.tokens}
    assert not tokens & {0, 1, 2, 4}
    assert len(tokens) > 5


@pytest.mark.parametrize("suppressed", [(), (9, 13)])
@pytest.mark.parametrize("deferred", [(9,), (5, 16)])
def test_deferred_and_suppressed_tokens_as_in_the_textbook(suppressed: tuple, deferred: tuple) -> None:
    denoiser = small_denoiser()
    chosen = settings(steps=12, proposer=Proposer(suppress_tokens=suppressed), defer_tokens=deferred)
    answers = [list(sample.tokens) for sample in Sampler(denoiser, chosen).sample(PROMPTS)]
    assert answers == [textbook(denoiser, prompt, chosen) for prompt in PROMPTS]
    plain = Sampler(denoiser, settings(steps=12)).sample(PROMPTS)
    assert answers != [list(sample.tokens) for sample in plain], "the case should show the difference"


def test_text_ends_at_the_first_stop_token() -> None:
    denoiser = small_denoiser(sharpness=0.1)
    chosen = settings(length=30, steps=10, proposer=Proposer(temperature=3.0))
    samples = Sampler(denoiser, chosen).sample(PROMPTS)
    stops = denoiser.stop_token_ids
    assert {sample.stopped for sample in samples} == {True, False} or all(sample.stopped for sample in samples)
    for sample in samples:
        end = next((place for place, token in enumerate(sample.tokens) if token in stops), len(sample.tokens))
        assert sample.stopped == (end < len(sample.tokens))
        assert sample.text == denoiser.tokenizer.decode(sample.tokens[:end], skip_special_tokens=True)


def test_texts_and_ids_are_the_same_prompt() -> None:
    sampler = Sampler(small_denoiser(), settings())
    assert sampler.sample(["b c"])[0].tokens == sampler.sample([[5, 6]])[0].tokens


def test_the_checkpoints_own_settings_are_used_when_none_are_given() -> None:
    own = settings(block=6, proposer=Proposer(suppress_tokens=("a", 7)))
    denoiser = with_conventions(small_denoiser(), sampler=dataclasses.asdict(own))
    assert default_settings(denoiser) == own
    assert Sampler(denoiser).sample([[5]])[0].tokens == Sampler(denoiser, own).sample([[5]])[0].tokens


def test_the_librarys_settings_are_used_where_the_checkpoint_has_none() -> None:
    denoiser = small_denoiser()
    assert default_settings(denoiser).canvas.max_new_tokens == denoiser.max_positions // 2 == 32
    denoiser.model.config.max_position_embeddings = 4096
    assert default_settings(denoiser).canvas.max_new_tokens == 128


def test_progress_counts_every_prompt() -> None:
    told: list[int] = []
    Sampler(small_denoiser(), settings(), batch_size=2).sample(PROMPTS, progress=told.append)
    assert sum(told) == len(PROMPTS)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt 1 is empty"),
        ("", "prompt 1 is empty"),
        ([4] * 53, "prompt 1 has 53 tokens; with max_new_tokens 12 the model's 64 positions leave room for 52"),
        ([4, 24], "prompt 1 holds token id 24; ids go from 0 to 23"),
        ([-1], "prompt 1 holds token id -1"),
        ([4, 1], r"prompt 1 holds the mask token \(id 1\) at 1; blanks are filled by infill"),
    ],
)
def test_a_bad_prompt_is_named(prompt: list[int] | str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Sampler(small_denoiser(), settings()).sample([[4], prompt])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: settings(length=0), "max_new_tokens must be at least 1, got 0"),
        (lambda: settings(block=5), "block_size 5 does not divide max_new_tokens 12"),
        (lambda: settings(steps=0), "steps must be at least 1"),
        (lambda: settings(steps=13), "steps 13 exceeds max_new_tokens 12"),
        (lambda: settings(block=4, steps=7), "steps 7 is not a multiple of the 3 blocks"),
        (lambda: settings(proposer=Proposer(temperature=-1)), "temperature must be at least 0"),
        (lambda: settings(score="random", defer_tokens=(2,)), "defer_tokens does not apply to score 'random'"),
    ],
)
def test_settings_that_contradict_themselves_cannot_be_made(build, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build()
