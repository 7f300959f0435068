"""The model as lm-eval sees it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import (
    DOCUMENTS,
    EXECUTION,
    SAMPLER,
    WARM,
    cell,
    save_checkpoint,
    save_documents,
    tiny_denoiser,
)
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from dlm.errors import CheckpointError, DataError, DlmError, SettingsError
from dlm.evaluation.chat import Chat, load_tokenizer
from dlm.evaluation.harness import load_tasks, run
from dlm.evaluation.lm import DiffusionLM
from dlm.sampling import Sampler
from dlm.settings import ExecutionSettings, LikelihoodSettings

PROMPTS = ["one", "a much longer prompt than the others", "three", "x", "yy"]


@pytest.fixture(scope="module")
def denoiser() -> Any:
    return tiny_denoiser()


def model(denoiser: Any, batch_size: int = 2, **changes: Any) -> DiffusionLM:
    settings: dict[str, Any] = {"sampler": WARM, "likelihood": LikelihoodSettings(samples=3), **changes}
    return DiffusionLM(denoiser, execution=ExecutionSettings(batch_size=batch_size), **settings)


def generate(prompts: list[str], until: tuple[str, ...] = ()) -> list[Instance]:
    return [
        Instance("generate_until", {}, (prompt, {"until": list(until)}), 0, ("t", index, 1))
        for index, prompt in enumerate(prompts)
    ]


def choose(*pairs: tuple[str, str]) -> list[Instance]:
    return [Instance("loglikelihood", {"id": "d7"}, pair, index, ("t", 0, 1)) for index, pair in enumerate(pairs)]


def test_answers_come_back_in_the_order_of_the_prompts(denoiser):
    whole = model(denoiser).generate_until(generate(PROMPTS))
    assert len(set(whole)) == len(PROMPTS)
    for prompt, answer in zip(PROMPTS, whole, strict=True):
        assert model(denoiser).generate_until(generate([prompt])) == [answer]
    assert model(denoiser).generate_until(generate(PROMPTS[::-1])) == whole[::-1]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_batch_size_does_not_change_answers(denoiser, batch_size):
    expected = model(denoiser).generate_until(generate(PROMPTS))
    assert model(denoiser, batch_size).generate_until(generate(PROMPTS)) == expected


def test_seeds_and_repeats_change_warm_answers(denoiser):
    request = generate(["one"])[0]
    first, second = model(denoiser).generate_until([request, request])
    assert first != second
    assert model(denoiser, seed=1).generate_until([request]) != [first]


def test_answers_begin_with_the_prefix_and_are_cut_after_it(denoiser):
    prefix = "<reasoning>\n"
    answer = model(denoiser, response_prefix=prefix).generate_until(generate(["one"]))[0]
    assert answer.startswith(prefix)
    assert len(answer) > len(prefix) + 2
    stop = answer[len(prefix) + 2]
    cut = model(denoiser, response_prefix=prefix).generate_until(generate(["one"], until=(stop, "\n")))[0]
    assert cut == answer[: answer.index(stop, len(prefix))]
    sample = Sampler(denoiser, SAMPLER).sample(["one" + prefix])[0]
    assert model(denoiser, sampler=SAMPLER, response_prefix=prefix).generate_until(generate(["one"])) == [
        prefix + sample.text
    ]


def test_likelihoods_come_back_in_order_and_in_any_batch(denoiser):
    pairs = [("ask", " abc"), ("a longer question", " d"), ("ask", " xyz"), ("", "unconditional")]
    together = model(denoiser, 7).loglikelihood(choose(*pairs))
    for pair, (found, greedy) in zip(pairs, together, strict=True):
        ((alone, _),) = model(denoiser, 1).loglikelihood(choose(pair))
        assert found == pytest.approx(alone, abs=1e-4)
        assert isinstance(found, float)
        assert isinstance(greedy, bool)


def test_context_and_continuation_part_where_the_texts_do(denoiser):
    assert model(denoiser)._split("turn\n", "7") == (
        denoiser.tokenizer.encode("turn\n"),
        denoiser.tokenizer.encode("7"),
    )
    ((_, greedy),) = model(denoiser).loglikelihood(choose(("turn\n", "7")))
    assert isinstance(greedy, bool)


def test_blanks_of_a_context_go_to_a_token_that_spans_the_border(denoiser):
    spanning = model(denoiser)
    merged = {"a ": [1, 2], "a b": [1, 3], "a": [1]}
    spanning.tok_encode = lambda string, **_: merged[string]  # type: ignore[method-assign]
    assert spanning._split("a ", "b") == ([1], [3])


def test_a_continuation_without_tokens_is_refused(denoiser):
    with pytest.raises(DataError, match="task 't', document 'd7': continuation '' adds no token"):
        model(denoiser).loglikelihood(choose(("ask", "")))


def test_what_does_not_fit_is_refused_with_task_document_and_lengths(denoiser):
    long = "p" * 121
    expected = "task 't', document '1': a prompt of 121 tokens and an answer of 8 exceed the model's 128 positions"
    with pytest.raises(SettingsError, match=expected):
        model(denoiser).generate_until(generate(["short", long]))
    with pytest.raises(SettingsError, match="document 'd7': a prompt of 127 tokens and an answer of 2 exceed"):
        model(denoiser).loglikelihood(choose(("p" * 127, "ab")))
    assert len(model(denoiser).generate_until(generate(["p" * 120]))) == 1


def test_perplexity_is_refused(denoiser):
    with pytest.raises(DlmError, match=r"task 't': rolling log-likelihood .* not supported yet"):
        model(denoiser).loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("text",), 0, ("t", 0, 1))])


def test_an_answers_length_is_that_before_its_stop_token(denoiser):
    lm = model(denoiser)
    sample = Sampler(denoiser, WARM).sample(["one"])[0]
    stop = sorted(denoiser.stop_token_ids)[0]
    tokens = (*sample.tokens[:3], stop, *sample.tokens[4:])
    generation = lm._generation(dataclasses.replace(sample, tokens=tokens, stopped=True, text="abc"))
    assert (generation.tokens, generation.stopped, generation.response) == (3, True, "abc")
    whole = [token for token in sample.tokens if token not in denoiser.stop_token_ids]
    assert lm._generation(dataclasses.replace(sample, tokens=tuple(whole), stopped=False)).tokens == len(whole)


MESSAGES = [{"role": "user", "content": " hi\n"}, {"role": "assistant", "content": "<think>\n"}]


@pytest.mark.parametrize(
    ("messages", "open_turn", "expected"),
    [
        (MESSAGES[:1], True, "<|im_start|>user\n hi\n<|im_end|>\n<|im_start|>assistant\n"),
        (MESSAGES, False, "<|im_start|>user\n hi\n<|im_end|>\n<|im_start|>assistant\n<think>\n"),
    ],
)
def test_chats_are_rendered_alike_with_and_without_weights(denoiser, tmp_path, messages, open_turn, expected):
    save_checkpoint(tmp_path / "checkpoint")
    replayed = Chat(lambda: load_tokenizer(tmp_path / "checkpoint"), "tiny").render(messages, open_turn)
    assert model(denoiser).apply_chat_template(messages, open_turn) == replayed == expected


def test_a_template_that_is_missing_or_refuses_is_named(denoiser, tmp_path):
    tokenizer = load_tokenizer(save_checkpoint(tmp_path / "checkpoint") and tmp_path / "checkpoint")
    tokenizer.chat_template = "{{ raise_exception('no system turn') }}"
    with pytest.raises(CheckpointError, match=r"'tiny': its chat template refuses .* user \(no system turn\)"):
        Chat(lambda: tokenizer, "tiny").render(MESSAGES[:1], True)
    tokenizer.chat_template = None
    with pytest.raises(CheckpointError, match="'tiny' has no chat template; set `chat: false`"):
        Chat(lambda: tokenizer, "tiny").render(MESSAGES[:1], True)
    with pytest.raises(CheckpointError, match="tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)


def test_lm_eval_finds_the_model_by_name_and_makes_it_of_arguments(tmp_path):
    save_checkpoint(tmp_path / "checkpoint")
    save_documents(tmp_path / "words", DOCUMENTS["words"])
    arguments = f"pretrained={tmp_path / 'checkpoint'},max_new_tokens=8,steps=4,seed=3,dtype=float32,samples=2"
    lm = get_model("dlm").create_from_arg_string(arguments, {"batch_size": 2, "max_batch_size": None, "device": None})
    assert isinstance(lm, DiffusionLM)
    one = cell("words")
    tasks = load_tasks([one], lambda name: tmp_path / name)["words"]
    results = run(lm, tasks, one)
    answers = [sample["resps"][0][0] for sample in results["samples"]["dlm_word_problems"]]
    other = DiffusionLM(lm.denoiser, sampler=SAMPLER, seed=3, execution=EXECUTION)
    assert answers == other.generate_until(
        generate([sample["arguments"][0][0] for sample in results["samples"]["dlm_word_problems"]])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("steps=4", "no 'pretrained'"),
        ("pretrained=x,stepps=4", "unknown 'stepps'; did you mean 'steps'"),
        ("pretrained={folder},steps=4", "needs 'max_new_tokens'"),
        ("pretrained={folder},max_new_tokens=8,steps=9", "steps 9 exceeds max_new_tokens 8"),
    ],
)
def test_arguments_that_cannot_be_are_refused(tmp_path, arguments, message):
    if "{folder}" in arguments:
        save_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(SettingsError, match=message):
        DiffusionLM.create_from_arg_string(arguments.format(folder=tmp_path / "checkpoint"))


def test_the_execution_is_described_without_the_machines_paths(denoiser):
    content = model(denoiser, 3).execution_content()
    assert (content["dtype"], content["device"], content["batch_size"]) == ("float32", "cpu", 3)
    assert sorted(content["versions"]) == ["dlm", "lm_eval", "torch", "transformers"]
    assert str(Path.home()) not in str(content)
