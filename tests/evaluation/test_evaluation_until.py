"""Stop texts of tasks: they end sampling, are part of what was asked, and change no final answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import ExampleCell, byte_tokenizer, tiny_denoiser
from lm_eval.api.instance import Instance

from dlm.errors import DataError
from dlm.evaluation.chat import Chat
from dlm.evaluation.lm import DiffusionLM
from dlm.evaluation.records import RecordStore
from dlm.evaluation.replay import RecordedLM
from dlm.evaluation.request import requests_of
from dlm.evaluation.scores import _totals
from dlm.files import read_jsonl
from dlm.settings import EvenSelector, ExecutionSettings, FullCanvas, Proposer, SamplerSettings

PREFIX = "<r>"
OTHERS = tuple(index for token, index in byte_tokenizer().get_vocab().items() if len(token) > 1 or not token.isascii())
"""All tokens but those of one printable letter, so that every answer is text of as many letters as tokens."""
BLOCKS = SamplerSettings(
    canvas=FullCanvas(max_new_tokens=24, block_size=4),
    proposer=Proposer(temperature=1.0, suppress_tokens=OTHERS),
    selector=EvenSelector(steps=24),
)
PROMPTS = ["one", "a much longer prompt than the others", "three", "x"]


@pytest.fixture(scope="module")
def model() -> DiffusionLM:
    execution = ExecutionSettings(batch_size=4, device="cpu")
    return DiffusionLM(tiny_denoiser(), sampler=BLOCKS, response_prefix=PREFIX, execution=execution)


@pytest.fixture(scope="module")
def whole(model: DiffusionLM) -> list[str]:
    """Answers to their ends, without the prefix."""
    return [answer.removeprefix(PREFIX) for answer in model.generate_until(instances())]


def instances(stops: list[list[str]] | None = None) -> list[Instance]:
    return [
        Instance("generate_until", {}, (prompt, {"until": stops[index] if stops else []}), 0, ("t", index, 1))
        for index, prompt in enumerate(PROMPTS)
    ]


def recorded(path: Path, backend: Any) -> RecordedLM:
    one: Any = ExampleCell(task="t", task_settings=None, sampler=BLOCKS, response_prefix=PREFIX)  # type: ignore[arg-type]
    store = RecordStore(path, writable=backend is not None)
    chat = Chat(byte_tokenizer, "t")
    return RecordedLM(store, one, checkpoint="c", versions={"t": 1}, chat=chat, backend=backend and (lambda: backend))


def test_answers_are_cut_as_before_and_cost_less(model, whole, tmp_path):
    stops = [[answer[5:7]] for answer in whole]
    expected = [PREFIX + answer[: answer.find(stop)] for answer, (stop,) in zip(whole, stops, strict=True)]
    lm = recorded(tmp_path / "records.jsonl", model)
    assert lm.generate_until(instances(stops)) == expected
    lm.store.close()
    lines = [line for line in read_jsonl(tmp_path / "records.jsonl") if "what" in line]
    assert all(line["forward_passes"] <= 12 and line["stopped"] for line in lines), "of 24"
    by_prompt = {line["prompt"]: line for line in lines}
    for prompt, answer, (stop,) in zip(PROMPTS, whole, stops, strict=True):
        assert by_prompt[prompt]["until"] == [stop]
        assert len(by_prompt[prompt]["response"]) < len(PREFIX + answer)
        assert by_prompt[prompt]["tokens"] == answer.find(stop)
    replay = recorded(tmp_path / "records.jsonl", None)
    assert replay.generate_until(instances(stops)) == expected
    with pytest.raises(DataError, match="no record for task 't', document '0'"):
        replay.generate_until(instances())
    with pytest.raises(DataError, match="no record for task 't', document '0'"):
        replay.generate_until(instances([[*each, "other"] for each in stops]))


def test_length_and_truncation_do_not_depend_on_where_sampling_ended(model, whole):
    """A stop text of which it is known only at the end: everything is sampled, and the same is said of the answer."""
    number, place = next(
        (number, place)
        for number, answer in enumerate(whole)
        for place in range(2, 12)
        if answer.find(answer[place : place + 3]) == place
    )
    stop = whole[number][place : place + 3]
    early, late = (
        dict(
            pair for batch in model.generate(requests_of(instances([texts] * 4)[number : number + 1])) for pair in batch
        )
        for texts in ([stop], [stop, whole[number] + "!"])
    )
    assert early[0].forward_passes < late[0].forward_passes == 24
    assert (early[0].tokens, early[0].stopped) == (late[0].tokens, late[0].stopped) == (place, True)


def test_an_answer_that_is_cut_to_nothing_counts_as_empty():
    record = {"kind": "generate", "forward_passes": 1, "seconds": 0, "stopped": True, "tokens": 0}
    records = [{**record, "response": "<r> b", "until": ["b"]}, {**record, "response": "<r> b"}]
    assert _totals(records, PREFIX)["empty_share"] == 0.5


def test_damaged_stop_texts_are_refused(model, whole, tmp_path):
    path = tmp_path / "records.jsonl"
    lm = recorded(path, model)
    lm.generate_until(instances([["zz"]] * 4))
    lm.store.close()
    path.write_text(path.read_text().replace('"until": ["zz"]', '"until": ["zy"]', 1))
    with pytest.raises(DataError, match="does not fit its fingerprint"):
        RecordStore(path)
