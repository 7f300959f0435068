"""Tasks whose answers are programs: lm-eval's filters that run them in the sandbox, and the share that pass.

A task file names one of the filters here; it makes a program of each answer, puts the document's tests behind it, and
returns how each ended. So all programs of a task are known at once and some run side by side, and what a table counts,
and `samples.jsonl` shows, is the outcome. Stock lm-eval runs them in its own process, through a metric that it fetches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from itertools import chain
from typing import Any

from dlm.data import answer_text
from dlm.errors import SettingsError
from dlm.evaluation.code import between_marks, first_block, reachable, until_fence
from dlm.progress import Progress
from dlm.sandbox import PASSED, require_isolation, run_programs
from dlm.settings import SandboxSettings

Document = Mapping[str, Any]
Answers = Sequence[Sequence[str]]
"""For each document, its sampled answers."""

_limits: ContextVar[SandboxSettings | None] = ContextVar("limits", default=None)


@contextlib.contextmanager
def programs_allowed(limits: SandboxSettings | None) -> Iterator[None]:
    """Let the tasks here run programs, with these limits, inside the `with` block; nowhere else, or for None, do they.

    Raises:
        SetupError: this machine cannot isolate them.
    """
    if limits:
        require_isolation(limits)
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)


def pass_at_1(document: Document, results: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the share of a document's answers that pass its tests: pass@1 (arXiv 2107.03374, section 2.1)."""
    outcomes = results[0]
    return {"pass_at_1": sum(outcome == PASSED for outcome in outcomes) / len(outcomes)}


def humaneval(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """HumanEval: an answer goes on where the prompt, a function's header, ends."""
    return _run(answers, documents, lambda answer, document: document["prompt"] + answer, _humaneval_tests)


def humaneval_fenced(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """HumanEval: the same, or the whole function once more, in a fence that the task has opened; its end ends it."""
    return _run(answers, documents, lambda a, d: d["prompt"] + until_fence(a), _humaneval_tests)


def humaneval_block(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """HumanEval as OpenCompass reads it: the first fenced block, else the whole answer, without the header."""
    return _run(answers, documents, lambda answer, document: first_block(answer).lstrip(), _humaneval_tests)


def humaneval_reachable(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """HumanEval as Dream's repository reads it: of header and answer what the asked function reaches."""

    def program(answer: str, document: Document) -> str:
        return reachable(f"{document['prompt']}\n{until_fence(answer)}", document["entry_point"])

    return _run(answers, documents, program, _humaneval_tests)


def mbpp(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """MBPP: the answer is the program."""
    return _run(answers, documents, lambda answer, document: answer, _mbpp_tests)


def mbpp_fenced(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """MBPP: the answer stands in a fence that the task has opened; without its end there is no program."""

    def program(answer: str, document: Document) -> str:
        return until_fence(answer) if "```" in answer else ""

    return _run(answers, documents, program, _mbpp_tests)


def mbpp_opened(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """MBPP: the same, with or without the fence's end."""
    return _run(answers, documents, lambda answer, document: until_fence(answer), _mbpp_tests)


def mbpp_marked(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """MBPP as OpenCompass reads it: between begin and done marks or in a fence, without quotes around it."""
    return _run(answers, documents, lambda answer, document: between_marks(answer), _mbpp_tests)


def examples(answers: Answers, documents: Sequence[Document]) -> list[list[str]]:
    """The project's stand-in: an expression of one variable that is to give the document's values."""

    def program(answer: str, document: Document) -> str:
        tagged = answer_text(answer)
        expression = (answer if tagged is None else tagged).strip().removeprefix("f(x) =")
        # Of a statement no expression comes: it fails by its syntax.
        return f"def f(x): return ({expression})"

    def tests(document: Document) -> str:
        return "\n".join(f"assert f({given}) == {wanted}" for given, wanted in document["tests"])

    return _run(answers, documents, program, tests)


def mbpp_shots(documents: Any) -> Any:
    """Return the solved examples of MBPP's paper (arXiv 2108.07732): tasks 2, 3 and 4 of the prompt split."""
    chosen = documents.filter(lambda document: document["task_id"] in (2, 3, 4))
    return chosen.map(lambda document: {**document, "is_fewshot": True})


def _run(
    answers: Answers,
    documents: Sequence[Document],
    program: Callable[[str, Document], str],
    tests: Callable[[Document], str],
) -> list[list[str]]:
    limits = _limits.get()
    if limits is None:
        raise SettingsError(
            "the task runs programs that models write; write `sandbox: {}` in the params to have them run, isolated"
        )
    texts = [
        [f"{program(answer, document)}\n{tests(document)}" for answer in given]
        for given, document in zip(answers, documents, strict=True)
    ]
    whole = list(chain.from_iterable(texts))
    with Progress("run what the model wrote", len(whole), "programs") as progress:
        outcomes = iter(run_programs(whole, limits, progress.advance))
    return [[next(outcomes) for _ in given] for given in texts]


def _humaneval_tests(document: Document) -> str:
    return f"{document['test']}\ncheck({document['entry_point']})"


def _mbpp_tests(document: Document) -> str:
    return "\n".join(document["test_list"][:3])
