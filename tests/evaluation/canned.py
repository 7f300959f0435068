"""A model that says what it is told to, and one cell evaluated with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation_examples import byte_tokenizer
from lm_eval.api.model import LM

from dlm.evaluation.chat import Chat
from dlm.evaluation.harness import load_tasks, run
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.request import requests_of


class CannedLM(LM):
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, say: Callable[[str], str] = lambda prompt: "", likes: str = "") -> None:
        super().__init__()
        self.say, self.likes, self.asked = say, likes, []
        self.chat = Chat(byte_tokenizer, "canned")

    def generate_until(self, requests: list[Any]) -> list[str]:
        self.asked += requests_of(requests)
        return [self.say(request.args[0]) for request in requests]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        self.asked += requests_of(requests)
        return [(0.0 if self.likes in request.args[1] else -9.0, False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.chat.render(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        return "canned"


def evaluate(data: Path, one: Any, lm: CannedLM) -> tuple[Any, Any, Any]:
    tasks = load_tasks([one], lambda name: data / name)[one.task]
    results = run(lm, tasks, one)
    return tasks, results, read_outcome(results, tasks, one)


def asked(data: Path, one: Any) -> list[tuple[str, str | None]]:
    lm = CannedLM()
    evaluate(data, one, lm)
    return [(request.prompt, request.continuation) for request in lm.asked]
