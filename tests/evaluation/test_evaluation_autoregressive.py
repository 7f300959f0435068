"""Autoregressive baselines: greedy answers and exact likelihoods, against a loop written out here."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from doubles import small_architecture, word_tokenizer

from dlm.errors import SettingsError
from dlm.evaluation.autoregressive import AutoregressiveLM
from dlm.evaluation.request import Request
from dlm.models import Denoiser, make_denoiser
from dlm.settings import ExecutionSettings, GreedySettings

PROMPTS = ["a b c", "d", "e f g h i", "k k"]


@pytest.fixture(scope="module", params=["gpt2", "qwen3"])
def model(request: pytest.FixtureRequest) -> Denoiser:
    made = make_denoiser(small_architecture(request.param), word_tokenizer(), causal=True, shift=True, seed=1)
    made.model.get_input_embeddings().weight.data.mul_(30)  # outputs far from uniform, so that decisions have margins
    return made.eval()


def wrapped(model: Denoiser, tokens: int = 12, batch_size: int = 4, prefix: str = "") -> AutoregressiveLM:
    execution = ExecutionSettings(device="cpu", batch_size=batch_size)
    greedy = GreedySettings(max_new_tokens=tokens)
    return AutoregressiveLM(model, greedy=greedy, response_prefix=prefix, execution=execution)


def asked(prompt: str, index: int, continuation: str | None = None) -> Request:
    place: dict[str, Any] = {"task": "t", "doc_id": index, "position": index, "index": 0, "repeat": 0}
    return Request(prompt=prompt, continuation=continuation, **place)


def by_hand(model: Denoiser, prompt: str, room: int) -> list[int]:
    tokens, answer = model.tokenizer.encode(prompt, add_special_tokens=False), []
    for _ in range(room):
        answer.append(int(model.model(torch.tensor([tokens + answer])).logits[0, -1].argmax()))
        if answer[-1] in model.stop_token_ids:
            break
    return answer


@torch.inference_mode()
@pytest.mark.parametrize("batch_size", [1, 4])
def test_answers_are_those_of_a_greedy_loop(model: Denoiser, batch_size: int) -> None:
    lm = wrapped(model, batch_size=batch_size)
    requests = [asked(prompt, index) for index, prompt in enumerate(PROMPTS)]
    found = dict(pair for batch in lm.generate(requests) for pair in batch)
    for index, prompt in enumerate(PROMPTS):
        expected = by_hand(model, prompt, 12)
        stopped = expected[-1] in model.stop_token_ids
        assert found[index].response == model.tokenizer.decode(expected, skip_special_tokens=True)
        assert (found[index].stopped, found[index].tokens) == (stopped, len(expected) - stopped)
        assert len(expected) <= found[index].forward_passes <= 12


@torch.inference_mode()
def test_an_answer_ends_at_the_end_of_a_turn(model: Denoiser) -> None:
    lm = wrapped(model, tokens=20, batch_size=1)
    third = by_hand(model, "a b c", 3)[-1]
    with pytest.MonkeyPatch.context() as patch:
        # whatever comes third is made the token that ends a turn
        patch.setattr(model.model.generation_config, "eos_token_id", [third])
        patch.setitem(model.__dict__, "stop_token_ids", frozenset([third]))
        ((_, generation),) = next(iter(lm.generate([asked("a b c", 0)])))
    assert generation.stopped and generation.tokens == by_hand(model, "a b c", 3).index(third)


@torch.inference_mode()
def test_likelihoods_are_exact(model: Denoiser) -> None:
    lm = wrapped(model, prefix=" c")
    requests = [asked("a b", 0, " d e"), asked("a b", 1, " f")]
    found = dict(pair for batch in lm.estimate(requests) for pair in batch)
    for index, request in enumerate(requests):
        tokens = model.tokenizer.encode(request.prompt + " c" + str(request.continuation), add_special_tokens=False)
        logs = model.model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        expected = sum(float(logs[place - 1, tokens[place]]) for place in range(3, len(tokens)))
        assert found[index].loglikelihood == pytest.approx(expected, abs=1e-3)
        assert (found[index].stderr, found[index].forward_passes) == (0.0, 1)


def test_a_prompt_without_room_is_refused_not_cut(model: Denoiser) -> None:
    with pytest.raises(SettingsError, match=r"task 't', document '0': a prompt of 60 tokens and an answer of 12"):
        next(iter(wrapped(model).generate([asked("a " * 60, 0)])))


def test_how_it_was_run_is_told(model: Denoiser) -> None:
    assert wrapped(model).execution_content()["batch_size"] == 4


def test_a_whole_text_of_any_length_is_scored(model: Denoiser) -> None:
    """Each token given those before it, the first given what `HFLM` puts there; windows are of the model's length."""
    lm = wrapped(model, prefix=" not used")
    text = " ".join("abcdefghij"[place % 10] for place in range(70))
    requests = [dataclasses.replace(asked("", index, each), rolling=True) for index, each in enumerate(["a b c", text])]
    found = dict(pair for batch in lm.estimate(requests) for pair in batch)
    tokens = [lm._lm.prefix_token_id, *model.tokenizer.encode("a b c", add_special_tokens=False)]
    logs = model.model(torch.tensor([tokens])).logits[0].log_softmax(-1).detach()
    expected = sum(float(logs[place - 1, tokens[place]]) for place in range(1, 4))
    assert found[0].loglikelihood == pytest.approx(expected, abs=1e-3)
    assert [found[index].forward_passes for index in (0, 1)] == [1, 2]
    assert found[1].loglikelihood < found[0].loglikelihood
