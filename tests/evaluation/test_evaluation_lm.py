"""The model as lm-eval sees it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import (
    DOCUMENTS,
    EXECUTION,
    SAMPLER,
    WARM,
    byte_tokenizer,
    cell,
    save_checkpoint,
    save_documents,
    tiny_denoiser,
)
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from dlm.errors import CheckpointError, DataError, SettingsError
from dlm.evaluation.chat import Chat, load_tokenizer
from dlm.evaluation.harness import load_tasks, run
from dlm.evaluation.lm import DiffusionLM
from dlm.evaluation.request import requests_of
from dlm.likelihood import Answer, windows
from dlm.models import Denoiser
from dlm.sampling import Sampler, begun
from dlm.settings import DreamMasks, ExecutionSettings, LikelihoodSettings

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


def test_a_request_that_the_model_fails_on_is_named_and_costs_no_other():
    denoiser = tiny_denoiser()
    token = denoiser.tokenizer.encode("z")[0]
    denoiser.model.get_input_embeddings().weight.data[token] = math.nan
    # Only a prompt with that token is touched; so no answer may propose it.
    suppressed = dataclasses.replace(WARM, proposer=dataclasses.replace(WARM.proposer, suppress_tokens=(token,)))
    answered: list[int] = []
    with pytest.raises(SettingsError, match="task 't', document '1': prompt 1: model: the logits are not finite"):
        for batch in model(denoiser, sampler=suppressed).generate(requests_of(generate(["abc", "xyz", "def"]))):
            answered += [index for index, _ in batch]
    assert sorted(answered) == [0, 2]


def texts(*strings: str) -> list[Instance]:
    return [Instance("loglikelihood_rolling", {}, (string,), 0, ("t", i, 1)) for i, string in enumerate(strings)]


def test_a_text_is_a_continuation_of_nothing(denoiser):
    every = {"likelihood": LikelihoodSettings(samples=63)}  # all maskings of six tokens, so that none is drawn
    found = model(denoiser, response_prefix="<r>", **every).loglikelihood_rolling(texts("to be", "or not"))
    plain = model(denoiser, **every).loglikelihood(choose(("", "to be"), ("", "or not")))
    assert found == pytest.approx([value for value, _ in plain], abs=1e-6)


def test_a_text_longer_than_the_model_is_the_sum_of_its_windows(denoiser):
    lm = model(denoiser)
    text = "".join(chr(ord("a") + i % 26) for i in range(300))
    parts = windows(lm.tok_encode(text), lm.prefix_token_id, 128)
    assert [len(part.tokens) for part in parts] == [127, 127, 46]
    found = [one for batch in lm._estimate(parts) for _, one in batch]
    (whole,) = lm._in_order(texts(text))
    assert whole.loglikelihood == pytest.approx(math.fsum(one.loglikelihood for one in found), abs=1e-6)
    assert whole.stderr == pytest.approx(math.hypot(*(one.stderr for one in found)), abs=1e-6)
    assert whole.forward_passes == 3 * 3
    with pytest.raises(DataError, match="task 't', document '0': continuation '' adds no token"):
        lm.loglikelihood_rolling(texts(""))


def test_the_perplexity_of_short_texts_is_within_its_standard_error(denoiser):
    """Against the bound by enumeration: texts of 8 bytes have 255 maskings, here 64 are drawn."""
    strings = ["a tiny t", "xt of 8 ", "ytes. ok"]
    exact = model(denoiser, 32, likelihood=LikelihoodSettings(samples=255))
    drawn = model(denoiser, 32, likelihood=LikelihoodSettings(samples=64))
    expected, found = (list(lm._in_order(texts(*strings))) for lm in (exact, drawn))
    assert [one.stderr for one in expected] == [0.0] * 3
    nats, wanted = (math.fsum(one.loglikelihood for one in each) / 24 for each in (found, expected))
    error = math.hypot(*(one.stderr for one in found)) / 24
    assert 0 < error < 1
    assert abs(nats - wanted) < 3 * error
    assert math.exp(-nats) == pytest.approx(math.exp(-wanted), rel=4 * error)


def test_block_diffusion_is_scored_block_by_block():
    made = tiny_denoiser()
    blocks = Denoiser(
        made.model, made.tokenizer, dataclasses.replace(made.conventions, objective="bd3lm", block_size=1)
    )
    settings = LikelihoodSettings(samples=1)
    ((found, _),) = model(blocks, likelihood=settings).loglikelihood(choose(("ask", "abc")))
    left_to_right = [("ask", "a"), ("aska", "b"), ("askab", "c")]
    parts = model(blocks, likelihood=settings).loglikelihood(choose(*left_to_right))
    assert found == pytest.approx(math.fsum(value for value, _ in parts), abs=1e-4)
    with pytest.raises(SettingsError, match="'dream' are of whole answers"):
        dream = LikelihoodSettings(samples=4, masks=DreamMasks(batch_size=4))
        model(blocks, likelihood=dream).loglikelihood(choose(("ask", "abc")))


def test_what_dreams_rule_puts_around_an_answer(denoiser):
    settings = LikelihoodSettings(samples=4, masks=DreamMasks(batch_size=4), begin_token=True)
    lm = model(denoiser, likelihood=settings)
    (request,) = requests_of(choose(("ask", "ab")))
    end = denoiser.tokenizer.eos_token_id
    assert lm._answer(request) == Answer((end, *lm.tok_encode("ask")), tuple(lm.tok_encode("ab")), (end,))
    (request,) = requests_of(choose(("", "ab")))
    assert lm._answer(request).context == (end,)
    with pytest.raises(SettingsError, match="an answer of 3 exceed the model's 128"):
        lm.loglikelihood(choose(("p" * 125, "ab")))
    assert len(lm.loglikelihood_rolling(texts("p" * 200))) == 1


def test_what_a_sampler_puts_before_a_prompt():
    denoiser, settings = tiny_denoiser(), dataclasses.replace(WARM, begin_token=True)
    with pytest.raises(SettingsError, match="begin_token: the tokenizer has no beginning-of-sequence token"):
        model(denoiser, sampler=settings).generate_until(generate(["ask"]))
    denoiser.tokenizer.bos_token = "!"
    begin = denoiser.tokenizer.bos_token_id
    given, plain = (model(denoiser, sampler=each).generate_until(generate(["!ask"])) for each in (settings, WARM))
    assert given == plain, "a prompt that begins so is left alone"
    assert begun(denoiser, settings, [7]) == [begin, 7] and begun(denoiser, WARM, [7]) == [7]
    with pytest.raises(SettingsError, match="a prompt of 121 tokens and an answer of 8 exceed the model's 128"):
        model(denoiser, sampler=settings).generate_until(generate(["p" * 120]))


def test_an_encoders_own_tokens_stand_before_and_behind(denoiser):
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    tokenizer.cls_token, tokenizer.sep_token = "<|im_start|>", "<|im_end|>"
    lm = model(Denoiser(denoiser.model, tokenizer, denoiser.conventions))
    assert (lm.prefix_token_id, lm.eot_token_id) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    tokenizer.sep_token = None
    with pytest.raises(CheckpointError, match="neither an end-of-sequence token nor a separator"):
        _ = lm.eot_token_id


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
        ("pretrained=x,preset=lada", "preset: unknown 'lada'; did you mean 'llada'"),
        ("pretrained=x,preset=llada,threshold=0.9", "unknown 'threshold'"),
        ("pretrained=x,preset=llada,steps=few", "model_args: steps: expected a whole number, got 'few'"),
        ("pretrained=x,batch_size=auto", "model_args: batch_size: expected a whole number, got 'auto'"),
        ("pretrained=x,greedy=always", "model_args: greedy: unknown 'always'"),
        ("pretrained=x,samples=0", "samples must be at least 1"),
        ("pretrained={folder},threshold=0.9", "there is no setting 'threshold' here"),
        ("pretrained={folder},steps=few", "model_args: steps: expected a whole number, got 'few'"),
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
