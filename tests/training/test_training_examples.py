"""Rows into examples and examples into batches."""

from __future__ import annotations

from typing import Any

import pytest
from doubles import word_tokenizer

from dlm.errors import DataError, SettingsError
from dlm.settings import BD3LM, MDLM, Recipe
from dlm.training import examples, streaming
from dlm.training.examples import Collator, Example, encode_rows
from dlm.training.streaming import StreamedExamples


def recipe(**changes: object) -> Recipe:
    plain = {"objective": MDLM(), "loss_on": "all", "max_length": 8, "steps": 1, "batch_size": 2, "learning_rate": 1e-3}
    return Recipe(**{**plain, **changes})  # type: ignore[arg-type]


def chat(question: str, answer: str) -> dict[str, object]:
    return {"id": "x", "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_texts_are_joined_with_the_end_token_and_cut() -> None:
    rows = [{"text": "a b c"}, {"text": "d e"}, {"text": "f"}]
    examples = encode_rows(rows, word_tokenizer(), recipe(max_length=4))
    # a b c <end> | d e <end> f | <end> is an incomplete tail
    assert [example.tokens for example in examples] == [(4, 5, 6, 0), (7, 8, 0, 9)]
    assert [example.number for example in examples] == [0, 1]


def test_a_chat_is_prompt_and_response() -> None:
    # The template closes each turn with <|eot_id|> and opens the assistant's with "a".
    (example,) = encode_rows([chat("b c", "a d")], word_tokenizer(), recipe(loss_on="response"))
    assert example.tokens == (5, 6, 2, 4, 7, 2)
    assert example.prompt == 4


def test_full_loss_counts_the_prompt_too() -> None:
    (example,) = encode_rows([chat("b c", "a d")], word_tokenizer(), recipe())
    assert example.prompt == 0


def test_a_long_response_is_cut_and_a_long_prompt_dropped() -> None:
    rows = [chat("b", "a d d d d d d d d"), chat("b b b b b b b b", "a d")]
    examples = encode_rows(rows, word_tokenizer(), recipe(loss_on="response"))
    assert [len(example.tokens) for example in examples] == [8]


def test_nothing_left_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match="none with room for a response within max_length 2; raise max_length"):
        encode_rows([chat("b b b", "a d")], word_tokenizer(), recipe(loss_on="response", max_length=2))


@pytest.mark.parametrize("make", [encode_rows, StreamedExamples])
def test_texts_that_fill_no_piece_together_are_told_so(make: Any) -> None:
    rows = [{"text": "a b"}, {"text": "c"}]
    with pytest.raises(
        DataError, match="2 training rows are 5 tokens together, fewer than max_length 8; lower max_len"
    ):
        make(rows, word_tokenizer(), recipe())


@pytest.mark.parametrize("make", [encode_rows, StreamedExamples])
def test_rows_that_are_dropped_are_counted(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [chat("b", "a d"), chat("b b b b b b b b", "a d"), chat("c", "a")]
    assert len(make(rows, word_tokenizer(), recipe(loss_on="response"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("1 of 3 training rows dropped: no room for a response within max_length 8")
    make(rows[:1], word_tokenizer(), recipe(loss_on="response"))
    assert not capsys.readouterr().err


def test_response_loss_on_plain_text_is_refused() -> None:
    with pytest.raises(SettingsError, match="needs chats"):
        encode_rows([{"text": "a"}], word_tokenizer(), recipe(loss_on="response"))


def test_a_chat_without_an_answer_is_named() -> None:
    with pytest.raises(DataError, match="row 7: expected"):
        encode_rows([{"id": 7, "messages": [{"role": "user", "content": "a"}]}], word_tokenizer(), recipe())


EXAMPLES = [Example(3, (5, 6, 7), 1), Example(9, (8,), 0)]


def test_trained_filler_is_visible_and_counts() -> None:
    batch = Collator(0, train_filler=True)(EXAMPLES)
    assert batch["tokens"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, 0, 0]]
    assert batch["attention"].all()
    assert batch["rows"].tolist() == [3, 9]


def test_ignored_filler_is_hidden_and_does_not_count() -> None:
    batch = Collator(0, train_filler=False)(EXAMPLES)
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert batch["attention"].tolist() == [[True, True, True], [True, False, False]]


def test_end_tokens_fill_the_last_block_and_the_rest_is_ignored() -> None:
    blocks = recipe(objective=BD3LM(block_size=4), filler="eos_to_block", loss_on="response")
    examples = encode_rows([chat("b c", "a d"), chat("b", "a")], word_tokenizer(), blocks)
    # prompt b c <eot> a, answer d <eot>, two end tokens; prompt b <eot> a, answer <eot>
    assert [example.tokens for example in examples] == [(5, 6, 2, 4, 7, 2, 0, 0), (5, 2, 4, 2)]
    batch = Collator(9, train_filler=False)(examples)
    assert batch["labels"].tolist() == [[-100] * 4 + [7, 2, 0, 0], [-100] * 3 + [2] + [-100] * 4]
    assert batch["tokens"][1].tolist() == [5, 2, 4, 2, 9, 9, 9, 9]
    assert batch["attention"][1].tolist() == [True] * 4 + [False] * 4


def test_block_filler_needs_blocks_that_fit() -> None:
    with pytest.raises(SettingsError, match="needs objective kind bd3lm, not mdlm"):
        recipe(filler="eos_to_block")
    with pytest.raises(SettingsError, match="max_length 8 must be a multiple of block_size 3"):
        recipe(filler="eos_to_block", objective=BD3LM(block_size=3))


@pytest.mark.parametrize("make", [encode_rows, StreamedExamples])
@pytest.mark.parametrize(("packing", "filler"), [(False, "eos"), (True, "ignore")])
def test_texts_and_chats_do_not_mix(make: Any, packing: bool, filler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first row of all says what they are, also where few are encoded at once."""
    monkeypatch.setattr(streaming, "_TOGETHER", 1)
    mixed = [{"id": 1, "text": "a"}, {**chat("b c", "a d"), "id": 2}]
    with pytest.raises(DataError, match="row 2: expected 'text', as the first row has; keep texts and chats apart"):
        make(mixed, word_tokenizer(), recipe(max_length=2, packing=packing, filler=filler))
    with pytest.raises(DataError, match="row 1: expected 'messages', as the first row has; keep texts and chats"):
        make(mixed[::-1], word_tokenizer(), recipe(packing=packing, filler=filler))


def test_rows_are_encoded_some_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all rows at once the tokenizer would keep far more than their tokens."""
    tokenizer, sizes = word_tokenizer(), []

    def counted(texts: list[str], **options: Any) -> Any:
        sizes.append(len(texts))
        return tokenizer(texts, **options)

    counted.eos_token_id = tokenizer.eos_token_id  # type: ignore[attr-defined]
    rows = [{"text": word} for word in "abcde"]
    expected = encode_rows(rows, tokenizer, recipe(max_length=2))
    monkeypatch.setattr(examples, "_TOGETHER", 2)
    assert encode_rows(rows, counted, recipe(max_length=2)) == expected
    assert sizes == [2, 2, 1]
